"""Plan one touch of a track: when it may be sent, and whether it is sent now or held, and why."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from nurture.domain.planning import calendar
from nurture.domain.planning.content import choose_email
from nurture.domain.planning.dates import DateOffset
from nurture.domain.planning.decision import (
    Decision,
    DecisionContext,
    HoldReason,
    RecallTouch,
    SendTouch,
    SkipTouch,
)
from nurture.domain.planning.frequency_cap import latest_release
from nurture.domain.planning.lead_view import UNKNOWN_COUNTS_AS_SENT_AFTER, LeadView, Position, Touch, TouchState
from nurture.domain.planning.program import Email
from nurture.domain.planning.send_time import (
    Move,
    SendTime,
    Spread,
    describe_move,
    earliest_send_time,
    format_day,
    format_time,
    spread_send_time,
)
from nurture.domain.planning.touch_timing import MIN_TIME_TO_SEND, TouchTiming, date_due_at, find_timing, latest_time

ACCOUNT_HOLD_CHECK: Final = timedelta(days=1)
"""How often it is checked whether sales still talks to the company of a lead whose call to action is held."""


def send_or_hold(email: Email, position: Position, context: DecisionContext) -> Decision | Position | SkipTouch:
    """Send the touch, hold it, skip it, or return the position after it once it is completed."""
    return completed_touch(position, context) or _plan_touch(email, position, context)


def recall_moved_touch(email: Email, position: Position, context: DecisionContext) -> DecisionContext:
    """Recall the planned touch of *position* if its date moved to a later day or is not known any more.

    So is one that waits until a time at which it would make no sense, because `not_after` moved to an earlier day.
    """
    touch = context.view.find_touch(position.step, position.visit) if email.has_date else None
    if touch is None or touch.state is not TouchState.PLANNED:
        return context
    due = date_due_at(email, context.program, context.view.lead)
    if isinstance(email.after, DateOffset) and (due is None or due > context.now):
        reason = f"{email.after} moved"
    else:
        latest_at = latest_time(email, context.program, context.view.lead)
        if latest_at is None or not context.now < latest_at <= touch.at:
            return context
        reason = f"it would go on {format_day(touch.at, context.zone, context.now)}, which is too late"
    recall = RecallTouch(email.step, position.visit, f"{email.step} is recalled: {reason}")
    return replace(context.with_side_action(recall), view=context.view.withdraw(touch, TouchState.RECALLED, touch.at))


def position_after_skip(skip: SkipTouch, position: Position) -> Position:
    """Return the position after a skipped touch; delays count on as if the step were not there, or from its time."""
    if skip.at is None or skip.at <= position.reached_at:
        return position
    return Position(position.step, position.visit, skip.at, skip.at)


def completed_touch(position: Position, context: DecisionContext) -> Decision | Position | None:
    """Return the position after the touch of *position*, a hold while it is in flight, or None if there is none."""
    touch = context.view.find_touch(position.step, position.visit)
    if touch is None:
        return None
    completed_at = touch.completed_at(context.now)
    if completed_at is None:
        return hold_in_flight(touch, context, position=position)
    return Position(position.step, position.visit, completed_at, max(completed_at, position.reached_at))


def hold_in_flight(
    touch: Touch, context: DecisionContext, more: str = "", *, position: Position | None = None
) -> Decision:
    """Wait for *touch*, at *position* or where the lead stands."""
    until = touch.at + UNKNOWN_COUNTS_AS_SENT_AFTER
    if until <= context.now:
        until += ((context.now - until) // UNKNOWN_COUNTS_AS_SENT_AFTER + 1) * UNKNOWN_COUNTS_AS_SENT_AFTER
    state = "unconfirmed" if touch.state is TouchState.UNKNOWN else "in flight"
    at = position or context.view.position
    assert at is not None
    return context.hold(at, HoldReason.IN_FLIGHT, until, f"{touch.step} is {state}{more}")


def _plan_touch(email: Email, position: Position, context: DecisionContext) -> Decision | SkipTouch:
    for touch in context.view.touches:  # a new version may have moved the lead to another step
        if touch.completed_at(context.now) is None:
            return hold_in_flight(touch, context, position=position)
    program, lead, now = context.program, context.view.lead, context.now
    timing = find_timing(email, program, lead, position.anchor)
    if timing is None:
        return SkipTouch(email.step, position.visit, f"{email.step} is skipped: {email.after} is not known", None)
    due = _due_at(timing, position, context)
    planned = _spread(context, email, due)
    impossible_since = min(due if timing.is_over(planned.at) else timing.expires_at or now, now)
    if planned.at + program.grace < now:
        # Overdue beyond the grace: send this touch in the next window; later steps count from it.
        planned = _next_allowed(context, email, now)
    opens_at = planned.at
    if opens_at < now:
        opens_at = calendar.next_open(program.window, context.zone, lead.holidays, now)
    move, reason = _describe(email, due, planned, context)
    if timing.is_over(opens_at):
        if timing.due_at > now:
            return context.hold(position, HoldReason.NOT_DUE, timing.due_at, f"{reason}; that would be too late")
        was_due = format_day(timing.due_at, context.zone, now)
        reason = f"{email.step} is skipped: it was due on {was_due}, and is too late now"
        return SkipTouch(email.step, position.visit, reason, impossible_since)
    if planned.at > now:
        return replace(context.hold(position, planned.limited_by, planned.at, reason), move=move)
    name = choose_email(program, email, position.visit, context.view.received)
    if name is None:
        return SkipTouch(email.step, position.visit, f"{email.step} is skipped: the lead has had all of it", planned.at)
    if name in program.calls_to_action and (held := _hold_call_to_action(email.step, position, context)):
        return held
    expires_at = opens_at + max(program.grace, MIN_TIME_TO_SEND)
    send = SendTouch(
        email.step,
        position.visit,
        name,
        planned_at=planned.at,
        send_at=opens_at,
        expires_at=min(expires_at, timing.grace_ends_at or expires_at),
        past_cap=latest_release(program.caps, context.view.counted_emails, opens_at) is not None,
    )
    return Decision((send,), position, context.earliest_wake(opens_at + UNKNOWN_COUNTS_AS_SENT_AFTER), reason)


class CallToActionHold(NamedTuple):
    """What an email that asks to talk to sales waits for, and until when; *cause* says it without names and days."""

    kind: HoldReason
    until: datetime
    reason: str
    cause: str


def hold_call_to_action(view: LeadView, zone: str, now: datetime) -> CallToActionHold | None:
    """Hold an email that asks to talk while reps are full, or while sales talks to somebody else of the company.

    The reason names times in the lead's *zone*.
    """
    full_until, colleague = view.reps_full_until, view.colleague_with_sales
    if full_until is not None and now < full_until:
        reason = f"reps are full until {format_time(full_until, zone, now)}"
        return CallToActionHold(HoldReason.REPS_FULL, full_until, reason, "reps are full")
    if colleague:
        reason, until = f"lead {colleague} of the same company is with sales", now + ACCOUNT_HOLD_CHECK
        return CallToActionHold(HoldReason.ACCOUNT_HOLD, until, reason, "a colleague is with sales")
    return None


def _hold_call_to_action(step: str, position: Position, context: DecisionContext) -> Decision | None:
    held = hold_call_to_action(context.view, context.zone, context.now)
    if held is None:
        return None
    return context.hold(position, held.kind, held.until, f"{step} is a call to action, and {held.reason}")


def _describe(email: Email, due: datetime, planned: SendTime, context: DecisionContext) -> tuple[str, str]:
    """Return to which day the email is moved and why, "" if it is not, and the reason of the decision."""
    program, lead, now = context.program, context.view.lead, context.now
    move = describe_move(planned, due, program, lead.zone, lead.holidays, now)
    if not move:
        return "", f"{email.step} is due on {format_time(max(due, planned.at), context.zone, context.now)}"
    day = format_day(due, context.zone, now)
    later = program.later_emails[email.step]
    counts = f"; {later} later step{' counts' if later == 1 else 's count'} from it" if later else ""
    return move, f"{email.step}, due on {day}, {move}{counts}"


def _due_at(timing: TouchTiming, position: Position, context: DecisionContext) -> datetime:
    """Return when the touch is due, or if later, when the step was reached, a pause ended or a rep answered."""
    lead, due = context.view.lead, timing.due_at
    for earliest in (position.reached_at, lead.paused_until, lead.signals_since):
        if earliest is not None and earliest > due:
            due = earliest
    return due


def _spread(context: DecisionContext, email: Email, due: datetime) -> SendTime:
    """Return when the email may be sent, at the lead's own place if the track spreads it, or its first touch."""
    program, lead, step, span = context.program, context.view.lead, email.step, email.spread
    if not span and all(one.state is TouchState.RECALLED for one in context.view.touches):
        step, span = "", program.spread
    if not span:
        return _next_allowed(context, email, due)
    at = spread_send_time(program, step, lead.id, span, due, lead.zone, lead.holidays)
    planned = _next_allowed(context, email, at)
    return planned._replace(moves=(Move(due, at, Spread(span)), *planned.moves))


def _next_allowed(context: DecisionContext, email: Email, at: datetime) -> SendTime:
    """Return when the email may be sent, from *at* on."""
    lead = context.view.lead
    return earliest_send_time(
        context.program,
        at,
        zone=lead.zone,
        holidays=lead.holidays,
        counted=context.view.counted_emails,
        touch_interval=lead.touch_interval,
        step=email.step,
    )
