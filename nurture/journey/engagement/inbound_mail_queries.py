"""Mails as they came: stored until they are read, leased while they are, set aside where they cannot be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, String, Table, delete, func, insert, null, or_, select, update

from nurture.db.engine import Database
from nurture.db.tables import core, engagement

inbound: Table = engagement.InboundMail.__table__  # type: ignore[attr-defined]
token: Table = core.Token.__table__  # type: ignore[attr-defined]
address: Table = core.Address.__table__  # type: ignore[attr-defined]

MOST_ATTEMPTS: Final = 2
MOST_SET_ASIDE: Final = 100
"""So many are kept, the newest."""

_LEASE: Final = timedelta(minutes=5)
_TEXT: Final = String()


class Came(NamedTuple):
    """A mail as it is stored."""

    source: str
    received_at: datetime
    lead_id: int | None
    sender: str
    body: bytes


class Waiting(NamedTuple):
    """A mail that is to be read now, and how often that was tried before."""

    id: int
    attempts: int
    body: bytes


class SetAside(NamedTuple):
    """A mail that could not be read, and why."""

    id: int
    source: str
    received_at: datetime
    lead_id: int | None
    size: int
    fault: str


def known(
    database: Database,
    connection: Connection,
    digests: Collection[str],
    senders: Collection[str],
    purpose: str,
) -> dict[str, int | None]:
    """Return which tokens are ours, with their leads, and which addresses we know; one statement."""
    if not digests and not senders:
        return {}
    names = [("token", one) for one in sorted(digests)] + [("address", one) for one in sorted(senders)]
    asked = database.rows("asked", {"kind": _TEXT, "name": _TEXT}, names)
    ours = (
        select(token.c.digest, token.c.lead_id)
        .join(asked, (asked.c.name == token.c.digest) & (asked.c.kind == "token"))
        .where(token.c.purpose == purpose)
    )
    theirs = select(address.c.normal, null()).join(
        asked, (asked.c.name == address.c.normal) & (asked.c.kind == "address")
    )
    return {row[0]: row[1] for row in connection.execute(ours.union_all(theirs))}


def store(connection: Connection, mails: Sequence[Came]) -> None:
    """Store mails, to be read later."""
    if mails:
        rows = [{**one._asdict(), "size": len(one.body), "attempts": 0} for one in mails]
        connection.execute(insert(inbound), rows)


def waiting_bytes(connection: Connection) -> int:
    """Return the size of all mails that wait."""
    size = select(func.coalesce(func.sum(inbound.c.size), 0)).where(_WAITS)
    return int(connection.execute(size).scalar_one())


def is_idle(connection: Connection) -> bool:
    """Whether nothing is stored at all."""
    return connection.execute(select(inbound.c.id).limit(1)).first() is None


def claim(database: Database, connection: Connection, now: datetime, limit: int) -> list[Waiting]:
    """Lease the mails that are to be read next, and count the attempt; commit before they are read.

    First those that were never tried, together; then one at a time those that were, as one of them may have
    ended who read it. What was tried too often, and left no reason, is set aside.
    """
    free = or_(inbound.c.tried_at.is_(None), inbound.c.tried_at <= now - _LEASE, inbound.c.tried_at > now)
    wanted = select(inbound.c.id, inbound.c.attempts).where(_WAITS, free)
    wanted = wanted.order_by(inbound.c.attempts, inbound.c.id).limit(limit)
    if database.skips_locked:
        wanted = wanted.with_for_update(skip_locked=True)
    found = connection.execute(wanted).all()
    lost = [row[0] for row in found if row[1] >= MOST_ATTEMPTS]
    if lost:
        set_aside(
            database, connection, dict.fromkeys(lost, "who read it was ended each time, by it or beside it")
        )
    fresh = [row[0] for row in found if row[1] == 0]
    chosen = fresh or [row[0] for row in found if row[1] < MOST_ATTEMPTS][:1]
    if not chosen:
        return []
    these = database.ids("these", chosen)
    leased = update(inbound).where(inbound.c.id == these.c.id)
    connection.execute(leased.values(attempts=inbound.c.attempts + 1, tried_at=now))
    read = select(inbound.c.id, inbound.c.attempts, inbound.c.body).join(these, these.c.id == inbound.c.id)
    return [
        Waiting(id_, attempts - 1, body)
        for id_, attempts, body in connection.execute(read.order_by(inbound.c.id))
    ]


def finish(database: Database, connection: Connection, ids: Collection[int]) -> None:
    """Delete mails of which everything was made."""
    if ids:
        done = database.ids("done", sorted(ids))
        connection.execute(delete(inbound).where(inbound.c.id.in_(select(done.c.id))))


def let_go(database: Database, connection: Connection, ids: Collection[int], *, counted: bool) -> None:
    """Let mails wait again; unless *counted*, as if this attempt had not been."""
    if ids:
        these = database.ids("these", sorted(ids))
        attempts = inbound.c.attempts - (0 if counted else 1)
        free = update(inbound).where(inbound.c.id == these.c.id)
        connection.execute(free.values(tried_at=None, attempts=attempts))


def set_aside(database: Database, connection: Connection, faults: Mapping[int, str]) -> None:
    """Read these no more, and keep the newest of all that are set aside."""
    if not faults:
        return
    rows = database.rows("faulty", {"id": inbound.c.id.type, "why": _TEXT}, sorted(faults.items()))
    connection.execute(update(inbound).where(inbound.c.id == rows.c.id).values(fault=rows.c.why))
    kept = select(inbound.c.id).where(inbound.c.fault.is_not(None)).order_by(inbound.c.id.desc())
    oldest = kept.offset(MOST_SET_ASIDE - 1).limit(1).scalar_subquery()
    connection.execute(delete(inbound).where(inbound.c.fault.is_not(None), inbound.c.id < oldest))


def list_set_aside(connection: Connection, limit: int) -> list[SetAside]:
    """Return the mails that were set aside, the newest first."""
    columns = [inbound.c[name] for name in SetAside._fields]
    wanted = select(*columns).where(inbound.c.fault.is_not(None)).order_by(inbound.c.id.desc()).limit(limit)
    return [SetAside._make(row) for row in connection.execute(wanted)]


def retry(connection: Connection) -> int:
    """Let all that was set aside wait again; return how many."""
    again = update(inbound).where(inbound.c.fault.is_not(None))
    return connection.execute(again.values(fault=None, attempts=0, tried_at=None)).rowcount


def expire(connection: Connection, before: datetime) -> int:
    """Delete what was set aside and came before *before*; return how many."""
    old = inbound.c.fault.is_not(None) & (inbound.c.received_at < before)
    return connection.execute(delete(inbound).where(old)).rowcount


def erase(connection: Connection, lead_ids: Collection[int], spellings: Collection[str]) -> int:
    """Delete the mails of leads, of an address, and those that mention it; return how many."""
    named = [one.lower() for one in spellings if one]
    every = select(inbound.c.id, inbound.c.lead_id, inbound.c.sender, inbound.c.body)
    gone = [
        id_
        for id_, whose, sender, body in connection.execute(every.execution_options(yield_per=10))
        if whose in lead_ids or sender in named or any(one.encode() in body.lower() for one in named)
    ]
    return connection.execute(delete(inbound).where(inbound.c.id.in_(gone))).rowcount if gone else 0


_WAITS: Final = inbound.c.fault.is_(None)
