"""Mails as they came: stored until they are read, leased while they are, set aside where they cannot be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, String, Table, delete, func, insert, null, or_, select, update

from nurture.db.engine import Database
from nurture.db.tables import core, engagement

inbound: Table = engagement.InboundMail.__table__  # type: ignore[attr-defined]
token: Table = core.LinkToken.__table__  # type: ignore[attr-defined]
address: Table = core.Address.__table__  # type: ignore[attr-defined]

MAX_ATTEMPTS: Final = 2
MAX_FAILED: Final = 100
"""So many are kept, the newest."""

_LEASE: Final = timedelta(minutes=5)
_TEXT: Final = String()


class NewMail(NamedTuple):
    """A mail as it is stored."""

    source: str
    received_at: datetime
    lead_id: int | None
    sender: str
    body: bytes


class ClaimedMail(NamedTuple):
    """A mail that is to be read now, and how often that was tried before."""

    id: int
    attempts: int
    body: bytes


class FailedMail(NamedTuple):
    """A mail that could not be read, and why."""

    id: int
    source: str
    received_at: datetime
    lead_id: int | None
    size: int
    error: str


def match_known(
    database: Database, connection: Connection, digests: Collection[str], senders: Collection[str], purpose: str
) -> dict[str, int | None]:
    """Return which tokens are ours, with their leads, and which addresses we know; one statement."""
    if not digests and not senders:
        return {}
    names = [("token", one) for one in sorted(digests)] + [("address", one) for one in sorted(senders)]
    requested = database.rows("requested", {"kind": _TEXT, "name": _TEXT}, names)
    token_matches = (
        select(token.c.digest, token.c.lead_id)
        .join(requested, (requested.c.name == token.c.digest) & (requested.c.kind == "token"))
        .where(token.c.purpose == purpose)
    )
    address_matches = select(address.c.normalized, null()).join(
        requested, (requested.c.name == address.c.normalized) & (requested.c.kind == "address")
    )
    return {row[0]: row[1] for row in connection.execute(token_matches.union_all(address_matches))}


def store(connection: Connection, mails: Sequence[NewMail]) -> None:
    """Store mails, to be read later."""
    if mails:
        rows = [{**one._asdict(), "size": len(one.body), "attempts": 0} for one in mails]
        connection.execute(insert(inbound), rows)


def count_pending_bytes(connection: Connection) -> int:
    """Return the size of all mails that wait."""
    size = select(func.coalesce(func.sum(inbound.c.size), 0)).where(_PENDING)
    return int(connection.execute(size).scalar_one())


def is_idle(connection: Connection) -> bool:
    """Whether nothing is stored at all."""
    return connection.execute(select(inbound.c.id).limit(1)).first() is None


def claim(database: Database, connection: Connection, now: datetime, limit: int) -> list[ClaimedMail]:
    """Lease the mails that are to be read next, and count the attempt; commit before they are read.

    First those that were never tried, together; then one at a time those that were, as one of them may have
    ended who read it. What was tried too often, and left no reason, is set aside.
    """
    free = or_(
        inbound.c.last_attempt_at.is_(None), inbound.c.last_attempt_at <= now - _LEASE, inbound.c.last_attempt_at > now
    )
    query = select(inbound.c.id, inbound.c.attempts).where(_PENDING, free)
    query = query.order_by(inbound.c.attempts, inbound.c.id).limit(limit)
    if database.skips_locked:
        query = query.with_for_update(skip_locked=True)
    found = connection.execute(query).all()
    exhausted = [row[0] for row in found if row[1] >= MAX_ATTEMPTS]
    if exhausted:
        mark_failed(
            database, connection, dict.fromkeys(exhausted, "who read it was ended each time, by it or beside it")
        )
    fresh = [row[0] for row in found if row[1] == 0]
    chosen = fresh or [row[0] for row in found if row[1] < MAX_ATTEMPTS][:1]
    if not chosen:
        return []
    claimed = database.ids("these", chosen)
    leased = update(inbound).where(inbound.c.id == claimed.c.id)
    connection.execute(leased.values(attempts=inbound.c.attempts + 1, last_attempt_at=now))
    read = select(inbound.c.id, inbound.c.attempts, inbound.c.body).join(claimed, claimed.c.id == inbound.c.id)
    return [
        ClaimedMail(id_, attempts - 1, body) for id_, attempts, body in connection.execute(read.order_by(inbound.c.id))
    ]


def delete_finished(database: Database, connection: Connection, ids: Collection[int]) -> None:
    """Delete mails of which everything was made."""
    if ids:
        done = database.ids("done", sorted(ids))
        connection.execute(delete(inbound).where(inbound.c.id.in_(select(done.c.id))))


def release(database: Database, connection: Connection, ids: Collection[int], *, count_attempt: bool) -> None:
    """Let mails wait again; unless *count_attempt*, as if this attempt had not been."""
    if ids:
        these = database.ids("these", sorted(ids))
        attempts = inbound.c.attempts - (0 if count_attempt else 1)
        free = update(inbound).where(inbound.c.id == these.c.id)
        connection.execute(free.values(last_attempt_at=None, attempts=attempts))


def mark_failed(database: Database, connection: Connection, problems: Mapping[int, str]) -> None:
    """Read these no more, and keep the newest of all that are set aside."""
    if not problems:
        return
    failed = database.rows("failed", {"id": inbound.c.id.type, "error": _TEXT}, sorted(problems.items()))
    connection.execute(update(inbound).where(inbound.c.id == failed.c.id).values(error=failed.c.error))
    kept = select(inbound.c.id).where(inbound.c.error.is_not(None)).order_by(inbound.c.id.desc())
    oldest = kept.offset(MAX_FAILED - 1).limit(1).scalar_subquery()
    connection.execute(delete(inbound).where(inbound.c.error.is_not(None), inbound.c.id < oldest))


def list_failed(connection: Connection, limit: int) -> list[FailedMail]:
    """Return the mails that were set aside, the newest first."""
    columns = [inbound.c[name] for name in FailedMail._fields]
    query = select(*columns).where(inbound.c.error.is_not(None)).order_by(inbound.c.id.desc()).limit(limit)
    return [FailedMail._make(row) for row in connection.execute(query)]


def retry_failed(connection: Connection) -> int:
    """Let all that was set aside wait again; return how many."""
    again = update(inbound).where(inbound.c.error.is_not(None))
    return connection.execute(again.values(error=None, attempts=0, last_attempt_at=None)).rowcount


def delete_expired(connection: Connection, before: datetime) -> int:
    """Delete what was set aside and came before *before*; return how many."""
    old = inbound.c.error.is_not(None) & (inbound.c.received_at < before)
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


_PENDING: Final = inbound.c.error.is_(None)
