"""Delivering: what may still go, what a crash leaves behind, and never twice."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import NurtureError
from nurture.journey.consent.suppression import suppress
from nurture.journey.delivery import claim, run, send
from nurture.journey.engagement import signals
from nurture.journey.handoff import sweep
from nurture.journey.leads.signal_queries import Recorded
from nurture.journey.leads.transitions import TRY_FAULTY_AGAIN_AFTER
from nurture.journey.outcomes import close
from nurture.journey.tracks import advance, enroll, manual
from nurture.mail.providers.base import Accepted, InDoubt, NotSent, Rejected
from nurture.mail.rendering.compile import CompiledEmail
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox import messages as outbox_messages
from nurture.outbox.heartbeat import LEASE
from nurture.runtime.context import House
from nurture.runtime.published import Rulebooks
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import (
    Post,
    crowd,
    custody,
    due_at,
    heard,
    messages,
    one,
    rows,
    same_house,
    tell,
    write,
)

pytestmark = pytest.mark.quick

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
OPEN = START + HOUR
"""When the first email of `welcome` is due and its window opens."""


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    made = make_house(db, tmp_path)
    made.provider = Post()
    return made


def _post(house: House) -> Post:
    assert isinstance(house.provider, Post)
    return house.provider


def _planned(house: House, **facts: object) -> int:
    """Return a lead whose first touch is planned and not claimed yet."""
    lead = add_lead(house, title="Head", **facts)
    enroll.classify(house, START)
    advance.advance(house, START)
    advance.advance(house, OPEN)
    assert _state(house, lead) == "planned"
    return lead


def _state(house: House, lead: int) -> str:
    state: str = one(house, "SELECT state FROM message WHERE lead_id = :id AND kind = 'touch'", id=lead)
    return state


def _reason(house: House, lead: int) -> str:
    reason: str = one(house, "SELECT reason FROM message WHERE lead_id = :id AND kind = 'touch'", id=lead)
    return reason


def test_a_touch_is_given_to_the_provider_once_and_its_lead_goes_on(house: House) -> None:
    lead = _planned(house)
    run.deliver(house, VirtualClock(OPEN))
    run.deliver(house, VirtualClock(OPEN))
    assert _post(house).refs == [one(house, "SELECT send_key FROM message")]
    assert _state(house, lead) == "accepted"
    assert due_at(house, lead) == OPEN


def test_workers_who_deliver_the_same_messages_send_each_of_them_once(house: House) -> None:
    ids = crowd(house, 90, title="Head")
    tick_at(house, START)
    advance.advance(house, OPEN)
    workers = [same_house(house, Post()) for _ in range(3)]
    for worker in workers:
        worker.batch = 8
    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(run.deliver, worker, VirtualClock(OPEN)) for worker in workers]:
            future.result(timeout=60)
    refs = [ref for worker in workers for ref in _post(worker).refs]
    assert len(refs) == len(set(refs)) == len(ids)
    assert one(house, "SELECT count(*) FROM message WHERE state = 'accepted'") == len(ids)
    for worker in workers:
        worker.database.close()


def test_a_worker_that_dies_before_the_call_loses_its_messages_to_the_next_one(house: House) -> None:
    lead = _planned(house)
    held = claim.claim_batch(house, OPEN, 10)
    assert [waiting.lead_id for waiting in held.waiting] == [lead]
    assert _state(house, lead) == "claimed"
    run.deliver(house, VirtualClock(OPEN + LEASE / 2))
    assert _post(house).refs == []
    run.deliver(house, VirtualClock(OPEN + LEASE + MINUTE))
    assert len(_post(house).refs) == 1
    assert _state(house, lead) == "accepted"


def test_a_worker_whose_lease_ran_out_sends_nothing_more(house: House) -> None:
    lead = _planned(house)
    slow = claim.claim_batch(house, OPEN, 10)
    run.deliver(house, VirtualClock(OPEN + LEASE + MINUTE))
    assert send.send_claimed(house, slow, VirtualClock(OPEN + LEASE + 2 * MINUTE)).states.total() == 0
    assert len(_post(house).refs) == 1
    assert _state(house, lead) == "accepted"


def test_of_two_workers_who_hold_a_message_only_the_later_one_sends_it(house: House) -> None:
    lead = _planned(house)
    slow = claim.claim_batch(house, OPEN, 10)
    with house.database.write() as connection:
        outbox_messages.release_expired(house.database, connection, OPEN + 2 * MINUTE)
    quick = claim.claim_batch(house, OPEN + 2 * MINUTE, 10)
    assert send.send_claimed(house, slow, VirtualClock(OPEN + 2 * MINUTE)).states.total() == 0
    assert (_post(house).refs, _state(house, lead)) == ([], "claimed")
    assert send.send_claimed(house, quick, VirtualClock(OPEN + 2 * MINUTE)).states == {"accepted": 1}
    assert len(_post(house).refs) == 1


class Crash(BaseException):
    """The worker is killed."""


def _dies(*_: object) -> Accepted:
    raise Crash


def test_a_worker_that_dies_during_the_call_leaves_a_doubt_and_nobody_sends_again(house: House) -> None:
    lead = _planned(house)
    house.provider = Post(_dies)
    with pytest.raises(Crash):
        run.deliver(house, VirtualClock(OPEN))
    assert _state(house, lead) == "sending"
    house.provider = Post()
    tick_at(house, OPEN + LEASE + MINUTE, OPEN + DAY)
    assert _post(house).refs == []
    assert _state(house, lead) == "in_doubt"
    assert "nobody knows whether it went" in _reason(house, lead)


def test_a_doubt_counts_as_sent_after_three_days_and_the_track_goes_on(house: House) -> None:
    lead = _planned(house)
    house.provider = Post(lambda *_: InDoubt("the line broke"))
    tick_at(house, OPEN, OPEN + 2 * DAY)
    assert rows(house, "SELECT step FROM enrollment") == [("01-hello",)]
    house.provider = Post()
    tick_at(house, OPEN + 3 * DAY + HOUR)
    assert rows(house, "SELECT step FROM enrollment") == [("wait-for-click",)]
    assert _state(house, lead) == "in_doubt"
    assert _post(house).refs == []


def test_a_worker_that_was_only_slow_settles_the_doubt_about_its_own_call(house: House) -> None:
    lead = _planned(house)
    after = OPEN + LEASE + MINUTE

    def slow(*_: object) -> Accepted:
        other = same_house(house, Post())
        run.deliver(other, VirtualClock(after))
        assert _state(house, lead) == "in_doubt"
        other.database.close()
        return Accepted("late")

    house.provider = Post(slow)
    run.deliver(house, VirtualClock(OPEN))
    assert _state(house, lead) == "accepted"
    assert one(house, "SELECT provider_id FROM message") == "late"


def test_an_opt_out_between_planning_and_sending_calls_the_touch_off(house: House) -> None:
    lead = _planned(house)
    email = one(house, "SELECT email FROM address")
    suppress(house, [email], OPEN)
    run.deliver(house, VirtualClock(OPEN))
    assert _post(house).refs == []
    assert (_state(house, lead), _reason(house, lead)) == ("cancelled", "suppressed: admin")
    tick_at(house, OPEN)
    assert custody(house, lead) == ("queue", "suppressed")


def test_an_opt_out_between_claim_and_call_calls_the_touch_off(house: House) -> None:
    lead, other = _planned(house), _planned(house)
    held = claim.claim_batch(house, OPEN, 10)
    signals.record(house, [_unsubscribes(lead)], OPEN)
    done = send.send_claimed(house, held, VirtualClock(OPEN)).states
    assert done == {"cancelled": 1, "accepted": 1}
    assert [row[0] for row in rows(house, "SELECT lead_id FROM message WHERE state = 'accepted'")] == [other]
    assert (_state(house, lead), _reason(house, lead)) == ("cancelled", "suppressed: import")
    assert len(_post(house).refs) == 1


class Composing(Rulebooks):
    """Writes to the database, by a connection of its own, whenever an email is composed."""

    beside: House

    def email(self, connection: Connection, *args: Any, **named: Any) -> CompiledEmail:
        write(self.beside, "UPDATE lead SET zone = 'Europe/Berlin'")
        return super().email(connection, *args, **named)


def test_nobody_waits_to_write_while_emails_are_composed(house: House) -> None:
    lead = _planned(house)
    rulebooks = Composing()
    rulebooks.beside = same_house(house)
    worker = replace(house, rulebooks=rulebooks)
    held = claim.claim_batch(worker, OPEN, 10)
    assert one(house, "SELECT zone FROM lead") == "Europe/Berlin"
    assert send.send_claimed(worker, held, VirtualClock(OPEN)).states == {"accepted": 1}
    assert _state(house, lead) == "accepted"
    rulebooks.beside.database.close()


@pytest.mark.parametrize("taken_at", ["claimed", "render"])
def test_of_what_was_taken_away_before_it_was_composed_nothing_is_kept(house: House, taken_at: str) -> None:
    lead, other = _planned(house), _planned(house)
    worker = replace(house, base_url="https://go.example.com")

    def take(point: str, _refs: Sequence[str]) -> None:
        if point == taken_at:
            close.close(house, lead, Closing.LOST, OPEN)

    held = claim.claim_batch(worker, OPEN, 10, take)
    assert [one.lead_id for one in held.waiting] == [other]
    assert {row[0] for row in rows(house, "SELECT lead_id FROM token WHERE message_id IS NOT NULL")} == {
        other
    }
    assert send.send_claimed(worker, held, VirtualClock(OPEN)).states == {"accepted": 1}
    assert _state(house, lead) == "cancelled"


def _unsubscribes(lead: int) -> Recorded:
    return heard(lead, SignalKind.UNSUBSCRIBED, OPEN)


def test_a_topic_that_the_lead_left_is_not_sent_and_another_is(db: Database, tmp_path: Path) -> None:
    rules = tiny_rules()
    for name in ("welcome", "keep"):
        rules[f"tracks/{name}/track.yaml"] += f"topic: About {name}\n"
    house = make_house(db, tmp_path, rules=rules)
    house.provider = Post()
    lead = _planned(house)
    write(
        house,
        "INSERT INTO suppression (address_id, act, scope, ref, source, recorded_at) "
        "SELECT id, 'suppress', 'topic', 'About keep', 'page', :now FROM address",
        now=f"{START:%Y-%m-%dT%H:%M:%S}+00:00",
    )
    run.deliver(house, VirtualClock(OPEN))
    assert _state(house, lead) == "accepted"


@pytest.mark.parametrize("moment", ["before the claim", "after the claim"])
def test_no_touch_goes_after_the_lead_is_handed_off(house: House, moment: str) -> None:
    lead = _planned(house)
    held = claim.claim_batch(house, OPEN, 10) if moment == "after the claim" else None
    tell(house, lead, SignalKind.REPLIED, OPEN)
    tick_at(house, OPEN)
    if held is not None:
        send.send_claimed(house, held, VirtualClock(OPEN))
    tick_at(house, OPEN + MINUTE)
    assert custody(house, lead)[0] == "offer"
    assert (_state(house, lead), _reason(house, lead)) == ("cancelled", "handed_off")
    assert [ref for ref in _post(house).refs if ref.startswith("touch")] == []


def test_no_touch_goes_after_a_rep_accepted_or_the_lead_was_closed(house: House) -> None:
    taken, won = _planned(house), _planned(house)
    tell(house, taken, SignalKind.REPLIED, OPEN)
    close.close(house, won, Closing.WON, OPEN)
    tick_at(house, OPEN)
    sweep.accept(house, one(house, "SELECT id FROM offer"), OPEN)
    for day in range(1, 60):
        tick_at(house, OPEN + day * DAY)
    assert {row[2] for row in messages(house)} == {"cancelled"}
    assert [ref for ref in _post(house).refs if ref.startswith("touch")] == []


def test_a_touch_that_was_kept_back_beyond_its_grace_is_too_late(house: House) -> None:
    lead = _planned(house)
    run.deliver(house, VirtualClock(OPEN + 3 * DAY + MINUTE))
    assert (_state(house, lead), _reason(house, lead)) == ("cancelled", "too_late")
    tick_at(house, OPEN + 3 * DAY + MINUTE)
    assert rows(house, "SELECT step FROM enrollment") == [("wait-for-click",)]


def test_a_touch_is_held_until_its_window_opens_again(house: House) -> None:
    lead = _planned(house)
    night = OPEN.replace(hour=22)
    run.deliver(house, VirtualClock(night))
    assert _state(house, lead) == "planned"
    run.deliver(house, VirtualClock(night + 11 * HOUR - MINUTE))
    assert _post(house).refs == []
    run.deliver(house, VirtualClock(night + 11 * HOUR))
    assert [sent[0] for sent in _post(house).sent] == [OPEN + DAY]


def test_a_touch_is_held_while_its_lead_is_paused(house: House) -> None:
    lead = _planned(house)
    manual.pause(house, lead, OPEN + DAY, OPEN)
    run.deliver(house, VirtualClock(OPEN))
    assert _state(house, lead) == "planned"
    run.deliver(house, VirtualClock(OPEN + DAY))
    assert _state(house, lead) == "accepted"


def test_a_touch_is_held_while_the_frequency_cap_is_full(house: House) -> None:
    lead = _planned(house)
    for number, moment in enumerate((OPEN - 6 * DAY, OPEN - 5 * DAY)):
        _sent_before(house, lead, number, moment)
    run.deliver(house, VirtualClock(OPEN))
    assert _state_of(house, "touch:1:01-hello:1") == "planned"
    run.deliver(house, VirtualClock(OPEN + DAY))
    assert _state_of(house, "touch:1:01-hello:1") == "accepted"


def _sent_before(house: House, lead: int, number: int, at: object) -> None:
    write(
        house,
        "INSERT INTO message (send_key, kind, lead_id, email, step, visit, planned_at, send_at, expires_at, "
        "state, state_at, accepted_at, attempts) VALUES "
        "(:key, 'touch', :lead, 'old', 'old', 1, :at, :at, :at, 'accepted', :at, :at, 1)",
        key=f"old:{number}",
        lead=lead,
        at=f"{at:%Y-%m-%dT%H:%M:%S}+00:00",
    )


def _state_of(house: House, key: str) -> str:
    state: str = one(house, "SELECT state FROM message WHERE send_key = :key", key=key)
    return state


def test_a_letter_that_cannot_be_written_for_one_lead_stops_no_other(db: Database, tmp_path: Path) -> None:
    rules = tiny_rules()
    rules["tracks/welcome/01-hello.md"] += (
        "\n{% if lead.employees is number %}You have {{ 100 // lead.employees }} desks each.{% endif %}\n"
    )
    house = make_house(db, tmp_path, rules=rules)
    house.provider = Post()
    good, bad, also_good = (_planned(house, employees=number) for number in (5, 0, 10))
    run.deliver(house, VirtualClock(OPEN))
    assert [_state(house, lead) for lead in (good, bad, also_good)] == ["accepted", "rejected", "accepted"]
    assert "cannot be composed" in _reason(house, bad)
    tick_at(house, OPEN)
    assert rows(house, "SELECT step FROM enrollment WHERE lead_id = :id", id=bad) == [("wait-for-click",)]


def test_an_address_that_cannot_stand_in_a_header_stops_no_other(house: House) -> None:
    good, bad = _planned(house), _planned(house)
    write(
        house,
        "UPDATE address SET email = 'a b@people.example' "
        "WHERE id = (SELECT address_id FROM lead WHERE id = :id)",
        id=bad,
    )
    run.deliver(house, VirtualClock(OPEN))
    assert (_state(house, good), _state(house, bad)) == ("accepted", "rejected")


def test_a_lead_whose_zone_is_none_is_held_with_the_fault_and_stops_no_other(house: House) -> None:
    bad, good = _planned(house), _planned(house)
    write(house, "UPDATE lead SET zone = 'Mars/Olympus' WHERE id = :id", id=bad)
    run.deliver(house, VirtualClock(OPEN))
    assert (_state(house, bad), _state(house, good)) == ("planned", "accepted")
    assert "Mars/Olympus" in _reason(house, bad)
    write(house, "UPDATE lead SET zone = 'UTC' WHERE id = :id", id=bad)
    run.deliver(house, VirtualClock(OPEN + TRY_FAULTY_AGAIN_AFTER))
    assert _state(house, bad) == "accepted"


def test_messages_that_may_not_go_do_not_stand_in_the_way_of_those_behind(house: House) -> None:
    house.batch = 2
    blocked = [_planned(house) for _ in range(5)]
    write(house, "UPDATE lead SET zone = 'Mars/Olympus'")
    free = _planned(house)
    run.deliver(house, VirtualClock(OPEN))
    assert {_state(house, lead) for lead in blocked} == {"planned"}
    assert _state(house, free) == "accepted"


def test_what_provably_did_not_go_is_tried_again_when_the_provider_says(house: House) -> None:
    lead = _planned(house)
    house.provider = Post(lambda *_: NotSent("too many at once", OPEN + 20 * MINUTE))
    run.deliver(house, VirtualClock(OPEN))
    house.provider = Post()
    run.deliver(house, VirtualClock(OPEN + 19 * MINUTE))
    assert (_state(house, lead), _post(house).refs) == ("planned", [])
    run.deliver(house, VirtualClock(OPEN + 20 * MINUTE))
    assert _state(house, lead) == "accepted"
    assert one(house, "SELECT attempts FROM message") == 2


@pytest.mark.parametrize("error", [NurtureError("gave up half-way"), ZeroDivisionError("a mistake of ours")])
def test_a_provider_that_breaks_off_leaves_doubts_and_its_run_goes_on(house: House, error: Exception) -> None:
    first, second = _planned(house), _planned(house)

    def breaks(email: ComposedEmail, _: datetime) -> Accepted:
        if post.refs[-1] == email.ref and len(post.sent) == 1:
            raise error
        return Accepted(email.ref)

    house.provider = post = Post(breaks, at_once=2)
    run.deliver(house, VirtualClock(OPEN))
    tick_at(house, OPEN + DAY)
    assert (_state(house, first), _state(house, second)) == ("in_doubt", "accepted")
    assert "broke off" in _reason(house, first)
    assert len(post.refs) == len(set(post.refs)) == 2


def test_a_refused_email_is_never_sent_again_and_its_lead_goes_on(house: House) -> None:
    lead = _planned(house)
    house.provider = Post(lambda *_: Rejected("no such mailbox"))
    tick_at(house, OPEN, OPEN + HOUR, OPEN + DAY)
    assert (_state(house, lead), len(_post(house).refs)) == ("rejected", 1)
    assert rows(house, "SELECT step FROM enrollment") == [("wait-for-click",)]


def test_the_brief_of_an_offer_that_was_answered_meanwhile_is_called_off(house: House) -> None:
    add_lead(house, demo_requested=True)
    house.provider = Post(lambda *_: NotSent("down", START + 2 * DAY))
    tick_at(house, START)
    house.provider = Post()
    for hours in (25, 49, 50):
        tick_at(house, START + hours * HOUR)
    states = rows(house, "SELECT send_key, state, reason FROM message WHERE kind = 'brief' ORDER BY id")
    assert states[0] == ("brief:1", "cancelled", "superseded")
    assert "brief:1" not in _post(house).refs


def test_acceptance_wakes_the_lead_for_its_next_step(house: House) -> None:
    lead = _planned(house)
    waits_until = due_at(house, lead)
    assert waits_until is not None
    assert waits_until > OPEN + 2 * DAY
    run.deliver(house, VirtualClock(OPEN + HOUR))
    assert due_at(house, lead) == OPEN + HOUR
