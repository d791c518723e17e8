"""Compose SLA emails: a reminder to the rep, an escalation to the manager."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from nurture.db.transaction import Transaction
from nurture.definitions.policy.sla import ESCALATE, REMIND
from nurture.domain.lead import Custodian
from nurture.domain.policy.business_hours import EscalationAction
from nurture.domain.policy.team import Manager, Rep
from nurture.errors import NotFound
from nurture.journey.handoff import workspace_links
from nurture.journey.handoff.cover import Cover
from nurture.journey.handoff.escalation import (
    FOLLOW_UP,
    NEXT_TOUCH,
    current_escalation,
)
from nurture.journey.handoff.rep_emails import OfferEmails, compose_for_rep, format_deadline, make_offer_links
from nurture.journey.handoff.roster import require_rep
from nurture.journey.handoff.why_now import CLAIMED_BY_REP, describe_why_now
from nurture.journey.handoff.workspace_links import RepLink
from nurture.journey.leads.changeset import OfferRow
from nurture.mail.rendering.inert_text import defang_links
from nurture.outbox.messages import DueMessage
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import ComposedMessage, MessageKind

ALLOWED_VARIABLES: Final = frozenset(
    {"lead.id", "lead.email", "rep.id", "rep.name", "sender.name", "manager.name"}
    | {"offer.id", "offer.reason", "offer.accept_url", "offer.reject_url"}
    | {"sla.accepted", "sla.silent", "sla.since", "sla.next_step", "manager.page_url"}
)
"""The variables that templates of SLA emails may use, besides the fields of the lead."""

_LINKS: Final = {"accept_url": public_links.ACCEPT, "reject_url": public_links.REJECT}


@dataclass(frozen=True)
class SlaEmails(OfferEmails):
    """The SLA emails of a batch, composed by the policy in force, which has the template and the people."""

    cover: Cover = field(default_factory=Cover)
    team_links: Mapping[str, RepLink] = field(default_factory=dict)
    """A link to the page of each manager, who is no rep, of escalated offers; none without a web address."""

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage], now: datetime) -> Self:
        """Read the offers of *batch*, and who is away; make links for the managers."""
        shared = OfferEmails.load(ctx, tx, batch, now)
        escalated = {one.offer_id for one in batch if one.email == EscalationAction.ESCALATE}
        reps = (shared.policy.rep(offer.rep) for id_, offer in shared.offers.items() if id_ in escalated)
        managers = {rep.manager for rep in reps if rep is not None and rep.manager}
        managers = {one for one in managers if shared.policy.rep(one) is None}  # no email opens the page of a rep
        links = workspace_links.add_links(tx, sorted(managers), now) if ctx.base_url and managers else {}
        return cls(ctx, now, shared.policy, shared.offers, Cover.load(tx, shared.policy, now), links)

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
        is_claimed = offer.rule == CLAIMED_BY_REP  # its label speaks to the rep
        why = offer.handoff_reason if is_claimed else describe_why_now(offer, self.policy, (), self.now)
        stand_in = self.cover.manager(self.policy, manager) if manager is not None else None
        values = {
            "offer": {"id": offer.id, "reason": defang_links(why), **urls},
            "manager": {
                "name": stand_in.name if stand_in is not None else "",
                "page_url": self._offer_url(manager, offer) if is_escalation and manager is not None else "",
            },
            "sla": self._sla_values(message, offer, rep),
        }
        template = self.ctx.definitions.sales_email(tx, self.policy.version, ESCALATE if is_escalation else REMIND)
        to = stand_in if is_escalation else rep
        return compose_for_rep(self.ctx, self.policy, message, rep, template, values, to=to, links=links)

    def _offer_url(self, manager: Rep | Manager, offer: OfferRow) -> str:
        """Return where the manager reads the lead's history and gives it to another rep; "" if no pages are served."""
        link = self.team_links.get(manager.id)
        return f"{link.url(self.ctx.base_url)}/{offer.id}" if link is not None else ""

    def _sla_values(self, message: DueMessage, offer: OfferRow, rep: Rep) -> dict[str, object]:
        since = {FOLLOW_UP: offer.answered_at, NEXT_TOUCH: offer.touched_at}.get(message.step) or offer.offered_at
        escalation = current_escalation(self.policy, self.ctx.holidays, offer)
        upcoming = [step for step in escalation if step.due_at > message.send_at]
        done = _DONE_BY_REP if message.email == EscalationAction.ESCALATE else _DONE
        until = f"Unless {done.get(message.step, done['']).format(rep=rep.name)} before"
        sentences = [
            f"{until}, it is taken back on {format_deadline(step.due_at, rep)}."
            for step in upcoming[-1:]
            if step.action is EscalationAction.TAKE_BACK
        ]
        return {
            "accepted": message.step == FOLLOW_UP,
            "silent": message.step == NEXT_TOUCH,
            "since": format_deadline(since, rep),
            "next_step": "".join(sentences),
        }


def withdrawal_reason(message: DueMessage) -> str:
    """Return why a due SLA email is not to be sent any more, "" if the rep still has not done what it is about."""
    if message.step in (FOLLOW_UP, NEXT_TOUCH):
        is_open = message.custodian == Custodian.REP and message.offer_state == "accepted"
    else:
        is_open = message.offer_state == "offered"
    return "" if is_open else "superseded"


SLA_EMAIL: Final = MessageKind("sla", SlaEmails.load, withdrawal_reason)


_DONE: Final = {"": "you answer", FOLLOW_UP: "you get in touch", NEXT_TOUCH: "you say so"}
_DONE_BY_REP: Final = {"": "{rep} answers", FOLLOW_UP: "{rep} gets in touch", NEXT_TOUCH: "{rep} says so"}
"""What keeps a lead from being taken back, as its rep and as the manager reads it."""
