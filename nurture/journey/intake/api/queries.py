"""Who may call the API, and what it answered to requests that may come again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Connection, String, Table, delete, select, union_all, update
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.tables import core, engagement
from nurture.db.types import UtcDateTime

token: Table = engagement.ApiToken.__table__  # type: ignore[attr-defined]
answer: Table = engagement.ApiAnswer.__table__  # type: ignore[attr-defined]
address: Table = core.Address.__table__  # type: ignore[attr-defined]
identity: Table = core.Identity.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]


class Token(NamedTuple):
    """A program's token as it is kept. *scopes* are words with a space between."""

    id: int
    name: str
    scopes: str
    created_at: datetime
    used_on: date | None
    revoked_at: datetime | None
    ceiling_at: datetime | None


class Kept(NamedTuple):
    """What is kept of a request. *status* and *answer* are None while nothing was answered."""

    digest: str
    status: int | None
    answer: str | None


class Name(NamedTuple):
    """What may name a lead: its id, its normalised address, or its key in another system."""

    id: int | None = None
    normal: str | None = None
    source: str | None = None
    external_id: str | None = None


_Columns = Mapping[str, TypeEngine[Any]]
_TOKEN: Final = tuple(token.c[name] for name in Token._fields)
_NEW_TOKEN: Final[_Columns] = {
    "name": String(),
    "digest": String(),
    "scopes": String(),
    "created_at": UtcDateTime(),
}
_NEW_ANSWER: Final[_Columns] = {
    "token_id": BigInteger(),
    "key": String(),
    "digest": String(),
    "asked_at": UtcDateTime(),
}
_NAMED: Final[_Columns] = {
    "place": BigInteger(),
    "id": BigInteger(),
    "normal": String(),
    "source": String(),
    "external_id": String(),
}


def add_token(
    database: Database, connection: Connection, name: str, digest: str, scopes: str, now: datetime
) -> bool:
    """Keep a new token; return False if a valid one has this name."""
    named = select(token.c.id).where(token.c.name == name, token.c.revoked_at.is_(None))
    if connection.execute(named).first() is not None:
        return False
    row = (name, digest, scopes, now)
    return database.insert(connection, token.name, _NEW_TOKEN, [row], once=True) == 1


def tokens(connection: Connection) -> list[Token]:
    """Return every token, valid and revoked, the oldest first."""
    return [Token._make(row) for row in connection.execute(select(*_TOKEN).order_by(token.c.id))]


def valid_token(connection: Connection, digest: str) -> Token | None:
    """Return the token of this digest unless it is revoked."""
    wanted = select(*_TOKEN).where(token.c.digest == digest, token.c.revoked_at.is_(None))
    row = connection.execute(wanted).one_or_none()
    return Token._make(row) if row is not None else None


def note_use(connection: Connection, token_id: int, day: date) -> None:
    """Write down the day on which a token was last used."""
    connection.execute(update(token).where(token.c.id == token_id).values(used_on=day))


def note_ceiling(connection: Connection, token_id: int, at: datetime) -> None:
    """Write down when a token last posted too much."""
    connection.execute(update(token).where(token.c.id == token_id).values(ceiling_at=at))


def revoke(connection: Connection, name: str, now: datetime) -> bool:
    """End the valid token of this name; return whether there was one."""
    ended = update(token).where(token.c.name == name, token.c.revoked_at.is_(None)).values(revoked_at=now)
    return connection.execute(ended).rowcount == 1


def reserve(
    database: Database, connection: Connection, token_id: int, key: str, digest: str, now: datetime
) -> Kept:
    """Return what is kept of the request of this *key*; the first that brings it is kept now."""
    database.insert(connection, answer.name, _NEW_ANSWER, [(token_id, key, digest, now)], once=True)
    wanted = select(answer.c.digest, answer.c.status, answer.c.answer)
    row = connection.execute(wanted.where(answer.c.token_id == token_id, answer.c.key == key)).one()
    return Kept._make(row)


def any_before(connection: Connection, before: datetime) -> bool:
    """Say whether there is a request that came earlier."""
    wanted = select(answer.c.key).where(answer.c.asked_at < before).limit(1)
    return connection.execute(wanted).first() is not None


def forget(connection: Connection, before: datetime) -> None:
    """Forget requests that came earlier."""
    connection.execute(delete(answer).where(answer.c.asked_at < before))


def keep(connection: Connection, token_id: int, key: str, status: int, body: str) -> Kept | None:
    """Keep an answer, and return what is kept now: one that was there already stays."""
    asked = (answer.c.token_id == token_id) & (answer.c.key == key)
    connection.execute(
        update(answer).where(asked, answer.c.status.is_(None)).values(status=status, answer=body)
    )
    row = connection.execute(select(answer.c.digest, answer.c.status, answer.c.answer).where(asked)).first()
    return Kept._make(row) if row is not None else None


def named(database: Database, connection: Connection, names: Sequence[Name]) -> dict[int, int]:
    """Return the lead's id by the place in *names* of each that is known."""
    if not names:
        return {}
    asked = database.rows("asked", _NAMED, [(place, *name) for place, name in enumerate(names)])
    by_id = select(asked.c.place, lead.c.id).join(lead, lead.c.id == asked.c.id)
    by_id = by_id.where(lead.c.erased_at.is_(None))
    by_address = (
        select(asked.c.place, lead.c.id)
        .join(address, address.c.normal == asked.c.normal)
        .join(lead, lead.c.address_id == address.c.id)
    )
    same = (identity.c.source == asked.c.source) & (identity.c.external_id == asked.c.external_id)
    by_key = select(asked.c.place, identity.c.lead_id).join(identity, same)
    found = connection.execute(union_all(by_id, by_address, by_key))
    return {place: lead_id for place, lead_id in found}  # noqa: C416 - rows are no pairs to mypy
