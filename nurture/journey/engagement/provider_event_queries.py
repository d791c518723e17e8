"""What providers tell of our mail: the batches as they came, the events in them, the messages concerned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Connection, Integer, String, Table, delete, func, select, update
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.tables import core, engagement
from nurture.db.types import UtcDateTime
from nurture.journey.leads.changeset import hold, insert_rows

raw_batch: Table = engagement.RawBatch.__table__  # type: ignore[attr-defined]
mail_event: Table = engagement.MailEvent.__table__  # type: ignore[attr-defined]
address: Table = core.Address.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
message: Table = core.Message.__table__  # type: ignore[attr-defined]


class Came(NamedTuple):
    """A batch as it came in."""

    door: str
    digest: str
    received_at: datetime
    events: int
    body: str


class Waiting(NamedTuple):
    """A batch of which nothing was made yet."""

    id: int
    door: str
    received_at: datetime
    events: int
    body: str


class Kept(NamedTuple):
    """An event as it is kept: no address, no name."""

    natural_key: str
    event_key: str | None
    door: str
    told: str
    named: str
    at: datetime
    received_at: datetime
    message_id: int | None
    origin: str
    ref: str
    provider_message: str | None
    reason: str


class Sent(NamedTuple):
    """A message that events tell of. *address* is where its lead is mailed now, normalised."""

    id: int
    send_key: str
    kind: str
    lead_id: int
    enrollment_id: int | None
    track: str | None
    step: str
    planned_at: datetime
    state: str
    state_at: datetime
    accepted_at: datetime | None
    reason: str | None
    address: str | None
    erased_at: datetime | None = None


class Settled(NamedTuple):
    """What a message's state is from now on; *was* guards it."""

    id: int
    was: str
    state: str
    state_at: datetime
    accepted_at: datetime | None
    reason: str | None
    provider: str


_ID, _INT, _TEXT, _TIME = BigInteger(), Integer(), String(), UtcDateTime()
_CAME: Final[Mapping[str, TypeEngine[Any]]] = dict(
    zip(Came._fields, (_TEXT, _TEXT, _TIME, _INT, _TEXT), strict=True)
)
_KEPT: Final[Mapping[str, TypeEngine[Any]]] = dict(
    zip(
        Kept._fields,
        (_TEXT, _TEXT, _TEXT, _TEXT, _TEXT, _TIME, _TIME, _ID, _TEXT, _TEXT, _TEXT, _TEXT),
        strict=True,
    )
)
_SETTLED: Final[Mapping[str, TypeEngine[Any]]] = dict(
    zip(Settled._fields, (_ID, _TEXT, _TEXT, _TIME, _TIME, _TEXT, _TEXT), strict=True)
)
_KEYS: Final[Mapping[str, TypeEngine[Any]]] = {"send_key": _TEXT}


def store(database: Database, connection: Connection, batch: Came) -> bool:
    """Write a batch down, once; return whether it was new."""
    return insert_rows(database, connection, raw_batch, _CAME, [batch], keys=["digest"]) > 0


def waiting(connection: Connection, limit: int) -> list[Waiting]:
    """Return at most *limit* batches of which nothing was made yet, the oldest first."""
    wanted = (
        select(
            raw_batch.c.id,
            raw_batch.c.door,
            raw_batch.c.received_at,
            raw_batch.c.events,
            raw_batch.c.body,
        )
        .where(raw_batch.c.processed_at.is_(None), raw_batch.c.fault.is_(None))
        .order_by(raw_batch.c.id)
        .limit(limit)
    )
    return [Waiting._make(row) for row in connection.execute(wanted)]


def mark_processed(
    database: Database, connection: Connection, batch_ids: Sequence[int], now: datetime
) -> None:
    """Note that everything was made of these batches."""
    done = database.ids("done", batch_ids)
    connection.execute(update(raw_batch).where(raw_batch.c.id == done.c.id).values(processed_at=now))


def forget_bodies(database: Database, connection: Connection, batch_ids: Collection[int]) -> None:
    """Keep no word of these batches: they tell of somebody who was erased."""
    if not batch_ids:
        return
    told = database.ids("told", sorted(batch_ids))
    connection.execute(update(raw_batch).where(raw_batch.c.id == told.c.id).values(body=""))


