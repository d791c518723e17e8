"""What happens to a lead next. Read this first.

`decide` is pure: a view of one lead, the program of its track, the policy and the time go in; actions,
the next position, a wake-up time and a because come out. Nothing here reads a clock or a database.

The order of questions is policy:
    1. exits: left, closed, suppressed, no consent basis
    2. with a rep or offered; paused
    3. the policy's hand-off criteria
    4. the step
    5. only for a touch: send window, frequency cap, grace, room with the reps if it calls to action
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from nurture.domain import calendar
from nurture.domain.callback import CALL_BACK, call_of, kept_for_call
from nurture.domain.conditions import Question, evaluate
from nurture.domain.decision import Action, Decision, HoldReason, Leave, NoteFact, OfferToSales, SendTouch
from nurture.domain.lead import Custodian, Queue
from nurture.domain.policy import Policy
from nurture.domain.settling import settled, until_settled
from nurture.domain.suppression import covering, told
from nurture.domain.track import (
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
from nurture.domain.view import DOUBT_COUNTS_AS_SENT_AFTER, Enrollment, Position, Touch, TouchState, View

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
]

MOST_STEPS_AT_ONCE: Final = 500
LEAST_TIME_TO_SEND: Final = timedelta(hours=1)  # for the outbox, where a track gives no grace
_SILENT: Final = (Jump, Again)  # instructions at which no lead ever stands


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of one decision, and the next moment at which a hand-off criterion may change."""

    view: View
    program: Program
    policy: Policy
    now: datetime
    criteria_change_at: datetime | None = None


def decide(view: View, program: Program, policy: Policy, now: datetime) -> Decision:
    """Say what happens to the lead of *view* on *program* at *now* (UTC). Same arguments, same answer."""
    asked = Asked(view, program, policy, now)
    for guard in GUARDS:
        decision = guard(asked)
        if decision is not None:
            return decision
    sure, settles_at = settled(view, policy, now)
    decision, offered = _decided(asked if settles_at is None else replace(asked, view=sure))
    if settles_at is None or offered or decision == _decided(asked)[0]:
        return decision
    return until_settled(decision, view, settles_at)


def _decided(asked: Asked) -> tuple[Decision, bool]:
    """Return the decision, and whether it is an offer that the policy's criteria made."""
    assert asked.view.enrollment is not None  # left_already
    position = asked.view.enrollment.position
    offer, change_at = _criteria(asked, position, ())
    if change_at is not None:
        asked = Asked(asked.view, asked.program, asked.policy, asked.now, change_at)
    if offer is not None:
        return offer, True
    return kept_for_call(_walk(asked, position), asked.view.lead, change_at), False


def evolve(enrollment: Enrollment, decision: Decision) -> Enrollment:
    """Return the enrollment as *decision* leaves it; replaying stored decisions rebuilds the stored one."""
    ended = enrollment.ended or any(isinstance(action, Leave) for action in decision.actions)
    return replace(enrollment, position=decision.position or enrollment.position, ended=ended)


def _stays(view: View, reason: HoldReason, until: datetime | None, because: str) -> Decision:
    position = view.enrollment.position if view.enrollment is not None else None
    return Decision((), position, until, because, reason)


def _leaves(view: View, to: Destination, because: str) -> Decision:
    position = view.enrollment.position if view.enrollment is not None else None
    return Decision((Leave(to, because),), position, None, because)


# 1. Exits


def left_already(asked: Asked) -> Decision | None:
    """Answer for a lead that is on no track."""
    enrollment = asked.view.enrollment
    if enrollment is not None and not enrollment.ended:
        return None
    return _stays(asked.view, HoldReason.LEFT, None, "the lead is on no track")


def closed(asked: Asked) -> Decision | None:
    """Answer for a closed lead."""
    if asked.view.custodian is not Custodian.CLOSED:
        return None
    return _stays(asked.view, HoldReason.CLOSED, None, "the lead is closed")


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


# 2. Not ours to move now


def with_sales(asked: Asked) -> Decision | None:
    """Hold while a rep has the lead, or is asked to take it."""
    if asked.view.custodian is Custodian.TRACK:
        return None
    return _stays(asked.view, HoldReason.WITH_SALES, None, f"custodian is {asked.view.custodian.value}")


