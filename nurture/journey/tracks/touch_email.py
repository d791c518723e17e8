"""Compose touches from plain values."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Self

from nurture.db.transaction import Transaction
from nurture.domain.fields import MissingText
from nurture.domain.lead import Custodian, full_name, has_value
from nurture.domain.planning.program import Program, Sender
from nurture.errors import DatabaseUnavailable, NurtureError
from nurture.formats.languages import language_code, main_language
from nurture.journey.consent import open_tracking_queries
from nurture.journey.ownership.owners import load_owners
from nurture.mail.inbound.classify import reply_address
from nurture.mail.rendering.compile import CompiledEmail
from nurture.mail.rendering.email_form import RENDERING_ERRORS, EmailForm, make_form
from nurture.mail.rendering.layout_words import LAYOUT_VARIABLES, layout_words
from nurture.mail.rendering.link_tracking import TrackedLinks
from nurture.mail.rendering.render import Address, CompositionFailed, Envelope, compose
from nurture.mail.rendering.utm import add_utm
from nurture.outbox.messages import DueMessage
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.link_queries import PersonalDestinations, SharedDestination
from nurture.runtime.message_kinds import ComposedMessage, MessageKind
from nurture.runtime.public_links import Link, MessageLinks
from nurture.runtime.published import Definitions

REQUIRED_VARIABLES: Final = frozenset({"unsubscribe_url", "sender.postal_address"})
"""Variables that every touch must use."""

OWNER: Final = "lead.owner"
"""In an email the name of the lead's rep; without one, what its field `owner` says."""

KNOWN_VARIABLES: Final = frozenset(
    {"sender.name", "sender.email", "sender.postal_address", "track.name", "track.goal", "track.consent_reason"}
    | {"unsubscribe_url", "preferences_url", *LAYOUT_VARIABLES}
)
"""Variables that a touch may use, besides those of the lead."""

_SHARED_VARIABLES: Final = frozenset({"_language", "language", "words", "sender", "track"})
"""Variables with the same value in all touches of one template to leads with a basis of the same kind."""


def load_owner_addresses(
    ctx: AppContext, tx: Transaction, leads: Mapping[int, Mapping[str, Any]], now: datetime
) -> dict[int, Address]:
    """Return name and address of the rep of each of *leads* (id: fields), as far as a header can hold them."""
    found: dict[int, Address] = {}
    policy = ctx.definitions.current(tx).policy if leads else None
    owners = load_owners(ctx.account_index, tx, policy, leads, now) if policy is not None else {}
    for lead_id, rep in owners.items():
        with suppress(CompositionFailed):  # a name that no header can hold: the usual sender writes
            found[lead_id] = Address(rep.name, rep.email)
    return found


@dataclass(frozen=True)
class TouchTemplate:
    """What all touches of one email of one track version share. *reply_to* is the address of a rep, if one sends."""

    program: Program
    compiled: CompiledEmail
    sender: Address
    destinations: tuple[SharedDestination, ...]
    reply_to: Address | None = None
    language: str = ""
    """The language of the email, "" for the default of its track."""

    forms: dict[tuple[str, bool, str], tuple[dict[str, object], EmailForm | None]] = field(
        default_factory=dict, init=False, compare=False
    )
    """The values and the form that touches share, by base URL, whether opens are tracked, and basis."""

    def form(self, base_url: str, basis: str, *, track_opens: bool) -> tuple[dict[str, object], EmailForm | None]:
        """Return values and form of its touches to leads with a *basis*; no form if it sets variables."""
        key = base_url, track_opens, basis
        if key not in self.forms:
            values = touch_values({}, self.program, "", basis, "", self.language)
            shared, samples = _SHARED_VARIABLES, _sample_urls(base_url) if base_url else {}
            if not track_opens:
                samples.pop("_open_pixel_url", None)
                shared |= {"_open_pixel_url"}
            form = None
            with suppress(*RENDERING_ERRORS):  # composing a touch says why
                form = make_form(self.compiled, {**values, "_open_pixel_url": ""}, shared, samples)
            self.forms[key] = values, form
        return self.forms[key]

    @property
    def asks_for_owner(self) -> bool:
        """Return whether the email is sent in the name of the lead's rep, or names it."""
        return self.program.sender.owner or OWNER in self.compiled.variables

    def from_rep(self, rep: Address) -> Self:
        """Return it in the name of *rep*. The address stays: only its domain may send, and takes bounces."""
        program = replace(self.program, sender=replace(self.program.sender, name=rep.name))
        return replace(self, program=program, sender=Address(rep.name, self.sender.email), reply_to=rep)


