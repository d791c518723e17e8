"""The due leads of a sweep, as the planner sees them: five statements, however many leads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Integer, Select, Table, and_, bindparam, func, select

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.db.types import UtcDateTime
from nurture.domain.consent.suppression import Standing, covering, told
from nurture.domain.lead import Custodian, Engagement, Fact, Lead, Timeline
from nurture.domain.planning.calendar import Holidays
from nurture.domain.planning.lead_view import Enrollment, Position, Touch, TouchState, View
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from nurture.journey.leads.changeset import hold
from nurture.journey.leads.suppression_queries import standing as what_stands

SUMS: Final = ("engagement", "engagement_2", "engagement_3", "engagement_4")

"""The columns of the sums, in the order of the policy's half-lives."""

custody: Table = core.Custody.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
enrollment: Table = core.Enrollment.__table__  # type: ignore[attr-defined]
message: Table = core.Message.__table__  # type: ignore[attr-defined]
signal: Table = core.Signal.__table__  # type: ignore[attr-defined]

TOUCH_STATES: Final[Mapping[str, TouchState]] = {
    "planned": TouchState.IN_AIR,
    "claimed": TouchState.IN_AIR,
    "sending": TouchState.IN_AIR,
    "in_doubt": TouchState.IN_DOUBT,
    "accepted": TouchState.ACCEPTED,
    "delivered": TouchState.ACCEPTED,
    "bounced": TouchState.ACCEPTED,
    "complained": TouchState.ACCEPTED,
    "dropped": TouchState.ACCEPTED,
    "rejected": TouchState.REJECTED,
    "cancelled": TouchState.CANCELLED,
}

_CUSTODIANS: Final[Mapping[str, Custodian]] = {one.value: one for one in Custodian}
_NO_ENGAGEMENT: Final = Engagement()  # most leads have none: they share it
_SUMS: Final = tuple(lead.c[name] for name in SUMS)


@dataclass(frozen=True, slots=True)
class Claimed:
    """One lead of a sweep: what the planner sees, and custody as it was seen."""

    view: View
    version: int
    ref: str
    address_id: int | None
    source: str
    since: datetime
    due_at: datetime | None


class DueRow(NamedTuple):
    """A locked lead with its custody and its open enrollment."""

    lead_id: int
    version: int
    kind: str
    ref: str
    since: datetime
    due_at: datetime | None
    address_id: int | None
    facts: dict[str, Fact]
    zone: str
    country: str
    source: str
    basis: str | None
    engagement: float
    engagement_2: float | None
    engagement_3: float | None
    engagement_4: float | None
    engagement_at: datetime | None
    scored_under: str | None
    decides_on: date | None
    decides_stated_at: datetime | None
    paused_until: datetime | None
    paused_at: datetime | None
    paused_by: str | None
    call_on: date | None
    pace_days: int | None
    evidence_since: datetime | None
    enrollment_id: int | None
    track: str
    entered_at: datetime
    step: str
    visit: int
    anchor_at: datetime
    reached_at: datetime


_COLUMNS: Final = (
    custody.c.lead_id,
    custody.c.version,
    custody.c.kind,
    custody.c.ref,
    custody.c.since,
    custody.c.due_at,
    lead.c.address_id,
    lead.c.facts,
    lead.c.zone,
    lead.c.country,
    lead.c.source,
    lead.c.basis,
    *_SUMS,
    lead.c.engagement_at,
    lead.c.scored_under,
    lead.c.decides_on,
    lead.c.decides_stated_at,
    lead.c.paused_until,
    lead.c.paused_at,
    lead.c.paused_by,
    lead.c.call_on,
    lead.c.pace_days,
    lead.c.evidence_since,
    enrollment.c.id,
    enrollment.c.track,
    enrollment.c.entered_at,
    enrollment.c.step,
    enrollment.c.visit,
    enrollment.c.anchor_at,
    enrollment.c.reached_at,
)


def _leads() -> Select[Any]:
    open_one = and_(enrollment.c.lead_id == custody.c.lead_id, enrollment.c.ended_at.is_(None))
    return (
        select(*_COLUMNS)
        .select_from(custody)
        .join(lead, lead.c.id == custody.c.lead_id)
        .outerjoin(enrollment, open_one)
    )


def any_due(connection: Connection, kind: Custodian, now: datetime) -> bool:
    """Say whether the time of any lead of this custodian has come."""
    due = select(custody.c.lead_id).where(custody.c.kind == kind.value, custody.c.due_at <= now).limit(1)
    return connection.execute(due).scalar() is not None


