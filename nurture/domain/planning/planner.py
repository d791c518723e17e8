"""Decide what happens to a lead next. Read this first.

`decide` is pure: it takes a view of one lead, the program of its track, all audiences, the policy and the time, and
returns actions, the next position, a wake-up time and a reason. Nothing here reads a clock or a database.

The order of checks is policy:
    1. exits: not enrolled, closed
    2. with a rep, or offered to one
    3. requests (a demo, a reply, a call-back day, a stated date that is near) that are newer than the opt-out
       or the pause that silences our mail; a missing address or consent basis silences no request
    4. in a queue or resting; the track's goal, exit or last day; suppressed, no consent basis, track retired, mail
       stopped, track not started, paused
    5. the policy's hand-off criteria: interest (score, clicks), and requests of any age
    6. the audience of a track with a higher priority takes the lead over
    7. the step
    8. only for a touch: send window, frequency cap, grace, rep capacity if it is a call to action
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from nurture.domain.planning.callback import hold_for_callback
from nurture.domain.planning.click_grace import exclude_recent_clicks
from nurture.domain.planning.conditions import earliest
from nurture.domain.planning.criteria import evaluate_criteria
from nurture.domain.planning.decision import (
    Action,
    Decision,
    DecisionContext,
    EndEnrollment,
    HoldReason,
    OfferToSales,
    RecallTouch,
    SendTouch,
    SkipTouch,
    TakeOver,
    UpdateField,
    hold,
    offer_lead,
)
from nurture.domain.planning.entry import Entries, EntryResult, find_takeover
from nurture.domain.planning.exits import find_exit
from nurture.domain.planning.guards import (
    closed,
    exited,
    not_enrolled,
    not_permitted,
    not_started,
    paused,
    queue,
    requested,
    retired,
    stopped,
    with_sales,
)
from nurture.domain.planning.lead_view import Enrollment, LeadView, TouchState
from nurture.domain.planning.program import Program
from nurture.domain.planning.steps import run_steps
from nurture.domain.planning.touch_planning import hold_in_flight
from nurture.domain.policy.policy import Policy

__all__ = [
    "GUARDS",
    "Action",
    "Decision",
    "DecisionContext",
    "EndEnrollment",
    "HoldReason",
    "OfferToSales",
    "RecallTouch",
    "SendTouch",
    "SkipTouch",
    "TakeOver",
    "UpdateField",
    "apply_decision",
    "decide",
]


def decide(view: LeadView, program: Program | None, entries: Entries, policy: Policy, now: datetime) -> Decision:
    """Return what happens to the lead of *view* at *now* (UTC). Same arguments, same answer.

    *program* is that of the lead's track, None for a lead in a queue: then only requests are evaluated. *entries* are
    the audiences of all tracks. A decision that recent clicks would change waits until their grace period ends; an
    offer to sales does not.
    """
    filtered, grace = exclude_recent_clicks(view, policy, now)
    context = DecisionContext(filtered, program, policy, now, grace, entries)
    decision, is_offer = _decide(context)
    if grace is None or is_offer or not grace.matters:
        return decision
    until = grace.ends_at.isoformat(" ", "seconds")[:19]
    reason = f"a click is in its grace period until {until} UTC; without it: {decision.reason}"
    changes_at = decision.wake_at if decision.hold is not None else _next_change(context)
    return hold(view, HoldReason.CLICK_GRACE, earliest((grace.ends_at, changes_at)), reason)


def _decide(context: DecisionContext) -> tuple[Decision, bool]:
    """Return the decision, and whether it is an offer made by the policy's criteria."""
    for guard in GUARDS:
        decision = guard(context)
        if decision is not None:
            return decision, guard is requested
    assert context.view.enrollment is not None  # not_enrolled
    position = context.view.enrollment.position
    offer, change_at = evaluate_criteria(context)
    if offer is not None:
        return offer_lead(offer, position), True
    taken_by = find_takeover(context) if position.reached_at <= context.now else EntryResult(None)
    if taken_by.program is not None:
        return _take_over(context, taken_by.program, taken_by.reason), False
    upcoming = earliest((change_at, find_exit(context).change_at, taken_by.change_at))
    if upcoming is not None:
        context = replace(context, criteria_change_at=upcoming)
    return hold_for_callback(run_steps(context, position), context.view.lead, change_at), False


def _next_change(context: DecisionContext) -> datetime | None:
    """Return when time alone may hand the lead off, end its track or let another take it over, None for never."""
    found = evaluate_criteria(context), find_exit(context), find_takeover(context)
    return earliest([one.change_at for one in found])


def _take_over(context: DecisionContext, by: Program, detail: str) -> Decision:
    """Let *by* take over the lead, once no email of its track is with the provider."""
    view, old = context.view, context.program
    reason = f"takes over from {old.track} (priority {old.priority}): "
    reason += f"audience of {by.track} (priority {by.priority}): {detail}"
    for touch in view.touches:
        if touch.state is TouchState.IN_FLIGHT:
            return hold_in_flight(touch, context, f"; then {by.track} {reason}")
    return Decision((TakeOver(by.track, reason),), view.position, None, reason)


def apply_decision(enrollment: Enrollment, decision: Decision) -> Enrollment:
    """Return the enrollment after *decision*; replaying stored decisions rebuilds the stored enrollment."""
    ended = enrollment.ended or any(isinstance(action, EndEnrollment) for action in decision.actions)
    return replace(enrollment, position=decision.position or enrollment.position, ended=ended)


GUARDS: Final = (
    not_enrolled,
    closed,
    with_sales,
    requested,
    queue,
    exited,
    not_permitted,
    retired,
    stopped,
    not_started,
    paused,
)
