"""What keeps mail back: a provider that cannot send, a sender domain whose mail is not wanted."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, Table, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nurture.db.engine import Database
from nurture.db.tables import core

brake: Table = core.Brake.__table__  # type: ignore[attr-defined]

Kind = Literal["provider", "domain", "database"]

_COLUMNS: Final = (brake.c.kind, brake.c.name, brake.c.reason, brake.c.since, brake.c.until)


class Brake(NamedTuple):
    """What is kept back, why and since when (UTC); tried again at *until*, or when a person says so."""

    kind: Kind
    name: str
    reason: str
    since: datetime
    until: datetime | None


def on(connection: Connection) -> list[Brake]:
    """Return every brake that is on, the oldest first."""
    wanted = select(*_COLUMNS).where(brake.c.released_at.is_(None)).order_by(brake.c.since, brake.c.id)
    return [Brake._make(row) for row in connection.execute(wanted)]


def put(database: Database, connection: Connection, new: Brake) -> None:
    """Put a brake on; where it is on already, say the new reason and time.

    One that only a person takes off is never shortened.
    """
    ours = (brake.c.kind == new.kind) & (brake.c.name == new.name) & brake.c.released_at.is_(None)
    news = {"reason": new.reason, "until": new.until}
    longer = or_(brake.c.until.is_not(None), literal(new.until is None))
    if connection.execute(select(brake.c.id).where(ours)).first() is not None:  # a conflict loses an id
        connection.execute(update(brake).where(ours, longer).values(news))
        return
    maker = sqlite.insert if database.is_sqlite else postgresql.insert
    put_on = maker(brake).values(new._asdict())
    connection.execute(
        put_on.on_conflict_do_update(
            index_elements=[brake.c.kind, brake.c.name],
            index_where=brake.c.released_at.is_(None),
            set_=news,
            where=longer,
        )
    )


def take_probe(connection: Connection, provider: str, now: datetime, until: datetime) -> bool:
    """Take the one try that a braked provider gets when its time has come; False if another worker has it."""
    due = update(brake).where(
        brake.c.kind == "provider",
        brake.c.name == provider,
        brake.c.released_at.is_(None),
        brake.c.until <= now,
    )
    return connection.execute(due.values(until=until)).rowcount > 0


def last_released(connection: Connection, kind: Kind, by: str) -> datetime | None:
    """Return when a brake of *kind* was last taken off by whoever *by* begins with, None if never."""
    wanted = select(brake.c.released_at).where(brake.c.kind == kind, brake.c.released_by.startswith(by))
    found: datetime | None = connection.execute(wanted.order_by(brake.c.id.desc()).limit(1)).scalar()
    return found


def release(connection: Connection, kind: Kind, name: str, by: str, now: datetime) -> bool:
    """Take a brake off; return whether it was on."""
    taken = connection.execute(
        update(brake)
        .where(brake.c.kind == kind, brake.c.name == name, brake.c.released_at.is_(None))
        .values(released_at=now, released_by=by)
    )
    return taken.rowcount > 0
