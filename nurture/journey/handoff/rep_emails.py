"""Compose email to reps and managers: one envelope, from the sender of the policy in force."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self

from nurture.db.transaction import Transaction
from nurture.domain.planning import calendar
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Manager, Rep
from nurture.errors import NotFound
from nurture.journey.handoff import queries
from nurture.journey.handoff.lead_profile import lead_values_for_sales
from nurture.journey.leads.changeset import OfferRow
from nurture.journey.tracks.touch_email import sender_address
from nurture.mail.rendering.compile import CompiledEmail
from nurture.mail.rendering.inert_text import defang_values
from nurture.mail.rendering.render import Address, Envelope, compose
from nurture.outbox.messages import DueMessage
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import ComposedMessage
from nurture.runtime.public_links import Link, LinkSpec

_AUTO_SUBMITTED: Final = ("Auto-Submitted", "auto-generated")
"""So that no out-of-office reply of a rep goes to the lead, to whom answers to a forwarded reply are addressed."""


@dataclass(frozen=True)
class OfferEmails:
    """What the messages of a batch about offers share: the policy in force and the offers."""

    ctx: AppContext
    now: datetime
    policy: Policy
    offers: Mapping[int, OfferRow]

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage], now: datetime) -> Self:
        """Read the offers of *batch*."""
        offers = queries.load_offers(tx, [one.offer_id for one in batch if one.offer_id])
        return cls(ctx, now, ctx.definitions.current(tx).policy, offers)

    def find_offer(self, message: DueMessage) -> OfferRow:
        """Return the offer that *message* is about. Raises NotFound."""
        offer = self.offers.get(message.offer_id or 0)
        if offer is None:
            raise NotFound(f"The hand-off of {message.send_key} does not exist. `nurture handoffs list` lists all.")
        return offer


def make_offer_links(
    ctx: AppContext, message: DueMessage, purposes: Mapping[str, str]
) -> tuple[list[Link], dict[str, str]]:
    """Return a link about the offer for each of *purposes*, and the URLs by its keys; "" if no pages are served."""
    if not ctx.base_url:
        return [], dict.fromkeys(purposes, "")
    specs = [LinkSpec(purpose, message.lead_id, message.id, message.offer_id) for purpose in purposes.values()]
    links = [public_links.make_link(spec) for spec in specs]
    return links, dict(zip(purposes, (link.url(ctx.base_url) for link in links), strict=True))


def compose_for_rep(
    ctx: AppContext,
    policy: Policy,
    message: DueMessage,
    rep: Rep | Manager,
    template: CompiledEmail,
    values: Mapping[str, object],
    *,
    to: Rep | Manager | None = None,
    links: Sequence[Link] = (),
    reply_to: Address | None = None,
    label: str = "handoff",
) -> ComposedMessage:
    """Compose an email about a lead to its *rep*, or to the manager *to*, with the sender of *policy*.

    *values* are added to those of the lead, the rep and the sender. *reply_to* replaces the sender's reply address.
    """
    sender, recipient = policy.sender, to or rep
    lead = lead_values_for_sales(message.lead_id, defang_values(message.fields), message.address)
    envelope = Envelope(
        ref=message.send_key,
        sender=sender_address(sender),
        to=Address(recipient.name, recipient.email),
        reply_to=reply_to or (Address("", sender.reply_to) if sender.reply_to else None),
        labels=(label,),
        installation_id=ctx.installation_id,
    )
    shared = {"lead": lead, "rep": {"id": rep.id, "name": rep.name}, "sender": {"name": sender.name}}
    email = compose(template, {**shared, **values}, envelope)
    return ComposedMessage(replace(email, headers=(*email.headers, _AUTO_SUBMITTED)), links)


def format_deadline(at: datetime, rep: Rep) -> str:
    """Return *at* (UTC) as text in the rep's time zone."""
    return format_time(at, rep.hours.zone)


def format_time(at: datetime, zone: str) -> str:
    """Return *at* (UTC) as text in *zone*."""
    local = calendar.to_local(at, zone)
    return f"{local:%A} {local.day} {local:%B %Y, %H:%M} ({zone})"
