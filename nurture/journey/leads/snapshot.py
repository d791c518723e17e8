"""Load leads as the planner needs them, in a constant number of statements for any number of leads."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, FromClause, Integer, Select, and_, bindparam, func, or_, select

from nurture.db.row_values import row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.leads import custody, lead
from nurture.db.tables.routing import capacity_forecast
from nurture.db.tables.signals import signal
from nurture.db.tables.tracks import IS_ACTIVE, enrollment
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.frozen import frozen
from nurture.domain.lead import Custodian, Engagement, FieldValue, Lead, Queue, Timeline
from nurture.domain.planning.frequency_cap import CountedEmail
from nurture.domain.planning.lead_view import Enrollment, LeadView, PastStay, Position, Touch, TouchState
from nurture.domain.planning.program import Program
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Rep
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from nurture.journey.leads.consent_queries import load_statements
from nurture.journey.leads.custody import lock_leads
from nurture.journey.leads.enrollment_queries import load_exclusions
from nurture.journey.leads.stop_queries import load_stops
from nurture.journey.leads.suppression_queries import load_suppressions
from nurture.journey.ownership.owners import load_owners
from nurture.outbox.messages import BROADCAST, CONFIRMATION, MARKETING, REPLANNABLE, TO_LEAD, TOUCH
from nurture.runtime.context import AppContext
from nurture.runtime.published import Definitions

ENGAGEMENT_COLUMNS: Final = ("engagement", "engagement_2", "engagement_3", "engagement_4")
"""The columns of the score, one per half-life, in the order of the policy."""

TOUCH_STATES: Final[Mapping[str, TouchState]] = {
    "planned": TouchState.PLANNED,
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

_NOT_SENT_YET: Final = (TouchState.PLANNED, TouchState.IN_FLIGHT)
_NEVER_SENT: Final = (TouchState.CANCELLED, TouchState.REJECTED, TouchState.RECALLED)
_CUSTODIANS: Final[Mapping[str, Custodian]] = {one.value: one for one in Custodian}
_NO_ENGAGEMENT: Final = Engagement()  # shared: most leads have none

_NO_TOUCHES: Final[Mapping[int, tuple[Touch, ...]]] = {}


@frozen
class LeadSnapshot:
    """A lead with the planner's view of it and its custody when it was read.

    *suspended_touches* are those of the enrollments that other tracks interrupted, by enrollment id.
    """

    view: LeadView
    version: int
    ref: str
    address_id: int | None
    source: str
    since: datetime
    due_at: datetime | None
    suspended_touches: Mapping[int, tuple[Touch, ...]] = field(default_factory=lambda: _NO_TOUCHES)


class SnapshotRow(NamedTuple):
    """A locked lead with its custody and its active enrollment."""

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
    customer_since: datetime | None
    touch_interval_days: int | None
    signals_since: datetime | None
    restated_fields: list[str] | None
    first_contact_at: datetime | None
    enrollment_id: int | None
    track: str
    entered_at: datetime
    step: str
    visit: int
    anchor_at: datetime
    reached_at: datetime


_COLUMNS: Final = row_columns(SnapshotRow, custody, lead, enrollment, enrollment_id=enrollment.c.id)


def _select_rows() -> Select[Any]:
    is_active = and_(enrollment.c.lead_id == custody.c.lead_id, IS_ACTIVE)
    joined = select(*_COLUMNS).select_from(custody).join(lead, lead.c.id == custody.c.lead_id)
    return joined.outerjoin(enrollment, is_active)


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


def load_open_rows_after(tx: Transaction, lead_id: int, limit: int, *, may_enter: bool = False) -> list[SnapshotRow]:
    """Return the next *limit* leads after *lead_id* that are not closed, by id, unlocked.

    *may_enter*: only those that an audience could take, on a track or none: the others wait, or are with sales.
    """
    statement = _select_rows().where(custody.c.lead_id > lead_id, custody.c.kind != Custodian.CLOSED.value)
    if may_enter:
        fitted_none = and_(custody.c.kind == Custodian.QUEUE.value, custody.c.ref == Queue.TRACK_MISSING.value)
        rests = custody.c.kind == Custodian.RESTING.value
        statement = statement.where(or_(enrollment.c.id.is_not(None), rests, fitted_none))
    rows = tx.execute(statement.order_by(custody.c.lead_id).limit(limit)).all()
    return [SnapshotRow._make(row) for row in rows]


def count_leads_by_rep(tx: Transaction) -> dict[str, int]:
    """Return how many leads each rep has, by rep id."""
    statement = select(custody.c.ref, func.count()).where(custody.c.kind == Custodian.REP.value)
    return {row[0]: row[1] for row in tx.execute(statement.group_by(custody.c.ref))}


def load_snapshots(
    ctx: AppContext,
    tx: Transaction,
    definitions: Definitions | None,
    rows: list[SnapshotRow],
    now: datetime,
    full_until: datetime | None = None,
    *,
    with_owners: bool = False,
) -> list[LeadSnapshot]:
    """Return the snapshot of each row, in the same order. *full_until*: see `LeadView`.

    The owners are read *with_owners* or if a condition of *definitions* asks for them; None: no condition is evaluated.
    """
    if not rows:
        return []
    lead_ids = [row.lead_id for row in rows]
    touches, counted = _touches(tx, lead_ids)
    signals = _signals(tx, lead_ids)
    past_stays, exclusions = load_past_stays(tx, lead_ids), load_exclusions(tx, lead_ids)
    addresses = [row.address_id for row in rows if row.address_id is not None]
    suppressions, statements = load_suppressions(tx, addresses), load_statements(tx, addresses)
    stops = load_stops(tx)
    owners: Mapping[int, Rep] = {}
    if definitions is not None and (with_owners or definitions.asks_for_owner):
        fields = {row.lead_id: row.fields for row in rows}
        owners = load_owners(ctx.account_index, tx, definitions.policy, fields, now)
    snapshots = []
    for row in rows:
        key = row.lead_id
        view = LeadView(
            _lead(row, ctx.holidays(row.country, now), owners.get(key)),
            _CUSTODIANS[row.kind],
            _enrollment(row),
            tuple(signals.get(key, ())),
            tuple(touches.get(row.enrollment_id, ())),
            tuple(counted.get(key, ())),
            statements.get(row.address_id or 0, ()),
            suppressions.get(row.address_id or 0, ()),
            full_until,
            row.ref if row.kind == Custodian.QUEUE else "",
            stops,
            tuple(past_stays.get(key, ())),
            exclusions.get(key, frozenset()),
        )
        suspended = (
            {one.id: tuple(touches.get(one.id, ())) for one in view.suspended} if view.past_stays else _NO_TOUCHES
        )
        custody_values = row.version, row.ref, row.address_id, row.source, row.since, row.due_at
        snapshots.append(LeadSnapshot(view, *custody_values, suspended))
    return snapshots


def leads_on(
    leads: Sequence[LeadSnapshot], tracks: Collection[str], *, on_any_track: bool = False
) -> Sequence[LeadSnapshot]:
    """Return the leads on *tracks*; all if they may come to *on_any_track*, and there is one of *tracks*."""
    if on_any_track:
        return leads if tracks else ()
    return [one for one in leads if one.view.enrollment is not None and one.view.enrollment.track in tracks]


def _lead(row: SnapshotRow, holidays: Collection[date], owner: Rep | None) -> Lead:
    timeline = None
    if row.decides_on is not None and row.decides_stated_at is not None:
        timeline = Timeline(row.decides_on, row.decides_stated_at)
    return Lead(
        id=row.lead_id,
        fields=row.fields,
        zone=row.zone,
        holidays=holidays,
        engagement=_engagement(row),
        timeline=timeline,
        signals_since=row.signals_since,
        restated=frozenset(row.restated_fields or ()),
        paused_until=row.paused_until,
        paused_at=row.paused_at,
        paused_by=row.paused_by or "",
        call_on=row.call_on,
        touch_interval=timedelta(days=row.touch_interval_days) if row.touch_interval_days else None,
        first_contact_at=row.first_contact_at,
        is_customer=row.customer_since is not None,
        owner=owner.name if owner is not None else "",
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


def load_past_stays(tx: Transaction, lead_ids: Sequence[int]) -> Mapping[int, list[PastStay]]:
    """Return the ended and the suspended enrollments of each lead, in the order in which it left them."""
    found: dict[int, list[PastStay]] = defaultdict(list)
    rows = tx.execute_for(_past_stays_query, lead_ids).all()
    for lead_id, id_, track, entered_at, ended_at, suspended_at, *at in rows:
        stay = Enrollment(id_, track, entered_at, Position(*at), ended=ended_at is not None)
        found[lead_id].append(PastStay(stay, ended_at or suspended_at))
    return found


def _past_stays_query(chosen: FromClause) -> Select[Any]:
    names = ("lead_id", "id", "track", "entered_at", "ended_at", "suspended_at")
    position = ("step", "visit", "anchor_at", "reached_at")
    left_at = func.coalesce(enrollment.c.ended_at, enrollment.c.suspended_at)
    query = select(*(enrollment.c[name] for name in (*names, *position)))
    joined = query.join(chosen, chosen.c.id == enrollment.c.lead_id)
    return joined.where(left_at.is_not(None)).order_by(left_at, enrollment.c.id)


def _touches(
    tx: Transaction, lead_ids: Sequence[int]
) -> tuple[Mapping[int | None, list[Touch]], Mapping[int, list[CountedEmail]]]:
    """Return the touches of each enrollment, and the emails of each lead that count for the caps."""
    touches: dict[int | None, list[Touch]] = defaultdict(list)
    counted: dict[int, list[CountedEmail]] = defaultdict(list)
    for row in tx.execute_for(_touches_query, lead_ids).all():
        kind, lead_id, enrollment_id, track, step, visit, topic, state, state_at, accepted_at, send_at, *more = row
        attempts, reason = more
        touch_state = TOUCH_STATES[state]
        if touch_state is TouchState.PLANNED and attempts:
            touch_state = TouchState.IN_FLIGHT
        elif touch_state is TouchState.CANCELLED and reason in REPLANNABLE:
            touch_state = TouchState.RECALLED
        at = send_at if touch_state in _NOT_SENT_YET else accepted_at or state_at
        if kind == TOUCH:
            touches[enrollment_id].append(Touch(step, visit, touch_state, at))
        if kind == BROADCAST and touch_state is TouchState.PLANNED:
            continue  # it may still expire: tracks count it once it is sent
        if kind != CONFIRMATION and touch_state not in _NEVER_SENT:
            counted[lead_id].append(CountedEmail(at, track, topic or "") if kind in MARKETING else CountedEmail(at))
    return touches, counted


def _touches_query(chosen: FromClause) -> Select[Any]:
    ids, times = ("kind", "lead_id", "enrollment_id", "track", "step", "visit", "topic"), ("state_at", "accepted_at")
    query = select(*(message.c[name] for name in (*ids, "state", *times, "send_at", "attempts", "reason")))
    joined = query.join(chosen, chosen.c.id == message.c.lead_id)
    return joined.where(message.c.recipient == TO_LEAD).order_by(message.c.id)


def _signals(tx: Transaction, lead_ids: Sequence[int]) -> Mapping[int, list[Signal]]:
    found: dict[int, list[Signal]] = defaultdict(list)
    for lead_id, kind, occurred_at, verdict, click_filter_key, *where in tx.execute_for(_signals_query, lead_ids).all():
        parsed_verdict = SignalVerdict(verdict)
        found[lead_id].append(
            Signal(SignalKind(kind), occurred_at, parsed_verdict, click_filter_key is not None, *where)
        )
    return found


def _signals_query(chosen: FromClause) -> Select[Any]:
    names = ("lead_id", "kind", "occurred_at", "verdict", "click_filter_key")
    where_names = ("enrollment_id", "track", "step", "link", "value", "recorded_at")
    query = select(*(signal.c[name] for name in (*names, *where_names)))
    joined = query.join(chosen, chosen.c.id == signal.c.lead_id)
    return joined.order_by(signal.c.lead_id, signal.c.occurred_at, signal.c.id)


def stored_engagement(sums: Sequence[float | None], at: datetime | None, points_key: str | None) -> Engagement:
    """Return the engagement of a row."""
    if at is None:
        return Engagement(points_key=points_key or "")
    return Engagement(tuple(value for value in sums if value is not None), at, points_key or "")


def load_full_until(tx: Transaction, policy: Policy, programs: Iterable[Program], now: datetime) -> datetime | None:
    """Return until when touches of *programs* with a call to action wait for reps, None if they need not wait."""
    holds_calls_to_action = policy.priority.hold_calls_to_action_at is not None
    if not holds_calls_to_action or not any(program.calls_to_action for program in programs):
        return None
    until: datetime | None = tx.execute(select(capacity_forecast.c.full_until)).scalar()
    return until if until is not None and until > now else None
