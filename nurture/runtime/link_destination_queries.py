"""Where the numbered links of mail lead."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Connection, Integer, String, Table, select
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.tables import core, engagement
from nurture.db.types import Json

destination: Table = engagement.Destination.__table__  # type: ignore[attr-defined]
mail_destination: Table = engagement.MailDestination.__table__  # type: ignore[attr-defined]
message: Table = core.Message.__table__  # type: ignore[attr-defined]


class Shared(NamedTuple):
    """Where a number leads in every mail of one version of an email."""

    track: str
    track_version: int
    email: str
    number: int
    url: str


class Own(NamedTuple):
    """Where the links lead that were written for one mail, as [url, pattern] pairs."""

    message_id: int
    links: Sequence[Sequence[str]]


class Target(NamedTuple):
    """Where a link leads, and its name: the address as the template has it, which tells of nobody."""

    url: str
    name: str


_SHARED: Final[Mapping[str, TypeEngine[Any]]] = {
    "track": String(),
    "track_version": Integer(),
    "email": String(),
    "number": Integer(),
    "url": String(),
}
_OWN: Final[Mapping[str, TypeEngine[Any]]] = {"message_id": BigInteger(), "links": Json}


def keep(database: Database, connection: Connection, shared: Collection[Shared], own: Sequence[Own]) -> None:
    """Write where links lead. What a number of a version stands for is written once, and never changed.

    A mail that is written anew, because it could not go, has its own links written anew.
    """
    database.insert(connection, destination.name, _SHARED, sorted(shared), once=True)
    if own:
        chosen = database.ids("chosen", [row.message_id for row in own])
        connection.execute(
            mail_destination.delete().where(mail_destination.c.message_id.in_(select(chosen.c.id)))
        )
        database.insert(connection, mail_destination.name, _OWN, own)


def known(connection: Connection, track: str, version: int, email: str) -> tuple[str, ...]:
    """Return where the numbers of one version of an email lead, from number 1 on."""
    wanted = (
        select(destination.c.url)
        .where(
            destination.c.track == track,
            destination.c.track_version == version,
            destination.c.email == email,
        )
        .order_by(destination.c.number)
    )
    return tuple(connection.execute(wanted).scalars())


def shared(connection: Connection, message_id: int, number: int) -> Target | None:
    """Return where a number of this mail leads, None if its version has no such number."""
    wanted = (
        select(destination.c.url)
        .join(
            message,
            (message.c.track == destination.c.track)
            & (message.c.track_version == destination.c.track_version)
            & (message.c.email == destination.c.email),
        )
        .where(message.c.id == message_id, destination.c.number == number)
    )
    url = connection.execute(wanted).scalar_one_or_none()
    return Target(url, url) if url is not None else None


def own(connection: Connection, message_id: int, place: int) -> Target | None:
    """Return where the link at *place* (from 0) leads that was written for this mail alone."""
    wanted = select(mail_destination.c.links).where(mail_destination.c.message_id == message_id)
    links = connection.execute(wanted).scalar_one_or_none() or []
    return Target(*links[place]) if place < len(links) else None
