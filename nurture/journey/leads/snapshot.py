"""Load leads as the planner needs them, in five statements for any number of leads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Integer, Select, and_, bindparam, func, select

from nurture.db.row_values import row_columns
from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import leads as lead_tables
from nurture.db.tables import signals as signal_tables
from nurture.db.tables import tracks as track_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.consent.suppression import ActiveSuppression, describe_suppression, find_covering
from nurture.domain.lead import Custodian, Engagement, FieldValue, Lead, Timeline
from nurture.domain.planning.calendar import Holidays
from nurture.domain.planning.lead_view import Enrollment, LeadView, Position, Touch, TouchState
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from nurture.journey.leads.lock_queries import lock_leads
from nurture.journey.leads.suppression_queries import load_suppressions
from nurture.outbox.messages import TO_LEAD

ENGAGEMENT_COLUMNS: Final = ("engagement", "engagement_2", "engagement_3", "engagement_4")
"""The columns of the score, one per half-life, in the order of the policy."""

custody = table(lead_tables.Custody)
lead = table(lead_tables.Lead)
enrollment = table(track_tables.Enrollment)
message = table(delivery_tables.Message)
signal = table(signal_tables.Signal)

TOUCH_STATES: Final[Mapping[str, TouchState]] = {
    "planned": TouchState.IN_FLIGHT,
    "claimed": TouchState.IN_FLIGHT,
    "sending": TouchState.IN_FLIGHT,
    "unknown": TouchState.UNKNOWN,
    "accepted": TouchState.ACCEPTED,
    "delivered": TouchState.ACCEPTED,
    "bounced": TouchState.ACCEPTED,
    "complained": TouchState.ACCEPTED,
    "dropped": TouchState.ACCEPTED,
    "rejected": TouchState.REJECTED,
    "cancelled": TouchState.CANCELLED,
}

_CUSTODIANS: Final[Mapping[str, Custodian]] = {one.value: one for one in Custodian}
_NO_ENGAGEMENT: Final = Engagement()  # shared: most leads have none


@dataclass(frozen=True, slots=True)
class LeadSnapshot:
    """A lead with the planner's view of it and its custody when it was read."""

    view: LeadView
    version: int
    ref: str
    address_id: int | None
    source: str
    since: datetime
    due_at: datetime | None


class SnapshotRow(NamedTuple):
    """A locked lead with its custody and its open enrollment."""

    lead_id: int
    version: int
    kind: str
    ref: str
    since: datetime
    due_at: datetime | None
    address_id: int | None
    fields: dict[str, FieldValue]
    zone: str
    country: str
    source: str
    consent_basis: str | None
    engagement: float
    engagement_2: float | None
    engagement_3: float | None
    engagement_4: float | None
    engagement_at: datetime | None
    points_key: str | None
    decides_on: date | None
    decides_stated_at: datetime | None
    paused_until: datetime | None
    paused_at: datetime | None
    paused_by: str | None
    call_on: date | None
    touch_interval_days: int | None
    signals_since: datetime | None
    enrollment_id: int | None
    track: str
    entered_at: datetime
    step: str
    visit: int
    anchor_at: datetime
    reached_at: datetime


_COLUMNS: Final = row_columns(SnapshotRow, custody, lead, enrollment, enrollment_id=enrollment.c.id)


def _select_rows() -> Select[Any]:
    is_open = and_(enrollment.c.lead_id == custody.c.lead_id, enrollment.c.ended_at.is_(None))
    return (
        select(*_COLUMNS).select_from(custody).join(lead, lead.c.id == custody.c.lead_id).outerjoin(enrollment, is_open)
    )


def has_due_leads(tx: Transaction, kind: Custodian, now: datetime) -> bool:
    """Return whether any lead of this custodian is due."""
    due = select(custody.c.lead_id).where(custody.c.kind == kind.value, custody.c.due_at <= now).limit(1)
    return tx.execute(due).scalar() is not None


