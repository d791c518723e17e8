"""Compose the brief that hands a lead to a rep, and the notices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from nurture.db.transaction import Transaction
from nurture.domain.lead import full_name
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Rep
from nurture.journey.handoff.lead_profile import MAX_ACTIVITIES, LeadProfiles, describe_routing
from nurture.journey.handoff.lead_profile_queries import load_activities
from nurture.journey.handoff.rep_emails import OfferEmails, compose_for_rep, format_deadline, make_offer_links
from nurture.journey.handoff.roster import require_rep
from nurture.journey.leads.changeset import OfferRow
from nurture.journey.tracks.touch_email import sender_address
from nurture.mail.rendering.inert_text import defang_links, defang_values, escape_markup
from nurture.mail.rendering.render import Address, ComposedEmail
from nurture.outbox.messages import DueMessage
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import ComposedMessage, MessageKind

ANSWER_LINKS: Final = {
    "accept_url": public_links.ACCEPT,
    "reject_url": public_links.REJECT,
    "reassign_url": public_links.REASSIGN,
    "call_back_url": public_links.CALL_BACK_LATER,
}
"""The answer links of a brief; each has its own purpose."""

_NOTICE_LINKS: Final = {
    "Accept": public_links.ACCEPT,
    "Give back": public_links.REJECT,
    "Pass on": public_links.REASSIGN,
    "Call later": public_links.CALL_BACK_LATER,
}
"""The links of a notice, by the label of its button."""


@dataclass(frozen=True)
class Briefs(OfferEmails):
    """The briefs of a batch."""

    profiles: LeadProfiles = field(default_factory=LeadProfiles)

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage], now: datetime) -> Self:
        """Read the offers and the lead profiles of *batch*."""
        shared = OfferEmails.load(ctx, tx, batch, now)
        profiles = LeadProfiles.load(tx, [one.lead_id for one in batch], ctx.crm)
        return cls(ctx, now, shared.policy, shared.offers, profiles)

    def compose(self, tx: Transaction, message: DueMessage) -> ComposedMessage:
        """Compose the brief of one offer, with its answer links."""
        offer = self.find_offer(message)
        policy = self.ctx.definitions.policy(tx, offer.policy_version)
        rep = require_rep(policy, offer.rep)
        links, urls = make_offer_links(self.ctx, message, ANSWER_LINKS)
        profile = self.profiles.profile_of(offer.lead_id, policy, self.now)
        why = self.profiles.why_now_of(offer, policy, self.now)
        urls |= self.profiles.contact_of(offer.lead_id) | {"why_now": defang_links(why)}
        values = {"offer": {**_offer_values(offer, policy, rep), **profile, **urls}}
        template = self.ctx.definitions.brief(tx, policy.version)
        email = compose_for_rep(self.ctx, self.policy, message, rep, template, values, links=links)
        colleague = self.profiles.colleagues.get(offer.lead_id)
        return email._replace(named_leads=[colleague.lead_id] if colleague is not None else [])


@dataclass(frozen=True)
class Notices(Briefs):
    """The notices of a batch: short, for channels that colleagues may read too."""

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage], now: datetime) -> Self:
        """Read the offers of *batch*, and what their leads did lately."""
        shared = OfferEmails.load(ctx, tx, batch, now)
        activities = load_activities(tx, [one.lead_id for one in batch], MAX_ACTIVITIES)
        return cls(ctx, now, shared.policy, shared.offers, LeadProfiles(activities=activities))

    def compose(self, tx: Transaction, message: DueMessage) -> ComposedMessage:
        """Compose the notice of one offer."""
        offer = self.find_offer(message)
        policy = self.ctx.definitions.policy(tx, offer.policy_version)
        rep = require_rep(policy, offer.rep)
        links, urls = make_offer_links(self.ctx, message, _NOTICE_LINKS)
        why = self.profiles.why_now_of(offer, policy, self.now)
        commands = [f"nurture handoffs accept {offer.id}", f"nurture handoffs reject {offer.id} --reason CODE"]
        answers = [f"{label}: {urls[label]}" for label in _NOTICE_LINKS] if self.ctx.base_url else commands
        name = escape_markup(full_name(message.fields)) or "A lead"
        company = escape_markup(str(message.fields.get("company") or ""))
        email = ComposedEmail(
            ref=message.send_key,
            sender=sender_address(self.policy.sender),
            to=Address(rep.name, rep.email),
            reply_to=None,
            subject=f"{rep.name}: {', '.join(part for part in (name, company) if part)}",
            written_html="",
            text=(
                f"Why now: {escape_markup(why)}\n"
                f"Answer by {format_deadline(offer.expires_at, rep)}\n" + "\n".join(answers)
            ),
            headers=(),
            labels=("handoff",),
            installation_id=self.ctx.installation_id,
        )
        return ComposedMessage(email, links)


def withdrawal_reason(message: DueMessage) -> str:
    """Return why a due brief or notice is not to be sent any more, "" if its offer is open."""
    return "" if message.offer_state == "offered" else "superseded"


BRIEF: Final = MessageKind("brief", Briefs.load, withdrawal_reason)
NOTICE: Final = MessageKind("notice", Notices.load, withdrawal_reason)


def _offer_values(offer: OfferRow, policy: Policy, rep: Rep) -> Mapping[str, object]:
    values: Mapping[str, object] = defang_values(
        {
            "id": offer.id,
            "rule": offer.rule,
            "reason": offer.handoff_reason,
            "routing_reason": describe_routing(offer.routing_reason, policy),
            "expires_on": format_deadline(offer.expires_at, rep),
            "reasons": [{"code": each.code, "label": each.label} for each in policy.reject_reasons.values()],
        }
    )
    return values
