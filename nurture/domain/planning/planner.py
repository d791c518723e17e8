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

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from nurture.domain.consent.suppression import describe_suppression, find_covering
from nurture.domain.lead import Custodian, Queue, is_parked
from nurture.domain.planning import calendar
from nurture.domain.planning.callback import CALLBACK_RULE, hold_for_callback, requested_callback
from nurture.domain.planning.click_grace import exclude_recent_clicks, hold_for_click_grace
from nurture.domain.planning.conditions import EvaluationContext, earliest, evaluate
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
from nurture.domain.planning.requests import silenced_since
from nurture.domain.planning.touch_planning import completed_touch, send_or_hold
from nurture.domain.policy.policy import Criterion, Policy

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
    "unanswered_request",
]

MAX_STEPS_PER_DECISION: Final = 500
_CONTROL_FLOW: Final = (Jump, NextRound)  # instructions at which no lead ever rests


def decide(view: LeadView, program: Program | None, policy: Policy, now: datetime) -> Decision:
    """Return what happens to the lead of *view* at *now* (UTC). Same arguments, same answer.

    *program* is that of the lead's track, None for a lead in a queue: then only requests are evaluated.
    """
    filtered, grace_ends = exclude_recent_clicks(view, policy, now)
    decision, offered = _decide_once(DecisionContext(filtered, program, policy, now))
    if grace_ends is None or offered or decision == _decide_once(DecisionContext(view, program, policy, now))[0]:
        return decision
    return hold_for_click_grace(decision, view, grace_ends)


def _decide_once(context: DecisionContext) -> tuple[Decision, bool]:
    """Return the decision, and whether it is an offer made by the policy's criteria."""
    for guard in GUARDS:
        decision = guard(context)
        if decision is not None:
            return decision, guard is requested
    assert context.view.enrollment is not None  # not_enrolled
    position = context.view.enrollment.position
    offer, change_at = _evaluate_criteria(context, context.policy.criteria, position, ())
    if change_at is not None:
        context = replace(context, criteria_change_at=change_at)
    if offer is not None:
        return offer, True
    return hold_for_callback(_run_steps(context, position), context.view.lead, change_at), False


def apply_decision(enrollment: Enrollment, decision: Decision) -> Enrollment:
    """Return the enrollment after *decision*; replaying stored decisions rebuilds the stored enrollment."""
    ended = enrollment.ended or any(isinstance(action, EndEnrollment) for action in decision.actions)
    return replace(enrollment, position=decision.position or enrollment.position, ended=ended)


def _position(view: LeadView) -> Position | None:
    return view.enrollment.position if view.enrollment is not None else None


def _hold(view: LeadView, reason: HoldReason, until: datetime | None, explanation: str) -> Decision:
    return Decision((), _position(view), until, explanation, reason)


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
    return _evaluate_requests(context)[0]


def _evaluate_requests(context: DecisionContext) -> tuple[Decision | None, datetime | None]:
    newer_than = silenced_since(context.view, context.now)
    return _evaluate_criteria(context, context.policy.requests, _position(context.view), (), newer_than)


def unanswered_request(view: LeadView, policy: Policy, now: datetime) -> str:
    """Return the reason of a request that no rep has answered; "" if there is none."""
    decision, _ = _evaluate_criteria(DecisionContext(view, None, policy, now), policy.requests, None, ())
    return decision.reason if decision is not None else ""


# 4. What silences our mail


def queue(context: DecisionContext) -> Decision | None:
    """Hold a lead in its queue until a request can move it."""
    if not is_parked(context.view.queue):
        return None
    reason = f"waits in the queue {context.view.queue}"
    return _hold(context.view, HoldReason.QUEUED, _evaluate_requests(context)[1], reason)


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
    wake_at = earliest((until, _evaluate_requests(context)[1]))
    return _hold(context.view, HoldReason.PAUSED, wake_at, f"paused until {format_minute(until)}")


GUARDS: Final = (not_enrolled, closed, with_sales, requested, queue, suppressed, no_consent_basis, paused)


