"""Classify new leads and enroll them: by the readiness rules first, then by audience and track priority."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Final

from nurture.domain.lead import MAX_REST, Custodian, Queue, Resting
from nurture.domain.planning.click_grace import exclude_recent_clicks
from nurture.domain.planning.conditions import earliest, evaluate
from nurture.domain.planning.entry import find_entry
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.planner import Decision, HoldReason, OfferToSales, decide
from nurture.domain.planning.program import Program, ToClosed, ToQueue, ToTrack
from nurture.domain.policy.policy import Enroll, ReadinessRule, ToSales
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import ERROR, LeadTransitions, find_mailing_block
from nurture.journey.tracks.advance import decision_to_dict
from nurture.runtime import quarantine
from nurture.runtime.batches import drain
from nurture.runtime.context import AppContext
from nurture.runtime.redact import redact

GRACE_PERIOD: Final = HoldReason.CLICK_GRACE.value
"""The event of a lead that waits because a click in its grace period would decide its classification."""


CUSTOMER: Final = Resting.CUSTOMER.value
"""The event of a customer: readiness rules are about leads."""


def classify(ctx: AppContext, now: datetime) -> Counter[str]:
    """Classify new and due resting leads, batch by batch: to sales, a track or a queue, to rest, or closed."""
    if quarantine.is_on(ctx, now):
        return Counter()
    batches = drain(lambda: classify_batch(ctx, now, ctx.batch_size), lambda done: done.total() >= ctx.batch_size)
    return sum(batches, Counter())


def classify_batch(ctx: AppContext, now: datetime, limit: int) -> Counter[str]:
    """Classify at most *limit* new or due resting leads in one transaction."""
    with ctx.database.write() as tx:
        rows = snapshot.claim_due(tx, [Custodian.INTAKE, Custodian.RESTING], now, limit)
        if not rows:
            return Counter()
        definitions = ctx.definitions.current(tx)
        transitions = LeadTransitions(definitions, now, "enroll")
        snapshots = snapshot.load_snapshots(ctx, tx, definitions, rows, now)
        classified: list[tuple[int, str]] = []
        events: Counter[str] = Counter()
        for lead in snapshots:
            rule = classify_lead(lead, transitions)
            events[rule] += 1
            if rule not in (GRACE_PERIOD, CUSTOMER, ERROR):
                classified.append((lead.view.lead.id, rule))
        written = transitions.changes.write(tx, now)
        leads_queries.record_readiness_rules(tx, [row for row in classified if row[0] in written])
    return events


def classify_lead(lead: LeadSnapshot, transitions: LeadTransitions) -> str:
    """Classify one lead and collect the changes; return the rule. An error of one lead never stops its batch."""
    try:
        rule = _classify_one(lead, transitions)
        transitions.readmit(lead)
    except Exception as error:  # noqa: BLE001 - recorded in the lead's journal and retried
        return transitions.retry_later(lead, redact(error, lead.view.lead.fields))
    return rule


def _classify_one(lead: LeadSnapshot, transitions: LeadTransitions) -> str:
    if lead.view.lead.is_customer:
        return _place_customer(lead, transitions)
    confirmed_view, grace = exclude_recent_clicks(lead.view, transitions.definitions.policy, transitions.now)
    rule, reason = _first_matching_rule(confirmed_view, transitions)
    block, ready = find_mailing_block(lead, transitions.now), rule is not None and isinstance(rule.then, ToSales)
    if (
        block is None
        and grace is not None
        and not ready
        and rule is not _first_matching_rule(lead.view, transitions)[0]
    ):
        reason = f"a click is in its grace period until {grace.ends_at:%Y-%m-%d %H:%M:%S} UTC; without it: {reason}"
        return _wait_for_grace_period(lead, transitions, reason, grace.ends_at)
    queue, queue_reason = block or _target_queue(rule, lead, transitions, reason)
    if queue and not _discards(rule):
        queued_view = replace(lead.view, custodian=Custodian.QUEUE, queue=queue)
        definitions = transitions.definitions
        decision = decide(queued_view, None, definitions.entries, definitions.policy, transitions.now)
        rule_of_offer = _hand_off(lead, decision, transitions)
        if rule_of_offer is not None:
            return rule_of_offer
        if decision.hold is HoldReason.CLICK_GRACE and decision.wake_at is not None:
            return _wait_for_grace_period(lead, transitions, decision.reason, decision.wake_at)
    lead = replace(lead, view=confirmed_view)
    if block is not None:
        transitions.move_to(lead, ToQueue(queue), queue_reason, event="classified")
        return queue
    if rule is None:
        enroll_by_audience(lead, transitions, reason, event="classified")
        return "unclassified"
    _apply_rule(rule, lead, transitions, reason)
    return rule.name


def _place_customer(lead: LeadSnapshot, transitions: LeadTransitions) -> str:
    """Hand off a customer that asks for it, or enroll it in a track for customers; otherwise it rests."""
    definitions = transitions.definitions
    decision = decide(_at_rest(lead.view), None, definitions.entries, definitions.policy, transitions.now)
    rule = _hand_off(lead, decision, transitions)
    if rule is not None:
        return rule
    enroll_by_audience(lead, transitions, "a customer")
    return CUSTOMER


def _hand_off(lead: LeadSnapshot, decision: Decision, transitions: LeadTransitions) -> str | None:
    """Hand off the lead if *decision* offers it to sales; return the rule, None if it does not."""
    for action in decision.actions:
        if isinstance(action, OfferToSales):
            transitions.hand_off(lead, action.rule, action.reason, decision_to_dict(decision))
            return action.rule
    return None


def _at_rest(view: LeadView) -> LeadView:
    return replace(view, custodian=Custodian.RESTING, queue="")


def _wait_for_grace_period(lead: LeadSnapshot, transitions: LeadTransitions, reason: str, until: datetime) -> str:
    transitions.set_custody(lead, Custodian.INTAKE, lead.ref, reason, until)
    transitions.add_journal_entry(lead, GRACE_PERIOD, reason, None)
    return GRACE_PERIOD


def _target_queue(
    rule: ReadinessRule | None,
    lead: LeadSnapshot,
    transitions: LeadTransitions,
    reason: str,
) -> tuple[str, str]:
    """Return (queue, reason) to which *rule* moves the lead, NO_TRACK if it rests; "" if it goes elsewhere."""
    match rule.then if rule is not None else Enroll():
        case ToTrack(track=track) if track not in transitions.definitions.programs:
            return Queue.TRACK_MISSING, reason
        case ToTrack(track=track) if _permits(transitions.definitions.programs[track], lead, transitions.now):
            return "", reason
        case Enroll() | ToTrack():
            fits = _find_entry(lead, transitions) is not None
            return ("", reason) if fits else _without_track(lead, transitions, reason)
        case ToQueue(queue=queue):
            return queue, reason
        case ToSales() | ToClosed():
            return "", reason


def _without_track(lead: LeadSnapshot, transitions: LeadTransitions, reason: str) -> tuple[str, str]:
    """Return (queue, reason) of a lead that no track takes: it refused every track, or it rests for want of one."""
    programs = transitions.definitions.programs.values()
    blocks = [find_mailing_block(lead, transitions.now, program) for program in programs]
    if blocks and (first := blocks[0]) is not None and None not in blocks:
        return first[0], f"{reason}; it refused every track: {first[1]}"
    return Resting.NO_TRACK, f"{reason}; it fits no track's audience"


def _permits(program: Program, lead: LeadSnapshot, now: datetime) -> bool:
    return find_mailing_block(lead, now, program) is None


def is_discarded(view: LeadView, transitions: LeadTransitions) -> bool:
    """Return whether a readiness rule discards the lead, even if it asks for a person; none does a customer."""
    return not view.lead.is_customer and _discards(_first_matching_rule(view, transitions)[0])


def _discards(rule: ReadinessRule | None) -> bool:
    return rule is not None and isinstance(rule.then, ToClosed)


def _first_matching_rule(view: LeadView, transitions: LeadTransitions) -> tuple[ReadinessRule | None, str]:
    """Return the first readiness rule that matches, and the reason."""
    context = transitions.definitions.policy.evaluation_context(view, since=view.lead.signals_since)
    for rule in transitions.definitions.policy.readiness:
        if rule.is_spent(view.lead):
            continue
        answer = evaluate(rule.when, context, transitions.now)
        if answer.met:
            return rule, f"{rule.name}: {answer.reason}"
    return None, "no readiness rule matches"


def _apply_rule(
    rule: ReadinessRule,
    lead: LeadSnapshot,
    transitions: LeadTransitions,
    reason: str,
) -> None:
    match rule.then:
        case ToSales():
            transitions.hand_off(lead, rule.name, reason)
        case Enroll():
            enroll_by_audience(lead, transitions, reason, event="classified")
        case ToTrack(track=track) if track in transitions.definitions.programs and not _permits(
            transitions.definitions.programs[track], lead, transitions.now
        ):
            refused = f"{reason}; it refused {track}"
            enroll_by_audience(lead, transitions, refused, event="classified")
        case to:
            transitions.move_to(lead, to, reason, event="classified")


def enroll_by_audience(
    lead: LeadSnapshot,
    transitions: LeadTransitions,
    reason: str,
    *,
    event: str = "enrolled",
    cool_off_until: datetime | None = None,
) -> None:
    """Enroll the lead in the track whose audience it fits; without one, it rests, or waits in a queue for a person.

    It rests until time alone may let it enter a track, match another readiness rule, or make a request of it count.
    """
    definitions, now = transitions.definitions, transitions.now
    confirmed_view, grace = exclude_recent_clicks(lead.view, definitions.policy, now)
    entry = find_entry(confirmed_view, definitions.entries, definitions.policy, now)
    if entry.program is not None:
        to, enroll_reason = ToTrack(entry.program.track), f"{reason}; audience of {entry.program.track}"
        transitions.move_to(lead, to, enroll_reason, event=event, cool_off_until=cool_off_until)
        return
    queue, queue_reason = _without_track(lead, transitions, reason)
    if queue != Resting.NO_TRACK and not lead.view.lead.is_customer:
        transitions.move_to(lead, ToQueue(queue), queue_reason, event=event)
        return
    why = Resting.CUSTOMER if lead.view.lead.is_customer else Resting.NO_TRACK
    decision = decide(_at_rest(lead.view), None, definitions.entries, definitions.policy, now)
    rules = () if lead.view.lead.is_customer else definitions.policy.readiness
    context = definitions.policy.evaluation_context(lead.view, since=lead.view.lead.signals_since)
    times = [evaluate(rule.when, context, now).changes_at for rule in rules]
    due = earliest((entry.change_at, decision.wake_at, grace.ends_at if grace is not None else None, *times))
    transitions.rest(lead, why, queue_reason, max(due or cool_off_until or now + MAX_REST, now), event=event)


def _find_entry(lead: LeadSnapshot, transitions: LeadTransitions) -> Program | None:
    definitions = transitions.definitions
    return find_entry(lead.view, definitions.entries, definitions.policy, transitions.now).program