def claim_due(
    tx: Transaction,
    kinds: Sequence[Custodian],
    now: datetime,
    limit: int,
    ref: str | None = None,
    without_ref: str | None = None,
) -> list[SnapshotRow]:
    """Lock and return the due leads of these custodians, longest due first."""
    values = {"now": now, "limit": limit}
    if not tx.skips_locked:
        # all() reads the rows in one call: iterating costs 5 us per lead.
        rows = tx.execute(_claim_statement(tuple(kinds), ref, without_ref, only_lock=False), values).all()
        return [SnapshotRow._make(row) for row in rows]
    # Read after the lock, not with it: a statement that waited may miss what another worker has just written.
    locked = tx.execute(_claim_statement(tuple(kinds), ref, without_ref, only_lock=True), values)
    lead_ids = locked.scalars().all()
    return _load_rows(tx, lead_ids, custody.c.due_at) if lead_ids else []


def _load_rows(
    tx: Transaction, lead_ids: Sequence[int], order: ColumnElement[Any], base: Select[Any] | None = None
) -> list[SnapshotRow]:
    chosen = tx.ids("chosen", lead_ids)
    statement = _select_rows() if base is None else base
    statement = statement.join(chosen, chosen.c.id == custody.c.lead_id).order_by(order, custody.c.lead_id)
    return [SnapshotRow._make(row) for row in tx.execute(statement).all()]


@cache
def _claim_statement(
    kinds: tuple[Custodian, ...], ref: str | None, without_ref: str | None, *, only_lock: bool
) -> Select[Any]:
    """Build the claim. Cached, because building it takes as long as a run that finds nothing."""
    due = custody.c.due_at <= bindparam("now", type_=UtcDateTime())
    columns: Select[Any] = select(custody.c.lead_id) if only_lock else _select_rows()
    statement = columns.where(custody.c.kind.in_([kind.value for kind in kinds]), due)
    if ref is not None:
        statement = statement.where(custody.c.ref == ref)
    if without_ref is not None:
        statement = statement.where(custody.c.ref != without_ref)
    statement = statement.order_by(custody.c.due_at).limit(bindparam("limit", type_=Integer()))
    return statement.with_for_update(of=custody, skip_locked=True) if only_lock else statement


def load_rows(tx: Transaction, lead_ids: Iterable[int], *, lock: bool = True) -> list[SnapshotRow]:
    """Return these leads with any custodian, locked unless *lock* is False.

    Locking is for writers, so erased leads are then left out.
    """
    unique_ids = sorted(set(lead_ids))
    if not lock:
        return _load_rows(tx, unique_ids, custody.c.lead_id)
    lock_leads(tx, unique_ids)
    existing = _select_rows().where(lead.c.erased_at.is_(None))
    return _load_rows(tx, unique_ids, custody.c.lead_id, existing)


def load_open_rows_after(tx: Transaction, lead_id: int, limit: int) -> list[SnapshotRow]:
    """Return the next *limit* leads after *lead_id* that are not closed, by id, unlocked."""
    statement = _select_rows().where(custody.c.lead_id > lead_id, custody.c.kind != Custodian.CLOSED.value)
    rows = tx.execute(statement.order_by(custody.c.lead_id).limit(limit)).all()
    return [SnapshotRow._make(row) for row in rows]


def count_leads_by_rep(tx: Transaction) -> dict[str, int]:
    """Return how many leads each rep has, by rep id."""
    statement = select(custody.c.ref, func.count()).where(custody.c.kind == Custodian.REP.value)
    return {row[0]: row[1] for row in tx.execute(statement.group_by(custody.c.ref))}


def load_snapshots(
    tx: Transaction, rows: list[SnapshotRow], now: datetime, holidays: Holidays, full_until: datetime | None = None
) -> list[LeadSnapshot]:
    """Return the snapshot of each row, in the same order. *full_until*: see `LeadView`."""
    if not rows:
        return []
    lead_ids = [row.lead_id for row in rows]
    touches, recent = _touches(tx, rows)
    signals = _signals(tx, lead_ids)
    addresses = [row.address_id for row in rows if row.address_id is not None]
    suppressions = load_suppressions(tx, addresses)
    snapshots = []
    for row in rows:
        key = row.lead_id
        view = LeadView(
            _lead(row, holidays(row.country, now)),
            _CUSTODIANS[row.kind],
            _enrollment(row),
            tuple(signals.get(key, ())),
            tuple(touches.get(key, ())),
            tuple(recent.get(key, ())),
            *_suppression_status(row, suppressions.get(row.address_id or 0, ())),
            full_until,
            row.ref if row.kind == Custodian.QUEUE else "",
        )
        snapshots.append(LeadSnapshot(view, row.version, row.ref, row.address_id, row.source, row.since, row.due_at))
    return snapshots


