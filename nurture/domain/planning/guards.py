"""Hold a lead, offer it to sales or end its enrollment before any step runs.

`planner.GUARDS` has the order of these questions.
"""

from datetime import datetime

from nurture.domain.consent.permission import MailPermission
from nurture.domain.delivery.stops import STOP_REVIEW_INTERVAL, StopAction
from nurture.domain.lead import Custodian, Queue, describe_custody
from nurture.domain.planning.callback import hold_for_callback
from nurture.domain.planning.conditions import earliest
from nurture.domain.planning.criteria import evaluate_requests
from nurture.domain.planning.decision import (
    Decision,
    DecisionContext,
    EndEnrollment,
    HoldReason,
    end_enrollment,
    hold,
    offer_lead,
)
from nurture.domain.planning.entry import respect_re_entry
from nurture.domain.planning.exits import find_exit
from nurture.domain.planning.program import Previous, ToQueue, ToTrack
from nurture.domain.planning.send_time import format_time


def _wake_at(context: DecisionContext, until: datetime) -> datetime | None:
    """Return *until*, or when a request or an exit may hold, whichever is earlier."""
    return earliest((until, evaluate_requests(context).change_at, find_exit(context).change_at))


# 1. Exits


def not_enrolled(context: DecisionContext) -> Decision | None:
    """Hold a lead that is on no track, nor rests or waits in a queue from which a request can move it."""
    enrollment = context.view.enrollment
    if (enrollment is not None and not enrollment.ended) or context.view.is_parked:
        return None
    return hold(context.view, HoldReason.NOT_ENROLLED, None, "the lead is on no track")


def closed(context: DecisionContext) -> Decision | None:
    """Hold a closed lead."""
    if context.view.custodian is not Custodian.CLOSED:
        return None
    return hold(context.view, HoldReason.CLOSED, None, "the lead is closed")


# 2. With sales


def with_sales(context: DecisionContext) -> Decision | None:
    """Hold while a rep has the lead or an open offer of it."""
    if context.view.custodian is Custodian.TRACK or context.view.is_parked:
        return None
    return hold(context.view, HoldReason.WITH_SALES, None, describe_custody(context.view.custodian, context.view.queue))


# 3. Requests


def requested(context: DecisionContext) -> Decision | None:
    """Offer a lead that made a request after its opt-out or pause, or while it has neither."""
    offer, _ = evaluate_requests(context)
    return offer_lead(offer, context.view.position) if offer is not None else None


# 4. What silences our mail


def queue(context: DecisionContext) -> Decision | None:
    """Hold a lead in its queue, or at rest, until a request can move it."""
    if not context.view.is_parked:
        return None
    permission = context.view.permission(context.now)
    reason = f"waits in the queue {context.view.queue}" if context.view.queue else "rests"
    reason += f": {permission.reason}" if permission.requested_at is not None else ""
    return hold(context.view, HoldReason.QUEUED, evaluate_requests(context).change_at, reason)


def exited(context: DecisionContext) -> Decision | None:
    """End the enrollment of a lead that reached the goal of its track or meets its exit, or whose track is over."""
    end, _ = find_exit(context)
    if end is None:
        return None
    decision = _end_now(context, respect_re_entry(context, end))
    if isinstance(end.destination, ToTrack):
        return decision
    return hold_for_callback(decision, context.view.lead, evaluate_requests(context).change_at)


def _end_now(context: DecisionContext, end: EndEnrollment) -> Decision:
    """End the enrollment; the next one begins now, or with the end of a cool-off."""
    position = context.view.position
    assert position is not None
    position = position.reached(max(position.reached_at, context.now))
    return Decision((end,), position, None, end.reason)


def not_permitted(context: DecisionContext) -> Decision | None:
    """End the enrollment of a lead that is suppressed, or has no consent basis, for the topic of this track.

    Hold if a basis was recorded later than now: the clock was set back.
    """
    permission = context.view.permission(context.now, context.program)
    if permission.allowed:
        return None
    if permission.refusal is not None:
        return _leave(context, permission, Queue.SUPPRESSED)
    later = [one.recorded_at for one in context.view.statements if one.granted and one.recorded_at > context.now]
    if later:
        return hold(context.view, HoldReason.WAITING, min(later), "its consent was recorded later: the clock is behind")
    return _leave(context, permission, Queue.NO_CONSENT_BASIS)


def _leave(context: DecisionContext, permission: MailPermission, queue: Queue) -> Decision:
    """End the enrollment; a lead that may get other mail is placed again like one whose track ended."""
    view = context.view
    if not view.permission(context.now).allowed:
        return end_enrollment(view, ToQueue(queue), permission.reason)
    to, position = context.program.destination, view.position
    assert position is not None
    end = EndEnrollment(to if isinstance(to, ToTrack) else Previous(), permission.reason)
    return Decision((respect_re_entry(context, end),), position.reached(context.now), None, permission.reason)


def retired(context: DecisionContext) -> Decision | None:
    """Move a lead from a retired track to the one that takes its leads."""
    stop = context.track_stop
    if stop is None or stop.action is not StopAction.RETIRE:
        return None
    return _end_now(context, EndEnrollment(ToTrack(stop.move_to), str(stop)))


def stopped(context: DecisionContext) -> Decision | None:
    """Hold while the track, or all mail to leads, is stopped; the start wakes the lead, a coming request earlier."""
    stop = context.track_stop
    if stop is None:
        return None
    wake_at = _wake_at(context, context.now + STOP_REVIEW_INTERVAL)
    return hold(context.view, HoldReason.STOPPED, wake_at, str(stop))


def not_started(context: DecisionContext) -> Decision | None:
    """Hold until the first day of the track."""
    program = context.program
    starts_at = program.starts_at(context.view.lead.zone)
    if starts_at is None or starts_at <= context.now:
        return None
    reason = f"{program.track} starts on {program.starts_on}"
    return hold(context.view, HoldReason.NOT_DUE, _wake_at(context, starts_at), reason)


def paused(context: DecisionContext) -> Decision | None:
    """Hold while the lead is paused; a coming request wakes it earlier."""
    until = context.view.lead.paused_until
    if until is None or until <= context.now:
        return None
    reason = f"paused until {format_time(until, context.zone, context.now)}"
    return hold(context.view, HoldReason.PAUSED, _wake_at(context, until), reason)
