"""Preview an email for one lead before it is published."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from html.parser import HTMLParser
from typing import Any, Final

from sqlalchemy import select

from nurture.db.tables.delivery import message
from nurture.db.tables.leads import address, lead
from nurture.db.transaction import Transaction
from nurture.definitions.folder import Sources, email_folder
from nurture.definitions.languages import split_language
from nurture.definitions.read_all import load
from nurture.domain.lead import full_name
from nurture.domain.planning.content import utm_parameters
from nurture.domain.planning.program import Program
from nurture.errors import NotFound
from nurture.journey.tracks.touch_email import choose_language, load_owner_addresses, sender_address, touch_values
from nurture.mail.inbound.classify import reply_address
from nurture.mail.rendering.compile import CompiledEmail, EmailSource, compile_email
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from nurture.publishing.email_checks import LONG_VALUES
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


@dataclass(frozen=True, slots=True)
class EmailPreview:
    """A composed email, what an inbox shows beside its subject, its sizes in bytes, and its links: text and address."""

    email: ComposedEmail
    preheader: str
    html_bytes: int
    text_bytes: int
    links: tuple[tuple[str, str], ...]


SAMPLE_RECIPIENT = Recipient(
    "ana.souza@example.com",
    {"first_name": "Ana", "last_name": "Souza", "company": "Souza Foods", "title": "Head of Planning", "country": "BR"},
)
"""The recipient of previews without a lead."""

SAMPLE_RECIPIENTS: Final[Mapping[str, Recipient]] = {
    "sample": SAMPLE_RECIPIENT,
    "only-an-address": Recipient("someone@example.com"),
    "long-values": Recipient("maximiliane.von.hohenstein@example.com", LONG_VALUES),
}
"""Recipients of previews: one as they should be, and the worst cases."""


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


def render_preview(sources: Sources, track: str, email: str, to: Recipient, *, complete: bool = True) -> ComposedEmail:
    """Compose *email* of *track* for *to*; *complete*: the sources have all that they refer to.

    Raises NotFound, InvalidDefinitions, CompositionFailed.
    """
    definitions = load(sources, complete=complete)
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
    return _compose(program, compiled, email, to, language)


def _compose(program: Program, compiled: CompiledEmail, email: str, to: Recipient, language: str) -> ComposedEmail:
    sender = program.sender
    if sender.owner and to.owner is not None:
        program = replace(program, sender=replace(sender, name=to.owner.name, reply_to=to.owner.email))
    mailto = f"mailto:{sender.reply_to or sender.email}?subject=unsubscribe"
    envelope = Envelope(
        ref=f"preview:{program.track}:{email}",
        sender=sender_address(program.sender),
        to=Address(full_name(to.fields), to.email),
        reply_to=Address(program.sender.name, program.sender.reply_to) if program.sender.reply_to else None,
    )
    fields = to.fields if to.owner is None else {**to.fields, "owner": to.owner.name}
    return compose(compiled, touch_values(fields, program, mailto, to.consent_basis, "", language), envelope)


def render_published(
    ctx: AppContext, tx: Transaction, track: str, version: int, email: str, to: Recipient
) -> EmailPreview:
    """Compose *email* of a published version of *track* for *to*. Raises NotFound, CompositionFailed."""
    program = ctx.definitions.program(tx, track, version)
    known = ctx.definitions.subjects(tx, track, version)
    if email not in known:
        raise NotFound(f"Track {track} has no email {email}. It has: {', '.join(sorted(known))}.")
    language = choose_language(program, email, to.fields, to.country)
    composed = _compose(program, ctx.definitions.email(tx, track, version, email, None, language), email, to, language)
    found = _PreviewReader()
    found.feed(composed.html)
    sizes = (len(composed.html.encode()), len(composed.text.encode()))
    return EmailPreview(composed, found.preheader.strip(), *sizes, tuple(found.links))


def render_sent(ctx: AppContext, message_id: int, now: datetime) -> EmailPreview:
    """Compose the touch *message_id* again, in its version, with what is known of the lead now. Raises NotFound."""
    columns = (message.c.lead_id, message.c.track, message.c.track_version, message.c.email, message.c.kind)
    with ctx.database.read() as tx:
        row = tx.execute(select(*columns).where(message.c.id == message_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no message {message_id}.")
    if row.kind != "touch":
        raise NotFound("Only emails of tracks can be shown.", "The lead's timeline says what else was sent.")
    to = load_recipient(ctx, row.lead_id, now)
    with ctx.database.read() as tx:
        return render_published(ctx, tx, row.track, row.track_version, row.email, to)


class _PreviewReader(HTMLParser):
    """Collects the links of an email, and the text that an inbox shows beside the subject."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.preheader = ""
        self._hidden_tag = ""
        self._address = ""
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if not self.preheader and not self._hidden_tag and "display:none" in (values.get("style") or ""):
            self._hidden_tag = tag
        if tag == "a" and values.get("href"):
            self._address, self._text = values["href"] or "", ""

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden_tag:
            self._hidden_tag = ""
        if tag == "a" and self._address:
            self.links.append((" ".join(self._text.split()), self._address))
            self._address = ""

    def handle_data(self, data: str) -> None:
        if self._hidden_tag:
            self.preheader += data
        self._text += data


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
