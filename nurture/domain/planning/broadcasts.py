"""Decide about broadcasts: one email to many leads at a time of the calendar, beside their tracks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from nurture.domain.lead import Custodian
from nurture.domain.planning import calendar
from nurture.domain.planning.condition_result import ConditionResult
from nurture.domain.planning.conditions import evaluate
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.program import Email, Program
from nurture.domain.planning.send_time import earliest_send_time, name_cause, spread_send_time
from nurture.domain.planning.touch_planning import hold_call_to_action
from nurture.domain.policy.policy import Policy

_EARLIEST_ZONE: Final = "Pacific/Kiritimati"
_LATEST_ZONE: Final = "Etc/GMT+12"

GOAL_REACHED: Final = "reached the goal"
WITH_SALES: Final = "with sales"


class Times(NamedTuple):
    """When a lead is to get a broadcast, and until when it may still be sent (UTC)."""

    send_at: datetime
    expires_at: datetime


class Expectation(NamedTuple):
    """When a lead gets a broadcast if nothing changes, None if never; and what delays or prevents it, "" if nothing."""

    at: datetime | None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A lead and a broadcast. Activities count for its goal from *goal_since* on, None for ever."""

    view: LeadView
    program: Program
    policy: Policy
    goal_since: datetime | None = None


def email_step(program: Program) -> Email:
    """Return the only email of a broadcast."""
    email = program.instructions[0]
    assert isinstance(email, Email)
    return email


def first_start(program: Program) -> datetime:
    """Return when the first of all leads is to get the broadcast, whatever their zones (UTC)."""
    return start_of(program, _EARLIEST_ZONE)


def is_over(program: Program, now: datetime) -> bool:
    """Return whether no lead in any zone may get the broadcast any more."""
    return _local(program, program.schedule.not_after, _LATEST_ZONE) < now if program.schedule else True


def start_of(program: Program, zone: str) -> datetime:
    """Return when leads in *zone* ("": unknown) are to get the broadcast (UTC)."""
    assert program.schedule is not None
    return _local(program, program.schedule.when, zone)


def plan_times(program: Program, view: LeadView, now: datetime) -> Times:
    """Return when the lead is to get the broadcast: at its minute of the spread, and in the send window.

    Caps and pauses are left to the delivery: what they depend on changes until then. Raises NeverOpens.
    """
    assert program.schedule is not None
    lead, step = view.lead, email_step(program).step
    at = start_of(program, lead.zone)
    if program.spread:
        at = spread_send_time(program, step, lead.id, program.spread, at, lead.zone, lead.holidays)
    place = program.window, lead.zone or program.zone_fallback, lead.holidays
    expires_at = _local(program, program.schedule.not_after, lead.zone)
    return Times(calendar.next_open(*place, max(at, now)), expires_at)


def expect(program: Program, view: LeadView, times: Times, now: datetime) -> Expectation:
    """Return when the lead gets the broadcast if nothing changes, or what keeps it until it is too late."""
    lead, step = view.lead, email_step(program).step
    send = earliest_send_time(
        program,
        max(times.send_at, lead.paused_until or now),
        zone=lead.zone,
        holidays=lead.holidays,
        counted=view.counted_emails,
        touch_interval=lead.touch_interval,
        step=step,
    )
    held = find_hold(program, view, now)
    at = max(send.at, held[1]) if held is not None else send.at
    if at == times.send_at:
        return Expectation(at) if at <= times.expires_at else Expectation(None, "the send window")
    cause = held[0] if held is not None and at > send.at else name_cause(send, lead.paused_until, times.expires_at)
    return Expectation(at if at <= times.expires_at else None, cause)


def fits(one: Recipient, now: datetime) -> ConditionResult:
    """Return whether the lead is in the audience of the broadcast."""
    audience, since = one.program.audience, one.view.lead.signals_since
    assert audience is not None
    return evaluate(audience, one.policy.evaluation_context(one.view, since=since), now)


def find_obstacle(one: Recipient, now: datetime) -> str:
    """Return why a lead of the audience does not get the broadcast, in words that many leads share; "" if it does."""
    view, program = one.view, one.program
    permission = view.permission(now, program)
    if not permission.allowed:
        if permission.refusal is not None:
            return f"suppressed: {permission.refusal.source.value}"
        return "its consent is not confirmed" if permission.requested_at is not None else "no consent"
    if view.custodian is Custodian.CLOSED:
        return "closed"
    if view.custodian is Custodian.INTAKE:
        return "not classified yet"
    if view.custodian is not Custodian.TRACK and not view.is_parked:
        return WITH_SALES
    if view.queue:
        return f"in the queue {view.queue}"
    if program.for_customers != view.lead.is_customer:
        return f"the broadcast is for {program.for_whom}"
    return GOAL_REACHED if reached_goal(one, now) else ""


def reached_goal(one: Recipient, now: datetime) -> bool:
    """Return whether the lead does what the broadcast is for; False if it has no goal."""
    context = one.policy.evaluation_context(one.view, since=one.goal_since) if one.program.exits else None
    return context is not None and any(evaluate(each.condition, context, now).met for each in one.program.exits)


def find_hold(program: Program, view: LeadView, now: datetime) -> tuple[str, datetime] | None:
    """Return what holds an email that asks to talk to sales, and until when; None if nothing does."""
    email = email_step(program).emails[0]
    zone = view.lead.zone or program.zone_fallback
    held = hold_call_to_action(view, zone, now) if email in program.calls_to_action else None
    return (held.cause, held.until) if held is not None else None


def _local(program: Program, at: datetime, zone: str) -> datetime:
    assert program.schedule is not None
    return calendar.local_time(at.date(), at.time(), program.schedule.zone or zone or program.zone_fallback)
