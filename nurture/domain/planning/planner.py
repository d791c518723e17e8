"""What happens to a lead next. Read this first.

`decide` is pure: a view of one lead, the program of its track, the policy and the time go in; actions,
the next position, a wake-up time and a because come out. Nothing here reads a clock or a database.

The order of questions is policy:
    1. exits: left, closed
    2. with a rep or offered
    3. requests (a demo, a reply, a call-back day, a stated date that is near) that are newer than the opt-out
       or the pause that silences our mail; a missing address or consent basis silences no request
    4. off the tracks in a queue; suppressed, no consent basis, paused
    5. the policy's hand-off criteria: interest (score, clicks), and requests however old
    6. the step
    7. only for a touch: send window, frequency cap, grace, room with the reps if it calls to action
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from nurture.domain.consent.suppression import covering, told
from nurture.domain.lead import Custodian, Queue, is_parked
from nurture.domain.planning import calendar
from nurture.domain.planning.callback import CALL_BACK, call_of, kept_for_call
from nurture.domain.planning.click_grace import settled, until_settled
from nurture.domain.planning.conditions import Question, earliest, evaluate
from nurture.domain.planning.decision import (
    Action,
    Asked,
    Decision,
    HoldReason,
    Leave,
    NoteFact,
    OfferToSales,
    SendTouch,
    minute,
)
from nurture.domain.planning.lead_view import Enrollment, Position, View
from nurture.domain.planning.program import (
    Again,
    Branch,
    Destination,
    Email,
    End,
    HandOff,
    Jump,
    Program,
    Repeat,
    SetFact,
    Split,
    ToQueue,
    WaitFor,
    arm_of,
)
from nurture.domain.planning.requests import silent_since
from nurture.domain.planning.touch_planning import send_or_hold, settled_touch
from nurture.domain.policy.policy import Criterion, Policy

__all__ = [
    "GUARDS",
    "Action",
    "Asked",
    "Decision",
    "HoldReason",
    "Leave",
    "NoteFact",
    "OfferToSales",
    "SendTouch",
    "decide",
    "evolve",
    "unanswered_request",
]

MOST_STEPS_AT_ONCE: Final = 500
_SILENT: Final = (Jump, Again)  # instructions at which no lead ever stands


def decide(view: View, program: Program | None, policy: Policy, now: datetime) -> Decision:
    """Return what happens to the lead of *view* at *now* (UTC). Same arguments, same answer.

    *program* is that of the lead's track, None for a lead in a queue: it is asked for requests alone.
    """
    sure, settles_at = settled(view, policy, now)
    decision, offered = _decided(Asked(sure, program, policy, now))
    if settles_at is None or offered or decision == _decided(Asked(view, program, policy, now))[0]:
        return decision
    return until_settled(decision, view, settles_at)


def _decided(asked: Asked) -> tuple[Decision, bool]:
    """Return the decision, and whether it is an offer that the policy's criteria made."""
    for guard in GUARDS:
        decision = guard(asked)
        if decision is not None:
            return decision, guard is requested
    assert asked.view.enrollment is not None  # left_already
    position = asked.view.enrollment.position
    offer, change_at = _criteria(asked, asked.policy.criteria, position, ())
    if change_at is not None:
        asked = replace(asked, criteria_change_at=change_at)
    if offer is not None:
        return offer, True
    return kept_for_call(_walk(asked, position), asked.view.lead, change_at), False


def evolve(enrollment: Enrollment, decision: Decision) -> Enrollment:
    """Return the enrollment as *decision* leaves it; replaying stored decisions rebuilds the stored one."""
    ended = enrollment.ended or any(isinstance(action, Leave) for action in decision.actions)
    return replace(enrollment, position=decision.position or enrollment.position, ended=ended)


def _position(view: View) -> Position | None:
    return view.enrollment.position if view.enrollment is not None else None


def _stays(view: View, reason: HoldReason, until: datetime | None, because: str) -> Decision:
    return Decision((), _position(view), until, because, reason)


def _leaves(view: View, to: Destination, because: str) -> Decision:
    return Decision((Leave(to, because),), _position(view), None, because)


# 1. Exits


def left_already(asked: Asked) -> Decision | None:
    """Answer for a lead that is on no track, and in no queue that a request takes it out of."""
    enrollment = asked.view.enrollment
    if (enrollment is not None and not enrollment.ended) or is_parked(asked.view.queue):
        return None
    return _stays(asked.view, HoldReason.LEFT, None, "the lead is on no track")


def closed(asked: Asked) -> Decision | None:
    """Answer for a closed lead."""
    if asked.view.custodian is not Custodian.CLOSED:
        return None
    return _stays(asked.view, HoldReason.CLOSED, None, "the lead is closed")


# 2. Not ours to move now