def load_template(
    ctx: AppContext, tx: Transaction, track: str, version: int, email: str, language: str = ""
) -> TouchTemplate:
    """Load an email of one version of a track in *language*, "" for the default."""
    program = ctx.definitions.program(tx, track, version)
    compiled = ctx.definitions.email(tx, track, version, email, ctx.tracking, language)
    numbered = enumerate(zip(compiled.destinations, compiled.names, strict=True), 1)
    destinations = tuple(SharedDestination(track, version, email, number, *target) for number, target in numbered)
    return TouchTemplate(program, compiled, sender_address(program.sender), destinations, language=language)


def choose_language(program: Program, email: str, fields: Mapping[str, Any], country: str) -> str:
    """Return in which of its languages a lead gets *email*, "" for the default: by its language, then its country."""
    languages = program.languages.get(email)
    if not languages:
        return ""
    country = country or str(fields.get("country") or "")
    wanted = language_code(str(fields.get("language") or "")) or main_language(country)
    return wanted if wanted in languages else ""


_TemplateKey = tuple[str, int, str, str]
"""Track, version, email and language."""


@dataclass
class Touches:
    """What the touches of a batch share: their templates, the reps, and who agreed to open tracking."""

    ctx: AppContext
    batch: Sequence[DueMessage]
    now: datetime
    open_tracked_leads: Collection[int] = ()
    templates: dict[tuple[object, ...], TouchTemplate] = field(default_factory=dict)
    _plain: dict[tuple[str | None, int | None, str], tuple[_TemplateKey, TouchTemplate]] = field(default_factory=dict)
    """The templates of emails in one language, by track, version and email."""
    _owners: Mapping[int, Address] | None = None

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage], now: datetime) -> Self:
        """Read who agreed to open tracking. Templates are read, and compiled, when the first touch is composed."""
        if ctx.tracking is None:
            return cls(ctx, batch, now)
        return cls(ctx, batch, now, open_tracking_queries.filter_consenting(tx, [one.lead_id for one in batch]))

    def owners(self, tx: Transaction) -> Mapping[int, Address]:
        """Return the rep of each lead whose email asks for it, read once for the batch."""
        if self._owners is None:
            of_owners = {one.lead_id: one.fields for one in self.batch if self.asks_for_owner(tx, one)}
            self._owners = load_owner_addresses(self.ctx, tx, of_owners, self.now)
        return self._owners

    def asks_for_owner(self, tx: Transaction, message: DueMessage) -> bool:
        """Return whether the email of *message* needs the rep of its lead."""
        try:
            return self.load_template(tx, message)[1].asks_for_owner
        except DatabaseUnavailable:
            raise
        except NurtureError:  # composing it says why, and holds this message alone
            return False

    def load_template(self, tx: Transaction, message: DueMessage) -> tuple[_TemplateKey, TouchTemplate]:
        """Return the template of *message*, in the language of its lead, with its key in `templates`."""
        plain = message.track, message.track_version, message.email
        if (known := self._plain.get(plain)) is not None:
            return known
        track, version = message.track or "", message.track_version or 0
        program = self.ctx.definitions.program(tx, track, version)
        language = choose_language(program, message.email, message.fields, message.country)
        key = track, version, message.email, language
        if key not in self.templates:
            self.templates[key] = load_template(self.ctx, tx, *key)
        if not program.languages.get(message.email):
            self._plain[plain] = key, self.templates[key]
        return key, self.templates[key]

    def compose(self, tx: Transaction, message: DueMessage) -> ComposedMessage:
        """Compose one touch."""
        key, template = self.load_template(tx, message)
        track_opens, owner = message.lead_id in self.open_tracked_leads, self.owners(tx).get(message.lead_id)
        if owner is not None and template.program.sender.owner:
            if (*key, owner) not in self.templates:
                self.templates[*key, owner] = template.from_rep(owner)
            template = self.templates[*key, owner]
        return compose_touch(self.ctx, template, message, track_opens=track_opens, owner=owner)


