"""Write what a rep receives with a lead: the brief on one page by mail, and a notice where they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from nurture.domain.planning import calendar
from nurture.domain.planning.program import Sender
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Rep
from nurture.errors import NotFound
from nurture.journey.handoff import queries
from nurture.journey.handoff.lead_profile import Portraits, Words
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.tracks.touch_email import full_name, sender_address
from nurture.mail.rendering.inert_text import unlinked_values, unmarked
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from nurture.outbox.messages import Waiting
from nurture.runtime import public_links
from nurture.runtime.context import House
from nurture.runtime.public_links import Link, Wanted

ANSWERS: Final = {
    "accept_url": public_links.ACCEPT,
    "reject_url": public_links.REJECT,
    "reassign_url": public_links.REASSIGN,
    "later_url": public_links.LATER,
}
"""The links of a brief that answer it, each for one purpose."""


@dataclass
class Briefs:
    """What the briefs of one batch have in common, read in a constant number of statements."""

    house: House
    connection: Connection
    now: datetime
    offers: Mapping[int, OfferRow]
    portraits: Portraits
    sender: Sender | None

    @classmethod
    def of(cls, house: House, connection: Connection, batch: Sequence[Waiting], now: datetime) -> Briefs:
        """Read what the briefs of *batch* show."""
        if not batch:
            return cls(house, connection, now, {}, Portraits(), None)
        book = house.rulebooks.current(connection)
        found = queries.find(house.database, connection, [one.offer_id for one in batch if one.offer_id])
        shown = Portraits.of(house, connection, [one.lead_id for one in batch])
        sender = next((program.sender for program in book.programs.values()), None)
        return cls(house, connection, now, found, shown, sender)

    def notice(self, one: Waiting) -> tuple[ComposedEmail, list[Link]]:
        """Write the few lines that tell a rep of one offer where colleagues read along."""
        offer, _, rep, sender = self._about(one)
        made: list[Link] = []
        how = f"nurture handoffs accept {offer.id}"
        if self.house.base_url:
            made.append(public_links.make(Wanted(public_links.ACCEPT, one.lead_id, one.id, offer.id)))
            how = made[-1].url(self.house.base_url)
        told = [unmarked(full_name(one.facts)) or "A lead", unmarked(str(one.facts.get("company") or ""))]
        email = ComposedEmail(
            ref=one.send_key,
            sender=sender_address(sender),
            to=Address(rep.name, rep.email),
            reply_to=None,
            subject=f"{rep.name}: {', '.join(part for part in told if part)}",
            html="",
            text=f"Why now: {unmarked(offer.because)}\nAnswer by {by_when(offer.expires_at, rep)}\n{how}",
            headers=(),
            labels=("handoff",),
            origin=self.house.origin,
        )
        return email, made

    def write(self, one: Waiting) -> tuple[ComposedEmail, list[Link]]:
        """Compose the brief of one offer, with its links to answer."""
        offer, policy, rep, sender = self._about(one)
        made: list[Link] = []
        urls = dict.fromkeys(ANSWERS, "")
        if self.house.base_url:
            made = [public_links.make(Wanted(way, one.lead_id, one.id, offer.id)) for way in ANSWERS.values()]
            urls = dict(zip(ANSWERS, (link.url(self.house.base_url) for link in made), strict=True))
        values = brief_values(self.portraits, offer, policy, rep, urls, self.now)
        envelope = Envelope(
            ref=one.send_key,
            sender=sender_address(sender),
            to=Address(rep.name, rep.email),
            reply_to=Address("", sender.reply_to) if sender.reply_to else None,
            labels=("handoff",),
            origin=self.house.origin,
        )
        values["sender"] = {"name": sender.name}
        return compose(self.house.rulebooks.brief(self.connection, policy.version), values, envelope), made

    def _about(self, one: Waiting) -> tuple[OfferRow, Policy, Rep, Sender]:
        offer = self.offers.get(one.offer_id or 0)
        if offer is None or self.sender is None:
            raise NotFound(
                f"The hand-off of {one.send_key} is gone. `nurture handoffs list` lists those there are."
            )
        policy = self.house.rulebooks.policy(self.connection, offer.policy_version)
        rep = policy.rep(offer.rep)
        if rep is None:
            raise NotFound(f"Rep {offer.rep} is not in version {policy.version} of the policy.")
        return offer, policy, rep, self.sender


def brief_values(
    portraits: Portraits,
    offer: OfferRow,
    policy: Policy,
    rep: Rep,
    urls: Mapping[str, str],
    now: datetime,
) -> dict[str, object]:
    """Return the plain values that a brief is rendered with."""
    shown: Words = {
        "id": offer.id,
        "rule": offer.rule,
        "because": offer.because,
        "routed_because": offer.routed_because,
        "expires_on": by_when(offer.expires_at, rep),
        "reasons": [{"code": each.code, "label": each.label} for each in policy.reject_reasons.values()],
    }
    lead, told = portraits.lead(offer.lead_id), portraits.told(offer.lead_id, policy, now)
    return {
        "lead": unlinked_values(lead) | {"email": lead["email"]},
        "rep": {"id": rep.id, "name": rep.name},
        "offer": {**unlinked_values(shown), **told, **urls},
    }


def by_when(moment: datetime, rep: Rep) -> str:
    """Say a moment (UTC) as the rep's own clock shows it."""
    zone = rep.hours.zone
    local = calendar.local(moment, zone)
    return f"{local:%A} {local.day} {local:%B %Y, %H:%M} ({zone})"
