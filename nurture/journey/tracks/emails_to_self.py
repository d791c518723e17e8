"""Emails of tracks as somebody on our side gets them: as a lead or as a sample, in a preview or sent to oneself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any, Final, NamedTuple

from nurture.db.transaction import Transaction
from nurture.domain.lead import full_name
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.program import Email, Program
from nurture.domain.policy.policy_wording import describe_delay
from nurture.errors import InvalidState, NotFound
from nurture.journey.leads import find
from nurture.journey.leads.changeset import Changes, NewMessage
from nurture.journey.tracks import recipient_queries
from nurture.journey.tracks.touch_email import choose_language, load_owner_addresses, sender_address, touch_values
from nurture.mail.inbound.classify import reply_address
from nurture.mail.rendering.compile import CompiledEmail
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from nurture.outbox.messages import TO_REP, DueMessage
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import ComposedMessage, MessageKind
from nurture.runtime.public_links import PROBE_TOKEN

EXPIRES_AFTER: Final = timedelta(days=1)
BETWEEN: Final = timedelta(minutes=1)
"""Between two emails of a track, so that a mailbox shows them in their order."""

MAX_EMAILS: Final = 50
_AS_LEAD: Final = "lead"

LONG_VALUES: Final[Mapping[str, Any]] = {
    "first_name": "Maximiliane-Charlotte",
    "last_name": "von Hohenstein-Wittgenstein",
    "title": "Senior Vice President, Supply Chain Planning and Operations",
    "company": "Vereinigte Lebensmittel- und Getränkewerke Süd GmbH & Co. KG",
    "industry": "Food and Beverage Manufacturing, Wholesale",
    "city": "Llanfairpwllgwyngyll",
    "region": "North Rhine-Westphalia",
    "country": "GB",
    "website": "https://www.vereinigte-lebensmittelwerke.example/en/about-us/company",
    "employees": 120_000,
}


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

SAMPLE_RECIPIENTS: Final[Mapping[str, Recipient]] = {
    "sample": SAMPLE_RECIPIENT,
    "only-an-address": Recipient("someone@example.com"),
    "long-values": Recipient("maximiliane.von.hohenstein@example.com", LONG_VALUES),
}
"""Recipients of previews: one as they should be, and the worst cases."""


def load_recipient(ctx: AppContext, lead_id: int, now: datetime) -> Recipient:
    """Return a lead as a recipient. Raises NotFound."""
    with ctx.database.read() as tx:
        row = recipient_queries.find_recipient(tx, lead_id)
        if row is None:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        published = ctx.definitions.find_current(tx) is not None
        owners = load_owner_addresses(ctx, tx, {lead_id: row.fields}, now) if published else {}
    email = row.email or "no-address@example.com"
    return Recipient(email, row.fields, row.zone, row.country, row.consent_basis or "", owners.get(lead_id))


def compose_for(program: Program, compiled: CompiledEmail, email: str, to: Recipient, language: str) -> ComposedEmail:
    """Compose *email* of *program* as *to* gets it, without links of ours, so that none of them tells who clicked."""
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


def readdress(email: ComposedEmail, to: str, reply_domain: str, now: datetime) -> ComposedEmail:
    """Return the email as a test to another address, with its own ref, and bounces returned as those of real email."""
    return replace(
        email,
        ref=f"test:{email.ref}:{now.timestamp():.6f}",
        to=Address("", to),
        subject=f"[test] {email.subject}",
        return_path=reply_address(PROBE_TOKEN, reply_domain) if reply_domain else "",
    )


class Request(NamedTuple):
    """Which emails somebody asks for: *email* of *version* of *track*, "" for all of them in their order.

    *to* is a key of SAMPLE_RECIPIENTS, or the id of a lead; *address* is where they go.
    """

    track: str
    version: int
    email: str
    to: str
    address: str


def send_to_self(ctx: AppContext, asked: Request, now: datetime) -> int:
    """Put emails of a published track into the outbox, to the address of who asks; return how many.

    Nothing is counted, and no lead changes. The emails of a whole track go one a minute, with their delays in the
    subjects. Raises NotFound for an unknown track, version, email or lead, InvalidState without any lead.
    """
    with ctx.database.write() as tx:
        if publication_queries.find_version(tx, "track", asked.track, asked.version) is None:
            raise NotFound(f"Track {asked.track} has no version {asked.version}.")
        known = ctx.definitions.subjects(tx, asked.track, asked.version)
        program = ctx.definitions.program(tx, asked.track, asked.version)
        emails = [asked.email] if asked.email else list(_delays(program))[:MAX_EMAILS]
        if missing := [one for one in emails if one not in known]:
            raise NotFound(f"Track {asked.track} has no email {missing[0]}. It has: {', '.join(sorted(known))}.")
        lead_id = _find_lead(tx, asked.to)
        mode = asked.to if asked.to in SAMPLE_RECIPIENTS else _AS_LEAD
        changes = Changes()
        for place, email in enumerate(emails):
            at = now + place * BETWEEN
            changes.new_messages.append(
                NewMessage(
                    f"self:{token_hex(8)}",
                    TO_SELF.name,
                    TO_REP,
                    lead_id,
                    email,
                    planned_at=now,
                    send_at=at,
                    expires_at=at + EXPIRES_AFTER,
                    state_at=now,
                    track=asked.track,
                    track_version=asked.version,
                    step=mode if asked.email else f"{mode} with delay",
                    rep=asked.address,
                )
            )
        changes.write(tx, now)
    return len(emails)


def _find_lead(tx: Transaction, to: str) -> int:
    """Return the lead to which the message belongs: the one that it shows, for a sample the newest."""
    if to in SAMPLE_RECIPIENTS:
        newest = recipient_queries.find_newest_lead(tx)
        if newest is None:
            raise InvalidState("There is no lead yet, so nothing can be sent. Import one first.")
        return newest
    lead_id = find.parse_id(to)
    if lead_id is None or recipient_queries.find_recipient(tx, lead_id) is None:
        raise NotFound(f"There is no lead {to[:20]}.")
    return lead_id


def _delays(program: Program) -> dict[str, str]:
    """Return the delay of each email of a track in words, in the order of the track."""
    found: dict[str, str] = {}
    for one in program.instructions:
        if isinstance(one, Email):
            for email in one.emails:
                found.setdefault(email, describe_delay(one.after) if isinstance(one.after, Delay) else str(one.after))
    return found


@dataclass(frozen=True)
class _ToSelf:
    """The emails of a batch."""

    ctx: AppContext
    now: datetime

    @classmethod
    def load(cls, ctx: AppContext, _tx: Transaction, _batch: Sequence[DueMessage], now: datetime) -> "_ToSelf":
        return cls(ctx, now)

    def compose(self, tx: Transaction, message: DueMessage) -> ComposedMessage:
        mode, _, with_delay = message.step.partition(" ")
        to = SAMPLE_RECIPIENTS.get(mode)
        if to is None:
            owners = load_owner_addresses(self.ctx, tx, {message.lead_id: message.fields}, self.now)
            basis, owner = message.consent_basis or "", owners.get(message.lead_id)
            shown = message.address or "no-address@example.com"
            to = Recipient(shown, message.fields, message.zone, message.country, basis, owner)
        track, version = message.track or "", message.track_version or 0
        program = self.ctx.definitions.program(tx, track, version)
        language = choose_language(program, message.email, to.fields, to.country)
        compiled = self.ctx.definitions.email(tx, track, version, message.email, None, language)
        email = compose_for(program, compiled, message.email, to, language)
        sent = readdress(email, message.rep or "", self.ctx.reply_domain, self.now)
        delay = _delays(program).get(message.email, "") if with_delay else ""
        subject = f"[test, {delay}] {email.subject}" if delay else sent.subject
        return ComposedMessage(replace(sent, ref=message.send_key, subject=subject))


TO_SELF: Final = MessageKind("to_self", _ToSelf.load)