def withdrawal_reason(message: DueMessage) -> str:
    """Return why a due touch is not to be sent any more, "" if it is."""
    if message.custodian != Custodian.TRACK or message.custody_ref != message.track:
        return "left_track"
    if not message.attempts:  # its delivery is not unknown
        return ""
    return "" if (message.current_step, message.current_visit) == (message.step, message.visit) else "superseded"


TOUCH: Final = MessageKind("touch", Touches.load, withdrawal_reason)


def compose_touch(
    ctx: AppContext,
    template: TouchTemplate,
    message: DueMessage,
    *,
    track_opens: bool = False,
    owner: Address | None = None,
) -> ComposedMessage:
    """Compose a touch; *track_opens* is whether the lead agreed to open tracking, *owner* its rep if it is known."""
    program = template.program
    message = message if owner is None else message._replace(fields={**message.fields, "owner": owner.name})
    own = MessageLinks(message.lead_id, message.id, is_repeated=message.attempts > 0)
    used, envelope, urls = _address(ctx, program, template.sender, message, message.step, own)
    shared, form = template.form(ctx.base_url, message.consent_basis or "", track_opens=track_opens)
    values = {**shared, **urls, "lead": lead_values(message.fields, program.fallbacks, envelope.to.name)}
    if template.reply_to is not None and not ctx.reply_domain:
        envelope = replace(envelope, reply_to=template.reply_to)
    tracked_links = _make_tracked_links(ctx.base_url, template.compiled, own, used, track_opens=track_opens)
    email = compose(template.compiled, values, envelope, tracked_links, form, may_share=program.batch)
    own_destinations = _own_destinations(template.compiled, tracked_links, message)
    return ComposedMessage(email, own.to_store(used), own_destinations, template.destinations)


def address_lead(
    ctx: AppContext,
    program: Program,
    sender: Address,
    message: DueMessage,
    label: str,
) -> tuple[list[Link], Envelope, dict[str, object]]:
    """Return links, envelope and template values of an email to a lead from the sender of *program*.

    The links are a reply address and those to unsubscribe and to the preference center, as far as they are served.
    """
    own = MessageLinks(message.lead_id, message.id, is_repeated=message.attempts > 0)
    used, envelope, urls = _address(ctx, program, sender, message, label, own)
    return (
        own.to_store(used),
        envelope,
        touch_values(message.fields, program, consent_basis=message.consent_basis or "", **urls),
    )


def _address(
    ctx: AppContext, program: Program, sender: Address, message: DueMessage, label: str, own: MessageLinks
) -> tuple[list[str], Envelope, dict[str, str]]:
    """Return the purposes of its links, the envelope, and the URLs to unsubscribe and of the preference center."""
    assert message.track is not None
    assert message.address is not None
    used: list[str] = []
    reply_to = _reply_to(ctx.reply_domain, program.sender, own, used)
    mailto = f"mailto:{reply_to.email if reply_to else sender.email}?subject=unsubscribe"
    unsubscribe_url, preferences_url = mailto, ""
    if ctx.base_url:
        used += (public_links.UNSUBSCRIBE, public_links.PREFERENCES)
        unsubscribe_url = own.url(public_links.UNSUBSCRIBE, ctx.base_url)
        preferences_url = own.url(public_links.PREFERENCES, ctx.base_url)
    envelope = Envelope(
        ref=message.send_key,
        sender=sender,
        to=Address(full_name(message.fields), message.address),
        reply_to=reply_to,
        unsubscribe_mailto=mailto if unsubscribe_url != mailto else None,
        labels=(message.track, label),
        installation_id=ctx.installation_id,
    )
    return used, envelope, {"unsubscribe_url": unsubscribe_url, "preferences_url": preferences_url}