def claim_due(
    database: Database,
    connection: Connection,
    kinds: Sequence[Custodian],
    now: datetime,
    limit: int,
    ref: str | None = None,
    without_ref: str | None = None,
) -> list[DueRow]:
    """Lock and return the leads of these custodians whose time has come, the longest due first."""
    values = {"now": now, "most": limit}
    if not database.skips_locked:
        # All at once: row by row the driver is asked two thousand times, 5 us a lead.
        rows = connection.execute(_due(tuple(kinds), ref, without_ref, only_lock=False), values).all()
        return [DueRow._make(row) for row in rows]
    # Read after the lock, not with it: else what another worker has just written could be missed.
    locked = connection.execute(_due(tuple(kinds), ref, without_ref, only_lock=True), values)
    held = locked.scalars().all()
    return _read(database, connection, held, custody.c.due_at) if held else []


def _read(
    database: Database,
    connection: Connection,
    lead_ids: Sequence[int],
    order: ColumnElement[Any],
    leads: Select[Any] | None = None,
) -> list[DueRow]:
    chosen = database.ids("chosen", lead_ids)
    wanted = _leads() if leads is None else leads
    wanted = wanted.join(chosen, chosen.c.id == custody.c.lead_id).order_by(order, custody.c.lead_id)
    return [DueRow._make(row) for row in connection.execute(wanted).all()]


@cache
def _due(
    kinds: tuple[Custodian, ...], ref: str | None, without_ref: str | None, *, only_lock: bool
) -> Select[Any]:
    """Build a claim once: building takes as long as a run that finds nothing."""
    due = custody.c.due_at <= bindparam("now", type_=UtcDateTime())
    columns: Select[Any] = select(custody.c.lead_id) if only_lock else _leads()
    wanted = columns.where(custody.c.kind.in_([kind.value for kind in kinds]), due)
    if ref is not None:
        wanted = wanted.where(custody.c.ref == ref)
    if without_ref is not None:
        wanted = wanted.where(custody.c.ref != without_ref)
    wanted = wanted.order_by(custody.c.due_at).limit(bindparam("most", type_=Integer()))
    return wanted.with_for_update(of=custody, skip_locked=True) if only_lock else wanted


def these(
    database: Database, connection: Connection, lead_ids: Iterable[int], *, lock: bool = True
) -> list[DueRow]:
    """Lock (but for who only reads) and return these leads, whatever keeps them.

    Who locks wants to change something: one that was erased is not there any more for that.
    """
    wanted = sorted(set(lead_ids))
    if not lock:
        return _read(database, connection, wanted, custody.c.lead_id)
    hold(database, connection, wanted)
    living = _leads().where(lead.c.erased_at.is_(None))
    return _read(database, connection, wanted, custody.c.lead_id, living)


def kept_after(connection: Connection, lead_id: int, limit: int) -> list[DueRow]:
    """Return the next *limit* leads behind *lead_id* that are not closed, by id; for who only reads."""
    wanted = _leads().where(custody.c.lead_id > lead_id, custody.c.kind != Custodian.CLOSED.value)
    rows = connection.execute(wanted.order_by(custody.c.lead_id).limit(limit)).all()
    return [DueRow._make(row) for row in rows]


def kept_by_reps(connection: Connection) -> dict[str, int]:
    """Return how many leads each rep has, by the id under which custody names them."""
    wanted = select(custody.c.ref, func.count()).where(custody.c.kind == Custodian.REP.value)
    return {row[0]: row[1] for row in connection.execute(wanted.group_by(custody.c.ref))}


def views(
    database: Database,
    connection: Connection,
    rows: list[DueRow],
    now: datetime,
    holidays: Holidays,
    full_until: datetime | None = None,
) -> list[Claimed]:
    """Return what the planner sees of each row, in the same order; *full_until* as the view has it."""
    if not rows:
        return []
    lead_ids = [row.lead_id for row in rows]
    touches, recent = _touches(database, connection, rows)
    signals = _signals(database, connection, lead_ids)
    addresses = [row.address_id for row in rows if row.address_id is not None]
    standing = what_stands(database, connection, addresses)
    claimed = []
    for row in rows:
        key = row.lead_id
        view = View(
            _lead(row, holidays(row.country, now)),
            _CUSTODIANS[row.kind],
            _enrollment(row),
            tuple(signals.get(key, ())),
            tuple(touches.get(key, ())),
            tuple(recent.get(key, ())),
            *_suppressed(row, standing.get(row.address_id or 0, ())),
            full_until,
            row.ref if row.kind == Custodian.QUEUE else "",
        )
        claimed.append(Claimed(view, row.version, row.ref, row.address_id, row.source, row.since, row.due_at))
    return claimed


