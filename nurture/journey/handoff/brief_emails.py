"""Compose the brief that hands a lead to a rep, and the notices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.lead import full_name
from nurture.domain.planning import calendar
from nurture.domain.planning.program import Sender
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Rep
from nurture.errors import NotFound
from nurture.journey.handoff import queries
from nurture.journey.handoff.lead_profile import LeadProfiles, TemplateValues
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.tracks.touch_email import sender_address
from nurture.mail.rendering.inert_text import defang_values, escape_markup
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from nurture.outbox.messages import DueMessage
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import Link, LinkSpec

ANSWER_LINKS: Final = {
    "accept_url": public_links.ACCEPT,
    "reject_url": public_links.REJECT,
    "reassign_url": public_links.REASSIGN,
    "call_back_url": public_links.CALL_BACK_LATER,
}
"""The answer links of a brief; each has its own purpose."""


@dataclass
class Briefs:
    """The data that the briefs of a batch share, read in a constant number of statements."""

    ctx: AppContext
    tx: Transaction
    now: datetime
    offers: Mapping[int, OfferRow]
    profiles: LeadProfiles
    sender: Sender | None

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage], now: datetime) -> Briefs:
        """Read the data of the briefs of *batch*."""
        if not batch:
            return cls(ctx, tx, now, {}, LeadProfiles(), None)
        definitions = ctx.definitions.current(tx)
        found = queries.load_offers(tx, [one.offer_id for one in batch if one.offer_id])
        profiles = LeadProfiles.load(tx, [one.lead_id for one in batch])
        sender = next((program.sender for program in definitions.programs.values()), None)
        return cls(ctx, tx, now, found, profiles, sender)

    def compose_notice(self, message: DueMessage) -> tuple[ComposedEmail, list[Link]]:
        """Compose the short notice of an offer, for a channel that colleagues may read too."""
        offer, _, rep, sender = self._find_offer(message)
        links: list[Link] = []
        answer_link = f"nurture handoffs accept {offer.id}"
        if self.ctx.base_url:
            links.append(public_links.make_link(LinkSpec(public_links.ACCEPT, message.lead_id, message.id, offer.id)))
            answer_link = links[-1].url(self.ctx.base_url)
        name_and_company = [
            escape_markup(full_name(message.fields)) or "A lead",
            escape_markup(str(message.fields.get("company") or "")),
        ]
        email = ComposedEmail(
            ref=message.send_key,
            sender=sender_address(sender),
            to=Address(rep.name, rep.email),
            reply_to=None,
            subject=f"{rep.name}: {', '.join(part for part in name_and_company if part)}",
            html="",
            text=(
                f"Why now: {escape_markup(offer.handoff_reason)}\n"
                f"Answer by {format_deadline(offer.expires_at, rep)}\n{answer_link}"
            ),
            headers=(),
            labels=("handoff",),
            installation_id=self.ctx.installation_id,
        )
        return email, links

    def compose(self, message: DueMessage) -> tuple[ComposedEmail, list[Link]]:
        """Compose the brief of one offer, with its answer links."""
        offer, policy, rep, sender = self._find_offer(message)
        links: list[Link] = []
        urls = dict.fromkeys(ANSWER_LINKS, "")
        if self.ctx.base_url:
            links = [
                public_links.make_link(LinkSpec(way, message.lead_id, message.id, offer.id))
                for way in ANSWER_LINKS.values()
            ]
            urls = dict(zip(ANSWER_LINKS, (link.url(self.ctx.base_url) for link in links), strict=True))
        values = brief_values(self.profiles, offer, policy, rep, urls, self.now)
        envelope = Envelope(
            ref=message.send_key,
            sender=sender_address(sender),
            to=Address(rep.name, rep.email),
            reply_to=Address("", sender.reply_to) if sender.reply_to else None,
            labels=("handoff",),
            installation_id=self.ctx.installation_id,
        )
        values["sender"] = {"name": sender.name}
        return compose(self.ctx.definitions.brief(self.tx, policy.version), values, envelope), links

    def _find_offer(self, message: DueMessage) -> tuple[OfferRow, Policy, Rep, Sender]:
        offer = self.offers.get(message.offer_id or 0)
        if offer is None or self.sender is None:
            raise NotFound(f"The hand-off of {message.send_key} does not exist. `nurture handoffs list` lists all.")
        policy = self.ctx.definitions.policy(self.tx, offer.policy_version)
        rep = policy.rep(offer.rep)
        if rep is None:
            raise NotFound(f"Rep {offer.rep} is not in version {policy.version} of the policy.")
        return offer, policy, rep, self.sender


def brief_values(
    profiles: LeadProfiles, offer: OfferRow, policy: Policy, rep: Rep, urls: Mapping[str, str], now: datetime
) -> dict[str, object]:
    """Return the template values of a brief."""
    offer_values: TemplateValues = {
        "id": offer.id,
        "rule": offer.rule,
        "reason": offer.handoff_reason,
        "routing_reason": offer.routing_reason,
        "expires_on": format_deadline(offer.expires_at, rep),
        "reasons": [{"code": each.code, "label": each.label} for each in policy.reject_reasons.values()],
    }
    lead, profile = profiles.lead_values_of(offer.lead_id), profiles.profile_of(offer.lead_id, policy, now)
    return {
        "lead": defang_values(lead) | {"email": lead["email"]},
        "rep": {"id": rep.id, "name": rep.name},
        "offer": {**defang_values(offer_values), **profile, **urls},
    }


def format_deadline(at: datetime, rep: Rep) -> str:
    """Return *at* (UTC) as text in the rep's time zone."""
    zone = rep.hours.zone
    local = calendar.to_local(at, zone)
    return f"{local:%A} {local.day} {local:%B %Y, %H:%M} ({zone})"
