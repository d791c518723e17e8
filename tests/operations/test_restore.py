"""After a restore nothing is sent twice, and opt-outs since the backup hold."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nurture.domain.signals import SignalKind
from nurture.errors import ClockWentBackwards, InvalidState, Misconfigured
from nurture.journey.broadcasts import release
from nurture.journey.consent import opt_in, statements, suppression, suppression_files
from nurture.journey.consent.suppression import ALL_MAIL
from nurture.journey.consent.undo_import import undo_import
from nurture.journey.delivery import stopping, unknown
from nurture.journey.erasure import erase
from nurture.journey.leads import address_queries, stop_queries
from nurture.mail.providers.base import SuppressedAddress
from nurture.operations import restore
from nurture.operations.restore import QUEUE
from nurture.publishing.publish import publish
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext
from tests.backups import backups_of
from tests.journey.broadcasts.world import TEN, broadcast_rules
from tests.journey.builders import START, add_lead
from tests.journey.observe import custody, one, record_signal, rows
from tests.operations.restoring import DAY, HOUR, PEOPLE, Host, Mail

SENT = START + 2 * HOUR


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


def put_back(host: Host, ctx: AppContext, url: str, backup: Path) -> AppContext:
    """Replace the database by *backup*, and open it."""
    ctx.database.close()
    backups_of(url).restore(backup)
    return host.open(url)


def restore_at(host: Host, ctx: AppContext, since: datetime, now: datetime, **options: Any) -> restore.RestoreReport:
    """Run `nurture admin restored`."""
    host.now = now
    return restore.restore(ctx, since, now, by="ana", **options)


def run_days(host: Host, ctx: AppContext, first: int, last: int) -> None:
    """Run the stages four times a day."""
    for day in range(first, last):
        for hours in (2, 4, 6, 8):
            host.run(ctx, START + day * DAY + hours * HOUR)


def most_copies(provider: Mail) -> int:
    """Return the highest number of copies of one email to one lead."""
    return max(Counter(provider.received).values(), default=0)


def test_a_restored_backup_sends_nothing_twice_and_keeps_opt_outs(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    backup = backups_of(lone_url).back_up(tmp_path)
    host.run(ctx, SENT)
    suppression.suppress(ctx, [PEOPLE[3]], SENT)
    again = put_back(host, ctx, lone_url, backup)
    host.run(again, START + 3 * HOUR)
    done = restore_at(host, again, START, START + 4 * HOUR)
    assert (done.suppressed, done.unknown) == (1, len(PEOPLE) - 1)
    host.run(again, START + 5 * HOUR)
    assert Counter(Counter(host.provider.received).values()) == {1: len(PEOPLE)}
    assert [listed.email for listed in suppression_files.list_current(again)] == [PEOPLE[3]]
    assert len(unknown.list_pending_resolutions(again)) == len(PEOPLE) - 1
    again.database.close()


def test_leads_are_past_all_touches_that_were_due_in_the_gap(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    backup = backups_of(lone_url).back_up(tmp_path)
    run_days(host, ctx, 0, 40)
    gone = Counter(host.provider.received)
    assert len(gone) >= 4 * len(PEOPLE)
    again = put_back(host, ctx, lone_url, backup)
    run_days(host, again, 40, 41)
    done = restore_at(host, again, START, START + 41 * DAY)
    assert done.unknown >= len(gone)
    run_days(host, again, 41, 120)
    assert most_copies(host.provider) == 1
    later = set(host.provider.received) - gone.keys()
    assert len(later) >= 2 * len(PEOPLE), "each track goes on"
    again.database.close()


@pytest.mark.parametrize("track", ["welcome", ""])
def test_mail_that_was_started_after_the_backup_is_not_sent_again(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path, track: str
) -> None:
    stopping.stop(ctx, track, "a wrong price", "mara", START)
    backup = backups_of(lone_url).back_up(tmp_path)
    host.run(ctx, SENT)
    stopping.start(ctx, track, "", "mara", SENT + HOUR)
    run_days(host, ctx, 1, 3)
    assert most_copies(host.provider) == 1
    again = put_back(host, ctx, lone_url, backup)
    done = restore_at(host, again, START, START + 3 * DAY)
    assert any(f"{track or 'all mail'} was started" in note for note in done.notes)
    with again.database.read() as tx:
        assert stop_queries.load_stops(tx) == {}
    run_days(host, again, 3, 20)
    assert most_copies(host.provider) == 1
    again.database.close()


def test_a_stop_that_is_newer_than_the_backup_holds_after_a_restore(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    backup = backups_of(lone_url).back_up(tmp_path)
    stopping.stop(ctx, "welcome", "a wrong price", "mara", START)
    host.run(ctx, SENT)
    again = put_back(host, ctx, lone_url, backup)
    for _ in range(2):
        restore_at(host, again, START, START + DAY)
    run_days(host, again, 1, 3)
    assert host.provider.received == []
    stopping.start(again, "welcome", "", "mara", START + 3 * DAY)
    run_days(host, again, 3, 6)
    assert Counter(Counter(host.provider.received).values()) == {1: len(PEOPLE)}
    again.database.close()


def test_touches_on_their_way_at_the_backup_are_unknown_too(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    def stop(_batch: object, _now: datetime) -> list[Any]:
        raise KeyboardInterrupt

    host.provider.send, send = stop, host.provider.send
    with pytest.raises(KeyboardInterrupt):
        host.run(ctx, SENT)
    backup = backups_of(lone_url).back_up(tmp_path)
    host.provider.send = send
    run_days(host, ctx, 0, 2)
    again = put_back(host, ctx, lone_url, backup)
    restore_at(host, again, SENT, START + 2 * DAY)
    run_days(host, again, 2, 20)
    assert most_copies(host.provider) == 1
    again.database.close()


def test_a_since_later_than_the_backup_is_corrected(host: Host, ctx: AppContext, lone_url: str, tmp_path: Path) -> None:
    backup = backups_of(lone_url).back_up(tmp_path)
    run_days(host, ctx, 0, 12)
    again = put_back(host, ctx, lone_url, backup)
    restore_at(host, again, START + 6 * DAY, START + 12 * DAY)
    run_days(host, again, 12, 60)
    assert most_copies(host.provider) == 1
    again.database.close()


def test_a_second_restore_reports_the_first(host: Host, ctx: AppContext, lone_url: str, tmp_path: Path) -> None:
    backup = backups_of(lone_url).back_up(tmp_path)
    host.run(ctx, SENT)
    again = put_back(host, ctx, lone_url, backup)
    restore_at(host, again, START, START + 3 * HOUR)
    run_days(host, again, 1, 30)
    before = len(host.provider.refs)
    done = restore_at(host, again, START, START + 30 * DAY)
    assert done.already_done_at == START + 3 * HOUR
    run_days(host, again, 30, 50)
    assert most_copies(host.provider) == 1
    assert len(host.provider.refs) > before
    again.database.close()


def test_stopping_in_the_middle_leaves_the_quarantine_on_and_the_next_run_goes_on(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    backup = backups_of(lone_url).back_up(tmp_path)
    run_days(host, ctx, 0, 12)
    suppression.suppress(ctx, PEOPLE[:2], START + 12 * DAY)
    again = put_back(host, ctx, lone_url, backup)
    calls = 0

    def stopping(country: str, at: datetime) -> list[Any]:
        nonlocal calls
        calls += 1
        if calls == 50:
            raise KeyboardInterrupt
        return []

    again.holidays = stopping
    with pytest.raises(KeyboardInterrupt):
        restore_at(host, again, START, START + 12 * DAY)
    assert quarantine.is_on(again, host.now)
    assert host.run(again, START + 12 * DAY).delivered.stopped_by
    restore_at(host, again, START, START + 12 * DAY)
    run_days(host, again, 12, 60)
    assert most_copies(host.provider) == 1
    assert len(list(suppression_files.list_current(again))) == 2
    again.database.close()


def test_restoring_the_same_backup_again_is_noticed_again(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    backup = backups_of(lone_url).back_up(tmp_path)
    host.run(ctx, SENT)
    for day in (1, 2, 3):
        ctx = put_back(host, ctx, lone_url, backup)
        assert host.run(ctx, START + day * DAY).delivered.stopped_by
        restore_at(host, ctx, START, START + day * DAY + HOUR)
        run_days(host, ctx, day, day + 1)
    assert most_copies(host.provider) == 1
    ctx.database.close()


def test_other_workers_that_saw_more_accept_a_database_that_was_brought_to_today(
    lone_postgres_url: str, tmp_path: Path
) -> None:
    host, other = Host(tmp_path / "machine"), Host(tmp_path / "other")
    ctx = host.begin(lone_postgres_url)
    backup = backups_of(lone_postgres_url).back_up(tmp_path)
    second = other.open(lone_postgres_url)
    other.run(second, SENT)
    second.database.close()
    again = put_back(host, ctx, lone_postgres_url, backup)
    restore_at(host, again, START, START + 3 * HOUR, journals=sorted((tmp_path / "other").glob("*.suppressions")))
    other.now = START + 4 * HOUR
    third = other.open(lone_postgres_url)
    assert not other.run(third, START + 4 * HOUR).delivered.stopped_by
    assert most_copies(other.provider) == 1
    again.database.close()
    third.database.close()


def test_opt_outs_of_the_gap_come_back_with_their_scope_and_opt_ins_too(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    backup = backups_of(lone_url).back_up(tmp_path)
    suppression.suppress(ctx, PEOPLE[:3], SENT)
    record_signal(ctx, one(ctx, "SELECT min(id) FROM lead") + 5, SignalKind.COMPLAINED, SENT)
    opt_in.opt_in(ctx, PEOPLE[1], ALL_MAIL, "asked for it on the phone", SENT + HOUR)
    suppression.suppress(ctx, ["stranger@elsewhere.example"], SENT)
    before = list(suppression_files.list_current(ctx))
    again = put_back(host, ctx, lone_url, backup)
    done = restore_at(host, again, START, START + 5 * HOUR)
    assert (done.suppressed, done.opted_in) == (5, 1)
    with again.database.write() as tx:  # known only by its hash until a lead is imported with it
        address_queries.get_or_create_addresses(tx, ["stranger@elsewhere.example"], restore_erased=True)
    assert sorted(suppression_files.list_current(again)) == sorted(before)
    again.database.close()


def test_withdrawals_of_the_gap_come_back_and_those_of_the_backup_are_not_repeated(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    first, second = (one(ctx, "SELECT id FROM lead ORDER BY id LIMIT 1 OFFSET :n", n=n) for n in (0, 1))
    statements.withdraw_consent(ctx, first, START)
    backup = backups_of(lone_url).back_up(tmp_path)
    statements.withdraw_consent(ctx, second, SENT)
    again = put_back(host, ctx, lone_url, backup)
    assert statements.load_history(again, second, SENT).permission.allowed
    done = restore_at(host, again, START, START + 5 * HOUR)
    assert done.suppressed == 1
    for lead in (first, second):
        history = statements.load_history(again, lead, START + 5 * HOUR)
        assert not history.permission.allowed
        assert sum(not each.granted for each in history.statements) == 1
    again.database.close()


def test_a_withdrawal_whose_import_was_undone_in_the_gap_does_not_come_back(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    backup = backups_of(lone_url).back_up(tmp_path)
    path = tmp_path / "records.csv"
    path.write_text(f"email,source,date,kind\n{PEOPLE[1]},crm,2026-01-01,withdrawal\n", encoding="utf-8")
    assert suppression_files.import_suppressions(ctx, path, SENT).new == 1
    undo_import(ctx, "records.csv", SENT)
    again = put_back(host, ctx, lone_url, backup)
    assert restore_at(host, again, START, START + 5 * HOUR).suppressed == 0
    again.database.close()


def test_who_was_erased_in_the_gap_is_erased_again(host: Host, ctx: AppContext, lone_url: str, tmp_path: Path) -> None:
    backup = backups_of(lone_url).back_up(tmp_path)
    erase.erase_person(ctx, PEOPLE[4], SENT)
    again = put_back(host, ctx, lone_url, backup)
    assert one(again, "SELECT count(*) FROM address WHERE email = :email", email=PEOPLE[4]) == 1
    done = restore_at(host, again, START, START + 4 * HOUR)
    assert done.erased == 1
    assert one(again, "SELECT count(*) FROM address WHERE email = :email", email=PEOPLE[4]) == 0
    again.database.close()


def test_without_a_journal_it_refuses_unless_a_reason_is_given(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path
) -> None:
    backup = backups_of(lone_url).back_up(tmp_path)
    host.run(ctx, SENT)
    suppression.suppress(ctx, PEOPLE[:1], SENT)
    (journal,) = host.folder.glob("*.suppressions")
    saved = shutil.copy(journal, tmp_path / "saved.suppressions")
    ctx.database.close()
    journal.unlink()
    again = put_back(host, ctx, lone_url, backup)
    with pytest.raises(InvalidState, match="--without-journal"):
        restore_at(host, again, START, START + 4 * HOUR)
    suppression.suppress(again, PEOPLE[1:2], START + 4 * HOUR)  # starts a journal without earlier entries
    with pytest.raises(InvalidState, match="--without-journal"):
        restore_at(host, again, START, START + 4 * HOUR)
    assert quarantine.is_on(again, host.now)
    restore_at(host, again, START, START + 4 * HOUR, journals=[Path(saved)])
    assert [found.email for found in suppression_files.list_current(again)] == PEOPLE[:2]
    assert not quarantine.is_on(again, host.now)
    again.database.close()


def test_the_reason_why_there_is_no_journal_is_kept(host: Host, ctx: AppContext, lone_url: str, tmp_path: Path) -> None:
    ctx.database.close()
    shutil.rmtree(host.folder)
    again = host.open(lone_url)
    restore_at(host, again, START, START + HOUR, without_journal="the disk was lost")
    ((by,),) = rows(again, "SELECT released_by FROM circuit_breaker WHERE kind = 'database'")
    assert "the disk was lost" in by
    assert "ana" in by
    again.database.close()


def test_a_clock_that_is_behind_is_refused(host: Host, ctx: AppContext, lone_url: str) -> None:
    host.run(ctx, START + DAY)
    with pytest.raises(ClockWentBackwards):
        restore_at(host, ctx, START, START + HOUR)
    with pytest.raises(InvalidState, match="in the future"):
        restore_at(host, ctx, START + 3 * DAY, START + DAY)


def test_hand_offs_wait_for_what_the_manager_says(host: Host, ctx: AppContext, lone_url: str, tmp_path: Path) -> None:
    offered, waits = (add_lead(ctx, title="x", demo_requested=True) for _ in range(2))
    host.run(ctx, START + 1 * HOUR)
    backup = backups_of(lone_url).back_up(tmp_path)
    add_lead(ctx, title="y", demo_requested=True)
    host.run(ctx, SENT)
    briefs = [ref for ref in host.provider.refs if ref.startswith("brief:")]
    assert len(briefs) == 3
    again = put_back(host, ctx, lone_url, backup)
    done = restore_at(host, again, START + HOUR, START + 3 * HOUR)
    assert done.needs_decision
    assert set(done.handoffs) == {offered, waits}
    assert quarantine.is_on(again, host.now)
    host.run(again, START + 3 * HOUR)
    assert [ref for ref in host.provider.refs if ref.startswith("brief:")] == briefs
    restore_at(host, again, START + HOUR, START + 3 * HOUR, choice="reoffer")
    host.run(again, START + 4 * HOUR)
    assert sorted(ref for ref in host.provider.refs if ref.startswith("brief:")) == sorted([*briefs, *briefs[:2]])
    assert custody(again, offered)[0] == "offer"
    again.database.close()


def test_hand_offs_that_are_left_wait_for_a_person(host: Host, ctx: AppContext, lone_url: str, tmp_path: Path) -> None:
    lead = add_lead(ctx, title="x", demo_requested=True)
    host.run(ctx, START + 1 * HOUR)
    backup = backups_of(lone_url).back_up(tmp_path)
    sent = list(host.provider.refs)
    host.run(ctx, SENT)
    sent = list(host.provider.refs)
    again = put_back(host, ctx, lone_url, backup)
    restore_at(host, again, START + HOUR, START + 3 * HOUR, choice="leave")
    host.run(again, START + 4 * HOUR)
    assert [ref for ref in host.provider.refs if not ref.startswith("waiting:")] == sent
    assert custody(again, lead) == ("queue", QUEUE)
    again.database.close()


class Listing(Mail):
    """A provider with a suppression list."""

    def list_suppressions(self) -> list[SuppressedAddress]:
        return [
            SuppressedAddress(f" {PEOPLE[7].upper()} ", "bounce", SENT),
            SuppressedAddress(PEOPLE[8], "provider", None),
            SuppressedAddress("no address", "complaint", SENT),
        ]


def test_opt_outs_come_back_from_the_provider(lone_url: str, tmp_path: Path) -> None:
    host = Host(tmp_path / "machine", Listing())
    ctx = host.begin(lone_url)
    backup = backups_of(lone_url).back_up(tmp_path)
    host.run(ctx, SENT)
    again = put_back(host, ctx, lone_url, backup)
    done = restore_at(host, again, START, START + 4 * HOUR)
    assert done.suppressed == 2
    assert [(found.email, found.source) for found in suppression_files.list_current(again)] == [
        (PEOPLE[7], "bounce"),
        (PEOPLE[8], "provider"),
    ]
    again.database.close()


class Silent(Mail):
    def list_suppressions(self) -> list[SuppressedAddress]:
        raise Misconfigured("SendGrid's list cannot be read (403).")


def test_a_list_that_cannot_be_read_is_reported(lone_url: str, tmp_path: Path) -> None:
    host = Host(tmp_path / "machine", Silent())
    ctx = host.begin(lone_url)
    done = restore_at(host, ctx, START, START + HOUR)
    assert any("cannot be read (403)" in note for note in done.notes)
    ctx.database.close()


@pytest.mark.parametrize("is_published", [True, False])
def test_a_broadcast_that_was_released_after_the_backup_goes_to_nobody_twice(
    host: Host, ctx: AppContext, lone_url: str, tmp_path: Path, is_published: bool
) -> None:
    kiel = [add_lead(ctx, email=f"k{number}@people.example", city="Kiel") for number in range(4)]
    host.run(ctx, START)
    if is_published:
        publish(ctx, broadcast_rules(), START)
    backup = backups_of(lone_url).back_up(tmp_path)
    publish(ctx, broadcast_rules(), START)
    release.release(ctx, "spring", "mara", START + HOUR)
    host.run(ctx, TEN)
    assert len(_broadcasts(host)) == len(kiel)
    again = put_back(host, ctx, lone_url, backup)
    done = restore_at(host, again, START, TEN + HOUR)
    assert [note for note in done.notes if note.startswith("broadcast spring is stopped")]
    publish(again, broadcast_rules(), TEN + HOUR)
    release.release(again, "spring", "mara", TEN + HOUR)
    for hours in (2, 4, 6):
        host.run(again, TEN + hours * HOUR)
    assert len(_broadcasts(host)) == len(kiel)
    if is_published:  # who had it is presumed: a start sends it to the others alone
        new = add_lead(again, email="new@people.example", city="Kiel", at=START)
        stopping.start(again, "broadcasts/spring", "", "mara", TEN + 7 * HOUR)
        release.release(again, "spring", "mara", TEN + 7 * HOUR)
        host.run(again, TEN + DAY)
        host.run(again, TEN + DAY + HOUR)
        assert sorted(_broadcasts(host)) == sorted(map(str, [*kiel, new]))
    assert max(Counter(_broadcasts(host)).values()) == 1
    again.database.close()


def _broadcasts(host: Host) -> list[str]:
    """Return the leads to whom the broadcast was sent."""
    return [ref.rsplit(":", 1)[1] for ref in host.provider.refs if ref.startswith("broadcast:")]
