"""Destinations of the numbered links in email."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import select

from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import links as link_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction

link_destination = table(link_tables.LinkDestination)
personal_link_destination = table(link_tables.PersonalLinkDestination)
message = table(delivery_tables.Message)


class SharedDestination(NamedTuple):
    """The destination of a link number, the same for every lead, in one version of an email."""

    track: str
    track_version: int
    email: str
    number: int
    url: str


class PersonalDestinations(NamedTuple):
    """The destinations of links that are different in each message, as [url, pattern] pairs."""

    message_id: int
    links: Sequence[Sequence[str]]


class LinkTarget(NamedTuple):
    """A link's destination, and its name: the URL as written in the template, without personal data."""

    url: str
    name: str


def write_destinations(
    tx: Transaction,
    shared_destinations: Collection[SharedDestination],
    personal_destinations: Sequence[PersonalDestinations],
) -> None:
    """Write link destinations. A shared one is never changed; personal ones are replaced per message.

    A message that was not sent is composed again, with new personal links.
    """
    tx.insert(link_destination, SharedDestination._fields, sorted(shared_destinations), ignore_conflicts=True)
    if personal_destinations:
        chosen = tx.ids("chosen", [row.message_id for row in personal_destinations])
        tx.execute(
            personal_link_destination.delete().where(personal_link_destination.c.message_id.in_(select(chosen.c.id)))
        )
        tx.insert(personal_link_destination, PersonalDestinations._fields, personal_destinations)


def load_shared_urls(tx: Transaction, track: str, version: int, email: str) -> tuple[str, ...]:
    """Return the shared destinations of one version of an email, from number 1 on."""
    query = (
        select(link_destination.c.url)
        .where(
            link_destination.c.track == track,
            link_destination.c.track_version == version,
            link_destination.c.email == email,
        )
        .order_by(link_destination.c.number)
    )
    return tuple(tx.execute(query).scalars())


def find_shared_target(tx: Transaction, message_id: int, number: int) -> LinkTarget | None:
    """Return the shared destination of link *number* in a message, None if there is none."""
    query = (
        select(link_destination.c.url)
        .join(
            message,
            (message.c.track == link_destination.c.track)
            & (message.c.track_version == link_destination.c.track_version)
            & (message.c.email == link_destination.c.email),
        )
        .where(message.c.id == message_id, link_destination.c.number == number)
    )
    url = tx.execute(query).scalar_one_or_none()
    return LinkTarget(url, url) if url is not None else None


def find_personal_target(tx: Transaction, message_id: int, position: int) -> LinkTarget | None:
    """Return the personal destination at *position* (from 0) in a message, None if there is none."""
    query = select(personal_link_destination.c.links).where(personal_link_destination.c.message_id == message_id)
    links = tx.execute(query).scalar_one_or_none() or []
    return LinkTarget(*links[position]) if position < len(links) else None