def mark_faulty(connection: Connection, batch_id: int, fault: str) -> None:
    """Set a batch aside that cannot be processed, so that it does not stop the others."""
    connection.execute(update(raw_batch).where(raw_batch.c.id == batch_id).values(fault=fault))


def is_idle(connection: Connection, before: datetime) -> bool:
    """Whether no batch waits, none is faulty, and none came before *before*; two index probes."""
    unprocessed = select(raw_batch.c.id).where(raw_batch.c.processed_at.is_(None)).exists()
    old = select(raw_batch.c.id).where(raw_batch.c.received_at < before).exists()
    return not connection.execute(select(unprocessed | old)).scalar_one()


def retry_faulty(connection: Connection) -> int:
    """Let the batches wait again that could not be processed; return how many."""
    faulty = raw_batch.c.fault.is_not(None) & raw_batch.c.processed_at.is_(None)
    return connection.execute(update(raw_batch).where(faulty).values(fault=None)).rowcount


def forget(connection: Connection, before: datetime) -> int:
    """Delete applied batches that came before *before*; return how many. Their events stay."""
    done = raw_batch.c.processed_at.is_not(None)
    return connection.execute(delete(raw_batch).where(done, raw_batch.c.received_at < before)).rowcount


def set_aside(connection: Connection) -> tuple[int, datetime | None]:
    """Return how many batches could not be applied as a whole, and when the oldest of them came."""
    faulty = raw_batch.c.fault.is_not(None) & raw_batch.c.processed_at.is_(None)
    found = connection.execute(select(func.count(), func.min(raw_batch.c.received_at)).where(faulty)).one()
    return found[0], found[1]


def erase(connection: Connection, normal: str) -> int:
    """Delete processed batches that mention a normalised address; return how many. Their events stay."""
    mentions = func.lower(raw_batch.c.body).contains(normal.lower(), autoescape=True)
    gone = delete(raw_batch).where(raw_batch.c.processed_at.is_not(None), mentions)
    return connection.execute(gone).rowcount


def sent(database: Database, connection: Connection, send_keys: Collection[str]) -> dict[str, Sent]:
    """Lock and return the messages of these keys; their leads first, as everybody does who settles mail."""
    if not send_keys:
        return {}
    values = {"payload": database.payload(_KEYS, [(key,) for key in sorted(send_keys)])}
    asked = database.rows_to_come("asked", _KEYS)
    if database.skips_locked:
        leads = select(message.c.lead_id).join(asked, asked.c.send_key == message.c.send_key)
        hold(database, connection, connection.execute(leads, values).scalars().all())
    wanted = (
        select(
            message.c.id,
            message.c.send_key,
            message.c.kind,
            message.c.lead_id,
            message.c.enrollment_id,
            message.c.track,
            message.c.step,
            message.c.planned_at,
            message.c.state,
            message.c.state_at,
            message.c.accepted_at,
            message.c.reason,
            address.c.normal,
            lead.c.erased_at,
        )
        .join(asked, asked.c.send_key == message.c.send_key)
        .join(lead, lead.c.id == message.c.lead_id)
        .outerjoin(address, address.c.id == lead.c.address_id)
    )
    if database.skips_locked:
        wanted = wanted.with_for_update(of=message)
    return {row[1]: Sent._make(row) for row in connection.execute(wanted, values)}


def keep(database: Database, connection: Connection, rows: Sequence[Kept]) -> int:
    """Write events, each once by either of its keys; return how many were new."""
    return insert_rows(database, connection, mail_event, _KEPT, rows, keys=["natural_key", "event_key"])


def settle(database: Database, connection: Connection, rows: Sequence[Settled]) -> None:
    """Write what messages have become, and take them from whoever holds them.

    So a worker that writes back later changes nothing, and one that has not called yet does not call.
    """
    if not rows:
        return
    came = database.rows("came", _SETTLED, rows)
    connection.execute(
        update(message)
        .where(message.c.id == came.c.id, message.c.state == came.c.was)
        .values(
            state=came.c.state,
            state_at=came.c.state_at,
            accepted_at=came.c.accepted_at,
            reason=came.c.reason,
            claimed_at=func.coalesce(message.c.claimed_at, came.c.accepted_at),
            provider=func.coalesce(message.c.provider, came.c.provider),
            lease_token=None,
            lease_until=None,
        )
    )
