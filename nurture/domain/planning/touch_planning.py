"""A touch of a track: whether its email goes now, is on its way, or waits, and for what."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from nurture.domain.planning import calendar
from nurture.domain.planning.decision import Action, Asked, Decision, HoldReason, SendTouch, minute
from nurture.domain.planning.lead_view import DOUBT_COUNTS_AS_SENT_AFTER, Position, Touch, TouchState
from nurture.domain.planning.program import Email

LEAST_TIME_TO_SEND: Final = timedelta(hours=1)  # for the outbox, where a track gives no grace


def send_or_hold(
    email: Email, position: Position, asked: Asked, notes: tuple[Action, ...]
) -> Decision | Position:
    """Send the touch, hold it, or go on behind it once it is settled."""
    return settled_touch(position, asked, notes) or _plan(email, position, asked, notes)


def settled_touch(position: Position, asked: Asked, notes: tuple[Action, ...]) -> Decision | Position | None:
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
    return Decision(notes, position, asked.wakes(until), because, HoldReason.IN_AIR)


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
        because = f"{email.step} is due on {minute(due)}, and may go on {minute(planned)}"
        why = HoldReason.NOT_DUE if due > now else reason
        return Decision(notes, position, asked.wakes(planned), because, why)
    full_until = asked.view.full_until
    if full_until is not None and now < full_until and _calls(email, position, asked):
        because = f"{email.step} calls to action, and reps are full until {minute(full_until)}"
        return Decision(notes, position, asked.wakes(full_until), because, HoldReason.REPS_FULL)
    send_at = planned
    if planned < now:
        send_at = calendar.next_open(asked.program.window, asked.zone, asked.view.lead.holidays, now)
    send = SendTouch(
        step=email.step,
        visit=position.visit,
        email=email.email(position.visit),
        planned_at=planned,
        send_at=send_at,
        expires_at=send_at + max(grace, LEAST_TIME_TO_SEND),
    )
    wake_at = asked.wakes(send_at + DOUBT_COUNTS_AS_SENT_AFTER)
    return Decision((*notes, send), position, wake_at, f"{email.step} was due on {minute(due)}")


def _calls(email: Email, position: Position, asked: Asked) -> bool:
    return email.email(position.visit) in asked.program.calls_to_action


def _due(email: Email, position: Position, asked: Asked) -> datetime:
    """Return when the delay is over, or else when the step was reached, a pause ended or a rep answered."""
    lead = asked.view.lead
    due = calendar.after(email.after, asked.zone, lead.holidays, position.anchor)
    for moment in (position.reached, lead.paused_until, lead.evidence_since):
        if moment is not None and moment > due:
            due = moment
    return due


def _allowed(moment: datetime, asked: Asked) -> tuple[datetime, HoldReason]:
    """Return the first moment from *moment* on that window and cap allow, and which of them moved it last."""
    window, zone, holidays = asked.program.window, asked.zone, asked.view.lead.holidays
    reason = HoldReason.SEND_WINDOW
    while True:
        moment = calendar.next_open(window, zone, holidays, moment)
        frees = asked.program.cap.frees_at_pace(asked.view.lead.pace, asked.view.recent, moment)
        if frees is None:
            return moment, reason
        moment, reason = frees, HoldReason.FREQUENCY_CAP