def _sample_urls(base_url: str) -> dict[str, str]:
    """Return the variables of URLs that are different in each touch, with links that belong to no message."""
    links = MessageLinks(0, 0)
    return {
        "unsubscribe_url": links.url(public_links.UNSUBSCRIBE, base_url),
        "preferences_url": links.url(public_links.PREFERENCES, base_url),
        "_link_prefix": _click_prefix(links, base_url),
        "_open_pixel_url": _pixel_url(links, base_url),
    }


def _click_prefix(links: MessageLinks, base_url: str) -> str:
    return f"{links.url(public_links.CLICK, base_url)}/"


def _pixel_url(links: MessageLinks, base_url: str) -> str:
    return f"{links.url(public_links.OPEN, base_url)}.gif"


def _make_tracked_links(
    base_url: str, compiled: CompiledEmail, own: MessageLinks, used: list[str], *, track_opens: bool
) -> TrackedLinks | None:
    """Return the tracked links of the email, one token for all of them, and append their purposes to *used*."""
    if compiled.tracking is None:
        return None
    prefix = pixel = ""
    if compiled.destinations or compiled.patterns:
        used.append(public_links.CLICK)
        prefix = _click_prefix(own, base_url)
    if track_opens:
        used.append(public_links.OPEN)
        pixel = _pixel_url(own, base_url)
    return TrackedLinks(prefix, compiled.tracking, pixel)


def _own_destinations(
    compiled: CompiledEmail, tracked_links: TrackedLinks | None, message: DueMessage
) -> PersonalDestinations | None:
    if tracked_links is None or not tracked_links.personal_links:
        return None
    return PersonalDestinations(
        message.id,
        [[add_utm(url, compiled.utm), compiled.patterns[index]] for url, index in tracked_links.personal_links.items()],
    )


def _reply_to(reply_domain: str, sender: Sender, own: MessageLinks, used: list[str]) -> Address | None:
    """Return the reply address: one of this message alone, or the sender's own."""
    if reply_domain:
        used.append(public_links.REPLY)
        return Address(sender.name, reply_address(own.token(public_links.REPLY), reply_domain))
    return _known_address(sender.name, sender.reply_to) if sender.reply_to else None


_known_address: Final = lru_cache(maxsize=256)(Address)
"""The same address for the same sender: it is checked once."""


def touch_values(
    fields: Mapping[str, Any],
    program: Program,
    unsubscribe_url: str,
    consent_basis: str,
    preferences_url: str = "",
    language: str = "",
) -> dict[str, object]:
    """Return the variables with which a touch is rendered in *language*, "" for that of its track."""
    written = language or program.language
    words = layout_words(written)
    return {
        "_language": written,
        "language": written,
        "words": words,
        "lead": lead_values(fields, program.fallbacks),
        "sender": {
            "name": program.sender.name,
            "email": program.sender.email,
            "postal_address": program.sender.postal_address,
        },
        "track": {
            "name": program.name,
            "goal": program.goal,
            "consent_reason": words["agreed" if consent_basis == "consent" else "interested"],
        },
        "unsubscribe_url": unsubscribe_url,
        "preferences_url": preferences_url,
    }


def lead_values(
    fields: Mapping[str, Any], fallbacks: Mapping[str, str] | None = None, name: str | None = None
) -> dict[str, object]:
    """Return the fields of a lead for its emails; a missing one is false, and shows its fallback.

    *name* is its full name, if it is known.
    """
    values: dict[str, object] = defaultdict(str, {name: MissingText(text) for name, text in (fallbacks or {}).items()})
    values |= {name: value for name, value in fields.items() if has_value(value)}
    values["full_name"] = (full_name(fields) if name is None else name) or values["full_name"]
    return values


def main_program(definitions: Definitions) -> Program | None:
    """Return the track whose sender writes to leads on no track, None without any."""
    return max(definitions.programs.values(), key=lambda one: (one.priority, one.track), default=None)


def sender_address(sender: Sender) -> Address:
    """Return the From address of this sender."""
    return Address(sender.name, sender.email)
