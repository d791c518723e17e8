"""Offer the leads of the hand-off queue to reps with capacity, in order of priority."""

import gc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning.calendar import Holidays
from nurture.domain.planning.callback import CALLBACK_RULE
from nurture.domain.planning.program import ToQueue
from nurture.domain.policy.policy import RejectReason
from nurture.domain.policy.queues import REVIEW_INTERVAL
from nurture.domain.routing.priority import QueuePriority
from nurture.domain.routing.routing import RoutingResult
from nurture.journey.handoff import queries, queue_queries
from nurture.journey.handoff.offer import OfferReason, offer_to_rep
from nurture.journey.handoff.queries import PastOffer
from nurture.journey.handoff.queue_queries import Cursor, QueuedLead
from nurture.journey.handoff.recycle import recycle_unanswered
from nurture.journey.handoff.waiting import queries as waiting_queries
from nurture.journey.handoff.waiting.lists import QUEUE_REASONS, queue_calendar
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.routing import capacity as rep_capacity
from nurture.journey.routing import lead_question
from nurture.journey.routing.capacity import RepCapacity
from nurture.journey.routing.router import Router, make_router
from nurture.runtime.context import AppContext

MIN_SCANNED: Final = 200
"""Minimum number of leads scanned at once: with little capacity left, the first ones may not match a free rep."""

SCANNED_PER_SLOT: Final = 4


class _Progress(NamedTuple):
    """How far the queue was scanned, and the reps with capacity that no scanned lead matches."""

    after: Cursor
    free_reps: frozenset[str]


def offer_all(ctx: AppContext, now: datetime) -> Counter[str]:
    """Offer leads in batches until no rep has capacity, or the whole queue was scanned."""
    events: Counter[str] = Counter()
    progress: _Progress | None = None
    while True:
        events_of_batch, progress = _offer_next_batch(ctx, now, ctx.batch_size, progress)
        events += events_of_batch
        if progress is None:
            return events
        gc.collect(1)


def _offer_next_batch(
    ctx: AppContext, now: datetime, limit: int, previous: _Progress | None
) -> tuple[Counter[str], _Progress | None]:
    """Offer one batch in one transaction; return counts, and the progress, None at the end.

    The queue is scanned when a lead is due, and when a rep has capacity that had none at the last scan, so that no
    other code needs to signal freed capacity.
    """
    with ctx.database.write() as tx:
        is_waiting, is_due = queue_queries.load_queue_status(tx, now)
        if previous is None and not is_waiting:
            return Counter(), None
        acquire(tx, Lock.OFFERS)
        policy = ctx.definitions.current(tx).policy
        capacity = rep_capacity.load_capacity(ctx, tx, policy, now)
        if previous is None and not is_due and capacity.free_reps() <= queue_queries.load_last_free_reps(tx):
            return Counter(), None
        size = min(limit, max(SCANNED_PER_SLOT * capacity.remaining, MIN_SCANNED)) if capacity.remaining else 0
        queued, end, others_hold_some = queue_queries.claim(tx, size, previous.after if previous else None)
        events = _route_and_offer(ctx, tx, capacity, queued) if queued else Counter[str]()
        free_reps = capacity.free_reps() if previous is None else capacity.free_reps() & previous.free_reps
        progress = (
            _Progress(end, frozenset() if others_hold_some else free_reps)
            if end is not None and capacity.remaining
            else None
        )
        if progress is None:
            if not capacity.remaining:  # otherwise the remaining leads came in, or were locked, during the scan
                until, version = capacity.next_opening(), policy.version
                events["waiting"] += queue_queries.postpone(tx, None, until, now, version)
            _save_capacity_forecast(ctx.holidays, tx, capacity)
        queue_queries.save_queue_scan(tx, () if progress or others_hold_some else free_reps, now)
    return events, progress


