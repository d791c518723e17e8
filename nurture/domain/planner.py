"""What happens to a lead next. Read this first.

`decide` is pure: a view of one lead, the program of its track, the policy and the time go in; actions,
the next position, a wake-up time and a because come out. Nothing here reads a clock or a database.

The order of questions is policy:
    1. exits: left, closed, suppressed, no consent basis
    2. with a rep or offered; paused
    3. the policy's hand-off criteria
    4. the step
    5. only for a touch: send window, frequency cap, grace
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from nurture.domain import calendar
from nurture.domain.conditions import Question, earliest, evaluate
from nurture.domain.lead import Custodian, Fact, Queue
from nurture.domain.policy import Policy
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
from nurture.domain.view import DOUBT_COUNTS_AS_SENT_AFTER, Enrollment, Position, TouchState, View

MOST_STEPS_AT_ONCE: Final = 500


class HoldReason(StrEnum):
    """Why nothing happens now."""

    LEFT = "left"
    CLOSED = "closed"
    WITH_SALES = "with_sales"
    PAUSED = "paused"
    NOT_DUE = "not_due"
    WAITING = "waiting"
    IN_AIR = "in_air"
    SEND_WINDOW = "send_window"
    FREQUENCY_CAP = "frequency_cap"


@dataclass(frozen=True, slots=True)
class SendTouch:
    """Put an email into the outbox. It is not sent before *send_at* nor after *expires_at*."""

    step: str
    visit: int
    email: str
    planned_at: datetime
    send_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OfferToSales:
    """Hand the lead off; *rule* is the criterion or step that says so."""

    rule: str
    because: str


@dataclass(frozen=True, slots=True)
class NoteFact:
    """Write a fact of the lead."""

    name: str
    value: Fact


@dataclass(frozen=True, slots=True)
class Leave:
    """End the enrollment; the lead goes to *to*."""

    to: Destination
    because: str


Action = SendTouch | OfferToSales | NoteFact | Leave


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, where the lead stands then, when to look again, and why.

    *wake_at* None: nothing on this track wakes the lead (it left, or sales has it). *hold* is None
    exactly when something other than a note happens.
    """

    actions: tuple[Action, ...]
    position: Position | None
    wake_at: datetime | None
    because: str
    hold: HoldReason | None = None


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
    decision, change_at = _criteria(asked)
    if decision is not None:
        return decision
    return _walk(replace(asked, criteria_change_at=change_at))


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
    """Take a lead off the track whose address may not be mailed."""
    if not asked.view.suppressed:
        return None
    return _leaves(asked.view, ToQueue(Queue.SUPPRESSED), f"suppressed: {asked.view.suppressed}")


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
    return _stays(asked.view, HoldReason.PAUSED, until, f"paused until {until:%Y-%m-%d %H:%M} UTC")


GUARDS: Final = (left_already, closed, suppressed, without_basis, with_sales, paused)


# 3. Hand-off criteria


def _criteria(asked: Asked) -> tuple[Decision | None, datetime | None]:
    view, now = asked.view, asked.now
    about = Question(view, asked.policy.points, since=view.lead.evidence_since)
    changes: list[datetime | None] = []
    for criterion in asked.policy.criteria:
        answer = evaluate(criterion.when, about, now)
        if answer.yes:
            because = f"{criterion.name}: {answer.because}"
            position = view.enrollment.position if view.enrollment is not None else None
            return Decision((OfferToSales(criterion.name, because),), position, None, because), None
        changes.append(answer.changes_at)
    return None, earliest(changes)


# 4. The step


