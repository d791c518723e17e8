"""Classify new leads and enroll them: by the readiness rules first, then by audience and track priority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.consent.suppression import find_covering
from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning.click_grace import exclude_recent_clicks
from nurture.domain.planning.conditions import evaluate
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.planner import HoldReason, OfferToSales, decide
from nurture.domain.planning.program import Program, ToClosed, ToQueue, ToTrack
from nurture.domain.policy.policy import Enroll, ReadinessRule, ToSales
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions, find_mailing_block
from nurture.journey.tracks.advance import decision_to_dict
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext
from nurture.runtime.drain import drain
from nurture.runtime.redact import redact

LastEnrollments = Mapping[tuple[int, str], datetime]
"""When a lead last left a track, or entered it if still on it, by (lead id, track)."""


GRACE_PERIOD: Final = HoldReason.CLICK_GRACE.value
"""The event of a lead that waits because a click in its grace period would decide its classification."""


def classify(ctx: AppContext, now: datetime) -> Counter[str]:
    """Classify all new leads, batch by batch: to sales, a track or a queue, or closed."""
    if quarantine.is_on(ctx, now):
        return Counter()
    batches = drain(lambda: classify_batch(ctx, now, ctx.batch_size), lambda done: done.total() >= ctx.batch_size)
    return sum(batches, Counter())


def classify_batch(ctx: AppContext, now: datetime, limit: int) -> Counter[str]:
    """Classify at most *limit* new leads in one transaction."""
    with ctx.database.write() as tx:
        rows = snapshot.claim_due(tx, [Custodian.INTAKE], now, limit)
        if not rows:
            return Counter()
        definitions = ctx.definitions.current(tx)
        transitions = LeadTransitions(definitions, now, "enroll")
        snapshots = snapshot.load_snapshots(tx, rows, now, ctx.holidays)
        last_enrollments = leads_queries.load_last_enrollments(tx, [row.lead_id for row in rows])
        classified: list[tuple[int, str]] = []
        events: Counter[str] = Counter()
        for lead in snapshots:
            try:
                rule = _classify_one(lead, transitions, last_enrollments)
            except Exception as error:  # noqa: BLE001 - recorded in the lead's journal and retried
                events[transitions.retry_later(lead, redact(error, lead.view.lead.fields))] += 1
                continue
            events[rule] += 1
            if rule != GRACE_PERIOD:
                classified.append((lead.view.lead.id, rule))
        written = transitions.changes.write(tx, now)
        leads_queries.record_readiness_rules(tx, [row for row in classified if row[0] in written])
    return events


def _classify_one(lead: LeadSnapshot, transitions: LeadTransitions, last_enrollments: LastEnrollments) -> str:
    confirmed_view, grace = exclude_recent_clicks(lead.view, transitions.definitions.policy, transitions.now)
    rule, reason = _first_matching_rule(confirmed_view, transitions)
    block, ready = find_mailing_block(lead), rule is not None and isinstance(rule.then, ToSales)
    if (
        block is None
        and grace is not None
        and not ready
        and rule is not _first_matching_rule(lead.view, transitions)[0]
    ):
        reason = f"a click is in its grace period until {grace.ends_at:%Y-%m-%d %H:%M:%S} UTC; without it: {reason}"
        return _wait_for_grace_period(lead, transitions, reason, grace.ends_at)
    queue, queue_reason = block or (_target_queue(rule, lead, transitions, last_enrollments), reason)
    if queue and not _discards(rule):
        queued_view = replace(lead.view, custodian=Custodian.QUEUE, queue=queue)
        decision = decide(queued_view, None, transitions.definitions.policy, transitions.now)
        for action in decision.actions:
            if isinstance(action, OfferToSales):
                transitions.hand_off(lead, action.rule, action.reason, decision_to_dict(decision))
                return action.rule
        if decision.hold is HoldReason.CLICK_GRACE and decision.wake_at is not None:
            return _wait_for_grace_period(lead, transitions, decision.reason, decision.wake_at)
    lead = replace(lead, view=confirmed_view)
    if block is not None:
        transitions.move_to(lead, ToQueue(queue), queue_reason, event="classified")
        return queue
    if rule is None:
        enroll_by_audience(lead, transitions, reason, last_enrollments=last_enrollments, event="classified")
        return "unclassified"
    _apply_rule(rule, lead, transitions, last_enrollments, reason)
    return rule.name


def _wait_for_grace_period(lead: LeadSnapshot, transitions: LeadTransitions, reason: str, until: datetime) -> str:
    transitions.set_custody(lead, Custodian.INTAKE, lead.ref, reason, until)
    transitions.add_journal_entry(lead, GRACE_PERIOD, reason, None)
    return GRACE_PERIOD


def _target_queue(
    rule: ReadinessRule | None, lead: LeadSnapshot, transitions: LeadTransitions, last_enrollments: LastEnrollments
) -> str:
    """Return the queue to which *rule* moves the lead, "" if it goes elsewhere."""
    match rule.then if rule is not None else Enroll():
        case Enroll():
            return "" if _find_track(lead, transitions, last_enrollments) is not None else Queue.NO_TRACK
        case ToTrack(track=track):
            return "" if track in transitions.definitions.programs else Queue.NO_TRACK
        case ToQueue(queue=queue):
            return queue
        case ToSales() | ToClosed():
            return ""


def is_discarded(view: LeadView, transitions: LeadTransitions) -> bool:
    """Return whether a readiness rule discards the lead, even if it asks for a person."""
    return _discards(_first_matching_rule(view, transitions)[0])


def _discards(rule: ReadinessRule | None) -> bool:
    return rule is not None and isinstance(rule.then, ToClosed)


def _first_matching_rule(view: LeadView, transitions: LeadTransitions) -> tuple[ReadinessRule | None, str]:
    """Return the first readiness rule that matches, and the reason."""
    context = transitions.definitions.policy.evaluation_context(view, since=view.lead.signals_since)
    for rule in transitions.definitions.policy.readiness:
        answer = evaluate(rule.when, context, transitions.now)
        if answer.met:
            return rule, f"{rule.name}: {answer.reason}"
    return None, "no readiness rule matches"


def _apply_rule(
    rule: ReadinessRule,
    lead: LeadSnapshot,
    transitions: LeadTransitions,
    last_enrollments: LastEnrollments,
    reason: str,
) -> None:
    match rule.then:
        case ToSales():
            transitions.hand_off(lead, rule.name, reason)
        case Enroll():
            enroll_by_audience(lead, transitions, reason, last_enrollments=last_enrollments, event="classified")
        case to:
            transitions.move_to(lead, to, reason, event="classified")


def enroll_by_audience(
    lead: LeadSnapshot,
    transitions: LeadTransitions,
    reason: str,
    *,
    last_enrollments: LastEnrollments | None = None,
    event: str = "enrolled",
    cool_off_until: datetime | None = None,
) -> None:
    """Enroll the lead in the track whose audience it fits; without one, move it to the queue for a person."""
    program = _find_track(lead, transitions, last_enrollments or {})
    if program is None:
        transitions.move_to(lead, ToQueue(Queue.NO_TRACK), f"{reason}; it fits no track's audience", event=event)
        return
    enroll_reason = f"{reason}; audience of {program.track}"
    transitions.move_to(lead, ToTrack(program.track), enroll_reason, event=event, cool_off_until=cool_off_until)


def _find_track(lead: LeadSnapshot, transitions: LeadTransitions, last_enrollments: LastEnrollments) -> Program | None:
    """Return the track with the highest priority whose audience the lead fits, None if there is none."""
    context = transitions.definitions.policy.evaluation_context(lead.view, since=lead.view.lead.signals_since)
    for program in sorted(transitions.definitions.programs.values(), key=lambda one: (-one.priority, one.track)):
        if not _may_enter(program, lead, last_enrollments, transitions.now):
            continue
        if program.audience is None or evaluate(program.audience, context, transitions.now).met:
            return program
    return None


def _may_enter(program: Program, lead: LeadSnapshot, last_enrollments: LastEnrollments, now: datetime) -> bool:
    if find_covering(lead.view.suppressions, program.track, program.topic) is not None:
        return False
    last = last_enrollments.get((lead.view.lead.id, program.track))
    if last is None:
        return True
    days = program.re_entry.after_days
    return days is not None and last + timedelta(days=days) <= now