# 5. Hand-off criteria


def _evaluate_criteria(
    context: DecisionContext,
    criteria: Sequence[Criterion],
    position: Position | None,
    field_updates: tuple[Action, ...],
    newer_than: datetime | None = None,
) -> tuple[Decision | None, datetime | None]:
    """Return the offer of the first criterion that holds, and when the next one may; call-backs come first.

    A call-back counts from its day, a stated date from when it is near.
    """
    callback = requested_callback(context.view.lead, context.zone_fallback)
    change_at = callback.at if callback is not None and callback.at > context.now else None
    if callback is not None and change_at is None and (newer_than is None or callback.at >= newer_than):
        return Decision(
            (*field_updates, OfferToSales(CALLBACK_RULE, callback.reason)), position, None, callback.reason
        ), None
    answered_at = context.view.lead.signals_since
    evaluation_context = context.policy.evaluation_context(
        context.view, since=answered_at, answered_at=answered_at, newer_than=newer_than
    )
    for criterion in criteria:
        met, detail, changes_at = evaluate(criterion.when, evaluation_context, context.now)
        if met:
            reason = f"{criterion.name}: {detail}"
            offer = OfferToSales(criterion.name, reason)
            return Decision((*field_updates, offer), position, None, reason), None
        change_at = earliest((change_at, changes_at))
    return None, change_at


# 6. The step


def _run_steps(context: DecisionContext, position: Position) -> Decision:
    """Run instructions from *position* until one holds, sends, hands off or ends the enrollment."""
    program = context.program
    if position.reached_at > context.now:
        not_due_reason = f"{position.step} is in its cool-off until {format_minute(position.reached_at)}"
        return Decision((), position, context.earliest_wake(position.reached_at), not_due_reason, HoldReason.NOT_DUE)
    located = _locate(context, position)
    if isinstance(located, Decision):
        return located
    index, position = located
    field_updates: tuple[Action, ...] = ()
    steps_left, last_reached_at = MAX_STEPS_PER_DECISION, position.reached_at
    while steps_left:
        steps_left -= 1
        instruction = program.instructions[index]
        if not isinstance(instruction, _CONTROL_FLOW) and instruction.step != position.step:
            position = _with_step(instruction.step, position.visit, position)
        match instruction:
            case Email():
                touch_result = send_or_hold(instruction, position, context, field_updates)
                if isinstance(touch_result, Decision):
                    return touch_result
                index, position = index + 1, touch_result
            case WaitFor():
                wait_result = _run_wait(instruction, position, context, field_updates)
                if isinstance(wait_result, Decision):
                    return wait_result
                index, position = wait_result
            case Jump(target=target):
                index = target
            case NextRound(repeat=repeat):
                index = repeat
                position = _with_step(position.step, position.visit + 1, position)
            case Branch():
                index = _choose_branch(instruction, position, context)
            case Split():
                _, index = choose_arm(instruction, program.track, context.view.lead.id)
            case Repeat():
                repeat_result = _run_repeat(instruction, position, context, field_updates)
                if isinstance(repeat_result, Decision):
                    return repeat_result
                index, position = repeat_result
            case SetField(name=name, value=value):
                index, field_updates = index + 1, (*field_updates, UpdateField(name, value))
                offer, context = _set_field(instruction, _position_at(context, index, position), context, field_updates)
                if offer is not None:
                    return offer
            case HandOff(reason=reason):
                offered = OfferToSales(instruction.step, reason)
                return Decision((*field_updates, offered), _position_at(context, index + 1, position), None, reason)
            case End(destination=to):
                reason = f"{program.track} has no more steps"
                return Decision((*field_updates, EndEnrollment(to, reason)), position, None, reason)
            case _:
                assert_never(instruction)
        if position.reached_at > last_reached_at:
            # Time advanced, so this is no endless loop: a lead may have years to catch up with.
            steps_left, last_reached_at = MAX_STEPS_PER_DECISION, position.reached_at
    loop_reason = f"{program.track} loops without an email or a wait at step {position.step}"
    return _end_enrollment(context.view, ToQueue(Queue.NO_TRACK), loop_reason)


