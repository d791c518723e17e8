"""Preview an email for one lead before it is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.definitions.folder import Sources
from nurture.definitions.read_all import load
from nurture.domain.lead import full_name
from nurture.errors import NotFound
from nurture.journey.tracks.touch_email import sender_address, touch_values
from nurture.mail.rendering.compile import EmailSource, compile_email
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from nurture.runtime.context import AppContext

_lead = table(lead_tables.Lead)
_address = table(lead_tables.Address)


@dataclass(frozen=True)
class Recipient:
    """The recipient of a preview."""

    email: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    zone: str = ""
    country: str = ""
    consent_basis: str = "consent"


SAMPLE_RECIPIENT = Recipient(
    "ana.souza@example.com",
    {"first_name": "Ana", "last_name": "Souza", "company": "Souza Foods", "title": "Head of Planning", "country": "BR"},
)
"""The recipient of previews without a lead."""


def load_recipient(ctx: AppContext, lead_id: int) -> Recipient:
    """Return a lead as a recipient. Raises NotFound."""
    statement = (
        select(_lead.c.fields, _lead.c.zone, _lead.c.country, _lead.c.consent_basis, _address.c.email)
        .outerjoin(_address, _address.c.id == _lead.c.address_id)
        .where(_lead.c.id == lead_id)
    )
    with ctx.database.read() as tx:
        row = tx.execute(statement).one_or_none()
    if row is None:
        raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
    return Recipient(row.email or "no-address@example.com", row.fields, row.zone, row.country, row.consent_basis or "")


def render_preview(sources: Sources, track: str, email: str, to: Recipient) -> ComposedEmail:
    """Compose *email* of *track* for *to*. Raises NotFound, InvalidDefinitions, CompositionFailed."""
    definitions = load(sources)
    track_definition = definitions.tracks.get(track)
    if track_definition is None:
        raise NotFound(f"There is no track {track}. The tracks are: {', '.join(sorted(definitions.tracks))}.")
    text = track_definition.emails.get(email)
    if text is None:
        raise NotFound(f"Track {track} has no email {email}. It has: {', '.join(sorted(track_definition.emails))}.")
    compiled = compile_email(
        EmailSource(f"tracks/{track}/{email}.md", text), definitions.layouts[track_definition.layouts[email]]
    )
    program = track_definition.program(0)
    mailto = f"mailto:{program.sender.reply_to or program.sender.email}?subject=unsubscribe"
    envelope = Envelope(
        ref=f"preview:{track}:{email}",
        sender=sender_address(program.sender),
        to=Address(full_name(to.fields), to.email),
        reply_to=Address(program.sender.name, program.sender.reply_to) if program.sender.reply_to else None,
    )
    return compose(compiled, touch_values(to.fields, program, mailto, to.consent_basis), envelope)


def readdress(email: ComposedEmail, to: str, now: datetime) -> ComposedEmail:
    """Return the email as a test to another address, with its own ref."""
    return replace(
        email, ref=f"test:{email.ref}:{now.timestamp():.6f}", to=Address("", to), subject=f"[test] {email.subject}"
    )