def _walk(asked: Asked) -> Decision:
    """Run instructions from the present position until one holds, sends, hands off or leaves."""
    enrollment = asked.view.enrollment
    assert enrollment is not None
    position = enrollment.position
    place = asked.program.place_of(position.step)
    if place is None:
        gone = f"step {position.step} is not in version {asked.program.version} of {asked.program.track}"
        return _leaves(asked.view, ToQueue(Queue.NO_TRACK), gone)
    notes: tuple[Action, ...] = ()
    for _ in range(MOST_STEPS_AT_ONCE):
        instruction = asked.program.instructions[place]
        if not isinstance(instruction, Jump | Again) and instruction.step != position.step:
            position = replace(position, step=instruction.step)
        match instruction:
            case Jump(target=target):
                place = target
            case Again(repeat=repeat):
                place, position = repeat, replace(position, visit=position.visit + 1)
            case SetFact(name=name, value=value):
                notes = (*notes, NoteFact(name, value))
                asked = replace(asked, view=asked.view.with_fact(name, value))
                place += 1
            case Split():
                _, place = arm_of(instruction, asked.program.track, asked.view.lead.id)
            case Branch():
                place = _branch(instruction, position, asked)
            case WaitFor():
                waited = _wait(instruction, position, asked, notes)
                if isinstance(waited, Decision):
                    return waited
                place, position = waited
            case Repeat():
                round_ = _repeat(instruction, position, asked, notes)
                if isinstance(round_, Decision):
                    return round_
                place, position = round_
            case Email():
                touched = _email(instruction, position, asked, notes)
                if isinstance(touched, Decision):
                    return touched
                place, position = place + 1, touched
            case HandOff(because=because):
                step, visit = asked.program.land(place + 1, position.visit)
                onward = replace(position, step=step, visit=visit)
                offer = OfferToSales(instruction.step, because)
                return Decision((*notes, offer), onward, None, because)
            case End(to=to):
                because = f"the steps of {asked.program.track} have run out"
                return Decision((*notes, Leave(to, because)), position, None, because)
            case _:
                assert_never(instruction)
    stuck = f"{asked.program.track} goes round without an email or a wait at step {position.step}"
    return _leaves(asked.view, ToQueue(Queue.NO_TRACK), stuck)


def _hold(
    asked: Asked,
    notes: tuple[Action, ...],
    position: Position,
    reason: HoldReason,
    until: datetime,
    because: str,
) -> Decision:
    """Hold until *until*, or until a hand-off criterion may change, whichever is first."""
    wake_at = until
    change_at = asked.criteria_change_at
    if change_at is not None and asked.now < change_at < wake_at:
        wake_at = change_at
    return Decision(notes, position, wake_at, because, reason)


def _question(asked: Asked) -> Question:
    enrollment = asked.view.enrollment
    return Question(asked.view, asked.policy.points, since=enrollment.entered_at if enrollment else None)


def _zone(asked: Asked) -> str:
    return asked.view.lead.zone or asked.program.zone_fallback


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
    holidays = asked.view.lead.holidays
    deadline = calendar.after(wait.up_to, _zone(asked), holidays, position.reached)
    moment = position.reached
    while True:
        answer = evaluate(wait.until, about, moment)
        if answer.yes:
            return wait.then, replace(position, reached=moment)
        upcoming = answer.changes_at
        if upcoming is None or upcoming <= moment or upcoming > deadline:
            upcoming = None
        if (upcoming or deadline) > asked.now:
            until = min(upcoming or deadline, deadline)
            because = f"{wait.step}: {answer.because}; waits until {deadline:%Y-%m-%d %H:%M} UTC"
            return _hold(asked, notes, position, HoldReason.WAITING, until, because)
        if upcoming is None:
            return wait.otherwise, replace(position, reached=deadline)
        moment = upcoming


def _repeat(
    repeat: Repeat, position: Position, asked: Asked, notes: tuple[Action, ...]
) -> Decision | tuple[int, Position]:
    """Begin round `visit` when the pause before it is over; the first round begins at once."""
    rounds_done = position.visit - 1
    if repeat.times is not None and rounds_done >= repeat.times:
        return repeat.then, replace(position, visit=1)
    if rounds_done == 0:
        return repeat.body, position
    pause = repeat.pause(rounds_done)
    due = calendar.after(pause, _zone(asked), asked.view.lead.holidays, position.reached)
    if due > asked.now:
        because = f"{repeat.step}: round {position.visit} begins on {due:%Y-%m-%d %H:%M} UTC"
        return _hold(asked, notes, position, HoldReason.NOT_DUE, due, because)
    return repeat.body, replace(position, reached=due)


