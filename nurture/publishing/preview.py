"""Preview an email for one lead before it is published."""

from dataclasses import dataclass
from datetime import datetime
from html.parser import HTMLParser

from sqlalchemy import select

from nurture.db.tables.delivery import message
from nurture.db.transaction import Transaction
from nurture.definitions.folder import Sources, email_folder
from nurture.definitions.languages import split_language
from nurture.definitions.read_all import load
from nurture.domain.planning.content import utm_parameters
from nurture.errors import NotFound
from nurture.journey.tracks.emails_to_self import Recipient, compose_for, load_recipient
from nurture.journey.tracks.touch_email import choose_language
from nurture.mail.rendering.compile import EmailSource, compile_email
from nurture.mail.rendering.render import ComposedEmail
from nurture.runtime.context import AppContext


@dataclass(frozen=True, slots=True)
class EmailPreview:
    """A composed email, what an inbox shows beside its subject, its sizes in bytes, and its links: text and address."""

    email: ComposedEmail
    preheader: str
    html_bytes: int
    text_bytes: int
    links: tuple[tuple[str, str], ...]


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
    return compose_for(program, compiled, email, to, language)


def render_published(
    ctx: AppContext, tx: Transaction, track: str, version: int, email: str, to: Recipient
) -> EmailPreview:
    """Compose *email* of a published version of *track* for *to*. Raises NotFound, CompositionFailed."""
    program = ctx.definitions.program(tx, track, version)
    known = ctx.definitions.subjects(tx, track, version)
    if email not in known:
        raise NotFound(f"Track {track} has no email {email}. It has: {', '.join(sorted(known))}.")
    language = choose_language(program, email, to.fields, to.country)
    compiled = ctx.definitions.email(tx, track, version, email, None, language)
    composed = compose_for(program, compiled, email, to, language)
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
