"""Compute the escalation steps of an offer: what is due when its rep does not answer or follow up."""

from datetime import datetime, timedelta
from typing import Final

from nurture.domain.planning.calendar import Holidays, start_of_day
from nurture.domain.policy.business_hours import (
    DurationUnit,
    EscalationAction,
    EscalationLevel,
    EscalationPolicy,
    EscalationStep,
    SlaDuration,
    escalation_steps,
)
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import WorkingHours
from nurture.journey.leads.changeset import OfferRow
from nurture.journey.routing.capacity import working_time

ANSWER: Final = "answer"
FOLLOW_UP: Final = "follow up"
NEXT_TOUCH: Final = "say how it stands"
"""What a rep is to do; the `step` of an SLA email."""

_ASK_AFTER: Final = SlaDuration(1, DurationUnit.BUSINESS_HOURS)
"""How much of the rep's working time passes after a silence before the rep is asked: not at night."""


def answer_escalation(
    policy: Policy, holidays: Holidays, rep: str, tier: str | None, offered_at: datetime
) -> tuple[EscalationStep, ...]:
    """Return the steps while an offer of *tier* waits for an answer; the last one takes it back."""
    return _escalation_steps(policy, policy.sla_of(tier).accept, holidays, rep, offered_at)


def follow_up_escalation(policy: Policy, holidays: Holidays, offer: OfferRow) -> tuple[EscalationStep, ...]:
    """Return the steps while an accepted lead waits for a follow-up; none afterwards."""
    if offer.followed_up_at is not None or offer.answered_at is None:
        return ()
    return _escalation_steps(policy, policy.sla_of(offer.tier).follow_up, holidays, offer.rep, offer.answered_at)


def current_escalation(policy: Policy, holidays: Holidays, offer: OfferRow) -> tuple[EscalationStep, ...]:
    """Return the steps of what the rep of an open or accepted offer is to do next."""
    if offer.state == "offered":
        steps = answer_escalation(policy, holidays, offer.rep, offer.tier, offer.offered_at)
        return with_promised_deadline(steps, offer.expires_at)
    if offer.followed_up_at is None:
        return follow_up_escalation(policy, holidays, offer)
    return next_touch_escalation(policy, holidays, offer)


def next_touch_at(policy: Policy, offer: OfferRow) -> datetime:
    """Return when the rep is asked about a lead in work: after its next step, or after the silence of its stage.

    Not after the rep's last day: then a manager decides about the lead.
    """
    rep, day = policy.rep(offer.rep), timedelta(days=1)
    zone = rep.hours.zone if rep is not None else policy.business_hours.zone
    if offer.next_step_on is not None:
        at = start_of_day(offer.next_step_on + day, zone)
    else:
        at = (offer.touched_at or offer.answered_at or offer.offered_at) + policy.silence_limit(offer.stage)
    return at if rep is None or rep.left_on is None else min(at, start_of_day(rep.left_on + day, zone))


def next_touch_escalation(policy: Policy, holidays: Holidays, offer: OfferRow) -> tuple[EscalationStep, ...]:
    """Return the steps of a lead in work: ask its rep; once asked, tell the manager, and take it back.

    At the pace of `sla`: a tier is about the time until the first contact.
    """
    levels = (EscalationLevel.NEXT_TOUCH_ASKED, EscalationLevel.NEXT_TOUCH_ESCALATED)
    follow_up = policy.effective_sla.follow_up
    if offer.asked_at is None:
        ask = EscalationPolicy(None, _ASK_AFTER, levels=levels)
        return _escalation_steps(policy, ask, holidays, offer.rep, next_touch_at(policy, offer))
    asked = EscalationPolicy(follow_up.take_back, None, follow_up.escalate, levels)
    return _escalation_steps(policy, asked, holidays, offer.rep, offer.asked_at)


def _escalation_steps(
    policy: Policy, escalation: EscalationPolicy, holidays: Holidays, rep_id: str, since: datetime
) -> tuple[EscalationStep, ...]:
    rep = policy.rep(rep_id)
    hours: WorkingHours = rep.hours if rep is not None else policy.business_hours
    return escalation_steps(escalation, working_time(hours, holidays, since), since)


def with_promised_deadline(escalation: tuple[EscalationStep, ...], expires_at: datetime) -> tuple[EscalationStep, ...]:
    """Return the steps with the deadline that was promised to the rep, even if the policy changed since."""
    earlier = tuple(
        step for step in escalation if step.action is not EscalationAction.TAKE_BACK and step.due_at < expires_at
    )
    return (*earlier, EscalationStep(EscalationAction.TAKE_BACK, expires_at))


def describe_step(policy: Policy, rep_id: str, step: EscalationStep) -> str:
    """Return what will happen, and when, as text."""
    when = f"{step.due_at:%Y-%m-%d %H:%M} UTC"
    match step.action:
        case EscalationAction.REMIND:
            what = "asked how it stands" if step.level is EscalationLevel.NEXT_TOUCH_ASKED else "reminded"
            return f"{rep_id} is {what} at {when}"
        case EscalationAction.ESCALATE:
            rep = policy.rep(rep_id)
            manager = policy.team.manager_of(rep) if rep is not None else None
            return f"{manager.id if manager is not None else 'nobody'} is notified at {when}"
        case EscalationAction.TAKE_BACK:
            return f"it is taken back at {when}"
