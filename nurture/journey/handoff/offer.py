"""Create an offer: the row, its messages, custody, and the first escalation step."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from nurture.domain.lead import Custodian
from nurture.domain.planning.calendar import Holidays
from nurture.domain.policy.business_hours import EscalationAction
from nurture.domain.policy.team import Rep
from nurture.journey.handoff.escalation import answer_escalation, describe_step
from nurture.journey.leads.changeset import NewMessage, OfferRow
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.outbox.messages import TO_NOTIFIER, TO_REP

MESSAGES_EXPIRE_AFTER: Final = timedelta(days=30)


class OfferReason(NamedTuple):
    """Why a lead is offered, why to this rep, its priority, and the number of the round."""

    rule: str
    handoff_reason: str
    routing_reason: str
    round: int = 1
    priority: float = 0.0
    hot: bool = False


def offer_to_rep(
    transitions: LeadTransitions, holidays: Holidays, lead: LeadSnapshot, rep: Rep, offer_id: int, reason: OfferReason
) -> None:
    """Offer *lead* to *rep* as hand-off *offer_id*, which must be reserved."""
    policy, now, enrollment = transitions.definitions.policy, transitions.now, lead.view.enrollment
    tier = policy.tier_of(reason.rule, lead.view.lead.condition_fields)
    tier_name = tier.name if tier is not None else None
    escalation = answer_escalation(policy, holidays, rep.id, tier_name, now)
    expires_at = next(step.due_at for step in escalation if step.action is EscalationAction.TAKE_BACK)
    offer = OfferRow(
        offer_id,
        lead.view.lead.id,
        enrollment.id if enrollment is not None else None,
        rep.id,
        reason.rule,
        reason.handoff_reason,
        reason.routing_reason,
        policy.version,
        "offered",
        now,
        expires_at,
        round=reason.round,
        priority=reason.priority,
        hot=reason.hot,
        tier=tier_name,
    )
    transitions.changes.new_offers.append(offer)
    transitions.changes.new_messages += build_offer_messages(offer, rep, now)
    action = f"{rep.id} answers; else {describe_step(policy, rep.id, escalation[0])}"
    moved = transitions.set_custody(lead, Custodian.OFFER, str(offer_id), action, escalation[0].due_at)
    transitions.add_journal_entry(
        lead, "offered", f"{reason.handoff_reason}; {reason.routing_reason}", moved, ref=str(offer_id)
    )


def build_offer_messages(offer: OfferRow, rep: Rep, now: datetime) -> list[NewMessage]:
    """Return the messages that announce an offer: the brief by email, and a notice to each of the rep's notifiers."""
    notices = [(f"notice:{offer.id}:{name}", "notice", TO_NOTIFIER, name) for name in dict.fromkeys(rep.notify)]
    expires_at = now + MESSAGES_EXPIRE_AFTER
    return [
        NewMessage.due_now(send_key, kind, recipient, offer.lead_id, email, now, expires_at)._replace(
            offer_id=offer.id, enrollment_id=offer.enrollment_id, rep=offer.rep
        )
        for send_key, kind, recipient, email in [(f"brief:{offer.id}", "brief", TO_REP, "brief"), *notices]
    ]
