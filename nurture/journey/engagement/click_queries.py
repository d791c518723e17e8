"""Clicks and opens as they came in, and what the rules of evidence made of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Select,
    String,
    Table,
    and_,
    case,
    or_,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.tables import core, engagement
from nurture.db.types import UtcDateTime
from nurture.domain.scoring.click_filtering import Agent, Visit
from nurture.domain.signals import SignalKind
from nurture.journey.leads.changeset import insert_rows

address: Table = core.Address.__table__  # type: ignore[attr-defined]
clock: Table = core.Clock.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
message: Table = core.Message.__table__  # type: ignore[attr-defined]
signal: Table = core.Signal.__table__  # type: ignore[attr-defined]
visit: Table = engagement.Visit.__table__  # type: ignore[attr-defined]


class Mailed(NamedTuple):
    """What a visit needs to know of its message. *salt* is the secret of this installation."""

    message_id: int
    lead_id: int
    enrollment_id: int | None
    track: str | None
    step: str
    address: str
    salt: str


class Came(NamedTuple):
    """How the signal of a natural key came in."""

    natural_key: str
    message_id: int
    at: datetime
    method: str
    agent: str
    ip_mark: str
    agent_mark: str
    company: str
    honeypot: bool
    machine: bool


class Found(NamedTuple):
    """A visit, what its verdict is now, and whether the signal has had its effect."""

    visit: Visit
    verdict: str
    because: str
    judged_under: str
    applied: bool


class Judged(NamedTuple):
    """A verdict as it is written."""

    signal_id: int
    verdict: str
    verdict_because: str
    judged_under: str


_ID, _TEXT, _TIME, _FLAG = BigInteger(), String(), UtcDateTime(), Boolean()
_VISIT: Final[Mapping[str, TypeEngine[Any]]] = {
    "signal_id": _ID,
    "message_id": _ID,
    "at": _TIME,
    "method": _TEXT,
    "agent": _TEXT,
    "ip_mark": _TEXT,
    "agent_mark": _TEXT,
    "company": _TEXT,
    "honeypot": _FLAG,
    "machine": _FLAG,
}
_WINDOW: Final[Mapping[str, TypeEngine[Any]]] = {"company": _TEXT, "begins": _TIME, "ends": _TIME}
_JUDGED: Final[Mapping[str, TypeEngine[Any]]] = dict(
    zip(Judged._fields, (_ID, _TEXT, _TEXT, _TEXT), strict=True)
)


def mailed(database: Database, connection: Connection, message_ids: Collection[int]) -> dict[int, Mailed]:
    """Return the messages there are, by id; nothing is recorded of a lead that was erased."""
    if not message_ids:
        return {}
    chosen = database.ids("chosen", sorted(set(message_ids)))
    salt = select(clock.c.salt).scalar_subquery()
    wanted = (
        select(
            message.c.id,
            message.c.lead_id,
            message.c.enrollment_id,
            message.c.track,
            message.c.step,
            address.c.normal,
            salt,
        )
        .join(chosen, chosen.c.id == message.c.id)
        .join(lead, lead.c.id == message.c.lead_id)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .where(lead.c.erased_at.is_(None))
    )
    rows = connection.execute(wanted).all()
    return {row[0]: Mailed._make((*row[:5], row[5] or "", row[6] or "")) for row in rows}


def record(database: Database, connection: Connection, rows: Sequence[Came]) -> None:
    """Write how signals that are recorded already came in, each once."""
    if not rows:
        return
    asked = database.rows("asked", {"natural_key": _TEXT}, [(row.natural_key,) for row in rows])
    wanted = select(signal.c.natural_key, signal.c.id).join(
        asked, asked.c.natural_key == signal.c.natural_key
    )
    ids: dict[str, int] = {row[0]: row[1] for row in connection.execute(wanted)}
    visits = [(ids[row.natural_key], *row[1:]) for row in rows if row.natural_key in ids]
    insert_rows(database, connection, visit, _VISIT, visits, once=True)


def since(
    database: Database, connection: Connection, message_ids: Collection[int], begin: datetime
) -> list[tuple[int, str | None, datetime, str]]:
    """Return (message id, link, when, natural key) of the visits of these messages from *begin* on."""
    chosen = database.ids("chosen", sorted(message_ids))
    wanted = (
        select(visit.c.message_id, signal.c.link, visit.c.at, signal.c.natural_key)
        .join(chosen, chosen.c.id == visit.c.message_id)
        .join(signal, signal.c.id == visit.c.signal_id)
        .where(visit.c.at >= begin)
    )
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(wanted)]


def unjudged(connection: Connection, key: str, limit: int) -> list[tuple[int, int]]:
    """Return (signal id, message id) of visits that other rules than those of *key* judged, or none yet."""
    other = or_(signal.c.judged_under < key, signal.c.judged_under > key)
    wanted = (
        select(signal.c.id, visit.c.message_id)
        .join(visit, visit.c.signal_id == signal.c.id)
        .where(signal.c.judged_under.is_not(None), other)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in connection.execute(wanted)]


def of_messages(database: Database, connection: Connection, message_ids: Collection[int]) -> list[Found]:
    """Return every visit of these messages."""
    chosen = database.ids("chosen", sorted(set(message_ids)))
    wanted = _visits().join(chosen, chosen.c.id == visit.c.message_id)
    return [_found(row) for row in connection.execute(wanted).all()]


def close_by(
    database: Database, connection: Connection, visits: Collection[Visit], within: timedelta
) -> list[Visit]:
    """Return the visits of the same companies within so long of any of *visits*, these themselves too."""
    windows = sorted({(one.company, one.at) for one in visits if one.company})
    if not windows:
        return []
    asked = database.rows("asked", _WINDOW, [(name, at - within, at + within) for name, at in windows])
    near = and_(visit.c.company == asked.c.company, visit.c.at >= asked.c.begins, visit.c.at <= asked.c.ends)
    there = select(visit.c.signal_id).join(asked, near).where(visit.c.company != "")
    wanted = _visits().where(signal.c.id.in_(there))
    return [_found(row).visit for row in connection.execute(wanted).all()]


def write(database: Database, connection: Connection, rows: Sequence[Judged]) -> None:
    """Write verdicts."""
    if not rows:
        return
    new = database.rows("new", _JUDGED, rows)
    connection.execute(
        update(signal)
        .where(signal.c.id == new.c.signal_id)
        .values(verdict=new.c.verdict, verdict_because=new.c.verdict_because, judged_under=new.c.judged_under)
    )


def doubt(database: Database, connection: Connection, message_ids: Collection[int]) -> None:
    """Have the visits of these messages judged again: something new is known of their delivery."""
    if not message_ids:
        return
    chosen = database.ids("chosen", sorted(set(message_ids)))
    theirs = select(visit.c.signal_id).join(chosen, chosen.c.id == visit.c.message_id)
    connection.execute(update(signal).where(signal.c.id.in_(theirs)).values(judged_under=""))


def _visits() -> Select[Any]:
    delivered = case((message.c.state == "delivered", message.c.state_at), else_=message.c.accepted_at)
    return (
        select(
            signal.c.id,
            signal.c.kind,
            visit.c.at,
            visit.c.message_id,
            signal.c.lead_id,
            signal.c.link,
            visit.c.method,
            visit.c.agent,
            visit.c.ip_mark,
            visit.c.agent_mark,
            visit.c.company,
            visit.c.honeypot,
            visit.c.machine,
            delivered,
            signal.c.verdict,
            signal.c.verdict_because,
            signal.c.judged_under,
            signal.c.applied_at,
        )
        .select_from(visit)
        .join(signal, signal.c.id == visit.c.signal_id)
        .join(message, message.c.id == visit.c.message_id)
    )


def _found(row: Any) -> Found:
    id_, kind, *where, agent, ip_mark, agent_mark, company, honeypot, machine, delivered = row[:14]
    at, mail, who, link, method = where
    seen = Visit(
        id=id_,
        kind=SignalKind(kind),
        at=at,
        message=mail,
        lead=who,
        link=link,
        method=method,
        agent=Agent(agent),
        ip_mark=ip_mark,
        agent_mark=agent_mark,
        company=company,
        honeypot=honeypot,
        machine=machine,
        delivered_at=delivered,
    )
    return Found(seen, row[14], row[15], row[16] or "", row[17] is not None)