def _lead(row: SnapshotRow, holidays: Collection[date]) -> Lead:
    timeline = None
    if row.decides_on is not None and row.decides_stated_at is not None:
        timeline = Timeline(row.decides_on, row.decides_stated_at)
    return Lead(
        id=row.lead_id,
        fields=row.fields,
        zone=row.zone,
        holidays=holidays,
        consent_basis=row.consent_basis,
        engagement=_engagement(row),
        timeline=timeline,
        signals_since=row.signals_since,
        paused_until=row.paused_until,
        paused_at=row.paused_at,
        paused_by=row.paused_by or "",
        call_on=row.call_on,
        touch_interval=timedelta(days=row.touch_interval_days) if row.touch_interval_days else None,
    )


def _engagement(row: SnapshotRow) -> Engagement:
    if row.points_key is None:
        return _NO_ENGAGEMENT
    sums = row.engagement, row.engagement_2, row.engagement_3, row.engagement_4
    return stored_engagement(sums, row.engagement_at, row.points_key)


def _enrollment(row: SnapshotRow) -> Enrollment | None:
    if row.enrollment_id is None:
        return None
    position = Position(row.step, row.visit, row.anchor_at, row.reached_at)
    return Enrollment(row.enrollment_id, row.track, row.entered_at, position)


def _touches(
    tx: Transaction, rows: list[SnapshotRow]
) -> tuple[Mapping[int, list[Touch]], Mapping[int, list[datetime]]]:
    current = {row.lead_id: row.enrollment_id for row in rows}
    chosen = tx.ids("chosen", list(current))
    statement = (
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
        .where(message.c.recipient == TO_LEAD)
        .order_by(message.c.id)
    )
    touches: dict[int, list[Touch]] = defaultdict(list)
    recent: dict[int, list[datetime]] = defaultdict(list)
    for row in tx.execute(statement).all():
        kind, lead_id, enrollment_id, step, visit, state, state_at, accepted_at, send_at = row
        touch_state = TOUCH_STATES[state]
        at = send_at if touch_state is TouchState.IN_FLIGHT else accepted_at or state_at
        if kind == "touch" and enrollment_id == current[lead_id]:
            touches[lead_id].append(Touch(step, visit, touch_state, at))
        if touch_state not in (TouchState.CANCELLED, TouchState.REJECTED):
            recent[lead_id].append(at)
    return touches, recent


def _signals(tx: Transaction, lead_ids: Sequence[int]) -> Mapping[int, list[Signal]]:
    chosen = tx.ids("chosen", lead_ids)
    statement = (
        select(
            signal.c.lead_id,
            signal.c.kind,
            signal.c.occurred_at,
            signal.c.verdict,
            signal.c.click_filter_key,
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
    for lead_id, kind, occurred_at, verdict, click_filter_key, *where in tx.execute(statement).all():
        parsed_verdict = SignalVerdict(verdict)
        found[lead_id].append(
            Signal(SignalKind(kind), occurred_at, parsed_verdict, click_filter_key is not None, *where)
        )
    return found


def _suppression_status(
    row: SnapshotRow, suppressions: tuple[ActiveSuppression, ...]
) -> tuple[str, tuple[ActiveSuppression, ...]]:
    """Return why the lead may not be mailed at all or on its track ("" if it may), and its suppressions."""
    if not suppressions:
        return "", ()
    suppression = find_covering(suppressions, row.track)
    return describe_suppression(suppression) if suppression is not None else "", suppressions


def stored_engagement(sums: Sequence[float | None], at: datetime | None, points_key: str | None) -> Engagement:
    """Return the engagement of a row."""
    if at is None:
        return Engagement(points_key=points_key or "")
    return Engagement(tuple(value for value in sums if value is not None), at, points_key or "")
