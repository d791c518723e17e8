"""Decide what happens to a lead next. Read this first.

`decide` is pure: it takes a view of one lead, the program of its track, the policy and the time, and returns
actions, the next position, a wake-up time and a reason. Nothing here reads a clock or a database.

The order of checks is policy:
    1. exits: not enrolled, closed
    2. with a rep, or offered to one
    3. requests (a demo, a reply, a call-back day, a stated date that is near) that are newer than the opt-out
       or the pause that silences our mail; a missing address or consent basis silences no request
    4. in a queue; suppressed, no consent basis, paused
    5. the policy's hand-off criteria: interest (score, clicks), and requests of any age
    6. the step
    7. only for a touch: send window, frequency cap, grace, rep capacity if it is a call to action
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from nurture.domain.consent.suppression import describe_suppression, find_covering
from nurture.domain.lead import Custodian, Queue, is_parked
from nurture.domain.planning import calendar
from nurture.domain.planning.callback import hold_for_callback
from nurture.domain.planning.click_grace import exclude_recent_clicks
from nurture.domain.planning.conditions import EvaluationContext, earliest, evaluate
from nurture.domain.planning.criteria import evaluate_criteria, evaluate_requests
from nurture.domain.planning.decision import (
    Action,
    Decision,
    DecisionContext,
    EndEnrollment,
    HoldReason,
    OfferToSales,
    SendTouch,
    UpdateField,
    format_minute,
)
from nurture.domain.planning.lead_view import Enrollment, LeadView, Position
from nurture.domain.planning.program import (
    Branch,
    Destination,
    Email,
    End,
    HandOff,
    Jump,
    NextRound,
    Program,
    Repeat,
    SetField,
    Split,
    ToQueue,
    WaitFor,
    choose_arm,
)
from nurture.domain.planning.touch_planning import completed_touch, send_or_hold
from nurture.domain.policy.policy import Policy

__all__ = [
    "GUARDS",
    "Action",
    "Decision",
    "DecisionContext",
    "EndEnrollment",
    "HoldReason",
    "OfferToSales",
    "SendTouch",
    "UpdateField",
    "apply_decision",
    "decide",
]

MAX_STEPS_PER_DECISION: Final = 500
_CONTROL_FLOW: Final = (Jump, NextRound)  # instructions at which no lead ever rests

OtherInstruction = Email | WaitFor | Branch | Split | Repeat | HandOff | End | Jump | NextRound
"""All instructions but SetField, which changes the context of those that follow."""

Place = tuple[int, Position]
"""The index of the next instruction, and the position at which it runs."""


def decide(view: LeadView, program: Program | None, policy: Policy, now: datetime) -> Decision:
    """Return what happens to the lead of *view* at *now* (UTC). Same arguments, same answer.

    *program* is that of the lead's track, None for a lead in a queue: then only requests are evaluated. A decision
    that recent clicks would change waits until their grace period ends; an offer to sales does not.
    """
    filtered, grace = exclude_recent_clicks(view, policy, now)
    decision, is_offer = _decide(DecisionContext(filtered, program, policy, now, grace))
    if grace is None or is_offer or not grace.matters:
        return decision
    until = grace.ends_at.isoformat(" ", "seconds")[:19]
    reason = f"a click is in its grace period until {until} UTC; without it: {decision.reason}"
    wake_at = earliest((grace.ends_at, decision.wake_at if decision.hold is not None else None))
    return _hold(view, HoldReason.CLICK_GRACE, wake_at, reason)


def _decide(context: DecisionContext) -> tuple[Decision, bool]:
    """Return the decision, and whether it is an offer made by the policy's criteria."""
    for guard in GUARDS:
        decision = guard(context)
        if decision is not None:
            return decision, guard is requested
    assert context.view.enrollment is not None  # not_enrolled
    position = context.view.enrollment.position
    offer, change_at = evaluate_criteria(context)
    if offer is not None:
        return _offer(offer, position), True
    if change_at is not None:
        context = replace(context, criteria_change_at=change_at)
    return hold_for_callback(_run_steps(context, position), context.view.lead, change_at), False


def apply_decision(enrollment: Enrollment, decision: Decision) -> Enrollment:
    """Return the enrollment after *decision*; replaying stored decisions rebuilds the stored enrollment."""
    ended = enrollment.ended or any(isinstance(action, EndEnrollment) for action in decision.actions)
    return replace(enrollment, position=decision.position or enrollment.position, ended=ended)


def _position(view: LeadView) -> Position | None:
    return view.enrollment.position if view.enrollment is not None else None


def _hold(view: LeadView, reason: HoldReason, until: datetime | None, explanation: str) -> Decision:
    return Decision((), _position(view), until, explanation, reason)