def paused(asked: Asked) -> Decision | None:
    """Hold while the lead asked for peace."""
    until = asked.view.lead.paused_until
    if until is None or until <= asked.now:
        return None
    return _stays(asked.view, HoldReason.PAUSED, until, f"paused until {_text(until)}")


GUARDS: Final = (left_already, closed, suppressed, without_basis, with_sales, paused)


# 3. Hand-off criteria


def _criteria(
    asked: Asked, position: Position, notes: tuple[Action, ...]
) -> tuple[Decision | None, datetime | None]:
    """Return the offer of the first criterion that holds, and when the next one may; calls come first."""
    call = call_of(asked.view.lead, asked.program.zone_fallback)
    if call is not None and call.at <= asked.now:
        return Decision((*notes, OfferToSales(CALL_BACK, call.because)), position, None, call.because), None
    change_at = call.at if call is not None else None
    answered_at = asked.view.lead.evidence_since
    about = asked.policy.question(asked.view, since=answered_at, answered_at=answered_at)
    for criterion in asked.policy.criteria:
        yes, why, changes_at = evaluate(criterion.when, about, asked.now)
        if yes:
            because = f"{criterion.name}: {why}"
            offer = OfferToSales(criterion.name, because)
            return Decision((*notes, offer), position, None, because), None
        if changes_at is not None and (change_at is None or changes_at < change_at):
            change_at = changes_at
    return None, change_at


# 4. The step


def _walk(asked: Asked, position: Position) -> Decision:
    """Run instructions from *position* until one holds, sends, hands off or leaves."""
    program = asked.program
    if position.reached > asked.now:
        peace = f"{position.step} is left in peace until {_text(position.reached)}"
        return Decision((), position, _wakes(asked, position.reached), peace, HoldReason.NOT_DUE)
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
                touched = _email(instruction, position, asked, notes)
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
    settled = _settled(position, asked, ())
    return settled if isinstance(settled, Decision) else (place, settled or position)


def _onward(asked: Asked, place: int, position: Position) -> Position:
    step, visit = asked.program.land(place, position.visit)
    return _at(step, visit, position)


def _at(step: str, visit: int, position: Position) -> Position:
    return Position(step, visit, position.anchor, position.reached)


def _wakes(asked: Asked, until: datetime) -> datetime:
    """Return *until*, or when a hand-off criterion may change, whichever is first."""
    change_at = asked.criteria_change_at
    return change_at if change_at is not None and asked.now < change_at < until else until


def _question(asked: Asked) -> Question:
    enrollment = asked.view.enrollment
    return asked.policy.question(asked.view, since=enrollment.entered_at if enrollment else None)


def _zone(asked: Asked) -> str:
    return asked.view.lead.zone or asked.program.zone_fallback


def _set(
    fact: SetFact, onward: Position, asked: Asked, notes: tuple[Action, ...]
) -> tuple[Decision | None, Asked]:
    """Ask the criteria again where a fact changes: nothing else would, until the lead wakes."""
    view = asked.view.with_fact(fact.name, fact.value)
    changed = Asked(view, asked.program, asked.policy, asked.now, asked.criteria_change_at)
    if asked.view.lead.facts.get(fact.name) == fact.value:
        return None, changed
    offer, change_at = _criteria(changed, onward, notes)
    return offer, Asked(view, asked.program, asked.policy, asked.now, change_at)


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
    deadline = calendar.after(wait.up_to, _zone(asked), asked.view.lead.holidays, position.reached)
    moment = position.reached
    while True:
        yes, why, upcoming = evaluate(wait.until, about, moment)
        if yes:
            return wait.then, Position(position.step, position.visit, position.anchor, moment)
        if upcoming is not None and upcoming > deadline:
            upcoming = None
        until = upcoming or deadline
        if until > asked.now:
            because = f"{wait.step}: {why}; waits until {_text(deadline)}"
            return Decision(notes, position, _wakes(asked, until), because, HoldReason.WAITING)
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
    due = calendar.after(pause, _zone(asked), asked.view.lead.holidays, position.reached)
    if due > asked.now:
        because = f"{repeat.step}: round {position.visit} begins on {_text(due)}"
        return Decision(notes, position, _wakes(asked, due), because, HoldReason.NOT_DUE)
    return repeat.body, Position(position.step, position.visit, position.anchor, due)


