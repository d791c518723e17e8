"""Engagement as it is kept: one sum for each half-life, all at one moment, and the points they were under."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Connection, Date, Float, String, Table, or_, select, update
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.db.types import UtcDateTime
from nurture.domain.lead import Engagement
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from nurture.journey.leads.changeset import hold
from nurture.journey.leads.snapshot import SUMS

lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
signal: Table = core.Signal.__table__  # type: ignore[attr-defined]


class Scored(NamedTuple):
    """What a lead's engagement is now."""

    lead_id: int
    engagement: float
    engagement_2: float | None
    engagement_3: float | None
    engagement_4: float | None
    engagement_at: datetime | None
    scored_under: str

    @classmethod
    def of(cls, lead_id: int, engagement: Engagement) -> Scored:
        """Return *engagement* as it is written."""
        sums: list[float | None] = [None] * len(SUMS)
        sums[: len(engagement.values)] = engagement.values
        first, second, third, fourth = sums
        return cls(lead_id, first or 0.0, second, third, fourth, engagement.as_of, engagement.under)


class Stated(NamedTuple):
    """When a lead decides, and when it said so."""

    lead_id: int
    decides_on: date
    decides_stated_at: datetime


_ID, _NUM, _TEXT, _TIME = BigInteger(), Float(), String(), UtcDateTime()
_SCORED: Final[Mapping[str, TypeEngine[Any]]] = dict(
    zip(Scored._fields, (_ID, _NUM, _NUM, _NUM, _NUM, _TIME, _TEXT), strict=True)
)
_STATED: Final[Mapping[str, TypeEngine[Any]]] = {
    "lead_id": _ID,
    "decides_on": Date(),
    "decides_stated_at": _TIME,
}


def write(database: Database, connection: Connection, rows: Sequence[Scored], now: datetime) -> None:
    """Write what the leads' engagement is now."""
    if not rows:
        return
    new = database.rows("new", _SCORED, rows)
    values = {name: new.c[name] for name in Scored._fields[1:]}
    connection.execute(update(lead).where(lead.c.id == new.c.lead_id).values(**values, updated_at=now))


def write_timelines(database: Database, connection: Connection, rows: Sequence[Stated]) -> None:
    """Write when leads decide."""
    if not rows:
        return
    new = database.rows("new", _STATED, rows)
    connection.execute(
        update(lead)
        .where(lead.c.id == new.c.lead_id)
        .values(decides_on=new.c.decides_on, decides_stated_at=new.c.decides_stated_at)
    )


def stale(connection: Connection, key: str, limit: int) -> list[int]:
    """Return leads whose engagement was reckoned under other points than those of *key*: an index probe."""
    other = or_(lead.c.scored_under < key, lead.c.scored_under > key)
    wanted = select(lead.c.id).where(lead.c.scored_under.is_not(None), other)
    return list(connection.execute(wanted.limit(limit)).scalars())


def mark_stale(database: Database, connection: Connection, lead_ids: Sequence[int]) -> None:
    """Have the engagement of these leads reckoned again."""
    if not lead_ids:
        return
    chosen = database.ids("chosen", sorted(set(lead_ids)))
    connection.execute(update(lead).where(lead.c.id == chosen.c.id).values(scored_under=""))


def counted(
    database: Database, connection: Connection, lead_ids: Sequence[int]
) -> dict[int, tuple[datetime | None, list[Signal]]]:
    """Hold the leads and return since when their deeds count, and those deeds that had their effect."""
    hold(database, connection, lead_ids)
    chosen = database.ids("chosen", sorted(set(lead_ids)))
    leads = select(lead.c.id, lead.c.evidence_since).join(chosen, chosen.c.id == lead.c.id)
    since: dict[int, datetime | None] = {row[0]: row[1] for row in connection.execute(leads)}
    wanted = (
        select(signal.c.lead_id, signal.c.kind, signal.c.occurred_at, signal.c.verdict)
        .join(chosen, chosen.c.id == signal.c.lead_id)
        .where(signal.c.applied_at.is_not(None), signal.c.verdict == SignalVerdict.HUMAN.value)
    )
    deeds: dict[int, list[Signal]] = defaultdict(list)
    for lead_id, kind, occurred_at, verdict in connection.execute(wanted).all():
        deeds[lead_id].append(Signal(SignalKind(kind), occurred_at, SignalVerdict(verdict)))
    return {lead_id: (moment, deeds[lead_id]) for lead_id, moment in since.items()}


class Deed(NamedTuple):
    """One signal with all that says whether it counts."""

    kind: str
    occurred_at: datetime
    verdict: str
    verdict_because: str
    judged_under: str | None
    applied_at: datetime | None
    step: str | None
    link: str | None
    source: str


def deeds(connection: Connection, lead_id: int) -> list[Deed]:
    """Return everything that a lead did, in order."""
    wanted = select(*(signal.c[name] for name in Deed._fields)).where(signal.c.lead_id == lead_id)
    return [Deed._make(row) for row in connection.execute(wanted.order_by(signal.c.occurred_at, signal.c.id))]