def with_sales(asked: Asked) -> Decision | None:
    """Hold while a rep has the lead, or is asked to take it."""
    if asked.view.custodian is Custodian.TRACK or is_parked(asked.view.queue):
        return None
    return _stays(asked.view, HoldReason.WITH_SALES, None, f"custodian is {asked.view.custodian.value}")


# 3. Requests


def requested(asked: Asked) -> Decision | None:
    """Offer a lead that asked for a person since it wanted no mail, or while nothing silences our mail."""
    return _requests(asked)[0]


def _requests(asked: Asked) -> tuple[Decision | None, datetime | None]:
    newer_than = silent_since(asked.view, asked.now)
    return _criteria(asked, asked.policy.requests, _position(asked.view), (), newer_than)


def unanswered_request(view: View, policy: Policy, now: datetime) -> str:
    """Return why the lead asks for a person, by a request that no rep has answered; "" if it does not."""
    decision, _ = _criteria(Asked(view, None, policy, now), policy.requests, None, ())
    return decision.because if decision is not None else ""


# 4. What silences our mail


def queue(asked: Asked) -> Decision | None:
    """Keep a lead in its queue until it may ask for a person."""
    if not is_parked(asked.view.queue):
        return None
    because = f"waits in the queue {asked.view.queue}"
    return _stays(asked.view, HoldReason.QUEUED, _requests(asked)[1], because)


def suppressed(asked: Asked) -> Decision | None:
    """Take a lead off the track whose address may not be mailed, or not about this topic."""
    why = asked.view.suppressed
    if not why:
        refused = covering(asked.view.standing, asked.program.track, asked.program.topic)
        if refused is None:
            return None
        why = told(refused)
    return _leaves(asked.view, ToQueue(Queue.SUPPRESSED), f"suppressed: {why}")


def without_basis(asked: Asked) -> Decision | None:
    """Take a lead off the track that nothing allows us to mail."""
    if asked.view.lead.basis:
        return None
    return _leaves(asked.view, ToQueue(Queue.NO_BASIS), "no consent or other legal basis is recorded")


def paused(asked: Asked) -> Decision | None:
    """Hold while the lead wants no mail for a time, or is away; a request to come wakes it sooner."""
    until = asked.view.lead.paused_until
    if until is None or until <= asked.now:
        return None
    wake_at = earliest((until, _requests(asked)[1]))
    return _stays(asked.view, HoldReason.PAUSED, wake_at, f"paused until {minute(until)}")


GUARDS: Final = (left_already, closed, with_sales, requested, queue, suppressed, without_basis, paused)


# 5. Hand-off criteria


def _criteria(
    asked: Asked,
    criteria: Sequence[Criterion],
    position: Position | None,
    notes: tuple[Action, ...],
    newer_than: datetime | None = None,
) -> tuple[Decision | None, datetime | None]:
    """Return the offer of the first criterion that holds, and when the next one may; calls come first.

    A call counts from the day on which it is to be made, a stated date from when it is near.
    """
    call = call_of(asked.view.lead, asked.zone_fallback)
    change_at = call.at if call is not None and call.at > asked.now else None
    if call is not None and change_at is None and (newer_than is None or call.at >= newer_than):
        return Decision((*notes, OfferToSales(CALL_BACK, call.because)), position, None, call.because), None
    answered_at = asked.view.lead.evidence_since
    about = asked.policy.question(
        asked.view, since=answered_at, answered_at=answered_at, newer_than=newer_than
    )
    for criterion in criteria:
        yes, why, changes_at = evaluate(criterion.when, about, asked.now)
        if yes:
            because = f"{criterion.name}: {why}"
            offer = OfferToSales(criterion.name, because)
            return Decision((*notes, offer), position, None, because), None
        change_at = earliest((change_at, changes_at))
    return None, change_at


# 6. The step


