"""Compose SLA emails: a reminder to the rep, an escalation to the manager."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.db.transaction import Transaction
from nurture.definitions.policy.sla import ESCALATE, REMIND
from nurture.domain.lead import Custodian
from nurture.domain.policy.business_hours import EscalationAction
from nurture.domain.policy.team import Rep
from nurture.errors import NotFound
from nurture.formats.lead_row import EMAIL_FIELDS
from nurture.journey.handoff.escalation import (
    FOLLOW_UP,
    answer_escalation,
    follow_up_escalation,
    with_promised_deadline,
)
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.handoff.rep_emails import (
    OfferEmails,
    compose_for_rep,
    format_deadline,
    make_offer_links,
)
from nurture.journey.handoff.roster import require_rep
from nurture.mail.rendering.inert_text import defang_links
from nurture.outbox.messages import DueMessage
from nurture.runtime import public_links
from nurture.runtime.message_kinds import ComposedMessage, MessageKind

ALLOWED_VARIABLES: Final = frozenset(
    {f"lead.{name}" for name in EMAIL_FIELDS}
    | {"lead.id", "lead.email", "rep.id", "rep.name", "sender.name", "manager.name"}
    | {"offer.id", "offer.reason", "offer.accept_url", "offer.reject_url"}
    | {"sla.accepted", "sla.since", "sla.next_step"}
)
"""The variables that templates of SLA emails may use."""

_LINKS: Final = {"accept_url": public_links.ACCEPT, "reject_url": public_links.REJECT}


@dataclass(frozen=True)
class SlaEmails(OfferEmails):
    """The SLA emails of a batch, composed by the policy in force, which has the template and the people."""

    def compose(self, tx: Transaction, message: DueMessage) -> ComposedMessage:
        """Compose one SLA email."""
        offer = self.find_offer(message)
        rep = require_rep(self.policy, offer.rep)
        manager = self.policy.team.manager_of(rep)
        is_escalation = message.email == EscalationAction.ESCALATE
        if is_escalation and manager is None:
            raise NotFound(f"Rep {rep.id} has no manager. Name one in sales/policy.yaml.")
        # The manager does not answer for the rep.
        links, urls = make_offer_links(self.ctx, message, {} if is_escalation else _LINKS)
        urls = dict.fromkeys(_LINKS, "") | urls
        values = {
            "offer": {"id": offer.id, "reason": defang_links(offer.handoff_reason), **urls},
            "manager": {"name": manager.name if manager is not None else ""},
            "sla": self._sla_values(message, offer, rep),
        }
        template = self.ctx.definitions.sales_email(tx, self.policy.version, ESCALATE if is_escalation else REMIND)
        to = manager if is_escalation else rep
        return compose_for_rep(self.ctx, self.policy, message, rep, template, values, to=to, links=links)

    def _sla_values(self, message: DueMessage, offer: OfferRow, rep: Rep) -> dict[str, object]:
        is_accepted = message.step == FOLLOW_UP
        holidays, since = self.ctx.holidays, offer.offered_at
        if is_accepted:
            escalation, since = follow_up_escalation(self.policy, holidays, offer), offer.answered_at or since
        else:
            escalation = answer_escalation(self.policy, holidays, rep.id, offer.offered_at)
            escalation = with_promised_deadline(escalation, offer.expires_at)
        upcoming = [step for step in escalation if step.due_at > message.send_at]
        sentences = [_describe_next_step(step.action, step.due_at, rep, accepted=is_accepted) for step in upcoming[-1:]]
        return {"accepted": is_accepted, "since": format_deadline(since, rep), "next_step": "".join(sentences)}


def withdrawal_reason(message: DueMessage) -> str:
    """Return why a due SLA email is not to be sent any more, "" if the rep still has not done what it is about."""
    if message.step == FOLLOW_UP:
        is_open = message.custodian == Custodian.REP and message.offer_state == "accepted"
    else:
        is_open = message.offer_state == "offered"
    return "" if is_open else "superseded"


SLA_EMAIL: Final = MessageKind("sla", SlaEmails.load, withdrawal_reason)


def _describe_next_step(step: EscalationAction, at: datetime, rep: Rep, *, accepted: bool) -> str:
    if step is not EscalationAction.TAKE_BACK:
        return ""
    done = "you get in touch" if accepted else "you answer"
    return f"Unless {done} before, it is taken back on {format_deadline(at, rep)}."
