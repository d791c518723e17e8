"""Write touches: letters to leads, from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from nurture.domain.planning.program import Program, Sender
from nurture.mail.inbound.classify import address_of
from nurture.mail.rendering.compile import CompiledEmail
from nurture.mail.rendering.link_tracking import Trail
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from nurture.outbox.messages import Waiting
from nurture.runtime import public_links
from nurture.runtime.context import House
from nurture.runtime.link_destination_queries import Own, Shared
from nurture.runtime.public_links import Link, Wanted

FIELDS: Final = (
    "first_name",
    "last_name",
    "full_name",
    "title",
    "company",
    "industry",
    "city",
    "region",
    "country",
    "website",
    "employees",
)
"""The lead's facts that an email may show; a missing one is empty."""

_WHY: Final = {
    "consent": "You receive this because you agreed to hear from us.",
    "": "You receive this because you or your company showed interest in what we do.",
}
"""Why a lead gets mail, by the basis on record."""

REQUIRED: Final = frozenset({"unsubscribe_url", "sender.postal_address"})
"""What every touch must show."""

KNOWN: Final = frozenset(
    {f"lead.{name}" for name in FIELDS}
    | {"sender.name", "sender.email", "sender.postal_address", "track.name", "track.goal", "track.why"}
    | {"unsubscribe_url", "preferences_url"}
)
"""Every name that a touch may use."""


class Letter(NamedTuple):
    """A composed touch, the public links in it, and where the links lead that are its own."""

    email: ComposedEmail
    links: list[Link]
    own: Own | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """What all mails of one email of one version have in common."""

    program: Program
    compiled: CompiledEmail
    sender: Address
    shared: tuple[Shared, ...]


def sheet(house: House, connection: Connection, track: str, version: int, email: str) -> Sheet:
    """Read an email of one version of a track."""
    program = house.rulebooks.program(connection, track, version)
    compiled = house.rulebooks.email(connection, track, version, email, house.tracking)
    listed = enumerate(compiled.destinations, 1)
    shared = tuple(Shared(track, version, email, number, url) for number, url in listed)
    return Sheet(program, compiled, sender_address(program.sender), shared)


def touch(house: House, on: Sheet, one: Waiting, *, opens: bool = False) -> Letter:
    """Compose a touch as its own version of the track has it; *opens* is whether the lead agreed to those."""
    assert one.track is not None
    assert one.address is not None
    made: list[Link] = []
    sender = on.program.sender
    reply_to = _reply_to(house, sender, one, made)
    mailto = f"mailto:{reply_to.email if reply_to else sender.email}?subject=unsubscribe"
    url, choices = mailto, ""
    if house.base_url:
        ways = [
            public_links.make(Wanted(purpose, one.lead_id, one.id))
            for purpose in (public_links.UNSUBSCRIBE, public_links.PREFERENCES)
        ]
        made += ways
        url, choices = (link.url(house.base_url) for link in ways)
    envelope = Envelope(
        ref=one.send_key,
        sender=on.sender,
        to=Address(full_name(one.facts), one.address),
        reply_to=reply_to,
        unsubscribe_mailto=mailto if url != mailto else None,
        labels=(one.track, one.step),
        origin=house.origin,
    )
    trail = _trail(house, on.compiled, one, made, opens=opens)
    values = touch_values(one.facts, on.program, url, one.basis or "", choices)
    email = compose(on.compiled, values, envelope, trail)
    return Letter(email, made, _own(on.compiled, trail, one))


def _trail(
    house: House, compiled: CompiledEmail, one: Waiting, made: list[Link], *, opens: bool
) -> Trail | None:
    """Make the tokens that the email needs, one for all its links."""
    if compiled.tracking is None:
        return None
    prefix = pixel = ""
    if compiled.destinations or compiled.patterns:
        made.append(public_links.make(Wanted(public_links.CLICK, one.lead_id, one.id)))
        prefix = f"{made[-1].url(house.base_url)}/"
    if opens:
        made.append(public_links.make(Wanted(public_links.OPEN, one.lead_id, one.id)))
        pixel = f"{made[-1].url(house.base_url)}.gif"
    return Trail(prefix, compiled.tracking, pixel)


def _own(compiled: CompiledEmail, trail: Trail | None, one: Waiting) -> Own | None:
    if trail is None or not trail.own:
        return None
    return Own(one.id, [[url, compiled.patterns[place]] for url, place in trail.own.items()])


def _reply_to(house: House, sender: Sender, one: Waiting, made: list[Link]) -> Address | None:
    """Return where answers go: to an address of this one mail, or as the sender has it."""
    if house.reply_domain:
        made.append(public_links.make(Wanted(public_links.REPLY, one.lead_id, one.id)))
        return Address(sender.name, address_of(made[-1].token, house.reply_domain))
    return Address(sender.name, sender.reply_to) if sender.reply_to else None


def touch_values(
    facts: Mapping[str, Any],
    program: Program,
    unsubscribe_url: str,
    basis: str,
    preferences_url: str = "",
) -> dict[str, object]:
    """Return the plain values that a touch is rendered with."""
    return {
        "lead": lead_values(facts),
        "sender": {
            "name": program.sender.name,
            "email": program.sender.email,
            "postal_address": program.sender.postal_address,
        },
        "track": {"name": program.track, "goal": program.goal, "why": _WHY.get(basis, _WHY[""])},
        "unsubscribe_url": unsubscribe_url,
        "preferences_url": preferences_url,
    }


def lead_values(facts: Mapping[str, Any]) -> dict[str, object]:
    """Return every field that an email may show, empty where it is not known."""
    values: dict[str, object] = {name: "" if facts.get(name) is None else facts[name] for name in FIELDS}
    values["full_name"] = full_name(facts)
    return values


def full_name(facts: Mapping[str, Any]) -> str:
    """Return the lead's name on one line, "" if it is not known."""
    named = f"{facts.get('first_name') or ''} {facts.get('last_name') or ''}".strip()
    return " ".join((named or str(facts.get("full_name") or "")).split())


def sender_address(sender: Sender) -> Address:
    """Return the mailbox that mail of this sender is from."""
    return Address(sender.name, sender.email)
