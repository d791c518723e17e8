"""Run the instructions of a track from a lead's position until one holds, sends, hands off or ends the enrollment."""

from dataclasses import replace
from typing import Final, assert_never

from nurture.domain.lead import Queue
from nurture.domain.planning import calendar
from nurture.domain.planning.conditions import EvaluationContext, earliest, evaluate
from nurture.domain.planning.criteria import evaluate_criteria
from nurture.domain.planning.decision import (
    Decision,
    DecisionContext,
    EndEnrollment,
    HoldReason,
    OfferToSales,
    SkipTouch,
    UpdateField,
    end_enrollment,
    offer_lead,
)
from nurture.domain.planning.entry import find_takeover, respect_re_entry
from nurture.domain.planning.exits import find_exit
from nurture.domain.planning.lead_view import LeadView, Position
from nurture.domain.planning.program import (
    Branch,
    Email,
    End,
    HandOff,
    Jump,
    NextRound,
    Repeat,
    SetField,
    Split,
    ToQueue,
    WaitFor,
    choose_arm,
    successors,
)
from nurture.domain.planning.send_time import format_time
from nurture.domain.planning.touch_planning import (
    completed_touch,
    position_after_skip,
    recall_moved_touch,
    send_or_hold,
)
from nurture.domain.policy.policy import Policy

MAX_STEPS_PER_DECISION: Final = 500
_MET, _NOT_MET = 0, 1
"""The ways of a wait."""

_CONTROL_FLOW: Final = (Jump, NextRound)  # instructions at which no lead ever rests

Fork = WaitFor | Branch | Split
"""Instructions at which leads take one of several ways, in the order of `successors`."""

OtherInstruction = Repeat | HandOff | End | Jump | NextRound
"""All instructions but forks, and SetField and Email, which change the context of those that follow."""

Place = tuple[int, Position]
"""The index of the next instruction, and the position at which it runs."""


def run_steps(context: DecisionContext, position: Position) -> Decision:
    """Run instructions from *position* until one holds, sends, hands off or ends the enrollment."""
    program = context.program
    if position.reached_at > context.now:
        until = format_time(position.reached_at, context.zone, context.now)
        reason = f"{position.step} is in its cool-off until {until}"
        return context.hold(position, HoldReason.NOT_DUE, position.reached_at, reason)
    outcome = _locate(context, position)
    steps_left, last_reached_at = MAX_STEPS_PER_DECISION, position.reached_at
    ways: list[tuple[str, int]] = []
    while not isinstance(outcome, Decision):
        index, position = outcome
        if position.reached_at > last_reached_at:
            # Time advanced, so this is no endless loop: a lead may have years to catch up with.
            steps_left, last_reached_at = MAX_STEPS_PER_DECISION, position.reached_at
        if not steps_left:
            reason = f"{program.track} loops without an email or a wait at step {position.step}"
            return end_enrollment(context.view, ToQueue(Queue.TRACK_MISSING), reason)
        steps_left -= 1
        instruction = program.instructions[index]
        if not isinstance(instruction, _CONTROL_FLOW) and instruction.step != position.step:
            position = position.at_step(instruction.step, position.visit)
        if isinstance(instruction, SetField):
            context, outcome = _set_field(instruction, context, index, position)
        elif isinstance(instruction, Email):
            context, outcome = _send(instruction, context, index, position)
        elif isinstance(instruction, Fork):
            outcome = _choose_way(instruction, context, position)
            if not isinstance(outcome, Decision):
                way, position = outcome
                ways.append((instruction.step, way))
                outcome = successors(program.instructions, index)[way], position
        else:
            outcome = _run_instruction(instruction, context, index, position)
    if context.side_actions or ways:
        return replace(outcome, actions=(*context.side_actions, *outcome.actions), ways=tuple(ways))
    return outcome


def _run_instruction(
    instruction: OtherInstruction, context: DecisionContext, index: int, position: Position
) -> Decision | Place:
    match instruction:
        case Jump(target=target):
            return target, position
        case NextRound(repeat=repeat):
            return repeat, position.at_step(position.step, position.visit + 1)
        case Repeat():
            return _run_repeat(instruction, context, position)
        case HandOff(reason=reason):
            return offer_lead(OfferToSales(instruction.step, reason), _position_at(context, index + 1, position))
        case End(destination=to):
            end = respect_re_entry(context, EndEnrollment(to, f"{context.program.track} has no more steps"))
            return Decision((end,), position, None, end.reason)
        case _:
            assert_never(instruction)


