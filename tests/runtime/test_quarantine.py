"""A copied or restored database sends nothing until a person says what it is."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress as suppressed
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.db import instance
from nurture.db.engine import Database
from nurture.errors import Misconfigured, Refused
from nurture.journey.consent import suppression, suppression_files
from nurture.journey.delivery import circuit_breakers, run
from nurture.journey.tracks import advance
from nurture.mail.providers.maildir import Mailbox
from nurture.runtime import quarantine
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.observe import Post, one, rows
from tests.operations.restoring import DAY, HOUR, PEOPLE, Host
from tests.restoring import kept


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "machine")
    yield host
    host.close()


@pytest.fixture
def house(host: Host, lone_url: str) -> Iterator[House]:
    house = host.begin(lone_url)
    yield house
    house.database.close()


def reason(house: House) -> str:
    """Return why *house* is in quarantine, "" if it is not."""
    with house.database.read() as connection:
        wanted = "SELECT reason FROM brake WHERE kind = 'database' AND released_at IS NULL"
        return str(connection.execute(text(wanted)).scalar() or "")


def test_the_original_sends_day_after_day(host: Host, house: House, lone_url: str) -> None:
    for hours in (2, 3, 26, 50):
        host.tick(house, START + hours * HOUR)
        house.database.close()
        house = host.open(lone_url)
    assert Counter(host.post.refs) == Counter(dict.fromkeys(host.post.refs, 1))
    assert len(host.post.refs) == len(PEOPLE)
    assert reason(house) == ""
    house.database.close()


def test_a_backup_that_is_put_back_sends_nothing_again(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    here = kept(lone_url)
    backup = here.back_up(tmp_path)
    host.tick(house, START + 2 * HOUR)
    assert len(host.post.refs) == len(PEOPLE)
    house.database.close()
    here.put_back(backup)
    again = host.open(lone_url)
    done = host.tick(again, START + 3 * HOUR)
    assert "older than what this machine has seen" in done.delivered.quarantine
    ends = quarantine.ends(done.delivered.quarantine)
    assert "`nurture admin restored --since TIME`" in ends
    assert "adopt" not in ends
    with pytest.raises(Refused) as refused:
        circuit_breakers.resume(again, quarantine.NAME, "by hand: ana", START)
    assert str(refused.value).endswith(ends)
    assert max(Counter(host.post.refs).values()) == 1
    assert rows(again, "SELECT count(*) FROM message WHERE state <> 'planned'") == [(0,)]
    again.database.close()


def test_a_backup_put_back_while_a_worker_runs_is_seen_before_the_next_call(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    here = kept(lone_url)
    backup = here.back_up(tmp_path)
    advance.advance(house, START + 2 * HOUR)
    few = replace(house, batch=5)
    assert run.deliver(few, VirtualClock(START + 2 * HOUR), stopping=lambda: True).messages == 5
    house.database.close()
    here.put_back(backup)
    late = host.open(lone_url)
    late.database.machine, machine = None, late.database.machine  # it looked before the backup came back
    with late.database.write() as connection:
        connection.execute(text("DELETE FROM brake"))
    late.database.machine = machine
    assert machine is not None
    with pytest.raises(Refused, match="older than"), late.database.write() as connection:
        quarantine.before_calls(late, connection, "post")
    assert len(host.post.refs) == 5
    late.database.close()


def test_an_opt_out_alone_makes_an_older_state_known(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    here = kept(lone_url)
    host.tick(house, START + 2 * HOUR)
    backup = here.back_up(tmp_path)
    suppression.suppress(house, PEOPLE[:1], START + 2 * HOUR)
    house.database.close()
    here.put_back(backup)
    again = host.open(lone_url)
    assert "older" in reason(again)
    again.database.close()


def test_a_copy_is_in_quarantine_and_the_original_is_not(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    """As `cp -r` of the whole folder makes one, or CREATE DATABASE .. TEMPLATE."""
    host.tick(house, START)
    house.database.close()
    with kept(lone_url).copied(tmp_path) as url:
        copy = host.open(url)
        done = host.tick(copy, START + 2 * HOUR)
        assert "it is a copy, or was moved" in done.delivered.quarantine
        assert host.post.refs == []
        copy.database.close()
        original = host.open(lone_url)
        host.tick(original, START + 2 * HOUR)
        assert len(host.post.refs) == len(PEOPLE)
        original.database.close()


def test_a_copy_on_another_machine_is_in_quarantine(host: Host, sqlite_url: str, tmp_path: Path) -> None:
    house = host.begin(sqlite_url)
    house.database.close()
    there = tmp_path / "there"
    shutil.copytree(Path(sqlite_url.removeprefix("sqlite:///")).parent, there)
    shutil.copytree(host.folder, tmp_path / "other")  # rsync of everything, the private folder too
    other = Host(tmp_path / "other")
    copy = other.open(f"sqlite:///{there / 'nurture.db'}")
    assert other.tick(copy, START + 2 * HOUR).delivered.quarantine
    assert other.post.refs == []
    copy.database.close()


def test_an_empty_volume_where_the_machine_kept_what_it_knew_is_noticed(
    host: Host, sqlite_url: str, tmp_path: Path
) -> None:
    host.begin(sqlite_url).database.close()
    fresh = Host(tmp_path / "empty")
    house = fresh.open(sqlite_url)
    assert "another machine" in reason(house)
    assert fresh.tick(house, START + 2 * HOUR).delivered.quarantine
    assert fresh.post.refs == []
    house.database.close()


def test_a_machine_that_lost_only_what_it_had_seen_is_noticed(host: Host, sqlite_url: str) -> None:
    host.begin(sqlite_url).database.close()
    for seen in host.folder.glob("*.seen"):
        seen.unlink()
    house = host.open(sqlite_url)
    assert "lost what it had seen" in reason(house)
    house.database.close()


def test_a_second_worker_on_another_machine_sends_beside_the_first(
    host: Host, lone_postgres_url: str, tmp_path: Path
) -> None:
    first = host.begin(lone_postgres_url)
    second = Host(tmp_path / "second", now=START)
    house = second.open(lone_postgres_url)
    assert reason(house) == ""
    assert not second.tick(replace(house, batch=8), START + 2 * HOUR).delivered.quarantine
    host.tick(first, START + 2 * HOUR)
    refs = [*host.post.refs, *second.post.refs]
    assert len(second.post.refs) > 0
    assert sorted(refs) == sorted(set(refs))
    assert len(refs) == len(PEOPLE)
    first.database.close()
    house.database.close()


def test_what_one_worker_notices_stops_the_others(host: Host, lone_postgres_url: str, tmp_path: Path) -> None:
    first = host.begin(lone_postgres_url)
    here = kept(lone_postgres_url)
    backup = here.back_up(tmp_path)
    host.tick(first, START + 2 * HOUR)
    first.database.close()
    here.put_back(backup)
    host.open(lone_postgres_url).database.close()
    newcomer = Host(tmp_path / "second", now=START + 3 * HOUR)  # it never saw the newer state
    house = newcomer.open(lone_postgres_url)
    assert newcomer.tick(house, START + 3 * HOUR).delivered.quarantine
    assert newcomer.post.refs == []
    house.database.close()


def test_in_quarantine_opt_outs_count_and_leads_stand_still(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    house.database.close()
    with kept(lone_url).copied(tmp_path) as url:
        copy = host.open(url)
        before = rows(copy, "SELECT step, reached_at, visit FROM enrollment ORDER BY id")
        suppression.suppress(copy, PEOPLE[:2], START + HOUR)
        host.tick(copy, START + 9 * DAY)
        assert len(list(suppression_files.listed(copy))) == 2
        assert rows(copy, "SELECT step, reached_at, visit FROM enrollment ORDER BY id") == before
        copy.database.close()


def test_the_mailbox_is_exempt(host: Host, house: House, lone_url: str, tmp_path: Path) -> None:
    house.database.close()
    with kept(lone_url).copied(tmp_path) as url:
        copy = Host(host.folder, Mailbox(tmp_path / "mailbox")).open(url)
        assert not host.tick(copy, START + 2 * HOUR).delivered.quarantine
        assert one(copy, "SELECT count(*) FROM message WHERE state = 'accepted'") == len(PEOPLE)
        copy.database.close()


def test_adopt_ends_the_quarantine_of_a_database_that_was_moved(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    house.database.close()
    with kept(lone_url).copied(tmp_path) as url:
        moved = host.open(url)
        assert quarantine.adopt(moved, "adopted by ana", START) is True
        assert not host.tick(moved, START + 2 * HOUR).delivered.quarantine
        assert len(host.post.refs) == len(PEOPLE)
        moved.database.close()
        again = host.open(url)
        assert reason(again) == ""
        assert quarantine.adopt(again, "adopted by ana", START + 2 * HOUR) is False
        again.database.close()


def test_adopt_refuses_what_is_older_than_this_machine_has_seen(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    house.database.close()
    with kept(lone_url).copied(tmp_path) as url:
        original = host.open(lone_url)
        host.tick(original, START + 2 * HOUR)
        original.database.close()
        copy = host.open(url)
        with pytest.raises(Refused, match="admin restored"):
            quarantine.adopt(copy, "adopted by ana", START + 3 * HOUR)
        assert host.tick(copy, START + 3 * HOUR).delivered.quarantine
        copy.database.close()


def test_the_quarantine_is_no_pause_to_resume(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    house.database.close()
    with kept(lone_url).copied(tmp_path) as url:
        copy = host.open(url)
        with pytest.raises(Refused, match="admin adopt"):
            circuit_breakers.resume(copy, quarantine.NAME, "by hand: ana", START)
        assert reason(copy)
        copy.database.close()


def test_a_folder_that_cannot_be_used_stops_mail_and_no_opt_out(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host(tmp_path / "machine")
    house = host.begin(sqlite_url)
    house.database.close()
    shutil.rmtree(host.folder)
    host.folder.write_text("a file")
    with pytest.raises(Misconfigured, match="NURTURE_JOURNAL_DIR"):
        run.deliver(house, VirtualClock(START + 2 * HOUR))
    assert suppression.suppress(house, PEOPLE[:1], START + 2 * HOUR).new == 1
    assert "cannot be written" in caplog.text
    assert host.post.refs == []
    house.database.close()


def test_generations_grow_with_calls_and_opt_outs_and_are_remembered_after_the_commit(
    host: Host, house: House
) -> None:
    machine = house.database.machine
    assert machine is not None

    def known() -> int:
        with house.database.read() as connection:
            found = instance.read(connection)
        assert found is not None
        return found.generation

    before = known()
    host.tick(house, START + 2 * HOUR)
    sent = known()
    assert machine.seen() == sent > before
    suppression.suppress(house, PEOPLE[:1], START + 2 * HOUR)
    assert machine.seen() == known() == sent + 1
    with suppressed(ZeroDivisionError), house.database.write() as connection:
        quarantine.before_calls(house, connection, "post")
        raise ZeroDivisionError  # it is taken back
    assert machine.seen() == known() == sent + 1


def test_a_virtual_database_keeps_nothing_outside(sqlite_db: Database, tmp_path: Path) -> None:
    house = make_house(sqlite_db, tmp_path)
    house.provider = Post()
    add_lead(house, title="Head")
    tick_at(house, START, START + 2 * HOUR)
    assert len(house.provider.refs) == 1
    assert rows(house, "SELECT place FROM clock") == [(None,)]
