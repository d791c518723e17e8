"""Stored engagement: one score per half-life, all at the same time, and the key of the points used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import BindParameter, bindparam, or_, select, update

from nurture.db.tables.leads import lead
from nurture.db.tables.signals import signal
from nurture.db.transaction import Transaction
from nurture.domain.lead import Engagement
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from nurture.journey.leads.custody import lock_leads
from nurture.journey.leads.snapshot import ENGAGEMENT_COLUMNS


class EngagementUpdate(NamedTuple):
    """The new engagement of a lead."""

    lead_id: int
    engagement: float
    engagement_2: float | None
    engagement_3: float | None
    engagement_4: float | None
    engagement_at: datetime | None
    points_key: str

    @classmethod
    def from_engagement(cls, lead_id: int, engagement: Engagement) -> EngagementUpdate:
        """Return *engagement* as it is stored."""
        sums: list[float | None] = [None] * len(ENGAGEMENT_COLUMNS)
        sums[: len(engagement.values)] = engagement.values
        first, second, third, fourth = sums
        return cls(lead_id, first or 0.0, second, third, fourth, engagement.as_of, engagement.points_key)


class TimelineUpdate(NamedTuple):
    """When a lead decides, and when it stated that."""

    lead_id: int
    decides_on: date
    decides_stated_at: datetime


def write_engagement(tx: Transaction, rows: Sequence[EngagementUpdate], now: datetime) -> None:
    """Write the engagement of leads."""
    tx.update_by_id(lead, EngagementUpdate._fields[1:], rows, updated_at=now)


def write_timelines(tx: Transaction, rows: Sequence[TimelineUpdate]) -> None:
    """Write the decision dates of leads."""
    tx.update_by_id(lead, TimelineUpdate._fields[1:], rows)


def find_stale(tx: Transaction, key: str, limit: int) -> list[int]:
    """Return leads whose engagement was computed with points other than those of *key*, by one index probe."""
    return list(tx.execute(_STALE, {"points": key, "limit": limit}).scalars())


_POINTS: Final[BindParameter[str]] = bindparam("points")
_STALE: Final = (
    select(lead.c.id)
    .where(lead.c.points_key.is_not(None), or_(lead.c.points_key < _POINTS, lead.c.points_key > _POINTS))
    .limit(bindparam("limit"))
)


def mark_stale(tx: Transaction, lead_ids: Sequence[int]) -> None:
    """Mark the engagement of these leads for recomputation."""
    if not lead_ids:
        return
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    tx.execute(update(lead).where(lead.c.id == chosen.c.id).values(points_key=""))


def load_counted_signals(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, tuple[datetime | None, list[Signal]]]:
    """Lock the leads; return since when their signals count, and their applied human signals."""
    lock_leads(tx, lead_ids)
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    leads = select(lead.c.id, lead.c.signals_since).join(chosen, chosen.c.id == lead.c.id)
    since: dict[int, datetime | None] = {row[0]: row[1] for row in tx.execute(leads)}
    statement = (
        select(signal.c.lead_id, signal.c.kind, signal.c.occurred_at, signal.c.verdict)
        .join(chosen, chosen.c.id == signal.c.lead_id)
        .where(signal.c.applied_at.is_not(None), signal.c.verdict == SignalVerdict.HUMAN.value)
    )
    signals: dict[int, list[Signal]] = defaultdict(list)
    for lead_id, kind, occurred_at, verdict in tx.execute(statement).all():
        signals[lead_id].append(Signal(SignalKind(kind), occurred_at, SignalVerdict(verdict)))
    return {lead_id: (counts_since, signals[lead_id]) for lead_id, counts_since in since.items()}


class SignalRecord(NamedTuple):
    """One signal, with everything that decides whether it counts."""

    kind: str
    occurred_at: datetime
    verdict: str
    verdict_reason: str
    click_filter_key: str | None
    applied_at: datetime | None
    step: str | None
    link: str | None
    source: str


def load_signals(tx: Transaction, lead_id: int) -> list[SignalRecord]:
    """Return the signals of a lead, oldest first."""
    statement = select(*(signal.c[name] for name in SignalRecord._fields)).where(signal.c.lead_id == lead_id)
    return [SignalRecord._make(row) for row in tx.execute(statement.order_by(signal.c.occurred_at, signal.c.id))]