def _choose_way(fork: Fork, context: DecisionContext, position: Position) -> Decision | tuple[int, Position]:
    """Return the number of the way that the lead takes, and its position there; or wait."""
    match fork:
        case WaitFor():
            return context.ask(lambda view: _run_wait(fork, view, context, position))
        case Branch():
            return context.ask(lambda view: _choose_branch(fork, view, context, position)), position
        case Split():
            chosen, _ = choose_arm(fork, context.program.track, context.view.lead.id)
            return next(number for number, (name, *_) in enumerate(fork.arms) if name == chosen), position
        case _:
            assert_never(fork)


def _locate(context: DecisionContext, position: Position) -> Decision | Place:
    """Find *position* in the program; if its step was removed, wait for its touch before the lead moves."""
    program = context.program
    index = program.index_of(position.step)
    if index is None:
        reason = f"step {position.step} is not in version {program.version} of {program.track}"
        return end_enrollment(context.view, ToQueue(Queue.TRACK_MISSING), reason)
    if position.step in program.index:
        return index, position
    completed = completed_touch(position, context)
    return completed if isinstance(completed, Decision) else (index, completed or position)


def _position_at(context: DecisionContext, index: int, position: Position) -> Position:
    step, visit = context.program.resolve(index, position.visit)
    return position.at_step(step, visit)


def _evaluation_context(view: LeadView, policy: Policy) -> EvaluationContext:
    return policy.evaluation_context(view, since=view.enrollment.entered_at if view.enrollment is not None else None)


def _send(
    email: Email, context: DecisionContext, index: int, position: Position
) -> tuple[DecisionContext, Decision | Place]:
    context = recall_moved_touch(email, position, context)
    sent = send_or_hold(email, position, context)
    if isinstance(sent, SkipTouch):
        return context.with_side_action(sent), (index + 1, position_after_skip(sent, position))
    return context, sent if isinstance(sent, Decision) else (index + 1, sent)


def _set_field(
    instruction: SetField, context: DecisionContext, index: int, position: Position
) -> tuple[DecisionContext, Decision | Place]:
    """Evaluate the criteria again after a field changes: nothing else would until the lead wakes."""
    known = context.view.lead.fields.get(instruction.name)
    context, place = context.with_field(UpdateField(instruction.name, instruction.value)), (index + 1, position)
    if known == instruction.value:
        return context, place
    end, exit_change_at = find_exit(context)
    if end is not None:
        end = respect_re_entry(context, end)
        return context, Decision((end,), position, None, end.reason)
    offer, change_at = evaluate_criteria(context)
    if offer is not None:
        return context, offer_lead(offer, _position_at(context, index + 1, position))
    taken_by = find_takeover(context)
    if taken_by.program is not None:
        after = _position_at(context, index + 1, position)
        reason = f"{instruction.name} is set, and fits the audience of {taken_by.program.track}"
        return context, context.hold(after, HoldReason.WAITING, context.now, reason)
    return replace(context, criteria_change_at=earliest((change_at, exit_change_at, taken_by.change_at))), place


def _choose_branch(branch: Branch, view: LeadView, context: DecisionContext, position: Position) -> int:
    evaluation_context = _evaluation_context(view, context.policy)
    for number, (condition, _) in enumerate(branch.cases):
        if evaluate(condition, evaluation_context, position.reached_at).met:
            return number
    return len(branch.cases)


def _run_wait(
    wait: WaitFor, view: LeadView, context: DecisionContext, position: Position
) -> Decision | tuple[int, Position]:
    """Step through time from when the wait began; a signal exactly at the deadline still counts."""
    evaluation_context = _evaluation_context(view, context.policy)
    deadline = calendar.add_delay(wait.up_to, context.zone, view.lead.holidays, position.reached_at)
    at = position.reached_at
    while True:
        met, detail, upcoming = evaluate(wait.until, evaluation_context, at)
        if met:
            return _MET, position.reached(at)
        if upcoming is not None and upcoming > deadline:
            upcoming = None
        until = upcoming or deadline
        if until > context.now:
            reason = f"{wait.step}: {detail}; waits until {format_time(deadline, context.zone, context.now)}"
            return context.hold(position, HoldReason.WAITING, until, reason)
        if upcoming is None:
            return _NOT_MET, position.reached(deadline)
        at = upcoming


def _run_repeat(repeat: Repeat, context: DecisionContext, position: Position) -> Decision | Place:
    """Begin round `visit` when the pause before it is over; the first round begins at once."""
    rounds_done = position.visit - 1
    if repeat.times is not None and rounds_done >= repeat.times:
        return repeat.then, position.at_step(position.step, 1)
    if rounds_done == 0:
        return repeat.body, position
    due = calendar.add_delay(repeat.pause(rounds_done), context.zone, context.view.lead.holidays, position.reached_at)
    if due > context.now:
        reason = f"{repeat.step}: round {position.visit} begins on {format_time(due, context.zone, context.now)}"
        return context.hold(position, HoldReason.NOT_DUE, due, reason)
    return repeat.body, position.reached(due)
