"""Compose SLA emails: a reminder to the rep, an escalation to the manager."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.db.transaction import Transaction
from nurture.definitions.policy.sla import ESCALATE, REMIND
from nurture.domain.lead import Custodian
from nurture.domain.planning.program import Sender
from nurture.domain.policy.business_hours import EscalationAction, EscalationLevel
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Rep
from nurture.errors import NotFound
from nurture.formats.lead_row import EMAIL_FIELDS
from nurture.journey.handoff import queries
from nurture.journey.handoff.brief_emails import format_deadline
from nurture.journey.handoff.escalation import answer_escalation, follow_up_escalation, with_promised_deadline
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.tracks.touch_email import lead_values, sender_address
from nurture.mail.rendering.inert_text import defang_links, defang_values
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from nurture.outbox.messages import DueMessage
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import Link, LinkSpec

KIND: Final = "sla"
"""The message kind in the outbox."""


ALLOWED_VARIABLES: Final = frozenset(
    {f"lead.{name}" for name in EMAIL_FIELDS}
    | {"lead.id", "lead.email", "rep.id", "rep.name", "sender.name", "manager.name"}
    | {"offer.id", "offer.reason", "offer.accept_url", "offer.reject_url"}
    | {"sla.accepted", "sla.since", "sla.next_step"}
)
"""The variables that templates of SLA emails may use."""


def is_current(message: DueMessage) -> bool:
    """Return whether the rep still has not done what the mail is about."""
    if _level(message) >= EscalationLevel.FOLLOW_UP_REMINDED:
        return message.custodian == Custodian.REP and message.offer_state == "accepted"
    return message.offer_state == "offered"


def _level(message: DueMessage) -> int:
    return int(message.send_key.rpartition(":")[2])


@dataclass
class SlaEmails:
    """The data that the mails of a batch share, read in a constant number of statements."""

    ctx: AppContext
    tx: Transaction
    offers: Mapping[int, OfferRow]
    policy: Policy
    sender: Sender | None

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage]) -> SlaEmails | None:
        """Read the data of the mails of *batch*, None for an empty batch."""
        if not batch:
            return None
        definitions = ctx.definitions.current(tx)
        found = queries.load_offers(tx, [one.offer_id for one in batch if one.offer_id])
        sender = next((program.sender for program in definitions.programs.values()), None)
        return cls(ctx, tx, found, definitions.policy, sender)

    def compose(self, message: DueMessage) -> tuple[ComposedEmail, list[Link]]:
        """Compose one mail by the current policy, which has the template and the people."""
        offer, rep = self.offers.get(message.offer_id or 0), None
        if offer is not None:
            rep = self.policy.rep(offer.rep)
        if offer is None or rep is None or self.sender is None:
            raise NotFound(f"{message.send_key} cannot be composed: its hand-off or its rep does not exist any more.")
        is_escalation = message.email == EscalationAction.ESCALATE
        manager = self.policy.team.manager_of(rep)
        recipient = manager if is_escalation else rep
        if recipient is None:
            raise NotFound(f"Rep {rep.id} has no manager. Name one in sales/policy.yaml.")
        links: list[Link] = []
        urls = {"accept": "", "reject": ""}
        if self.ctx.base_url and not is_escalation:
            for name, purpose in (("accept", public_links.ACCEPT), ("reject", public_links.REJECT)):
                links.append(public_links.make_link(LinkSpec(purpose, message.lead_id, message.id, offer.id)))
                urls[name] = links[-1].url(self.ctx.base_url)
        values: dict[str, object] = {
            "lead": defang_values(lead_values(message.fields))
            | {"id": message.lead_id, "email": message.address or ""},
            "rep": {"id": rep.id, "name": rep.name},
            "offer": {
                "id": offer.id,
                "reason": defang_links(offer.handoff_reason),
                "accept_url": urls["accept"],
                "reject_url": urls["reject"],
            },
            "sender": {"name": self.sender.name},
            "manager": {"name": manager.name if manager is not None else ""},
            "sla": self._sla_values(message, offer, rep),
        }
        envelope = Envelope(
            ref=message.send_key,
            sender=sender_address(self.sender),
            to=Address(recipient.name, recipient.email),
            reply_to=Address("", self.sender.reply_to) if self.sender.reply_to else None,
            labels=("handoff",),
            installation_id=self.ctx.installation_id,
        )
        path = ESCALATE if is_escalation else REMIND
        text = self.ctx.definitions.sales_email(self.tx, self.policy.version, path)
        return compose(text, values, envelope), links

    def _sla_values(self, message: DueMessage, offer: OfferRow, rep: Rep) -> dict[str, object]:
        is_accepted = _level(message) >= EscalationLevel.FOLLOW_UP_REMINDED
        holidays, since = self.ctx.holidays, offer.offered_at
        if is_accepted:
            escalation, since = follow_up_escalation(self.policy, holidays, offer), offer.answered_at or since
        else:
            escalation = answer_escalation(self.policy, holidays, rep.id, offer.offered_at)
            escalation = with_promised_deadline(escalation, offer.expires_at)
        upcoming = [step for step in escalation if step.due_at > message.send_at]
        sentences = [_describe_next_step(step.action, step.due_at, rep, accepted=is_accepted) for step in upcoming[-1:]]
        return {"accepted": is_accepted, "since": format_deadline(since, rep), "next_step": "".join(sentences)}


def _describe_next_step(step: EscalationAction, at: datetime, rep: Rep, *, accepted: bool) -> str:
    if step is not EscalationAction.TAKE_BACK:
        return ""
    done = "you get in touch" if accepted else "you answer"
    return f"Unless {done} before, it is taken back on {format_deadline(at, rep)}."