def _offer(offer: OfferToSales, position: Position | None) -> Decision:
    return Decision((offer,), position, None, offer.reason)


def _end_enrollment(view: LeadView, destination: Destination, reason: str) -> Decision:
    return Decision((EndEnrollment(destination, reason),), _position(view), None, reason)


# 1. Exits


def not_enrolled(context: DecisionContext) -> Decision | None:
    """Hold a lead that is on no track, and in no queue from which a request can move it."""
    enrollment = context.view.enrollment
    if (enrollment is not None and not enrollment.ended) or is_parked(context.view.queue):
        return None
    return _hold(context.view, HoldReason.NOT_ENROLLED, None, "the lead is on no track")


def closed(context: DecisionContext) -> Decision | None:
    """Hold a closed lead."""
    if context.view.custodian is not Custodian.CLOSED:
        return None
    return _hold(context.view, HoldReason.CLOSED, None, "the lead is closed")


# 2. With sales


def with_sales(context: DecisionContext) -> Decision | None:
    """Hold while a rep has the lead or an open offer of it."""
    if context.view.custodian is Custodian.TRACK or is_parked(context.view.queue):
        return None
    return _hold(context.view, HoldReason.WITH_SALES, None, f"custodian is {context.view.custodian.value}")


# 3. Requests


def requested(context: DecisionContext) -> Decision | None:
    """Offer a lead that made a request after its opt-out or pause, or while it has neither."""
    offer, _ = evaluate_requests(context)
    return _offer(offer, _position(context.view)) if offer is not None else None


# 4. What silences our mail


def queue(context: DecisionContext) -> Decision | None:
    """Hold a lead in its queue until a request can move it."""
    if not is_parked(context.view.queue):
        return None
    reason = f"waits in the queue {context.view.queue}"
    return _hold(context.view, HoldReason.QUEUED, evaluate_requests(context).change_at, reason)


def suppressed(context: DecisionContext) -> Decision | None:
    """End the enrollment of a lead whose address may not be mailed, or not about this topic."""
    suppression = context.view.suppressed_by
    if not suppression:
        refused = find_covering(context.view.suppressions, context.program.track, context.program.topic)
        if refused is None:
            return None
        suppression = describe_suppression(refused)
    return _end_enrollment(context.view, ToQueue(Queue.SUPPRESSED), f"suppressed: {suppression}")


def no_consent_basis(context: DecisionContext) -> Decision | None:
    """End the enrollment of a lead without a consent basis."""
    if context.view.lead.consent_basis:
        return None
    return _end_enrollment(context.view, ToQueue(Queue.NO_CONSENT_BASIS), "no consent or other legal basis is recorded")


def paused(context: DecisionContext) -> Decision | None:
    """Hold while the lead is paused; a coming request wakes it earlier."""
    until = context.view.lead.paused_until
    if until is None or until <= context.now:
        return None
    wake_at = earliest((until, evaluate_requests(context).change_at))
    return _hold(context.view, HoldReason.PAUSED, wake_at, f"paused until {format_minute(until)}")


GUARDS: Final = (not_enrolled, closed, with_sales, requested, queue, suppressed, no_consent_basis, paused)


# 6. The step


def _run_steps(context: DecisionContext, position: Position) -> Decision:
    """Run instructions from *position* until one holds, sends, hands off or ends the enrollment."""
    program = context.program
    if position.reached_at > context.now:
        reason = f"{position.step} is in its cool-off until {format_minute(position.reached_at)}"
        return context.hold(position, HoldReason.NOT_DUE, position.reached_at, reason)
    outcome = _locate(context, position)
    steps_left, last_reached_at = MAX_STEPS_PER_DECISION, position.reached_at
    while not isinstance(outcome, Decision):
        index, position = outcome
        if position.reached_at > last_reached_at:
            # Time advanced, so this is no endless loop: a lead may have years to catch up with.
            steps_left, last_reached_at = MAX_STEPS_PER_DECISION, position.reached_at
        if not steps_left:
            reason = f"{program.track} loops without an email or a wait at step {position.step}"
            return _end_enrollment(context.view, ToQueue(Queue.NO_TRACK), reason)
        steps_left -= 1
        instruction = program.instructions[index]
        if not isinstance(instruction, _CONTROL_FLOW) and instruction.step != position.step:
            position = _with_step(instruction.step, position.visit, position)
        if isinstance(instruction, SetField):
            context, outcome = _set_field(instruction, context, index, position)
        else:
            outcome = _run_instruction(instruction, context, index, position)
    if context.field_updates:
        return replace(outcome, actions=(*context.field_updates, *outcome.actions))
    return outcome