# 5. A touch


def _email(email: Email, position: Position, asked: Asked, notes: tuple[Action, ...]) -> Decision | Position:
    """Send the touch, hold it, or go on behind it once it is settled."""
    return _settled(position, asked, notes) or _plan(email, position, asked, notes)


def _settled(position: Position, asked: Asked, notes: tuple[Action, ...]) -> Decision | Position | None:
    """Go on behind the touch of *position* or hold while it is in the air; None if there is none."""
    touch = asked.view.touch(position.step, position.visit)
    if touch is None:
        return None
    settled = touch.settled_at(asked.now)
    if settled is None:
        return _in_air(touch, position, asked, notes)
    return Position(position.step, position.visit, settled, max(settled, position.reached))


def _in_air(touch: Touch, position: Position, asked: Asked, notes: tuple[Action, ...]) -> Decision:
    until = touch.at + DOUBT_COUNTS_AS_SENT_AFTER
    if until <= asked.now:
        until += ((asked.now - until) // DOUBT_COUNTS_AS_SENT_AFTER + 1) * DOUBT_COUNTS_AS_SENT_AFTER
    what = "in doubt" if touch.state is TouchState.IN_DOUBT else "on its way"
    because = f"{touch.step} is {what}"
    return Decision(notes, position, _wakes(asked, until), because, HoldReason.IN_AIR)


def _plan(email: Email, position: Position, asked: Asked, notes: tuple[Action, ...]) -> Decision:
    for touch in asked.view.touches:  # a new version may have taken the lead away from it
        if touch.settled_at(asked.now) is None:
            return _in_air(touch, position, asked, notes)
    now, grace = asked.now, asked.program.grace
    due = _due(email, position, asked)
    planned, reason = _allowed(due, asked)
    if planned + grace < now:
        # Overdue beyond the grace: this one touch goes in the next window, and later steps count from it.
        planned, reason = _allowed(now, asked)
    if planned > now:
        because = f"{email.step} is due on {_text(due)}, and may go on {_text(planned)}"
        why = HoldReason.NOT_DUE if due > now else reason
        return Decision(notes, position, _wakes(asked, planned), because, why)
    full_until = asked.view.full_until
    if full_until is not None and now < full_until and _calls(email, position, asked):
        because = f"{email.step} calls to action, and reps are full until {_text(full_until)}"
        return Decision(notes, position, _wakes(asked, full_until), because, HoldReason.REPS_FULL)
    send_at = planned
    if planned < now:
        send_at = calendar.next_open(asked.program.window, _zone(asked), asked.view.lead.holidays, now)
    send = SendTouch(
        step=email.step,
        visit=position.visit,
        email=email.email(position.visit),
        planned_at=planned,
        send_at=send_at,
        expires_at=send_at + max(grace, LEAST_TIME_TO_SEND),
    )
    wake_at = _wakes(asked, send_at + DOUBT_COUNTS_AS_SENT_AFTER)
    return Decision((*notes, send), position, wake_at, f"{email.step} was due on {_text(due)}")


def _calls(email: Email, position: Position, asked: Asked) -> bool:
    return email.email(position.visit) in asked.program.calls_to_action


def _due(email: Email, position: Position, asked: Asked) -> datetime:
    """Return when the delay is over, or else when the step was reached, a pause ended or a rep answered."""
    lead = asked.view.lead
    due = calendar.after(email.after, _zone(asked), lead.holidays, position.anchor)
    for moment in (position.reached, lead.paused_until, lead.evidence_since):
        if moment is not None and moment > due:
            due = moment
    return due


def _allowed(moment: datetime, asked: Asked) -> tuple[datetime, HoldReason]:
    """Return the first moment from *moment* on that window and cap allow, and which of them moved it last."""
    window, zone, holidays = asked.program.window, _zone(asked), asked.view.lead.holidays
    reason = HoldReason.SEND_WINDOW
    while True:
        moment = calendar.next_open(window, zone, holidays, moment)
        frees = asked.program.cap.frees_at_pace(asked.view.lead.pace, asked.view.recent, moment)
        if frees is None:
            return moment, reason
        moment, reason = frees, HoldReason.FREQUENCY_CAP


def _text(moment: datetime) -> str:
    return f"{moment.isoformat(' ', 'minutes')[:16]} UTC"
