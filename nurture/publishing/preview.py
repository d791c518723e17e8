"""Preview an email for one lead before it is published."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from nurture.db.tables.leads import address, lead
from nurture.definitions.folder import Sources, email_folder
from nurture.definitions.languages import split_language
from nurture.definitions.read_all import load
from nurture.domain.lead import full_name
from nurture.domain.planning.content import utm_parameters
from nurture.errors import NotFound
from nurture.journey.tracks.touch_email import choose_language, load_owner_addresses, sender_address, touch_values
from nurture.mail.inbound.classify import reply_address
from nurture.mail.rendering.compile import EmailSource, compile_email
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import PROBE_TOKEN


@dataclass(frozen=True)
class Recipient:
    """The recipient of a preview."""

    email: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    zone: str = ""
    country: str = ""
    consent_basis: str = "consent"
    owner: Address | None = None
    """The rep of the lead."""


SAMPLE_RECIPIENT = Recipient(
    "ana.souza@example.com",
    {"first_name": "Ana", "last_name": "Souza", "company": "Souza Foods", "title": "Head of Planning", "country": "BR"},
)
"""The recipient of previews without a lead."""


def load_recipient(ctx: AppContext, lead_id: int, now: datetime) -> Recipient:
    """Return a lead as a recipient. Raises NotFound."""
    statement = (
        select(lead.c.fields, lead.c.zone, lead.c.country, lead.c.consent_basis, address.c.email)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .where(lead.c.id == lead_id)
    )
    with ctx.database.read() as tx:
        row = tx.execute(statement).one_or_none()
        if row is None:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        published = ctx.definitions.find_current(tx) is not None
        owners = load_owner_addresses(ctx, tx, {lead_id: row.fields}, now) if published else {}
    email = row.email or "no-address@example.com"
    return Recipient(email, row.fields, row.zone, row.country, row.consent_basis or "", owners.get(lead_id))


def render_preview(sources: Sources, track: str, email: str, to: Recipient) -> ComposedEmail:
    """Compose *email* of *track* for *to*. Raises NotFound, InvalidDefinitions, CompositionFailed."""
    definitions = load(sources)
    track_definition = definitions.definition(track)
    program = track_definition.program(0)
    language = choose_language(program, email, to.fields, to.country)
    file = f"{email}.{language}" if language else email
    path = f"{email_folder(track)}{file}.md"
    if file not in track_definition.emails:
        raise NotFound(f"Track {track} has no email {email}. It has: {', '.join(sorted(track_definition.emails))}.")
    text = definitions.emails[path]
    source = EmailSource(path, text.text, origins=text.origins)
    layout = definitions.layouts[track_definition.layouts[file]]
    compiled = compile_email(source, layout, utm=utm_parameters(program, email))
    sender = program.sender
    if sender.owner and to.owner is not None:
        program = replace(program, sender=replace(sender, name=to.owner.name, reply_to=to.owner.email))
    mailto = f"mailto:{sender.reply_to or sender.email}?subject=unsubscribe"
    envelope = Envelope(
        ref=f"preview:{track}:{email}",
        sender=sender_address(program.sender),
        to=Address(full_name(to.fields), to.email),
        reply_to=Address(program.sender.name, program.sender.reply_to) if program.sender.reply_to else None,
    )
    fields = to.fields if to.owner is None else {**to.fields, "owner": to.owner.name}
    return compose(compiled, touch_values(fields, program, mailto, to.consent_basis, "", language), envelope)


def render_track(sources: Sources, track: str, to: Recipient) -> list[ComposedEmail]:
    """Compose all emails of *track* for *to*, each in one language, by name. Raises as `render_preview`."""
    emails = {split_language(email)[0] for email in load(sources).definition(track).emails}
    return [render_preview(sources, track, email, to) for email in sorted(emails)]


def readdress(email: ComposedEmail, to: str, reply_domain: str, now: datetime) -> ComposedEmail:
    """Return the email as a test to another address, with its own ref, and bounces returned as those of real email."""
    return replace(
        email,
        ref=f"test:{email.ref}:{now.timestamp():.6f}",
        to=Address("", to),
        subject=f"[test] {email.subject}",
        return_path=reply_address(PROBE_TOKEN, reply_domain) if reply_domain else "",
    )