def _lead(row: DueRow, holidays: Collection[date]) -> Lead:
    timeline = None
    if row.decides_on is not None and row.decides_stated_at is not None:
        timeline = Timeline(row.decides_on, row.decides_stated_at)
    return Lead(
        id=row.lead_id,
        facts=row.facts,
        zone=row.zone,
        holidays=holidays,
        basis=row.basis,
        engagement=_engagement(row),
        timeline=timeline,
        evidence_since=row.evidence_since,
        paused_until=row.paused_until,
        paused_at=row.paused_at,
        paused_by=row.paused_by or "",
        call_on=row.call_on,
        pace=timedelta(days=row.pace_days) if row.pace_days else None,
    )


def _engagement(row: DueRow) -> Engagement:
    if row.scored_under is None:
        return _NO_ENGAGEMENT
    sums = row.engagement, row.engagement_2, row.engagement_3, row.engagement_4
    return kept(sums, row.engagement_at, row.scored_under)


def _enrollment(row: DueRow) -> Enrollment | None:
    if row.enrollment_id is None:
        return None
    position = Position(row.step, row.visit, row.anchor_at, row.reached_at)
    return Enrollment(row.enrollment_id, row.track, row.entered_at, position)


def _touches(
    database: Database, connection: Connection, rows: list[DueRow]
) -> tuple[Mapping[int, list[Touch]], Mapping[int, list[datetime]]]:
    current = {row.lead_id: row.enrollment_id for row in rows}
    chosen = database.ids("chosen", list(current))
    wanted = (
        select(
            message.c.kind,
            message.c.lead_id,
            message.c.enrollment_id,
            message.c.step,
            message.c.visit,
            message.c.state,
            message.c.state_at,
            message.c.accepted_at,
            message.c.send_at,
        )
        .join(chosen, chosen.c.id == message.c.lead_id)
        .where(message.c.kind.in_(("touch", "ask")))
        .order_by(message.c.id)
    )
    touches: dict[int, list[Touch]] = defaultdict(list)
    recent: dict[int, list[datetime]] = defaultdict(list)
    for row in connection.execute(wanted).all():
        kind, lead_id, enrollment_id, step, visit, state, state_at, accepted_at, send_at = row
        seen = TOUCH_STATES[state]
        at = send_at if seen is TouchState.IN_AIR else accepted_at or state_at
        if kind == "touch" and enrollment_id == current[lead_id]:
            touches[lead_id].append(Touch(step, visit, seen, at))
        if seen not in (TouchState.CANCELLED, TouchState.REJECTED):
            recent[lead_id].append(at)
    return touches, recent


def _signals(
    database: Database, connection: Connection, lead_ids: Sequence[int]
) -> Mapping[int, list[Signal]]:
    chosen = database.ids("chosen", lead_ids)
    wanted = (
        select(
            signal.c.lead_id,
            signal.c.kind,
            signal.c.occurred_at,
            signal.c.verdict,
            signal.c.judged_under,
            signal.c.enrollment_id,
            signal.c.track,
            signal.c.step,
            signal.c.link,
            signal.c.value,
            signal.c.recorded_at,
        )
        .join(chosen, chosen.c.id == signal.c.lead_id)
        .order_by(signal.c.lead_id, signal.c.occurred_at, signal.c.id)
    )
    found: dict[int, list[Signal]] = defaultdict(list)
    for lead_id, kind, occurred_at, verdict, judged, *where in connection.execute(wanted).all():
        believed = SignalVerdict(verdict)
        found[lead_id].append(Signal(SignalKind(kind), occurred_at, believed, judged is not None, *where))
    return found


def _suppressed(row: DueRow, standing: tuple[Standing, ...]) -> tuple[str, tuple[Standing, ...]]:
    """Return why the lead may not be mailed at all or on its track, "" if it may, and all that stands."""
    if not standing:
        return "", ()
    why = covering(standing, row.track)
    return told(why) if why is not None else "", standing


def kept(sums: Sequence[float | None], at: datetime | None, under: str | None) -> Engagement:
    """Return the engagement of a row."""
    if at is None:
        return Engagement(under=under or "")
    return Engagement(tuple(value for value in sums if value is not None), at, under or "")
