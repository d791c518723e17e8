"""A copied or restored database sends nothing until a person says what it is."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress as suppressed
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.errors import InvalidState, Misconfigured
from nurture.journey.consent import suppression, suppression_files
from nurture.journey.delivery import circuit_breakers, run
from nurture.journey.tracks import advance
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext
from tests.backups import backups_of
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import RecordingProvider, one, rows
from tests.operations.restoring import DAY, HOUR, PEOPLE, Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "machine")
    yield host
    host.close()


@pytest.fixture
def ctx(host: Host, lone_url: str) -> Iterator[AppContext]:
    ctx = host.begin(lone_url)
    yield ctx
    ctx.database.close()


def reason(ctx: AppContext) -> str:
    """Return why *ctx* is in quarantine, "" if it is not."""
    with ctx.database.read() as tx:
        wanted = "SELECT reason FROM circuit_breaker WHERE kind = 'database' AND released_at IS NULL"
        return str(tx.execute(text(wanted)).scalar() or "")


def test_the_original_sends_day_after_day(host: Host, ctx: AppContext, lone_url: str) -> None:
    for hours in (2, 3, 26, 50):
        host.run(ctx, START + hours * HOUR)
        ctx.database.close()
        ctx = host.open(lone_url)
    assert Counter(host.provider.refs) == Counter(dict.fromkeys(host.provider.refs, 1))
    assert len(host.provider.refs) == len(PEOPLE)
    assert reason(ctx) == ""
    ctx.database.close()


def test_other_workers_that_send_meanwhile_are_not_taken_for_a_restore(
    host: Host, ctx: AppContext, lone_url: str
) -> None:
    other, stop = host.open(lone_url).database, threading.Event()
    assert other.machine is not None
    assert quarantine.check(ctx, START, exempt=False) is None

    def send() -> None:
        while not stop.is_set():
            with other.write() as tx:
                committed = other.machine.before_external_calls(tx, ())
            committed()

    sending = threading.Thread(target=send)
    sending.start()
    try:
        found = [quarantine.check(ctx, START, exempt=False) for _ in range(300)]
    finally:
        stop.set()
        sending.join()
        other.close()
    assert not any(found)


def test_a_backup_that_is_put_back_sends_nothing_again(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    here = backups_of(lone_url)
    backup = here.back_up(tmp_path)
    host.run(ctx, START + 2 * HOUR)
    assert len(host.provider.refs) == len(PEOPLE)
    ctx.database.close()
    here.restore(backup)
    again = host.open(lone_url)
    done = host.run(again, START + 3 * HOUR)
    active = done.delivered.stopped_by
    assert active is not None
    assert "older than what this machine has seen" in active.reason
    ends = quarantine.remedy_for(active)
    assert "`nurture admin restored --since TIME`" in ends
    assert "adopt" not in ends
    with pytest.raises(InvalidState) as refused:
        circuit_breakers.resume(again, quarantine.NAME, "by hand: ana", START)
    assert str(refused.value).endswith(ends)
    assert max(Counter(host.provider.refs).values()) == 1
    assert rows(again, "SELECT count(*) FROM message WHERE state <> 'planned'") == [(0,)]
    again.database.close()


def test_a_backup_put_back_while_a_worker_runs_is_seen_before_the_next_call(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    here = backups_of(lone_url)
    backup = here.back_up(tmp_path)
    advance.advance(ctx, START + 2 * HOUR)
    few = replace(ctx, batch_size=5)
    assert run.deliver(few, VirtualClock(START + 2 * HOUR), should_stop=lambda: True).messages == 5
    ctx.database.close()
    here.restore(backup)
    late = host.open(lone_url)
    late.database.machine, machine = None, late.database.machine  # it checked before the restore
    with late.database.write() as tx:
        tx.execute(text("DELETE FROM circuit_breaker"))
    late.database.machine = machine
    assert machine is not None
    with pytest.raises(InvalidState, match="older than"), late.database.write() as tx:
        quarantine.record_external_calls(late, tx, "post")
    assert len(host.provider.refs) == 5
    late.database.close()


def test_an_opt_out_alone_makes_an_older_state_known(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    here = backups_of(lone_url)
    host.run(ctx, START + 2 * HOUR)
    backup = here.back_up(tmp_path)
    suppression.suppress(ctx, PEOPLE[:1], START + 2 * HOUR)
    ctx.database.close()
    here.restore(backup)
    again = host.open(lone_url)
    assert "older" in reason(again)
    again.database.close()


def test_a_copy_is_in_quarantine_and_the_original_is_not(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    """A copy made with `cp -r` of the whole folder, or with CREATE DATABASE .. TEMPLATE."""
    host.run(ctx, START)
    ctx.database.close()
    with backups_of(lone_url).copied(tmp_path) as url:
        copy = host.open(url)
        done = host.run(copy, START + 2 * HOUR)
        assert "it was copied or moved" in done.delivered.refusal
        assert host.provider.refs == []
        copy.database.close()
        original = host.open(lone_url)
        host.run(original, START + 2 * HOUR)
        assert len(host.provider.refs) == len(PEOPLE)
        original.database.close()


def test_a_copy_on_another_machine_is_in_quarantine(host: Host, sqlite_url: str, tmp_path: Path) -> None:
    ctx = host.begin(sqlite_url)
    ctx.database.close()
    there = tmp_path / "there"
    shutil.copytree(Path(sqlite_url.removeprefix("sqlite:///")).parent, there)
    shutil.copytree(host.folder, tmp_path / "other")  # rsync of everything, the private folder too
    other = Host(tmp_path / "other")
    copy = other.open(f"sqlite:///{there / 'nurture.db'}")
    assert other.run(copy, START + 2 * HOUR).delivered.stopped_by
    assert other.provider.refs == []
    copy.database.close()


def test_an_empty_volume_where_the_machine_kept_what_it_knew_is_noticed(
    host: Host, sqlite_url: str, tmp_path: Path
) -> None:
    host.begin(sqlite_url).database.close()
    fresh = Host(tmp_path / "empty")
    ctx = fresh.open(sqlite_url)
    assert "another machine" in reason(ctx)
    assert fresh.run(ctx, START + 2 * HOUR).delivered.stopped_by
    assert fresh.provider.refs == []
    ctx.database.close()


def test_a_machine_that_lost_only_what_it_had_seen_is_noticed(host: Host, sqlite_url: str) -> None:
    host.begin(sqlite_url).database.close()
    for file in host.folder.glob("*.generation"):
        file.unlink()
    ctx = host.open(sqlite_url)
    assert "this machine has no record of it" in reason(ctx)
    ctx.database.close()


def test_a_second_worker_on_another_machine_sends_beside_the_first(
    host: Host, lone_postgres_url: str, tmp_path: Path
) -> None:
    first = host.begin(lone_postgres_url)
    second = Host(tmp_path / "second", now=START)
    ctx = second.open(lone_postgres_url)
    assert reason(ctx) == ""
    assert not second.run(replace(ctx, batch_size=8), START + 2 * HOUR).delivered.stopped_by
    host.run(first, START + 2 * HOUR)
    refs = [*host.provider.refs, *second.provider.refs]
    assert len(second.provider.refs) > 0
    assert sorted(refs) == sorted(set(refs))
    assert len(refs) == len(PEOPLE)
    first.database.close()
    ctx.database.close()


def test_what_one_worker_notices_stops_the_others(host: Host, lone_postgres_url: str, tmp_path: Path) -> None:
    first = host.begin(lone_postgres_url)
    here = backups_of(lone_postgres_url)
    backup = here.back_up(tmp_path)
    host.run(first, START + 2 * HOUR)
    first.database.close()
    here.restore(backup)
    host.open(lone_postgres_url).database.close()
    newcomer = Host(tmp_path / "second", now=START + 3 * HOUR)  # it never saw the newer state
    ctx = newcomer.open(lone_postgres_url)
    assert newcomer.run(ctx, START + 3 * HOUR).delivered.stopped_by
    assert newcomer.provider.refs == []
    ctx.database.close()


def test_in_quarantine_opt_outs_count_and_leads_stand_still(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    ctx.database.close()
    with backups_of(lone_url).copied(tmp_path) as url:
        copy = host.open(url)
        before = rows(copy, "SELECT step, reached_at, visit FROM enrollment ORDER BY id")
        suppression.suppress(copy, PEOPLE[:2], START + HOUR)
        host.run(copy, START + 9 * DAY)
        assert len(list(suppression_files.list_current(copy))) == 2
        assert rows(copy, "SELECT step, reached_at, visit FROM enrollment ORDER BY id") == before
        copy.database.close()


def test_the_mailbox_is_exempt(host: Host, ctx: AppContext, lone_url: str, tmp_path: Path) -> None:
    ctx.database.close()
    with backups_of(lone_url).copied(tmp_path) as url:
        copy = Host(host.folder, MaildirProvider(tmp_path / "maildir")).open(url)
        assert not host.run(copy, START + 2 * HOUR).delivered.stopped_by
        assert one(copy, "SELECT count(*) FROM message WHERE state = 'accepted'") == len(PEOPLE)
        copy.database.close()


def test_adopt_ends_the_quarantine_of_a_database_that_was_moved(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    ctx.database.close()
    with backups_of(lone_url).copied(tmp_path) as url:
        moved = host.open(url)
        assert quarantine.adopt(moved, "adopted by ana", START) is True
        assert not host.run(moved, START + 2 * HOUR).delivered.stopped_by
        assert len(host.provider.refs) == len(PEOPLE)
        moved.database.close()
        again = host.open(url)
        assert reason(again) == ""
        assert quarantine.adopt(again, "adopted by ana", START + 2 * HOUR) is False
        again.database.close()


def test_adopt_refuses_what_is_older_than_this_machine_has_seen(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    ctx.database.close()
    with backups_of(lone_url).copied(tmp_path) as url:
        original = host.open(lone_url)
        host.run(original, START + 2 * HOUR)
        original.database.close()
        copy = host.open(url)
        with pytest.raises(InvalidState, match="admin restored"):
            quarantine.adopt(copy, "adopted by ana", START + 3 * HOUR)
        assert host.run(copy, START + 3 * HOUR).delivered.stopped_by
        copy.database.close()


def test_the_quarantine_is_no_pause_to_resume(host: Host, ctx: AppContext, lone_url: str, tmp_path: Path) -> None:
    ctx.database.close()
    with backups_of(lone_url).copied(tmp_path) as url:
        copy = host.open(url)
        with pytest.raises(InvalidState, match="admin adopt"):
            circuit_breakers.resume(copy, quarantine.NAME, "by hand: ana", START)
        assert reason(copy)
        copy.database.close()


def test_a_folder_that_cannot_be_used_stops_mail_and_no_opt_out(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host(tmp_path / "machine")
    ctx = host.begin(sqlite_url)
    ctx.database.close()
    shutil.rmtree(host.folder)
    host.folder.write_text("a file")
    with pytest.raises(Misconfigured, match="NURTURE_JOURNAL_DIR"):
        run.deliver(ctx, VirtualClock(START + 2 * HOUR))
    assert suppression.suppress(ctx, PEOPLE[:1], START + 2 * HOUR).new == 1
    assert "cannot be written" in caplog.text
    assert host.provider.refs == []
    ctx.database.close()


def test_generations_grow_with_calls_and_opt_outs_and_are_remembered_after_the_commit(
    host: Host, ctx: AppContext
) -> None:
    machine = ctx.database.machine
    assert machine is not None

    def known() -> int:
        with ctx.database.read() as tx:
            found = clock_row.read_installation(tx)
        assert found is not None
        return found.generation

    before = known()
    host.run(ctx, START + 2 * HOUR)
    sent = known()
    assert machine.newest_generation() == sent > before
    suppression.suppress(ctx, PEOPLE[:1], START + 2 * HOUR)
    assert machine.newest_generation() == known() == sent + 1
    with suppressed(ZeroDivisionError), ctx.database.write() as tx:
        quarantine.record_external_calls(ctx, tx, "post")
        raise ZeroDivisionError  # rolled back
    assert machine.newest_generation() == known() == sent + 1


def test_a_virtual_database_keeps_nothing_outside(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    ctx.provider = RecordingProvider()
    add_lead(ctx, title="Head")
    run_at(ctx, START, START + 2 * HOUR)
    assert len(ctx.provider.refs) == 1
    assert rows(ctx, "SELECT location FROM clock") == [(None,)]
