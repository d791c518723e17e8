"""Compute the escalation steps of an offer: what is due when its rep does not answer or follow up."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from nurture.domain.planning.calendar import Holidays
from nurture.domain.policy.business_hours import EscalationAction, EscalationPolicy, EscalationStep, escalation_steps
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import WorkingHours
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.routing.capacity import working_time

ANSWER: Final = "answer"
FOLLOW_UP: Final = "follow up"
"""What a rep is to do; the `step` of an SLA email."""


def answer_escalation(policy: Policy, holidays: Holidays, rep: str, offered_at: datetime) -> tuple[EscalationStep, ...]:
    """Return the steps while an offer waits for an answer; the last one takes it back."""
    return _escalation_steps(policy, policy.effective_sla.accept, holidays, rep, offered_at)


def follow_up_escalation(policy: Policy, holidays: Holidays, offer: OfferRow) -> tuple[EscalationStep, ...]:
    """Return the steps while an accepted lead waits for a follow-up; none afterwards."""
    if offer.followed_up_at is not None or offer.answered_at is None:
        return ()
    return _escalation_steps(policy, policy.effective_sla.follow_up, holidays, offer.rep, offer.answered_at)


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
            return f"{rep_id} is reminded at {when}"
        case EscalationAction.ESCALATE:
            rep = policy.rep(rep_id)
            manager = policy.team.manager_of(rep) if rep is not None else None
            return f"{manager.id if manager is not None else 'nobody'} is notified at {when}"
        case EscalationAction.TAKE_BACK:
            return f"it is taken back at {when}"
