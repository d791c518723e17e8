"""Links in email: the digests of their tokens, and the destinations of numbered ones."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, func, literal, select, union_all

from nurture.db.row_values import row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.links import link_destination, link_token, personal_link_destination
from nurture.db.transaction import Transaction


class TokenRecord(NamedTuple):
    """The purpose of a token and the rows that it refers to."""

    purpose: str
    lead_id: int
    message_id: int | None
    offer_id: int | None


def insert_tokens(tx: Transaction, rows: Sequence[tuple[str, str, int, int | None, int | None, datetime]]) -> None:
    """Insert (digest, purpose, lead id, message id, offer id, created at) rows."""
    tx.insert(link_token, ("digest", "purpose", "lead_id", "message_id", "offer_id", "created_at"), rows)


def find_token(tx: Transaction, digests: Collection[str], purpose: str) -> TokenRecord | None:
    """Return the token of *purpose* with one of these digests, None if there is none."""
    of_token = select(*row_columns(TokenRecord, link_token))
    of_message = select(*row_columns(TokenRecord, message, purpose=literal(purpose), message_id=message.c.id))
    found = union_all(
        of_token.where(link_token.c.digest.in_(digests), link_token.c.purpose == purpose),
        of_message.where(message.c.link_digest.in_(digests)),
    )
    row = tx.execute(found).first()
    return TokenRecord._make(row) if row is not None else None


def delete_offer_tokens(tx: Transaction, rep: str) -> int:
    """Delete the tokens of offers made to *rep*; return how many."""
    offers, leads = (select(column).where(offer.c.rep == rep) for column in (offer.c.id, offer.c.lead_id))
    # The condition on the lead is redundant, but only lead_id has an index.
    is_of_rep = (link_token.c.lead_id.in_(leads), link_token.c.offer_id.in_(offers))
    return tx.execute(delete(link_token).where(*is_of_rep)).rowcount


class SharedDestination(NamedTuple):
    """The destination of a link number, the same for every lead of one version of an email; *name* as in LinkTarget."""

    track: str
    track_version: int
    email: str
    number: int
    url: str
    name: str


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


def load_shared_names(tx: Transaction, track: str, version: int, email: str) -> dict[str, str]:
    """Return the names of the shared destinations of one version of an email by URL, from number 1 on."""
    query = (
        select(link_destination.c.url, func.coalesce(link_destination.c.name, link_destination.c.url))
        .where(
            link_destination.c.track == track,
            link_destination.c.track_version == version,
            link_destination.c.email == email,
        )
        .order_by(link_destination.c.number)
    )
    return dict(tx.execute(query).tuples().all())


def find_shared_target(tx: Transaction, message_id: int, number: int) -> LinkTarget | None:
    """Return the shared destination of link *number* in a message, None if there is none."""
    query = (
        select(link_destination.c.url, func.coalesce(link_destination.c.name, link_destination.c.url))
        .join(
            message,
            (message.c.track == link_destination.c.track)
            & (message.c.track_version == link_destination.c.track_version)
            & (message.c.email == link_destination.c.email),
        )
        .where(message.c.id == message_id, link_destination.c.number == number)
    )
    row = tx.execute(query).one_or_none()
    return LinkTarget(*row) if row is not None else None


def find_personal_target(tx: Transaction, message_id: int, position: int) -> LinkTarget | None:
    """Return the personal destination at *position* (from 0) in a message, None if there is none."""
    query = select(personal_link_destination.c.links).where(personal_link_destination.c.message_id == message_id)
    links = tx.execute(query).scalar_one_or_none() or []
    return LinkTarget(*links[position]) if position < len(links) else None
