"""What keeps mail back: a provider that cannot send, a sender domain whose mail is not wanted."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, Table, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nurture.db.engine import Database
from nurture.db.tables import core

breaker: Table = core.CircuitBreaker.__table__  # type: ignore[attr-defined]

Kind = Literal["provider", "domain", "database"]

_COLUMNS: Final = (breaker.c.kind, breaker.c.name, breaker.c.reason, breaker.c.since, breaker.c.until)


class Breaker(NamedTuple):
    """What is kept back, why and since when (UTC); tried again at *until*, or when a person says so."""

    kind: Kind
    name: str
    reason: str
    since: datetime
    until: datetime | None


def list_active(connection: Connection) -> list[Breaker]:
    """Return every breaker that is on, the oldest first."""
    query = select(*_COLUMNS).where(breaker.c.released_at.is_(None)).order_by(breaker.c.since, breaker.c.id)
    return [Breaker._make(row) for row in connection.execute(query)]


def trip(database: Database, connection: Connection, new_breaker: Breaker) -> None:
    """Put a breaker on; where it is on already, say the new reason and time.

    One that only a person takes off is never shortened.
    """
    existing = (
        (breaker.c.kind == new_breaker.kind) & (breaker.c.name == new_breaker.name) & breaker.c.released_at.is_(None)
    )
    news = {"reason": new_breaker.reason, "until": new_breaker.until}
    longer = or_(breaker.c.until.is_not(None), literal(new_breaker.until is None))
    if connection.execute(select(breaker.c.id).where(existing)).first() is not None:  # a conflict loses an id
        connection.execute(update(breaker).where(existing, longer).values(news))
        return
    maker = sqlite.insert if database.is_sqlite else postgresql.insert
    put_on = maker(breaker).values(new_breaker._asdict())
    connection.execute(
        put_on.on_conflict_do_update(
            index_elements=[breaker.c.kind, breaker.c.name],
            index_where=breaker.c.released_at.is_(None),
            set_=news,
            where=longer,
        )
    )


def claim_probe(connection: Connection, provider: str, now: datetime, until: datetime) -> bool:
    """Take the one try that a paused provider gets when its time has come; False if another has it."""
    due = update(breaker).where(
        breaker.c.kind == "provider",
        breaker.c.name == provider,
        breaker.c.released_at.is_(None),
        breaker.c.until <= now,
    )
    return connection.execute(due.values(until=until)).rowcount > 0


def last_released(connection: Connection, kind: Kind, by: str) -> datetime | None:
    """Return when a breaker of *kind* was last taken off by whoever *by* begins with, None if never."""
    query = select(breaker.c.released_at).where(breaker.c.kind == kind, breaker.c.released_by.startswith(by))
    found: datetime | None = connection.execute(query.order_by(breaker.c.id.desc()).limit(1)).scalar()
    return found


def release(connection: Connection, kind: Kind, name: str, by: str, now: datetime) -> bool:
    """Take a breaker off; return whether it was on."""
    taken = connection.execute(
        update(breaker)
        .where(breaker.c.kind == kind, breaker.c.name == name, breaker.c.released_at.is_(None))
        .values(released_at=now, released_by=by)
    )
    return taken.rowcount > 0
