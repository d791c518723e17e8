"""Plan one touch of a track: send it now, or hold it and say why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from nurture.domain.planning import calendar
from nurture.domain.planning.decision import Action, Decision, DecisionContext, HoldReason, SendTouch, format_minute
from nurture.domain.planning.lead_view import UNKNOWN_COUNTS_AS_SENT_AFTER, Position, Touch, TouchState
from nurture.domain.planning.program import Email

MIN_TIME_TO_SEND: Final = timedelta(hours=1)  # for the outbox, if a track gives no grace


def send_or_hold(
    email: Email, position: Position, context: DecisionContext, field_updates: tuple[Action, ...]
) -> Decision | Position:
    """Send the touch, hold it, or return the position after it once it is completed."""
    return completed_touch(position, context, field_updates) or _plan_touch(email, position, context, field_updates)


def completed_touch(
    position: Position, context: DecisionContext, field_updates: tuple[Action, ...]
) -> Decision | Position | None:
    """Return the position after the touch of *position*, a hold while it is in flight, or None if there is none."""
    touch = context.view.find_touch(position.step, position.visit)
    if touch is None:
        return None
    completed_at = touch.completed_at(context.now)
    if completed_at is None:
        return _hold_in_flight(touch, position, context, field_updates)
    return Position(position.step, position.visit, completed_at, max(completed_at, position.reached_at))


def _hold_in_flight(
    touch: Touch, position: Position, context: DecisionContext, field_updates: tuple[Action, ...]
) -> Decision:
    until = touch.at + UNKNOWN_COUNTS_AS_SENT_AFTER
    if until <= context.now:
        until += ((context.now - until) // UNKNOWN_COUNTS_AS_SENT_AFTER + 1) * UNKNOWN_COUNTS_AS_SENT_AFTER
    state = "unconfirmed" if touch.state is TouchState.UNKNOWN else "in flight"
    reason = f"{touch.step} is {state}"
    return Decision(field_updates, position, context.earliest_wake(until), reason, HoldReason.IN_FLIGHT)


def _plan_touch(
    email: Email, position: Position, context: DecisionContext, field_updates: tuple[Action, ...]
) -> Decision:
    for touch in context.view.touches:  # a new version may have moved the lead to another step
        if touch.completed_at(context.now) is None:
            return _hold_in_flight(touch, position, context, field_updates)
    now, grace = context.now, context.program.grace
    due = _due_at(email, position, context)
    planned, limited_by = _next_allowed(due, context)
    if planned + grace < now:
        # Overdue beyond the grace: send this touch in the next window; later steps count from it.
        planned, limited_by = _next_allowed(now, context)
    if planned > now:
        reason = f"{email.step} is due on {format_minute(due)}, and may be sent on {format_minute(planned)}"
        hold = HoldReason.NOT_DUE if due > now else limited_by
        return Decision(field_updates, position, context.earliest_wake(planned), reason, hold)
    full_until = context.view.reps_full_until
    if full_until is not None and now < full_until and _is_call_to_action(email, position, context):
        reason = f"{email.step} is a call to action, and reps are full until {format_minute(full_until)}"
        return Decision(field_updates, position, context.earliest_wake(full_until), reason, HoldReason.REPS_FULL)
    send_at = planned
    if planned < now:
        send_at = calendar.next_open(context.program.window, context.zone, context.view.lead.holidays, now)
    send = SendTouch(
        step=email.step,
        visit=position.visit,
        email=email.email(position.visit),
        planned_at=planned,
        send_at=send_at,
        expires_at=send_at + max(grace, MIN_TIME_TO_SEND),
    )
    wake_at = context.earliest_wake(send_at + UNKNOWN_COUNTS_AS_SENT_AFTER)
    return Decision((*field_updates, send), position, wake_at, f"{email.step} was due on {format_minute(due)}")


def _is_call_to_action(email: Email, position: Position, context: DecisionContext) -> bool:
    return email.email(position.visit) in context.program.calls_to_action


def _due_at(email: Email, position: Position, context: DecisionContext) -> datetime:
    """Return when the delay is over, or if later, when the step was reached, a pause ended or a rep answered."""
    lead = context.view.lead
    due = calendar.add_delay(email.after, context.zone, lead.holidays, position.anchor)
    for earliest in (position.reached_at, lead.paused_until, lead.signals_since):
        if earliest is not None and earliest > due:
            due = earliest
    return due


def _next_allowed(at: datetime, context: DecisionContext) -> tuple[datetime, HoldReason]:
    """Return the first time from *at* on that window and cap allow, and which of them set it."""
    window, zone, holidays = context.program.window, context.zone, context.view.lead.holidays
    limited_by = HoldReason.SEND_WINDOW
    while True:
        at = calendar.next_open(window, zone, holidays, at)
        allowed_at = context.program.cap.next_allowed_at_interval(
            context.view.lead.touch_interval, context.view.recent_touch_times, at
        )
        if allowed_at is None:
            return at, limited_by
        at, limited_by = allowed_at, HoldReason.FREQUENCY_CAP
