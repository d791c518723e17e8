"""Plan one touch of a track: when it may be sent, and whether it is sent now or held, and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from nurture.domain.planning import calendar
from nurture.domain.planning.decision import Decision, DecisionContext, HoldReason, SendTouch, format_minute
from nurture.domain.planning.lead_view import UNKNOWN_COUNTS_AS_SENT_AFTER, Position, Touch, TouchState
from nurture.domain.planning.program import Email, Program

MIN_TIME_TO_SEND: Final = timedelta(hours=1)  # for the outbox, if a track gives no grace


def earliest_send_time(
    program: Program,
    at: datetime,
    *,
    zone: str,
    holidays: Collection[date],
    sent: Sequence[datetime] = (),
    touch_interval: timedelta | None = None,
) -> tuple[datetime, HoldReason]:
    """Return the first time from *at* on at which a touch may be sent, and what sets it: the window or the cap.

    *zone* and *holidays* are the lead's; zone "" means that of the program. *sent* are the times of its touches in
    all tracks, and *touch_interval* is the least time between two that it asked for. Raises NeverOpens.
    """
    limited_by = HoldReason.SEND_WINDOW
    while True:
        at = calendar.next_open(program.window, zone or program.zone_fallback, holidays, at)
        cap_frees_at = program.cap.next_allowed_at(sent, at, touch_interval)
        if cap_frees_at is None:
            return at, limited_by
        at, limited_by = cap_frees_at, HoldReason.FREQUENCY_CAP


def send_or_hold(email: Email, position: Position, context: DecisionContext) -> Decision | Position:
    """Send the touch, hold it, or return the position after it once it is completed."""
    return completed_touch(position, context) or _plan_touch(email, position, context)


def completed_touch(position: Position, context: DecisionContext) -> Decision | Position | None:
    """Return the position after the touch of *position*, a hold while it is in flight, or None if there is none."""
    touch = context.view.find_touch(position.step, position.visit)
    if touch is None:
        return None
    completed_at = touch.completed_at(context.now)
    if completed_at is None:
        return _hold_in_flight(touch, position, context)
    return Position(position.step, position.visit, completed_at, max(completed_at, position.reached_at))


def _hold_in_flight(touch: Touch, position: Position, context: DecisionContext) -> Decision:
    until = touch.at + UNKNOWN_COUNTS_AS_SENT_AFTER
    if until <= context.now:
        until += ((context.now - until) // UNKNOWN_COUNTS_AS_SENT_AFTER + 1) * UNKNOWN_COUNTS_AS_SENT_AFTER
    state = "unconfirmed" if touch.state is TouchState.UNKNOWN else "in flight"
    return context.hold(position, HoldReason.IN_FLIGHT, until, f"{touch.step} is {state}")


def _plan_touch(email: Email, position: Position, context: DecisionContext) -> Decision:
    for touch in context.view.touches:  # a new version may have moved the lead to another step
        if touch.completed_at(context.now) is None:
            return _hold_in_flight(touch, position, context)
    now, grace = context.now, context.program.grace
    due = _due_at(email, position, context)
    planned, limited_by = _next_allowed(context, due, context.view.recent_touch_times)
    if planned + grace < now:
        # Overdue beyond the grace: send this touch in the next window; later steps count from it.
        planned, limited_by = _next_allowed(context, now, context.view.recent_touch_times)
    if planned > now:
        reason = f"{email.step} is due on {format_minute(due)}, and may be sent on {format_minute(planned)}"
        return context.hold(position, HoldReason.NOT_DUE if due > now else limited_by, planned, reason)
    full_until, name = context.view.reps_full_until, email.email(position.visit)
    if full_until is not None and now < full_until and name in context.program.calls_to_action:
        reason = f"{email.step} is a call to action, and reps are full until {format_minute(full_until)}"
        return context.hold(position, HoldReason.REPS_FULL, full_until, reason)
    send_at = planned if planned == now else _next_allowed(context, now, ())[0]
    expires_at = send_at + max(grace, MIN_TIME_TO_SEND)
    send = SendTouch(email.step, position.visit, name, planned_at=planned, send_at=send_at, expires_at=expires_at)
    wake_at = context.earliest_wake(send_at + UNKNOWN_COUNTS_AS_SENT_AFTER)
    return Decision((send,), position, wake_at, f"{email.step} was due on {format_minute(due)}")


def _due_at(email: Email, position: Position, context: DecisionContext) -> datetime:
    """Return when the delay is over, or if later, when the step was reached, a pause ended or a rep answered."""
    lead = context.view.lead
    due = calendar.add_delay(email.after, context.zone, lead.holidays, position.anchor)
    for earliest in (position.reached_at, lead.paused_until, lead.signals_since):
        if earliest is not None and earliest > due:
            due = earliest
    return due


def _next_allowed(context: DecisionContext, at: datetime, sent: Sequence[datetime]) -> tuple[datetime, HoldReason]:
    lead = context.view.lead
    return earliest_send_time(
        context.program, at, zone=lead.zone, holidays=lead.holidays, sent=sent, touch_interval=lead.touch_interval
    )
