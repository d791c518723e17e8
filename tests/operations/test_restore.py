"""After a restore nothing goes out twice, and nobody is mailed who opted out since the backup."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nurture.domain.signals import SignalKind
from nurture.errors import ClockWentBackwards, Misconfigured, Refused
from nurture.journey.consent import opt_in, suppression, suppression_files
from nurture.journey.consent.suppression import EVERYTHING
from nurture.journey.delivery import unknown
from nurture.journey.erasure import erase
from nurture.journey.leads import address_queries
from nurture.mail.providers.base import OptedOut
from nurture.operations import restore
from nurture.operations.reoffer import QUEUE
from nurture.runtime import quarantine
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead
from tests.journey.observe import custody, one, rows, tell
from tests.operations.restoring import DAY, HOUR, PEOPLE, Host, Mail
from tests.restoring import kept

SENT = START + 2 * HOUR


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


def lose(host: Host, house: House, url: str, backup: Path) -> House:
    """Put *backup* in the place of the database, and open that."""
    house.database.close()
    kept(url).put_back(backup)
    return host.open(url)


def bring(host: Host, house: House, since: datetime, now: datetime, **options: Any) -> restore.Restored:
    """Do what `nurture admin restored` does."""
    host.now = now
    return restore.restored(house, since, now, by="ana", **options)


def days(host: Host, house: House, first: int, last: int) -> None:
    """Run the stages four times a day."""
    for day in range(first, last):
        for hours in (2, 4, 6, 8):
            host.tick(house, START + day * DAY + hours * HOUR)


def most(post: Mail) -> int:
    """Return how often somebody got an email that somebody got most often."""
    return max(Counter(post.received).values(), default=0)


def test_a_restored_backup_sends_nothing_twice_and_keeps_opt_outs(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    backup = kept(lone_url).back_up(tmp_path)
    host.tick(house, SENT)
    suppression.suppress(house, [PEOPLE[3]], SENT)
    again = lose(host, house, lone_url, backup)
    host.tick(again, START + 3 * HOUR)
    done = bring(host, again, START, START + 4 * HOUR)
    assert (done.suppressed, done.doubtful) == (1, len(PEOPLE) - 1)
    host.tick(again, START + 5 * HOUR)
    assert Counter(Counter(host.post.received).values()) == {1: len(PEOPLE)}
    assert [listed.email for listed in suppression_files.listed(again)] == [PEOPLE[3]]
    assert len(unknown.listed(again)) == len(PEOPLE) - 1
    again.database.close()


def test_several_touches_that_fell_due_in_the_gap_are_all_behind_the_leads(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    backup = kept(lone_url).back_up(tmp_path)
    days(host, house, 0, 40)
    gone = Counter(host.post.received)
    assert len(gone) >= 4 * len(PEOPLE)
    again = lose(host, house, lone_url, backup)
    days(host, again, 40, 41)
    done = bring(host, again, START, START + 41 * DAY)
    assert done.doubtful >= len(gone)
    days(host, again, 41, 120)
    assert most(host.post) == 1
    later = set(host.post.received) - gone.keys()
    assert len(later) >= 2 * len(PEOPLE), "each track goes on"
    again.database.close()


def test_touches_on_their_way_at_the_backup_are_in_doubt_too(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    def stop(_batch: object, _now: datetime) -> list[Any]:
        raise KeyboardInterrupt

    host.post.send, send = stop, host.post.send
    with pytest.raises(KeyboardInterrupt):
        host.tick(house, SENT)
    backup = kept(lone_url).back_up(tmp_path)
    host.post.send = send
    days(host, house, 0, 2)
    again = lose(host, house, lone_url, backup)
    bring(host, again, SENT, START + 2 * DAY)
    days(host, again, 2, 20)
    assert most(host.post) == 1
    again.database.close()


def test_a_time_later_than_the_backup_is_not_believed(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    backup = kept(lone_url).back_up(tmp_path)
    days(host, house, 0, 12)
    again = lose(host, house, lone_url, backup)
    bring(host, again, START + 6 * DAY, START + 12 * DAY)
    days(host, again, 12, 60)
    assert most(host.post) == 1
    again.database.close()


def test_it_is_done_once_and_the_second_time_says_so(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    backup = kept(lone_url).back_up(tmp_path)
    host.tick(house, SENT)
    again = lose(host, house, lone_url, backup)
    bring(host, again, START, START + 3 * HOUR)
    days(host, again, 1, 30)
    before = len(host.post.refs)
    done = bring(host, again, START, START + 30 * DAY)
    assert done.done_before == START + 3 * HOUR
    days(host, again, 30, 50)
    assert most(host.post) == 1
    assert len(host.post.refs) > before
    again.database.close()


def test_dying_in_the_middle_leaves_the_quarantine_on_and_the_next_run_goes_on(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    backup = kept(lone_url).back_up(tmp_path)
    days(host, house, 0, 12)
    suppression.suppress(house, PEOPLE[:2], START + 12 * DAY)
    again = lose(host, house, lone_url, backup)
    calls = 0

    def dying(country: str, at: datetime) -> list[Any]:
        nonlocal calls
        calls += 1
        if calls == 50:
            raise KeyboardInterrupt
        return []

    again.holidays = dying
    with pytest.raises(KeyboardInterrupt):
        bring(host, again, START, START + 12 * DAY)
    assert quarantine.is_on(again, host.now)
    assert host.tick(again, START + 12 * DAY).delivered.quarantine
    bring(host, again, START, START + 12 * DAY)
    days(host, again, 12, 60)
    assert most(host.post) == 1
    assert len(list(suppression_files.listed(again))) == 2
    again.database.close()


def test_restoring_the_same_backup_again_is_noticed_again(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    backup = kept(lone_url).back_up(tmp_path)
    host.tick(house, SENT)
    for day in (1, 2, 3):
        house = lose(host, house, lone_url, backup)
        assert host.tick(house, START + day * DAY).delivered.quarantine
        bring(host, house, START, START + day * DAY + HOUR)
        days(host, house, day, day + 1)
    assert most(host.post) == 1
    house.database.close()


def test_other_workers_that_saw_more_accept_a_database_that_was_brought_to_today(
    lone_postgres_url: str, tmp_path: Path
) -> None:
    host, other = Host(tmp_path / "machine"), Host(tmp_path / "other")
    house = host.begin(lone_postgres_url)
    backup = kept(lone_postgres_url).back_up(tmp_path)
    second = other.open(lone_postgres_url)
    other.tick(second, SENT)
    second.database.close()
    again = lose(host, house, lone_postgres_url, backup)
    bring(host, again, START, START + 3 * HOUR, journals=sorted((tmp_path / "other").glob("*.optouts")))
    other.now = START + 4 * HOUR
    third = other.open(lone_postgres_url)
    assert not other.tick(third, START + 4 * HOUR).delivered.quarantine
    assert most(other.post) == 1
    again.database.close()
    third.database.close()


def test_opt_outs_of_the_gap_come_back_with_their_scope_and_opt_ins_too(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    backup = kept(lone_url).back_up(tmp_path)
    suppression.suppress(house, PEOPLE[:3], SENT)
    tell(house, one(house, "SELECT min(id) FROM lead") + 5, SignalKind.COMPLAINED, SENT)
    opt_in.opt_in(house, PEOPLE[1], EVERYTHING, "asked for it on the phone", SENT + HOUR)
    suppression.suppress(house, ["stranger@elsewhere.example"], SENT)
    before = list(suppression_files.listed(house))
    again = lose(host, house, lone_url, backup)
    done = bring(host, again, START, START + 5 * HOUR)
    assert (done.suppressed, done.opted_in) == (5, 1)
    with again.database.write() as connection:  # known by a hash alone, until a lead comes in with it
        address_queries.addresses(again.database, connection, ["stranger@elsewhere.example"], revive=True)
    assert sorted(suppression_files.listed(again)) == sorted(before)
    again.database.close()


def test_who_was_erased_in_the_gap_is_erased_again(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    backup = kept(lone_url).back_up(tmp_path)
    erase.forget(house, PEOPLE[4], SENT)
    again = lose(host, house, lone_url, backup)
    assert one(again, "SELECT count(*) FROM address WHERE email = :email", email=PEOPLE[4]) == 1
    done = bring(host, again, START, START + 4 * HOUR)
    assert done.erased == 1
    assert one(again, "SELECT count(*) FROM address WHERE email = :email", email=PEOPLE[4]) == 0
    again.database.close()


def test_without_a_journal_it_refuses_unless_told_why(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    backup = kept(lone_url).back_up(tmp_path)
    host.tick(house, SENT)
    suppression.suppress(house, PEOPLE[:1], SENT)
    (journal,) = host.folder.glob("*.optouts")
    saved = shutil.copy(journal, tmp_path / "saved.optouts")
    house.database.close()
    journal.unlink()
    again = lose(host, house, lone_url, backup)
    with pytest.raises(Refused, match="--without-journal"):
        bring(host, again, START, START + 4 * HOUR)
    suppression.suppress(
        again, PEOPLE[1:2], START + 4 * HOUR
    )  # begins a journal that knows nothing of before
    with pytest.raises(Refused, match="--without-journal"):
        bring(host, again, START, START + 4 * HOUR)
    assert quarantine.is_on(again, host.now)
    bring(host, again, START, START + 4 * HOUR, journals=[Path(saved)])
    assert [found.email for found in suppression_files.listed(again)] == PEOPLE[:2]
    assert not quarantine.is_on(again, host.now)
    again.database.close()


def test_the_reason_why_there_is_no_journal_is_kept(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    house.database.close()
    shutil.rmtree(host.folder)
    again = host.open(lone_url)
    bring(host, again, START, START + HOUR, without_journal="the disk was lost")
    ((by,),) = rows(again, "SELECT released_by FROM brake WHERE kind = 'database'")
    assert "the disk was lost" in by
    assert "ana" in by
    again.database.close()


def test_a_clock_that_is_behind_is_refused(host: Host, house: House, lone_url: str) -> None:
    host.tick(house, START + DAY)
    with pytest.raises(ClockWentBackwards):
        bring(host, house, START, START + HOUR)
    with pytest.raises(Refused, match="in the future"):
        bring(host, house, START + 3 * DAY, START + DAY)


def test_hand_offs_wait_for_what_the_manager_says(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    offered, waits = (add_lead(house, title="x", demo_requested=True) for _ in range(2))
    host.tick(house, START + 1 * HOUR)
    backup = kept(lone_url).back_up(tmp_path)
    add_lead(house, title="y", demo_requested=True)
    host.tick(house, SENT)
    briefs = [ref for ref in host.post.refs if ref.startswith("brief:")]
    assert len(briefs) == 3
    again = lose(host, house, lone_url, backup)
    done = bring(host, again, START + HOUR, START + 3 * HOUR)
    assert done.undecided
    assert set(done.handoffs) == {offered, waits}
    assert quarantine.is_on(again, host.now)
    host.tick(again, START + 3 * HOUR)
    assert [ref for ref in host.post.refs if ref.startswith("brief:")] == briefs
    bring(host, again, START + HOUR, START + 3 * HOUR, briefs="again")
    host.tick(again, START + 4 * HOUR)
    assert sorted(ref for ref in host.post.refs if ref.startswith("brief:")) == sorted([*briefs, *briefs[:2]])
    assert custody(again, offered)[0] == "offer"
    again.database.close()


def test_hand_offs_that_are_left_wait_for_a_person(
    host: Host, house: House, lone_url: str, tmp_path: Path
) -> None:
    lead = add_lead(house, title="x", demo_requested=True)
    host.tick(house, START + 1 * HOUR)
    backup = kept(lone_url).back_up(tmp_path)
    sent = list(host.post.refs)
    host.tick(house, SENT)
    sent = list(host.post.refs)
    again = lose(host, house, lone_url, backup)
    bring(host, again, START + HOUR, START + 3 * HOUR, briefs="leave")
    host.tick(again, START + 4 * HOUR)
    assert host.post.refs == sent
    assert custody(again, lead) == ("queue", QUEUE)
    again.database.close()


class Listing(Mail):
    """A provider that keeps a list of its own."""

    def opted_out(self) -> list[OptedOut]:
        return [
            OptedOut(f" {PEOPLE[7].upper()} ", "bounce", SENT),
            OptedOut(PEOPLE[8], "page", None),
            OptedOut("no address", "complaint", SENT),
        ]


def test_opt_outs_come_back_from_the_provider(lone_url: str, tmp_path: Path) -> None:
    host = Host(tmp_path / "machine", Listing())
    house = host.begin(lone_url)
    backup = kept(lone_url).back_up(tmp_path)
    host.tick(house, SENT)
    again = lose(host, house, lone_url, backup)
    done = bring(host, again, START, START + 4 * HOUR)
    assert done.suppressed == 2
    assert [(found.email, found.source) for found in suppression_files.listed(again)] == [
        (PEOPLE[7], "bounce"),
        (PEOPLE[8], "page"),
    ]
    again.database.close()


class Silent(Mail):
    def opted_out(self) -> list[OptedOut]:
        raise Misconfigured("SendGrid's list cannot be read (403).")


def test_a_list_that_cannot_be_read_is_said(lone_url: str, tmp_path: Path) -> None:
    host = Host(tmp_path / "machine", Silent())
    house = host.begin(lone_url)
    done = bring(host, house, START, START + HOUR)
    assert any("cannot be read (403)" in note for note in done.notes)
    house.database.close()