def _route_and_offer(
    ctx: AppContext, tx: Transaction, capacity: RepCapacity, queued: Sequence[QueuedLead]
) -> Counter[str]:
    """Route the leads in order; offer each, or keep it waiting."""
    now = capacity.now
    definitions = ctx.definitions.current(tx)
    transitions = LeadTransitions(definitions, now, "handoff")
    ids = [one.lead_id for one in queued]
    rows = {row.lead_id: row for row in snapshot.load_rows(tx, ids, lock=False)}
    claimed = snapshot.load_snapshots(ctx, tx, definitions, [rows[id_] for id_ in ids], now)
    past_offers = queries.load_past_offers(tx, ids)
    batch_router = make_router(
        ctx, tx, definitions.policy, ids, capacity, _excluded_reps(definitions.policy.reject_reasons, past_offers)
    )
    handoff_reasons, entries = queries.load_handoff_reasons(tx, ids), waiting_queries.load_entries(tx, ids)
    offer_ids = _reserve_offer_ids(tx, min(capacity.remaining, len(ids)))
    off_duty = capacity.off_duty_reps()
    events: Counter[str] = Counter()
    waiting_ids: list[int] = []
    soonest: list[datetime] = []
    recyclable: list[LeadSnapshot] = []
    for lead, one in zip(claimed, queued, strict=True):
        rule, handoff_reason = handoff_reasons.get(one.lead_id, ("", "handed off"))
        owner_wait = definitions.policy.owner_wait(rule, lead.view.lead.condition_fields)
        request, routed = batch_router.route(lead, {} if one.hot else off_duty, owner_wait)
        if routed.is_waiting:
            waiting_ids.append(one.lead_id)
            if owner_wait is not None and request.waited < owner_wait:
                soonest.append(now + owner_wait - request.waited)
            continue
        offer_id = next(offer_ids) if routed.rep is not None else None
        batch_router.record_decision(lead, request, routed, offer_id)
        attempt = 1 + sum(had.offered_at >= one.since for had in past_offers.get(one.lead_id, ()))
        rep = definitions.policy.rep(routed.rep) if routed.rep is not None else None
        if rep is not None and offer_id is not None:
            priority = QueuePriority(one.points, one.since, definitions.policy.priority.aging_interval).score_at(now)
            offer_reason = OfferReason(rule, handoff_reason, "; ".join(routed.reasons), attempt, priority, one.hot)
            offer_to_rep(transitions, ctx.holidays, lead, rep, offer_id, offer_reason)
            events["offered"] += 1
        elif routed.queue == Queue.MANAGER_DECISION:
            transitions.move_to(lead, ToQueue(Queue.MANAGER_DECISION), "; ".join(routed.reasons))
            events["needs a person"] += 1
        elif routed.queue == Queue.NO_REP and attempt > 1:
            recyclable.append(lead)
            events["recycled"] += 1
        else:
            events[_move_to_queue(ctx, lead, transitions, batch_router, routed, entries[one.lead_id])] += 1
    recycle_unanswered(tx, transitions, recyclable, "no rep is left to offer it to")
    won = transitions.changes.write(tx, now)
    batch_router.write(tx, won)
    until, version = min([capacity.next_opening(), *soonest]), definitions.policy.version
    events["waiting"] += queue_queries.postpone(tx, waiting_ids, until, now, version)
    return events


def _reserve_offer_ids(tx: Transaction, at_once: int) -> Iterator[int]:
    """Yield offer ids, reserved *at_once* on first use: leads that only wait use none."""
    while True:
        yield from tx.reserve_ids("offer", max(at_once, 1))


def _excluded_reps(
    reasons: Mapping[str, RejectReason], past_offers: Mapping[int, Sequence[PastOffer]]
) -> dict[int, set[str]]:
    """Return the reps excluded for each lead: all who had it, unless the reason allows it again."""
    return {
        lead_id: {one.rep for one in had if one.state != "rejected" or _excludes_rep(one.reason or "", reasons)}
        for lead_id, had in past_offers.items()
    }


def _excludes_rep(reason: str, reasons: Mapping[str, RejectReason]) -> bool:
    if reason == CALLBACK_RULE:  # they promised to call
        return False
    return reason not in reasons or reasons[reason].not_same_rep


def _move_to_queue(
    ctx: AppContext,
    lead: LeadSnapshot,
    transitions: LeadTransitions,
    batch_router: Router,
    routed: RoutingResult,
    since: datetime,
) -> str:
    """Move a lead, which waits since *since*, to the queue where a person decides, or to wait for a missing field."""
    assert routed.queue is not None
    policy = transitions.definitions.policy
    if routed.queue in (Queue.NO_REP, Queue.ACCOUNT_OWNER_UNAVAILABLE):
        transitions.end_enrollment(lead, f"queue {routed.queue}")
    due, next_action = (transitions.now + REVIEW_INTERVAL, f"review: {QUEUE_REASONS[routed.queue]}")
    if routed.queue != Queue.ACCOUNT_AMBIGUOUS and any(not one.available for one in batch_router.team.values()):
        due = transitions.now + timedelta(days=1)  # an absent rep may be back
    if routed.missing_field:
        missing_field = batch_router.require_field(lead, routed)
        due, next_action = missing_field.due_at, f"wait for {routed.missing_field}"
        transitions.changes.new_messages += lead_question.build_question_messages(
            ctx, lead, transitions.definitions, missing_field, transitions.now
        )
    rule, now = policy.queues.rule_for(routed.queue), transitions.now
    reminder = rule and rule.reminder_at(since, queue_calendar(policy, ctx.holidays, now))
    due = min(due, reminder) if reminder and reminder > now else due
    moved = transitions.set_custody(lead, Custodian.QUEUE, routed.queue, next_action, due)
    detail = {"candidates": list(routed.candidate_ids)} if routed.candidate_ids else None
    transitions.add_journal_entry(lead, "moved", "; ".join(routed.reasons), moved, ref=routed.queue, detail=detail)
    if routed.queue == Queue.NO_REP:
        return "no rep left"
    return "needs a field" if routed.missing_field else "needs a person"


def _save_capacity_forecast(holidays: Holidays, tx: Transaction, capacity: RepCapacity) -> None:
    """Store the capacity forecast, if the policy makes tracks depend on it."""
    policy = capacity.policy
    if policy.priority.hold_calls_to_action_at is None:
        return
    forecast = capacity.forecast(queue_queries.count_waiting(tx))
    working_time = rep_capacity.working_time(policy.business_hours, holidays, capacity.now)
    until = forecast.full_until(policy.priority.hold_calls_to_action_at, working_time, capacity.now)
    queue_queries.save_capacity_forecast(tx, forecast, until, capacity.now)
