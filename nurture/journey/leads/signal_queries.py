"""What leads did: recorded once, applied once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    String,
    Table,
    Update,
    and_,
    bindparam,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.locks import Lock, acquire
from nurture.db.tables import core
from nurture.db.types import UtcDateTime
from nurture.domain.lead import DECIDED_QUEUES, NEEDS, OWNED_QUEUES, Custodian
from nurture.journey.leads.changeset import hold, insert_rows

signal: Table = core.Signal.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
message: Table = core.Message.__table__  # type: ignore[attr-defined]
custody: Table = core.Custody.__table__  # type: ignore[attr-defined]


class Recorded(NamedTuple):
    """A signal as it comes in."""

    lead_id: int
    kind: str
    occurred_at: datetime
    recorded_at: datetime
    natural_key: str
    source: str
    verdict: str = "human"
    verdict_because: str = ""
    enrollment_id: int | None = None
    track: str | None = None
    step: str | None = None
    link: str | None = None
    message_id: int | None = None
    value: str | None = None
    judged_under: str | None = None


class Answered(NamedTuple):
    """The touch that a signal answers."""

    enrollment_id: int | None = None
    track: str | None = None
    message_id: int | None = None


class Unapplied(NamedTuple):
    """A recorded signal that nothing was made of yet, with what it changes."""

    id: int
    lead_id: int
    kind: str
    occurred_at: datetime
    verdict: str
    value: str | None
    source: str
    track: str | None
    address_id: int | None
    engagement: float
    engagement_2: float | None
    engagement_3: float | None
    engagement_4: float | None
    engagement_at: datetime | None
    scored_under: str | None
    evidence_since: datetime | None
    decides_on: date | None
    decides_stated_at: datetime | None


_TEXT, _TIME, _ID = String(), UtcDateTime(), BigInteger()
_RECORDED: Final[Mapping[str, TypeEngine[Any]]] = dict(
    zip(
        Recorded._fields,
        (_ID, _TEXT, _TIME, _TIME, _TEXT, _TEXT, _TEXT, _TEXT, _ID, _TEXT, _TEXT, _TEXT, _ID, _TEXT, _TEXT),
        strict=True,
    )
)
_WOKEN: Final[Mapping[str, TypeEngine[Any]]] = {"id": _ID}


def record(database: Database, connection: Connection, rows: Sequence[Recorded]) -> int:
    """Write signals, each natural key once, in the order of the keys; return how many were new."""
    rows = sorted(rows, key=lambda row: row.natural_key)
    return insert_rows(database, connection, signal, _RECORDED, rows, keys=["natural_key"])


def known_keys(database: Database, connection: Connection, keys: Sequence[str]) -> set[str]:
    """Return those of the natural keys that are recorded."""
    if not keys:
        return set()
    asked = database.rows("asked", {"natural_key": _TEXT}, [(key,) for key in keys])
    wanted = select(signal.c.natural_key).join(asked, asked.c.natural_key == signal.c.natural_key)
    return set(connection.execute(wanted).scalars())


def unapplied(database: Database, connection: Connection, limit: int) -> list[Unapplied]:
    """Lock and return signals that nothing was made of yet, the oldest record first."""
    wanted = (
        select(
            signal.c.id,
            signal.c.lead_id,
            signal.c.kind,
            signal.c.occurred_at,
            signal.c.verdict,
            signal.c.value,
            signal.c.source,
            signal.c.track,
            lead.c.address_id,
            lead.c.engagement,
            lead.c.engagement_2,
            lead.c.engagement_3,
            lead.c.engagement_4,
            lead.c.engagement_at,
            lead.c.scored_under,
            lead.c.evidence_since,
            lead.c.decides_on,
            lead.c.decides_stated_at,
        )
        .join(lead, lead.c.id == signal.c.lead_id)
        .where(signal.c.applied_at.is_(None))
        .order_by(signal.c.id)
        .limit(limit)
    )
    _hold(database, connection, limit)
    return [Unapplied._make(row) for row in connection.execute(wanted)]


def _hold(database: Database, connection: Connection, limit: int) -> None:
    """Hold the leads of the next signals: who sweeps them must not overwrite what is made of these.

    One listener at a time, and custody first, in the order of ids: so nobody waits in a circle.
    """
    if not database.skips_locked:
        return
    acquire(database, connection, Lock.SIGNALS)
    heard = select(signal.c.lead_id).where(signal.c.applied_at.is_(None)).order_by(signal.c.id).limit(limit)
    held = select(custody.c.lead_id).where(custody.c.lead_id.in_(heard))
    connection.execute(held.order_by(custody.c.lead_id).with_for_update())


def mark_applied(database: Database, connection: Connection, ids: Sequence[int], now: datetime) -> None:
    """Note that these signals have had their effect."""
    chosen = database.ids("chosen", ids)
    connection.execute(update(signal).where(signal.c.id == chosen.c.id).values(applied_at=now))


def wake(
    database: Database,
    connection: Connection,
    lead_ids: Sequence[int],
    now: datetime,
    *,
    parked: bool = False,
) -> None:
    """Make leads on a track due now; *parked*: also those in a queue that a request takes them out of.

    The version grows, so no sweep overwrites the waking.
    """
    if not lead_ids:
        return
    hold(database, connection, lead_ids)
    values = {
        "payload": database.payload(_WOKEN, [(id_,) for id_ in set(lead_ids)]),
        "at": now,
        "parked": parked,
    }
    connection.execute(database.kept(wake, lambda: _wake(database)), values)


def _wake(database: Database) -> Update:
    woken = database.rows_to_come("woken", _WOKEN)
    at = bindparam("at", type_=_TIME)
    # concat: SQLite would look at every lead on a track for each one woken, by the index on kind
    kind, ref = custody.c.kind.concat(""), custody.c.ref
    asked = bindparam("parked", type_=Boolean())
    parked = and_(asked, kind == "queue", ref.not_in(sorted(OWNED_QUEUES)), ~_NEEDS_FIELD)
    return (
        update(custody)
        .where(custody.c.lead_id == woken.c.id, or_(kind == "track", parked), custody.c.due_at > at)
        .values(due_at=at, version=custody.c.version + 1)
    )


_NEEDS_FIELD: Final = and_(custody.c.ref.like(f"{NEEDS}%"), custody.c.ref.not_like(f"{NEEDS}%-%"))


def wake_decisions(
    database: Database, connection: Connection, lead_ids: Sequence[int], now: datetime
) -> None:
    """Make leads due now that wait for a decision or a fact: they ask for a person themselves."""
    if not lead_ids:
        return
    chosen = database.ids("chosen", sorted(set(lead_ids)))
    decided = or_(custody.c.ref.in_(sorted(DECIDED_QUEUES)), _NEEDS_FIELD)
    waits = (custody.c.kind.concat("") == "queue") & decided
    later = (custody.c.lead_id == chosen.c.id) & (custody.c.due_at > now)
    connection.execute(update(custody).where(waits, later).values(due_at=now, version=custody.c.version + 1))


def returning(database: Database, connection: Connection, lead_ids: Sequence[int]) -> list[int]:
    """Return those of the leads that were given up, or found no track: a new interest brings them back."""
    chosen = database.ids("chosen", lead_ids)
    given_up = custody.c.kind.in_(("closed",)) & custody.c.ref.in_(("discarded", "unreachable", "lost"))
    idle = (custody.c.kind == "queue") & (custody.c.ref == "no-track")
    wanted = (
        select(custody.c.lead_id)
        .join(chosen, chosen.c.id == custody.c.lead_id)
        .where(or_(given_up, idle))
        .order_by(custody.c.lead_id)
    )
    return list(connection.execute(wanted).scalars())


def newest_touches(
    database: Database, connection: Connection, pairs: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], Answered]:
    """Return the newest touch of each (lead id, step) that was ever planned."""
    if not pairs:
        return {}
    asked = database.rows("asked", {"lead_id": _ID, "step": _TEXT}, list(set(pairs)))
    newest = (
        select(func.max(message.c.id).label("id"))
        .join(asked, (asked.c.lead_id == message.c.lead_id) & (asked.c.step == message.c.step))
        .where(message.c.kind == "touch")
        .group_by(message.c.lead_id, message.c.step)
        .subquery()
    )
    wanted = select(
        message.c.lead_id, message.c.step, message.c.enrollment_id, message.c.track, message.c.id
    ).join(newest, newest.c.id == message.c.id)
    return {(row[0], row[1]): Answered(*row[2:]) for row in connection.execute(wanted)}


def ask_again(database: Database, connection: Connection, queues: Sequence[str], now: datetime) -> None:
    """Have the leads of these queues looked at now: who decides about them has changed."""
    asleep = (custody.c.kind == Custodian.QUEUE.value) & custody.c.ref.in_(queues) & (custody.c.due_at > now)
    if database.skips_locked:
        held = select(custody.c.lead_id).where(asleep).order_by(custody.c.lead_id)
        connection.execute(held.with_for_update())
    connection.execute(update(custody).where(asleep).values(due_at=now, version=custody.c.version + 1))