# 5. A touch


def _email(
    email: Email, position: Position, asked: Asked, notes: tuple[Action, ...]
) -> Decision | Position:
    """Send the touch, hold it, or go on behind it once it is settled."""
    touch = asked.view.touch(email.step, position.visit)
    if touch is None:
        return _plan(email, position, asked, notes)
    settled = touch.settled_at(asked.now)
    if settled is not None:
        return replace(position, anchor=settled, reached=settled)
    until = touch.at + DOUBT_COUNTS_AS_SENT_AFTER
    if until <= asked.now:
        until = asked.now + DOUBT_COUNTS_AS_SENT_AFTER
    what = "in doubt" if touch.state is TouchState.IN_DOUBT else "on its way"
    return _hold(asked, notes, position, HoldReason.IN_AIR, until, f"{email.step} is {what}")


def _plan(email: Email, position: Position, asked: Asked, notes: tuple[Action, ...]) -> Decision:
    program, lead, now = asked.program, asked.view.lead, asked.now
    zone = _zone(asked)
    due = max(calendar.after(email.after, zone, lead.holidays, position.anchor), position.reached)
    if due > now:
        # The window is looked at again when the time has come: the lead may have moved zones by then.
        opens = calendar.next_open(program.window, zone, lead.holidays, due)
        because = f"{email.step} is due on {opens:%Y-%m-%d %H:%M} UTC"
        return _hold(asked, notes, position, HoldReason.NOT_DUE, opens, because)
    planned, reason = _allowed(due, asked)
    if planned <= now and now > planned + program.grace:
        # Overdue beyond the grace: this one touch goes in the next window, and later steps count from it.
        planned, reason = _allowed(now, asked)
    if planned > now:
        because = f"{email.step} may go on {planned:%Y-%m-%d %H:%M} UTC ({reason.value.replace('_', ' ')})"
        return _hold(asked, notes, position, reason, planned, because)
    send_at = calendar.next_open(program.window, zone, lead.holidays, now)
    send = SendTouch(
        step=email.step,
        visit=position.visit,
        email=email.email(position.visit),
        planned_at=planned,
        send_at=send_at,
        expires_at=send_at + program.grace,
    )
    because = f"{email.step} was due on {due:%Y-%m-%d %H:%M} UTC"
    wake_at = send_at + DOUBT_COUNTS_AS_SENT_AFTER
    change_at = asked.criteria_change_at
    if change_at is not None and now < change_at < wake_at:
        wake_at = change_at
    return Decision((*notes, send), position, wake_at, because)


def _allowed(moment: datetime, asked: Asked) -> tuple[datetime, HoldReason]:
    """Return the first moment from *moment* on that window and cap allow, and which of them moved it last."""
    program, lead = asked.program, asked.view.lead
    reason = HoldReason.SEND_WINDOW
    while True:
        moment = calendar.next_open(program.window, _zone(asked), lead.holidays, moment)
        frees = _cap_frees(moment, asked)
        if frees is None:
            return moment, reason
        moment, reason = frees, HoldReason.FREQUENCY_CAP


def _cap_frees(moment: datetime, asked: Asked) -> datetime | None:
    """Return when the frequency cap lets a touch go, None if it does at *moment*.

    A touch later than *moment* counts too: it is on its way.
    """
    cap = asked.program.cap
    counted = sorted(sent for sent in asked.view.recent if sent > moment - cap.per)
    if len(counted) < cap.touches:
        return None
    return counted[-cap.touches] + cap.per