def _locate(context: DecisionContext, position: Position) -> Decision | tuple[int, Position]:
    """Find *position* in the program; if its step was removed, wait for its touch before the lead moves."""
    program = context.program
    index = program.index_of(position.step)
    if index is None:
        reason = f"step {position.step} is not in version {program.version} of {program.track}"
        return _end_enrollment(context.view, ToQueue(Queue.NO_TRACK), reason)
    if position.step in program.index:
        return index, position
    completed = completed_touch(position, context, ())
    return completed if isinstance(completed, Decision) else (index, completed or position)


def _position_at(context: DecisionContext, index: int, position: Position) -> Position:
    step, visit = context.program.resolve(index, position.visit)
    return _with_step(step, visit, position)


def _with_step(step: str, visit: int, position: Position) -> Position:
    return Position(step, visit, position.anchor, position.reached_at)


def _evaluation_context(context: DecisionContext) -> EvaluationContext:
    enrollment = context.view.enrollment
    return context.policy.evaluation_context(context.view, since=enrollment.entered_at if enrollment else None)


def _set_field(
    instruction: SetField, next_position: Position, context: DecisionContext, field_updates: tuple[Action, ...]
) -> tuple[Decision | None, DecisionContext]:
    """Evaluate the criteria again after a field changes: nothing else would until the lead wakes."""
    changed = replace(context, view=context.view.with_field(instruction.name, instruction.value))
    if context.view.lead.fields.get(instruction.name) == instruction.value:
        return None, changed
    offer, change_at = _evaluate_criteria(changed, context.policy.criteria, next_position, field_updates)
    return offer, replace(changed, criteria_change_at=change_at)


def _choose_branch(branch: Branch, position: Position, context: DecisionContext) -> int:
    evaluation_context = _evaluation_context(context)
    for condition, target in branch.cases:
        if evaluate(condition, evaluation_context, position.reached_at).met:
            return target
    return branch.otherwise


def _run_wait(
    wait: WaitFor, position: Position, context: DecisionContext, field_updates: tuple[Action, ...]
) -> Decision | tuple[int, Position]:
    """Step through time from when the wait began; a signal exactly at the deadline still counts."""
    evaluation_context = _evaluation_context(context)
    deadline = calendar.add_delay(wait.up_to, context.zone, context.view.lead.holidays, position.reached_at)
    at = position.reached_at
    while True:
        met, detail, upcoming = evaluate(wait.until, evaluation_context, at)
        if met:
            return wait.then, Position(position.step, position.visit, position.anchor, at)
        if upcoming is not None and upcoming > deadline:
            upcoming = None
        until = upcoming or deadline
        if until > context.now:
            reason = f"{wait.step}: {detail}; waits until {format_minute(deadline)}"
            return Decision(field_updates, position, context.earliest_wake(until), reason, HoldReason.WAITING)
        if upcoming is None:
            return wait.otherwise, Position(position.step, position.visit, position.anchor, deadline)
        at = upcoming


def _run_repeat(
    repeat: Repeat, position: Position, context: DecisionContext, field_updates: tuple[Action, ...]
) -> Decision | tuple[int, Position]:
    """Begin round `visit` when the pause before it is over; the first round begins at once."""
    rounds_done = position.visit - 1
    if repeat.times is not None and rounds_done >= repeat.times:
        return repeat.then, _with_step(position.step, 1, position)
    if rounds_done == 0:
        return repeat.body, position
    pause = repeat.pause(rounds_done)
    due = calendar.add_delay(pause, context.zone, context.view.lead.holidays, position.reached_at)
    if due > context.now:
        reason = f"{repeat.step}: round {position.visit} begins on {format_minute(due)}"
        return Decision(field_updates, position, context.earliest_wake(due), reason, HoldReason.NOT_DUE)
    return repeat.body, Position(position.step, position.visit, position.anchor, due)
