"""Test delivery: what may still go, what a crash leaves behind, and that nothing is sent twice."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.db.transaction import Transaction
from nurture.domain.delivery.receipts import Accepted, NotSent, Rejected, Unknown
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import DatabaseUnavailable, NurtureError
from nurture.journey.consent.suppression import suppress
from nurture.journey.delivery import claim, run, send
from nurture.journey.engagement import signals
from nurture.journey.handoff import responses
from nurture.journey.leads.signal_queries import NewSignal
from nurture.journey.leads.transitions import RETRY_AFTER_ERROR
from nurture.journey.tracks import advance, enroll, manual
from nurture.mail.rendering.compile import CompiledEmail
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox import messages as outbox_messages
from nurture.outbox.lease_queue import LEASE
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at, sample_rules
from tests.journey.observe import (
    RecordingProvider,
    add_leads,
    custody,
    due_at,
    messages,
    new_signal,
    one,
    record_signal,
    rows,
    worker_context,
    write,
)

pytestmark = pytest.mark.quick

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
OPEN = START + HOUR
"""When the first email of `welcome` is due and its window opens."""


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    made = make_context(db, tmp_path)
    made.provider = RecordingProvider()
    return made


def _provider(ctx: AppContext) -> RecordingProvider:
    assert isinstance(ctx.provider, RecordingProvider)
    return ctx.provider


def _planned(ctx: AppContext, **fields: object) -> int:
    """Return a lead whose first touch is planned and not claimed yet."""
    lead = add_lead(ctx, title="Head", **fields)
    enroll.classify(ctx, START)
    advance.advance(ctx, START)
    advance.advance(ctx, OPEN)
    assert _state(ctx, lead) == "planned"
    return lead


def _state(ctx: AppContext, lead: int) -> str:
    state: str = one(ctx, "SELECT state FROM message WHERE lead_id = :id AND kind = 'touch'", id=lead)
    return state


def _reason(ctx: AppContext, lead: int) -> str:
    reason: str = one(ctx, "SELECT reason FROM message WHERE lead_id = :id AND kind = 'touch'", id=lead)
    return reason


def test_a_touch_is_given_to_the_provider_once_and_its_lead_goes_on(ctx: AppContext) -> None:
    lead = _planned(ctx)
    run.deliver(ctx, VirtualClock(OPEN))
    run.deliver(ctx, VirtualClock(OPEN))
    assert _provider(ctx).refs == [one(ctx, "SELECT send_key FROM message")]
    assert _state(ctx, lead) == "accepted"
    assert due_at(ctx, lead) == OPEN


def test_workers_who_deliver_the_same_messages_send_each_of_them_once(ctx: AppContext) -> None:
    ids = add_leads(ctx, 90, title="Head")
    run_at(ctx, START)
    advance.advance(ctx, OPEN)
    workers = [worker_context(ctx, RecordingProvider()) for _ in range(3)]
    for worker in workers:
        worker.batch_size = 8
    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(run.deliver, worker, VirtualClock(OPEN)) for worker in workers]:
            future.result(timeout=60)
    refs = [ref for worker in workers for ref in _provider(worker).refs]
    assert len(refs) == len(set(refs)) == len(ids)
    assert one(ctx, "SELECT count(*) FROM message WHERE state = 'accepted'") == len(ids)
    for worker in workers:
        worker.database.close()


def test_a_worker_that_dies_before_the_call_loses_its_messages_to_the_next_one(ctx: AppContext) -> None:
    lead = _planned(ctx)
    batch = claim.claim_batch(ctx, OPEN, 10)
    assert [waiting.lead_id for waiting in batch.claimed] == [lead]
    assert _state(ctx, lead) == "claimed"
    run.deliver(ctx, VirtualClock(OPEN + LEASE / 2))
    assert _provider(ctx).refs == []
    run.deliver(ctx, VirtualClock(OPEN + LEASE + MINUTE))
    assert len(_provider(ctx).refs) == 1
    assert _state(ctx, lead) == "accepted"


def test_a_worker_whose_lease_ran_out_sends_nothing_more(ctx: AppContext) -> None:
    lead = _planned(ctx)
    slow = claim.claim_batch(ctx, OPEN, 10)
    run.deliver(ctx, VirtualClock(OPEN + LEASE + MINUTE))
    assert send.send_claimed(ctx, slow, VirtualClock(OPEN + LEASE + 2 * MINUTE)).states.total() == 0
    assert len(_provider(ctx).refs) == 1
    assert _state(ctx, lead) == "accepted"


def test_of_two_workers_who_hold_a_message_only_the_later_one_sends_it(ctx: AppContext) -> None:
    lead = _planned(ctx)
    slow = claim.claim_batch(ctx, OPEN, 10)
    with ctx.database.write() as tx:
        outbox_messages.QUEUE.release_expired(tx, OPEN + 2 * MINUTE)
    quick = claim.claim_batch(ctx, OPEN + 2 * MINUTE, 10)
    assert send.send_claimed(ctx, slow, VirtualClock(OPEN + 2 * MINUTE)).states.total() == 0
    assert (_provider(ctx).refs, _state(ctx, lead)) == ([], "claimed")
    assert send.send_claimed(ctx, quick, VirtualClock(OPEN + 2 * MINUTE)).states == {"accepted": 1}
    assert len(_provider(ctx).refs) == 1


class Crash(BaseException):
    """The worker is killed."""


def _dies(*_: object) -> Accepted:
    raise Crash


def test_a_worker_that_dies_during_the_call_leaves_the_message_unknown_and_nobody_resends(ctx: AppContext) -> None:
    lead = _planned(ctx)
    ctx.provider = RecordingProvider(_dies)
    with pytest.raises(Crash):
        run.deliver(ctx, VirtualClock(OPEN))
    assert _state(ctx, lead) == "sending"
    ctx.provider = RecordingProvider()
    run_at(ctx, OPEN + LEASE + MINUTE, OPEN + DAY)
    assert _provider(ctx).refs == []
    assert _state(ctx, lead) == "unknown"
    assert "it is unknown whether the message was sent" in _reason(ctx, lead)


def test_an_unknown_message_counts_as_sent_after_three_days_and_the_track_goes_on(ctx: AppContext) -> None:
    lead = _planned(ctx)
    ctx.provider = RecordingProvider(lambda *_: Unknown("the line broke"))
    run_at(ctx, OPEN, OPEN + 2 * DAY)
    assert rows(ctx, "SELECT step FROM enrollment") == [("01-hello",)]
    ctx.provider = RecordingProvider()
    run_at(ctx, OPEN + 3 * DAY + HOUR)
    assert rows(ctx, "SELECT step FROM enrollment") == [("wait-for-click",)]
    assert _state(ctx, lead) == "unknown"
    assert _provider(ctx).refs == []


def test_a_slow_worker_resolves_its_own_unknown_message(ctx: AppContext) -> None:
    lead = _planned(ctx)
    after = OPEN + LEASE + MINUTE

    def slow(*_: object) -> Accepted:
        other = worker_context(ctx, RecordingProvider())
        run.deliver(other, VirtualClock(after))
        assert _state(ctx, lead) == "unknown"
        other.database.close()
        return Accepted("late")

    ctx.provider = RecordingProvider(slow)
    run.deliver(ctx, VirtualClock(OPEN))
    assert _state(ctx, lead) == "accepted"
    assert one(ctx, "SELECT provider_message_id FROM message") == "late"


def test_an_opt_out_between_planning_and_sending_cancels_the_touch(ctx: AppContext) -> None:
    lead = _planned(ctx)
    email = one(ctx, "SELECT email FROM address")
    suppress(ctx, [email], OPEN)
    run.deliver(ctx, VirtualClock(OPEN))
    assert _provider(ctx).refs == []
    assert (_state(ctx, lead), _reason(ctx, lead)) == ("cancelled", "suppressed: admin")
    run_at(ctx, OPEN)
    assert custody(ctx, lead) == ("queue", "suppressed")


def test_an_opt_out_between_claim_and_call_cancels_the_touch(ctx: AppContext) -> None:
    lead, other = _planned(ctx), _planned(ctx)
    batch = claim.claim_batch(ctx, OPEN, 10)
    signals.record(ctx, [_unsubscribes(lead)], OPEN)
    done = send.send_claimed(ctx, batch, VirtualClock(OPEN)).states
    assert done == {"cancelled": 1, "accepted": 1}
    assert [row[0] for row in rows(ctx, "SELECT lead_id FROM message WHERE state = 'accepted'")] == [other]
    assert (_state(ctx, lead), _reason(ctx, lead)) == ("cancelled", "suppressed: import")
    assert len(_provider(ctx).refs) == 1


class Composing(PublishedDefinitions):
    """Write to the database over its own connection whenever an email is composed."""

    beside: AppContext

    def email(self, tx: Transaction, *args: Any, **named: Any) -> CompiledEmail:
        write(self.beside, "UPDATE lead SET zone = 'Europe/Berlin'")
        return super().email(tx, *args, **named)


def test_nobody_waits_to_write_while_emails_are_composed(ctx: AppContext) -> None:
    lead = _planned(ctx)
    definitions = Composing()
    definitions.beside = worker_context(ctx)
    if definitions.beside.database.is_sqlite:

        @event.listens_for(definitions.beside.database.engine, "connect")
        def _fail_instead_of_waiting(connection: Any, _record: object) -> None:
            connection.execute("PRAGMA busy_timeout = 0")

    worker = replace(ctx, definitions=definitions)
    batch = claim.claim_batch(worker, OPEN, 10)
    assert one(ctx, "SELECT zone FROM lead") == "Europe/Berlin"
    assert send.send_claimed(worker, batch, VirtualClock(OPEN)).states == {"accepted": 1}
    assert _state(ctx, lead) == "accepted"
    definitions.beside.database.close()


class Unavailable(PublishedDefinitions):
    def email(self, *_args: Any, **_named: Any) -> CompiledEmail:
        raise DatabaseUnavailable("The disk is gone.")


def test_an_outage_while_emails_are_composed_rejects_none(ctx: AppContext) -> None:
    lead = _planned(ctx)
    with pytest.raises(DatabaseUnavailable):
        claim.claim_batch(replace(ctx, definitions=Unavailable()), OPEN, 10)
    run_at(ctx, OPEN + LEASE + timedelta(minutes=1))
    assert _state(ctx, lead) == "accepted"


@pytest.mark.parametrize("taken_at", ["claimed", "render", "last check"])
def test_nothing_is_stored_of_messages_cancelled_before_the_call(ctx: AppContext, taken_at: str) -> None:
    lead, other = _planned(ctx), _planned(ctx)
    worker = replace(ctx, base_url="https://go.example.com")

    def close_when_taken(point: str, _refs: Sequence[str]) -> None:
        if point == taken_at:
            close_lead(ctx, lead, Closing.LOST, OPEN)

    batch = claim.claim_batch(worker, OPEN, 10, close_when_taken)
    assert rows(ctx, "SELECT lead_id FROM message WHERE link_digest IS NOT NULL") == []
    assert send.send_claimed(worker, batch, VirtualClock(OPEN), close_when_taken).states == {"accepted": 1}
    assert rows(ctx, "SELECT lead_id FROM message WHERE link_digest IS NOT NULL") == [(other,)]
    assert rows(ctx, "SELECT lead_id FROM link_token") == []
    assert _state(ctx, lead) == "cancelled"


def _unsubscribes(lead: int) -> NewSignal:
    return new_signal(lead, SignalKind.UNSUBSCRIBED, OPEN)


def test_an_unsubscribed_topic_is_not_sent_and_another_is(db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    for name in ("welcome", "keep"):
        rules[f"tracks/{name}/track.yaml"] += f"topic: About {name}\n"
    ctx = make_context(db, tmp_path, rules=rules)
    ctx.provider = RecordingProvider()
    lead = _planned(ctx)
    write(
        ctx,
        "INSERT INTO suppression (address_id, action, scope, ref, source, recorded_at) "
        "SELECT id, 'suppress', 'topic', 'About keep', 'page', :now FROM address",
        now=f"{START:%Y-%m-%dT%H:%M:%S}+00:00",
    )
    run.deliver(ctx, VirtualClock(OPEN))
    assert _state(ctx, lead) == "accepted"


@pytest.mark.parametrize("at", ["before the claim", "after the claim"])
def test_no_touch_goes_after_the_lead_is_handed_off(ctx: AppContext, at: str) -> None:
    lead = _planned(ctx)
    batch = claim.claim_batch(ctx, OPEN, 10) if at == "after the claim" else None
    record_signal(ctx, lead, SignalKind.REPLIED, OPEN)
    run_at(ctx, OPEN)
    if batch is not None:
        send.send_claimed(ctx, batch, VirtualClock(OPEN))
    run_at(ctx, OPEN + MINUTE)
    assert custody(ctx, lead)[0] == "offer"
    assert (_state(ctx, lead), _reason(ctx, lead)) == ("cancelled", "handed_off")
    assert [ref for ref in _provider(ctx).refs if ref.startswith("touch")] == []


def test_no_touch_goes_after_a_rep_accepted_or_the_lead_was_closed(ctx: AppContext) -> None:
    taken, won = _planned(ctx), _planned(ctx)
    record_signal(ctx, taken, SignalKind.REPLIED, OPEN)
    close_lead(ctx, won, Closing.WON, OPEN)
    run_at(ctx, OPEN)
    responses.accept(ctx, one(ctx, "SELECT id FROM offer"), OPEN)
    for day in range(1, 60):
        run_at(ctx, OPEN + day * DAY)
    assert {row[2] for row in messages(ctx)} == {"cancelled"}
    assert [ref for ref in _provider(ctx).refs if ref.startswith("touch")] == []


def test_a_touch_held_beyond_its_grace_is_too_late(ctx: AppContext) -> None:
    lead = _planned(ctx)
    run.deliver(ctx, VirtualClock(OPEN + 3 * DAY + MINUTE))
    assert (_state(ctx, lead), _reason(ctx, lead)) == ("cancelled", "too_late")
    run_at(ctx, OPEN + 3 * DAY + MINUTE)
    assert rows(ctx, "SELECT step FROM enrollment") == [("wait-for-click",)]


def test_a_touch_is_held_until_its_window_opens_again(ctx: AppContext) -> None:
    lead = _planned(ctx)
    night = OPEN.replace(hour=22)
    run.deliver(ctx, VirtualClock(night))
    assert _state(ctx, lead) == "planned"
    run.deliver(ctx, VirtualClock(night + 11 * HOUR - MINUTE))
    assert _provider(ctx).refs == []
    run.deliver(ctx, VirtualClock(night + 11 * HOUR))
    assert [sent[0] for sent in _provider(ctx).sent] == [OPEN + DAY]


def test_a_touch_is_held_while_its_lead_is_paused(ctx: AppContext) -> None:
    lead = _planned(ctx)
    manual.pause(ctx, lead, OPEN + DAY, OPEN)
    run.deliver(ctx, VirtualClock(OPEN))
    assert _state(ctx, lead) == "planned"
    run.deliver(ctx, VirtualClock(OPEN + DAY))
    assert _state(ctx, lead) == "accepted"


def test_a_touch_is_held_while_the_frequency_cap_is_full(ctx: AppContext) -> None:
    lead = _planned(ctx)
    for number, at in enumerate((OPEN - 6 * DAY, OPEN - 5 * DAY)):
        _sent_before(ctx, lead, number, at)
    run.deliver(ctx, VirtualClock(OPEN))
    assert _state_of(ctx, "touch:1:01-hello:1") == "planned"
    run.deliver(ctx, VirtualClock(OPEN + DAY))
    assert _state_of(ctx, "touch:1:01-hello:1") == "accepted"


def _sent_before(ctx: AppContext, lead: int, number: int, at: object) -> None:
    write(
        ctx,
        "INSERT INTO message (send_key, kind, recipient, lead_id, email, step, visit, planned_at, send_at, expires_at, "
        "state, state_at, accepted_at, attempts) VALUES "
        "(:key, 'touch', 'lead', :lead, 'old', 'old', 1, :at, :at, :at, 'accepted', :at, :at, 1)",
        key=f"old:{number}",
        lead=lead,
        at=f"{at:%Y-%m-%dT%H:%M:%S}+00:00",
    )


def _state_of(ctx: AppContext, key: str) -> str:
    state: str = one(ctx, "SELECT state FROM message WHERE send_key = :key", key=key)
    return state


def test_an_email_that_cannot_be_composed_for_one_lead_stops_no_other(db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    rules["tracks/welcome/01-hello.md"] += (
        "\n{% if lead.employees is number %}You have {{ 100 // lead.employees }} desks each.{% endif %}\n"
    )
    ctx = make_context(db, tmp_path, rules=rules)
    ctx.provider = RecordingProvider()
    good, bad, also_good = (_planned(ctx, employees=number) for number in (5, 0, 10))
    run.deliver(ctx, VirtualClock(OPEN))
    assert [_state(ctx, lead) for lead in (good, bad, also_good)] == ["accepted", "rejected", "accepted"]
    assert "cannot be composed" in _reason(ctx, bad)
    run_at(ctx, OPEN)
    assert rows(ctx, "SELECT step FROM enrollment WHERE lead_id = :id", id=bad) == [("wait-for-click",)]


def test_an_address_that_cannot_stand_in_a_header_stops_no_other(ctx: AppContext) -> None:
    good, bad = _planned(ctx), _planned(ctx)
    write(
        ctx,
        "UPDATE address SET email = 'a b@people.example' WHERE id = (SELECT address_id FROM lead WHERE id = :id)",
        id=bad,
    )
    run.deliver(ctx, VirtualClock(OPEN))
    assert (_state(ctx, good), _state(ctx, bad)) == ("accepted", "rejected")


def test_a_lead_with_an_invalid_zone_is_held_with_the_error_and_stops_no_other(ctx: AppContext) -> None:
    bad, good = _planned(ctx), _planned(ctx)
    write(ctx, "UPDATE lead SET zone = 'Mars/Olympus' WHERE id = :id", id=bad)
    run.deliver(ctx, VirtualClock(OPEN))
    assert (_state(ctx, bad), _state(ctx, good)) == ("planned", "accepted")
    assert "Mars/Olympus" in _reason(ctx, bad)
    write(ctx, "UPDATE lead SET zone = 'UTC' WHERE id = :id", id=bad)
    run.deliver(ctx, VirtualClock(OPEN + RETRY_AFTER_ERROR))
    assert _state(ctx, bad) == "accepted"


def test_messages_that_may_not_go_do_not_stand_in_the_way_of_those_behind(ctx: AppContext) -> None:
    ctx.batch_size = 2
    blocked = [_planned(ctx) for _ in range(5)]
    write(ctx, "UPDATE lead SET zone = 'Mars/Olympus'")
    free = _planned(ctx)
    run.deliver(ctx, VirtualClock(OPEN))
    assert {_state(ctx, lead) for lead in blocked} == {"planned"}
    assert _state(ctx, free) == "accepted"


def test_messages_certainly_not_sent_are_retried_when_the_provider_allows(ctx: AppContext) -> None:
    lead = _planned(ctx)
    ctx.provider = RecordingProvider(lambda *_: NotSent("too many at once", OPEN + 20 * MINUTE))
    run.deliver(ctx, VirtualClock(OPEN))
    ctx.provider = RecordingProvider()
    run.deliver(ctx, VirtualClock(OPEN + 19 * MINUTE))
    assert (_state(ctx, lead), _provider(ctx).refs) == ("planned", [])
    run.deliver(ctx, VirtualClock(OPEN + 20 * MINUTE))
    assert _state(ctx, lead) == "accepted"
    assert one(ctx, "SELECT attempts FROM message") == 2


@pytest.mark.parametrize("error", [NurtureError("gave up half-way"), ZeroDivisionError("a mistake of ours")])
def test_a_provider_that_fails_midway_leaves_unknown_messages_and_the_run_continues(
    ctx: AppContext, error: Exception
) -> None:
    first, second = _planned(ctx), _planned(ctx)

    def breaks(email: ComposedEmail, _: datetime) -> Accepted:
        if provider.refs[-1] == email.ref and len(provider.sent) == 1:
            raise error
        return Accepted(email.ref)

    ctx.provider = provider = RecordingProvider(breaks, max_concurrency=2)
    run.deliver(ctx, VirtualClock(OPEN))
    run_at(ctx, OPEN + DAY)
    assert (_state(ctx, first), _state(ctx, second)) == ("unknown", "accepted")
    assert "failed: " in _reason(ctx, first)
    assert len(provider.refs) == len(set(provider.refs)) == 2


def test_a_rejected_email_is_never_sent_again_and_its_lead_goes_on(ctx: AppContext) -> None:
    lead = _planned(ctx)
    ctx.provider = RecordingProvider(lambda *_: Rejected("no such mailbox"))
    run_at(ctx, OPEN, OPEN + HOUR, OPEN + DAY)
    assert (_state(ctx, lead), len(_provider(ctx).refs)) == ("rejected", 1)
    assert rows(ctx, "SELECT step FROM enrollment") == [("wait-for-click",)]


def test_the_brief_of_an_offer_that_was_answered_meanwhile_is_cancelled(ctx: AppContext) -> None:
    add_lead(ctx, demo_requested=True)
    ctx.provider = RecordingProvider(lambda *_: NotSent("down", START + 2 * DAY))
    run_at(ctx, START)
    ctx.provider = RecordingProvider()
    for hours in (25, 49, 50):
        run_at(ctx, START + hours * HOUR)
    states = rows(ctx, "SELECT send_key, state, reason FROM message WHERE kind = 'brief' ORDER BY id")
    assert states[0] == ("brief:1", "cancelled", "superseded")
    assert "brief:1" not in _provider(ctx).refs


def test_a_message_of_a_kind_that_this_version_does_not_know_waits_for_one_that_does(ctx: AppContext) -> None:
    lead = _planned(ctx)
    ctx.message_kinds, known = {}, ctx.message_kinds
    run.deliver(ctx, VirtualClock(OPEN))
    assert (_state(ctx, lead), _provider(ctx).refs) == ("planned", [])
    assert "no message kind touch" in _reason(ctx, lead)
    ctx.message_kinds = known
    run.deliver(ctx, VirtualClock(OPEN + HOUR))
    assert _state(ctx, lead) == "accepted"


def test_acceptance_wakes_the_lead_for_its_next_step(ctx: AppContext) -> None:
    lead = _planned(ctx)
    waits_until = due_at(ctx, lead)
    assert waits_until is not None
    assert waits_until > OPEN + 2 * DAY
    run.deliver(ctx, VirtualClock(OPEN + HOUR))
    assert due_at(ctx, lead) == OPEN + HOUR
