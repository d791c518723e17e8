"""Read the numbers of a day and of a week, and the leads that wait for sales."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import and_, case, distinct, func, or_, select, text

from nurture.db.rollups import SENT
from nurture.db.row_values import row_columns
from nurture.db.tables.handoff import IS_OPEN, offer
from nurture.db.tables.leads import IN_QUEUE, custody, journal, lead
from nurture.db.tables.outcomes import outcome_report
from nurture.db.tables.rollups import daily_count, stage_interval
from nurture.db.tables.signals import IS_ANSWER, signal
from nurture.db.transaction import Transaction
from nurture.domain.lead import SALES_QUEUES, Custodian
from nurture.reporting.queues import TO_HAND_OFF

_DUE: Final = custody.c.due_at.is_not(None)
"""As in `ix_custody_due`, which then has everything that is counted."""


class OpenOffers(NamedTuple):
    """The offers that nobody answered: how many, since when the first, and how many after their deadline."""

    number: int
    oldest: datetime | None
    late: int


class WaitingOffer(NamedTuple):
    """An offer that its rep has not answered."""

    lead_id: int
    rep: str
    fields: dict[str, Any]
    offered_at: datetime
    expires_at: datetime


def count_measures(tx: Transaction, since: date, until: date) -> Mapping[str, Mapping[date, int]]:
    """Return how many touches were sent and leads handed off on each day from *since* to *until*."""
    query = (
        select(daily_count.c.measure, daily_count.c.day, func.sum(daily_count.c.n))
        .where(daily_count.c.day.between(since, until), daily_count.c.measure.in_((SENT, "hand_off")))
        .group_by(daily_count.c.measure, daily_count.c.day)
    )
    found: dict[str, dict[date, int]] = {SENT: {}, "hand_off": {}}
    for measure, day, number in tx.execute(query):
        found[measure][day] = int(number)
    return found


def count_answers(tx: Transaction, since: datetime, split_at: datetime) -> dict[str, tuple[int, int]]:
    """Return how many people clicked and replied since *split_at*, and from *since* until then, by kind."""
    is_new = signal.c.occurred_at >= split_at
    columns = (func.count(distinct(case((one, signal.c.lead_id)))) for one in (is_new, ~is_new))
    query = select(signal.c.kind, *columns).where(IS_ANSWER, signal.c.occurred_at >= since).group_by(signal.c.kind)
    return {kind: (new, old) for kind, new, old in tx.execute(query)}


def count_on_tracks(tx: Transaction) -> int:
    """Return how many leads are on a track."""
    query = select(func.count()).where(custody.c.kind == Custodian.TRACK.value, _DUE)
    return tx.execute(query).scalar_one()


def net_entries(tx: Transaction, stage: Custodian, since: date) -> int:
    """Return how many more leads came to *stage* than left it since *since*."""
    came = case((stage_interval.c.next_stage == stage.value, stage_interval.c.n), else_=0)
    left = case((stage_interval.c.stage == stage.value, stage_interval.c.n), else_=0)
    query = select(func.coalesce(func.sum(came - left), 0)).where(stage_interval.c.day >= since)
    return int(tx.execute(query).scalar_one())


def count_waiting_for_sales(tx: Transaction, before: datetime) -> tuple[int, int]:
    """Return how many leads wait for sales now, and how many did at *before*."""
    in_sales_queue = custody.c.ref.in_(SALES_QUEUES)
    in_queues = select(func.count()).where(IN_QUEUE, in_sales_queue).scalar_subquery()
    offered = select(func.count()).where(custody.c.kind == Custodian.OFFER.value, _DUE).scalar_subquery()
    sales_stages = (Custodian.OFFER.value, Custodian.QUEUE.value)
    moved = (
        select((journal.c.lead_id + text("0")).label("lead_id"), func.min(journal.c.id).label("first_id"))
        .where(
            journal.c.custody_to.is_not(None),
            journal.c.at >= before,
            or_(journal.c.custody_to.in_(sales_stages), journal.c.custody_from.in_(sales_stages)),
        )
        .group_by(journal.c.lead_id + text("0"))  # else SQLite reads the journal of every lead, which is in this order
        .subquery()
    )
    earlier, previous = journal.alias("earlier"), journal.alias("previous")
    last_id = (
        select(func.max(earlier.c.id))
        .where(earlier.c.lead_id == moved.c.lead_id, earlier.c.id < moved.c.first_id, earlier.c.custody_to.is_not(None))
        .correlate(moved)
        .scalar_subquery()
    )
    was_in_sales_queue = (
        select(previous.c.id)
        .where(previous.c.id == last_id)
        .where(or_(previous.c.event.in_(TO_HAND_OFF), previous.c.ref.in_(SALES_QUEUES)))
        .correlate(moved)
        .exists()
    )
    waited = case(
        (journal.c.custody_from == Custodian.OFFER.value, 1),
        (and_(journal.c.custody_from == Custodian.QUEUE.value, was_in_sales_queue), 1),
        else_=0,
    )
    waits_now = or_(
        custody.c.kind == Custodian.OFFER.value, and_(custody.c.kind == Custodian.QUEUE.value, in_sales_queue)
    )
    changed = (
        select(
            func.coalesce(func.sum(waited), 0).label("waited"),
            func.coalesce(func.sum(case((waits_now, 1), else_=0)), 0).label("waits"),
        )
        .select_from(moved)
        .join(journal, journal.c.id == moved.c.first_id)
        .join(custody, custody.c.lead_id == moved.c.lead_id)
        .subquery()
    )
    now_waiting, waited_then, of_changed = tx.execute(select(in_queues + offered, *changed.c)).one()
    return now_waiting, now_waiting - int(of_changed) + int(waited_then)


def load_open_offers(tx: Transaction, now: datetime) -> OpenOffers:
    """Return the offers that nobody answered."""
    late = func.coalesce(func.sum(case((offer.c.expires_at <= now, 1), else_=0)), 0)
    oldest = func.min(offer.c.offered_at, type_=offer.c.offered_at.type)
    row = tx.execute(select(func.count(), oldest, late).where(IS_OPEN)).one()
    return OpenOffers(row[0], row[1], int(row[2]))


def list_oldest_offers(tx: Transaction, limit: int) -> list[WaitingOffer]:
    """Return the offers that have waited longest for an answer."""
    query = select(*row_columns(WaitingOffer, offer, lead)).join(lead, lead.c.id == offer.c.lead_id).where(IS_OPEN)
    oldest_first = case((IS_OPEN, offer.c.offered_at))  # keeps SQLite off the index by time, which has every old offer
    rows = tx.execute(query.order_by(oldest_first, offer.c.id).limit(limit))
    return [WaitingOffer._make(row) for row in rows]


def count_unresolved_reports(tx: Transaction) -> int:
    """Return how many reports of outcomes contradict what is known, and wait for a person."""
    unresolved = outcome_report.c.verdict == "conflict", outcome_report.c.resolution.is_(None)
    return tx.execute(select(func.count()).where(*unresolved)).scalar_one()