def _run_instruction(
    instruction: OtherInstruction, context: DecisionContext, index: int, position: Position
) -> Decision | Place:
    match instruction:
        case Email():
            sent = send_or_hold(instruction, position, context)
            return sent if isinstance(sent, Decision) else (index + 1, sent)
        case WaitFor():
            return context.ask(lambda view: _run_wait(instruction, view, context, position))
        case Jump(target=target):
            return target, position
        case NextRound(repeat=repeat):
            return repeat, _with_step(position.step, position.visit + 1, position)
        case Branch():
            return context.ask(lambda view: _choose_branch(instruction, view, context, position)), position
        case Split():
            return choose_arm(instruction, context.program.track, context.view.lead.id)[1], position
        case Repeat():
            return _run_repeat(instruction, context, position)
        case HandOff(reason=reason):
            return _offer(OfferToSales(instruction.step, reason), _position_at(context, index + 1, position))
        case End(destination=to):
            reason = f"{context.program.track} has no more steps"
            return Decision((EndEnrollment(to, reason),), position, None, reason)
        case _:
            assert_never(instruction)


def _locate(context: DecisionContext, position: Position) -> Decision | Place:
    """Find *position* in the program; if its step was removed, wait for its touch before the lead moves."""
    program = context.program
    index = program.index_of(position.step)
    if index is None:
        reason = f"step {position.step} is not in version {program.version} of {program.track}"
        return _end_enrollment(context.view, ToQueue(Queue.NO_TRACK), reason)
    if position.step in program.index:
        return index, position
    completed = completed_touch(position, context)
    return completed if isinstance(completed, Decision) else (index, completed or position)


def _position_at(context: DecisionContext, index: int, position: Position) -> Position:
    step, visit = context.program.resolve(index, position.visit)
    return _with_step(step, visit, position)


def _with_step(step: str, visit: int, position: Position) -> Position:
    return Position(step, visit, position.anchor, position.reached_at)


def _reached(position: Position, at: datetime) -> Position:
    return Position(position.step, position.visit, position.anchor, at)


def _evaluation_context(view: LeadView, policy: Policy) -> EvaluationContext:
    return policy.evaluation_context(view, since=view.enrollment.entered_at if view.enrollment is not None else None)


def _set_field(
    instruction: SetField, context: DecisionContext, index: int, position: Position
) -> tuple[DecisionContext, Decision | Place]:
    """Evaluate the criteria again after a field changes: nothing else would until the lead wakes."""
    known = context.view.lead.fields.get(instruction.name)
    context, place = context.with_field(UpdateField(instruction.name, instruction.value)), (index + 1, position)
    if known == instruction.value:
        return context, place
    offer, change_at = evaluate_criteria(context)
    if offer is not None:
        return context, _offer(offer, _position_at(context, index + 1, position))
    return replace(context, criteria_change_at=change_at), place


def _choose_branch(branch: Branch, view: LeadView, context: DecisionContext, position: Position) -> int:
    evaluation_context = _evaluation_context(view, context.policy)
    for condition, target in branch.cases:
        if evaluate(condition, evaluation_context, position.reached_at).met:
            return target
    return branch.otherwise


def _run_wait(wait: WaitFor, view: LeadView, context: DecisionContext, position: Position) -> Decision | Place:
    """Step through time from when the wait began; a signal exactly at the deadline still counts."""
    evaluation_context = _evaluation_context(view, context.policy)
    deadline = calendar.add_delay(wait.up_to, context.zone, view.lead.holidays, position.reached_at)
    at = position.reached_at
    while True:
        met, detail, upcoming = evaluate(wait.until, evaluation_context, at)
        if met:
            return wait.then, _reached(position, at)
        if upcoming is not None and upcoming > deadline:
            upcoming = None
        until = upcoming or deadline
        if until > context.now:
            reason = f"{wait.step}: {detail}; waits until {format_minute(deadline)}"
            return context.hold(position, HoldReason.WAITING, until, reason)
        if upcoming is None:
            return wait.otherwise, _reached(position, deadline)
        at = upcoming


def _run_repeat(repeat: Repeat, context: DecisionContext, position: Position) -> Decision | Place:
    """Begin round `visit` when the pause before it is over; the first round begins at once."""
    rounds_done = position.visit - 1
    if repeat.times is not None and rounds_done >= repeat.times:
        return repeat.then, _with_step(position.step, 1, position)
    if rounds_done == 0:
        return repeat.body, position
    due = calendar.add_delay(repeat.pause(rounds_done), context.zone, context.view.lead.holidays, position.reached_at)
    if due > context.now:
        reason = f"{repeat.step}: round {position.visit} begins on {format_minute(due)}"
        return context.hold(position, HoldReason.NOT_DUE, due, reason)
    return repeat.body, _reached(position, due)