def _walk(asked: Asked, position: Position) -> Decision:
    """Run instructions from *position* until one holds, sends, hands off or leaves."""
    program = asked.program
    if position.reached > asked.now:
        peace = f"{position.step} is left in peace until {minute(position.reached)}"
        return Decision((), position, asked.wakes(position.reached), peace, HoldReason.NOT_DUE)
    stands = _stands(asked, position)
    if isinstance(stands, Decision):
        return stands
    place, position = stands
    notes: tuple[Action, ...] = ()
    steps_left, reached = MOST_STEPS_AT_ONCE, position.reached
    while steps_left:
        steps_left -= 1
        instruction = program.instructions[place]
        if not isinstance(instruction, _SILENT) and instruction.step != position.step:
            position = _at(instruction.step, position.visit, position)
        match instruction:
            case Email():
                touched = send_or_hold(instruction, position, asked, notes)
                if isinstance(touched, Decision):
                    return touched
                place, position = place + 1, touched
            case WaitFor():
                waited = _wait(instruction, position, asked, notes)
                if isinstance(waited, Decision):
                    return waited
                place, position = waited
            case Jump(target=target):
                place = target
            case Again(repeat=repeat):
                place = repeat
                position = _at(position.step, position.visit + 1, position)
            case Branch():
                place = _branch(instruction, position, asked)
            case Split():
                _, place = arm_of(instruction, program.track, asked.view.lead.id)
            case Repeat():
                round_ = _repeat(instruction, position, asked, notes)
                if isinstance(round_, Decision):
                    return round_
                place, position = round_
            case SetFact(name=name, value=value):
                place, notes = place + 1, (*notes, NoteFact(name, value))
                offer, asked = _set(instruction, _onward(asked, place, position), asked, notes)
                if offer is not None:
                    return offer
            case HandOff(because=because):
                offered = OfferToSales(instruction.step, because)
                return Decision((*notes, offered), _onward(asked, place + 1, position), None, because)
            case End(to=to):
                because = f"the steps of {program.track} have run out"
                return Decision((*notes, Leave(to, because)), position, None, because)
            case _:
                assert_never(instruction)
        if position.reached > reached:
            # Time went on, so this is no endless round: a lead may have years to catch up with.
            steps_left, reached = MOST_STEPS_AT_ONCE, position.reached
    stuck = f"{program.track} goes round without an email or a wait at step {position.step}"
    return _leaves(asked.view, ToQueue(Queue.NO_TRACK), stuck)


def _stands(asked: Asked, position: Position) -> Decision | tuple[int, Position]:
    """Find *position* in the program; a touch of a step that is gone is waited for before the lead moves."""
    program = asked.program
    place = program.place_of(position.step)
    if place is None:
        gone = f"step {position.step} is not in version {program.version} of {program.track}"
        return _leaves(asked.view, ToQueue(Queue.NO_TRACK), gone)
    if position.step in program.index:
        return place, position
    settled = settled_touch(position, asked, ())
    return settled if isinstance(settled, Decision) else (place, settled or position)


def _onward(asked: Asked, place: int, position: Position) -> Position:
    step, visit = asked.program.land(place, position.visit)
    return _at(step, visit, position)


def _at(step: str, visit: int, position: Position) -> Position:
    return Position(step, visit, position.anchor, position.reached)


def _question(asked: Asked) -> Question:
    enrollment = asked.view.enrollment
    return asked.policy.question(asked.view, since=enrollment.entered_at if enrollment else None)


def _set(
    fact: SetFact, onward: Position, asked: Asked, notes: tuple[Action, ...]
) -> tuple[Decision | None, Asked]:
    """Ask the criteria again where a fact changes: nothing else would, until the lead wakes."""
    changed = replace(asked, view=asked.view.with_fact(fact.name, fact.value))
    if asked.view.lead.facts.get(fact.name) == fact.value:
        return None, changed
    offer, change_at = _criteria(changed, asked.policy.criteria, onward, notes)
    return offer, replace(changed, criteria_change_at=change_at)


def _branch(branch: Branch, position: Position, asked: Asked) -> int:
    about = _question(asked)
    for condition, target in branch.cases:
        if evaluate(condition, about, position.reached).yes:
            return target
    return branch.otherwise


def _wait(
    wait: WaitFor, position: Position, asked: Asked, notes: tuple[Action, ...]
) -> Decision | tuple[int, Position]:
    """Walk through time from when the wait began; a signal exactly at the deadline still counts."""
    about = _question(asked)
    deadline = calendar.after(wait.up_to, asked.zone, asked.view.lead.holidays, position.reached)
    moment = position.reached
    while True:
        yes, why, upcoming = evaluate(wait.until, about, moment)
        if yes:
            return wait.then, Position(position.step, position.visit, position.anchor, moment)
        if upcoming is not None and upcoming > deadline:
            upcoming = None
        until = upcoming or deadline
        if until > asked.now:
            because = f"{wait.step}: {why}; waits until {minute(deadline)}"
            return Decision(notes, position, asked.wakes(until), because, HoldReason.WAITING)
        if upcoming is None:
            return wait.otherwise, Position(position.step, position.visit, position.anchor, deadline)
        moment = upcoming


def _repeat(
    repeat: Repeat, position: Position, asked: Asked, notes: tuple[Action, ...]
) -> Decision | tuple[int, Position]:
    """Begin round `visit` when the pause before it is over; the first round begins at once."""
    rounds_done = position.visit - 1
    if repeat.times is not None and rounds_done >= repeat.times:
        return repeat.then, _at(position.step, 1, position)
    if rounds_done == 0:
        return repeat.body, position
    pause = repeat.pause(rounds_done)
    due = calendar.after(pause, asked.zone, asked.view.lead.holidays, position.reached)
    if due > asked.now:
        because = f"{repeat.step}: round {position.visit} begins on {minute(due)}"
        return Decision(notes, position, asked.wakes(due), because, HoldReason.NOT_DUE)
    return repeat.body, Position(position.step, position.visit, position.anchor, due)
