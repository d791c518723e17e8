"""Compose the messages of an outbox batch, whatever their kind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from nurture.db.transaction import Transaction
from nurture.journey.consent import open_tracking_queries
from nurture.journey.handoff import reply_forwarding, sla_emails
from nurture.journey.handoff.brief_emails import Briefs
from nurture.journey.handoff.sla_emails import SlaEmails
from nurture.journey.routing import ask_lead
from nurture.journey.tracks.touch_email import ComposedTouch, TouchTemplate, compose_touch, load_template
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox.messages import NOTICE, TO_LEADS, DueMessage
from nurture.runtime import link_destination_queries, public_links
from nurture.runtime.context import AppContext
from nurture.runtime.link_destination_queries import PersonalDestinations, SharedDestination
from nurture.runtime.public_links import Link
from nurture.runtime.redact import redact

TemplateKey = tuple[str, int, str]
"""Track, track version and email name."""


@dataclass
class ComposedBatch:
    """The composed emails by message id, their links, and why the others could not be composed.

    *shared_links* are the destinations of numbered links that all mail of a track version shares, *lead_links*
    those of a single message.
    """

    emails: dict[int, ComposedEmail] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    shared_links: set[SharedDestination] = field(default_factory=set)
    lead_links: list[PersonalDestinations] = field(default_factory=list)

    def keep_only(self, ids: AbstractSet[int]) -> None:
        """Drop all messages except *ids*."""
        if ids >= self.emails.keys() | self.problems.keys():
            return
        self.emails = {id_: email for id_, email in self.emails.items() if id_ in ids}
        self.links = [link for link in self.links if link.spec.message_id in ids]
        self.problems = {id_: why for id_, why in self.problems.items() if id_ in ids}
        self.lead_links = [own for own in self.lead_links if own.message_id in ids]


@dataclass(frozen=True)
class CompositionBatch:
    """Messages to compose, with what was read about them when they were claimed."""

    ctx: AppContext
    messages: Sequence[DueMessage]
    open_tracked_leads: Collection[int]
    reply_ids: Collection[int]
    forwarded_replies: reply_forwarding.ForwardedReplies
    briefs: Briefs
    sla_batch: SlaEmails | None

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, messages: Sequence[DueMessage], now: datetime) -> CompositionBatch:
        """Read what *messages* need, in a constant number of statements."""
        forwarded = [one for one in messages if one.kind == "brief" and one.email == reply_forwarding.TEMPLATE]
        reply_ids = {one.id for one in forwarded}
        own_kinds = (*TO_LEADS, sla_emails.KIND)
        offer_messages = [one for one in messages if one.kind not in own_kinds and one.id not in reply_ids]
        sla_messages = [one for one in messages if one.kind == sla_emails.KIND]
        return cls(
            ctx,
            messages,
            _load_open_tracked_leads(ctx, tx, messages),
            reply_ids,
            reply_forwarding.ForwardedReplies.load(ctx, tx, forwarded),
            Briefs.load(ctx, tx, offer_messages, now),
            SlaEmails.load(ctx, tx, sla_messages),
        )

    def compose(self, tx: Transaction) -> ComposedBatch:
        """Compose each message; one that cannot be composed does not stop the others."""
        forwarded_replies = replace(self.forwarded_replies, tx=tx)
        briefs = replace(self.briefs, tx=tx)
        sla_batch = replace(self.sla_batch, tx=tx) if self.sla_batch is not None else None
        composed = ComposedBatch()
        templates: dict[TemplateKey, TouchTemplate] = {}
        for one in self.messages:
            try:
                if one.kind == "touch":
                    template = _load_template(self.ctx, tx, templates, one)
                    composed_touch = compose_touch(
                        self.ctx, template, one, track_opens=one.lead_id in self.open_tracked_leads
                    )
                elif one.kind == ask_lead.QUESTION_KIND:
                    composed_touch = ask_lead.compose_question(self.ctx, tx, one)
                elif one.id in self.reply_ids:
                    composed_touch = ComposedTouch(forwarded_replies.compose(one), [])
                elif one.kind == sla_emails.KIND and sla_batch is not None:
                    composed_touch = ComposedTouch(*sla_batch.compose(one))
                else:
                    composed_touch = ComposedTouch(
                        *(briefs.compose_notice(one) if one.kind == NOTICE else briefs.compose(one))
                    )
            except Exception as error:  # noqa: BLE001 - recorded on the message
                composed.problems[one.id] = redact(error, one.fields, one.address)
                continue
            composed.emails[one.id] = composed_touch.email
            composed.links.extend(composed_touch.links)
            if composed_touch.own_destinations is not None:
                composed.lead_links.append(composed_touch.own_destinations)
        composed.shared_links.update(number for found in templates.values() for number in found.destinations)
        return composed


def _load_template(
    ctx: AppContext, tx: Transaction, templates: dict[TemplateKey, TouchTemplate], message: DueMessage
) -> TouchTemplate:
    """Return the template of a touch, read once per batch."""
    key = message.track or "", message.track_version or 0, message.email
    if key not in templates:
        templates[key] = load_template(ctx, tx, *key)
    return templates[key]


def _load_open_tracked_leads(ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage]) -> set[int]:
    """Return the leads of *batch* who agreed to open tracking."""
    touched_leads = [one.lead_id for one in batch if one.kind == "touch"]
    if ctx.tracking is None or not touched_leads:
        return set()
    return open_tracking_queries.filter_consenting(tx, touched_leads)


def save_links(tx: Transaction, composed: ComposedBatch, now: datetime) -> None:
    """Store the destinations of the links in the emails, before the emails are sent."""
    public_links.store_links(tx, composed.links, now)
    link_destination_queries.write_destinations(tx, composed.shared_links, composed.lead_links)
