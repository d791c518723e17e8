"""Counts for the track report: each function runs one or two statements over whole tables."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Select, and_, case, distinct, exists, func, not_, or_, select

from nurture.db.row_values import row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import custody, journal, lead
from nurture.db.tables.outcomes import outcome
from nurture.db.tables.rollups import daily_count
from nurture.db.tables.signals import signal
from nurture.db.tables.tracks import IS_ACTIVE, enrollment
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.domain.planning.decision import HoldReason
from nurture.journey.intake.upsert import SOURCE as IMPORT_SOURCE
from nurture.outbox.messages import BROADCAST, MARKETING
from nurture.reporting.ledger_queries import days_between, hour_of, week_of

# Excluded: the journal uses these two events for leads that leave, not for leads that are held.
_HOLD_EVENTS: Final = [
    reason.value for reason in HoldReason if reason not in (HoldReason.NOT_ENROLLED, HoldReason.CLOSED)
]

_HAND_OFF: Final = "hand_off"

StepKey = tuple[str, str]
"""A track and a step; "" if the step is not known."""


class CustodyMove(NamedTuple):
    """A lead enters or leaves a queue: its new custodian, and by *ref* the queue, or by *event* "hand_off" that one."""

    lead_id: int
    at: datetime
    event: str
    to: str
    ref: str | None


class OfferTimes(NamedTuple):
    """When an offer was asked for, briefed and followed up; *signaled_at* is the lead's newest signal before it.

    *is_first*: no offer since that signal came before it.
    """

    tier: str | None
    rule: str
    is_first: bool
    state: str
    offered_at: datetime
    followed_up_at: datetime | None
    briefed_at: datetime | None
    signaled_at: datetime


class HandoffRow(NamedTuple):
    """One hand-off, with the track it came from and the custody of the lead now."""

    offer_id: int
    lead_id: int
    track: str | None
    rule: str
    handoff_reason: str
    rep: str
    routing_reason: str
    policy_version: int
    state: str
    reason: str | None
    offered_at: datetime
    expires_at: datetime
    answered_at: datetime | None
    custodian: str | None
    ref: str | None


class WeekRow(NamedTuple):
    """The touches of one track in one week (Monday, ISO text)."""

    week: str
    track: str
    touches: int


class WonRow(NamedTuple):
    """Wins *days* days after the first contact."""

    days: int
    wins: int
    amount: float


def list_offer_times(tx: Transaction, since: datetime) -> list[OfferTimes]:
    """Return the times of the offers made since *since*, by id."""
    before = (signal.c.lead_id == offer.c.lead_id, signal.c.occurred_at <= offer.c.offered_at)
    is_human = signal.c.verdict == "human"
    newest = select(func.max(signal.c.occurred_at, type_=signal.c.occurred_at.type)).where(*before, is_human)
    earlier = offer.alias("earlier")
    offered = (earlier.c.lead_id == offer.c.lead_id, earlier.c.id < offer.c.id)
    signaled_at = newest.correlate(offer).scalar_subquery()
    answered_before = select(earlier.c.id).where(
        *offered, or_(signaled_at.is_(None), earlier.c.offered_at >= signaled_at)
    )
    is_brief = (message.c.offer_id == offer.c.id, message.c.kind == "brief")
    query = (
        select(
            offer.c.tier,
            offer.c.rule,
            not_(answered_before.correlate(offer).exists()),
            *(offer.c[name] for name in ("state", "offered_at", "followed_up_at")),
            message.c.accepted_at,
            func.coalesce(signaled_at, offer.c.offered_at, type_=offer.c.offered_at.type),
        )
        .outerjoin(message, and_(*is_brief, message.c.lead_id == offer.c.lead_id))
        .where(offer.c.offered_at >= since)
        .order_by(offer.c.id)
    )
    return [OfferTimes._make(row) for row in tx.execute(query)]


def list_custody_moves(tx: Transaction, since: datetime) -> list[CustodyMove]:
    """Return the moves into and out of queues since *since*, by lead, in order."""
    is_move = journal.c.custody_to.is_not(None), journal.c.at >= since
    touches_queue = or_(journal.c.custody_to == Custodian.QUEUE.value, journal.c.custody_from == Custodian.QUEUE.value)
    columns = journal.c.lead_id, journal.c.at, journal.c.event, journal.c.custody_to, journal.c.ref
    query = select(*columns).where(*is_move, touches_queue).order_by(journal.c.lead_id, journal.c.id)
    return [CustodyMove._make(row) for row in tx.execute(query)]


def messages_by_step(tx: Transaction) -> dict[StepKey, tuple[int, int, int]]:
    """Return the numbers of touches sent, cancelled, and sent past a cap, by step of a track or broadcast."""
    sent = func.count(message.c.accepted_at)
    off = func.sum(case((message.c.state == "cancelled", 1), else_=0))
    past = func.count(case((message.c.past_cap, message.c.accepted_at)))
    query = (
        select(message.c.track, message.c.step, sent, off, past)
        .where(message.c.kind.in_(MARKETING))
        .group_by(message.c.track, message.c.step)
    )
    return {(row[0] or "", row[1]): (row[2], row[3], row[4]) for row in tx.execute(query)}


def broadcast_messages(tx: Transaction) -> list[tuple[str, str, str | None, bool, int]]:
    """Return (broadcast, state, reason, whether it was sent, number) of the messages of all broadcasts."""
    was_sent = message.c.accepted_at.is_not(None)
    names = (message.c.track, message.c.state, case((was_sent, None), else_=message.c.reason), was_sent)
    labeled = select(*(one.label(f"part_{place}") for place, one in enumerate(names)))
    rows = labeled.where(message.c.kind == BROADCAST).subquery()
    return list(tx.execute(select(*rows.c, func.count()).group_by(*rows.c)).tuples())


def decisions_by_step(tx: Transaction) -> tuple[dict[StepKey, dict[str, int]], dict[StepKey, int]]:
    """Return by step how often leads were held, by reason, and the number of hand-offs, both from the daily counts.

    What people paused counts as held, too.
    """
    counts = daily_count.c
    key = (counts.track, counts.step, counts.measure)
    query = select(*key, func.sum(counts.n)).where(counts.track != "", counts.measure.in_((*_HOLD_EVENTS, _HAND_OFF)))
    holds: dict[StepKey, dict[str, int]] = defaultdict(dict)
    handed_off: dict[StepKey, int] = {}
    for track, step, event, number in tx.execute(query.group_by(*key)):
        if event == _HAND_OFF:
            handed_off[track, step] = int(number)
        else:
            holds[track, step][event] = int(number)
    return holds, handed_off


def _count_by_step(
    tx: Transaction, name: Column[Any], number: ColumnElement[int], *where: ColumnElement[bool]
) -> dict[StepKey, dict[str, int]]:
    """Return *number* by step and *name*, a column of a table with track and step; "" for names that are null."""
    place = (name.table.c.track, name.table.c.step)
    found: dict[StepKey, dict[str, int]] = defaultdict(dict)
    for track, step, named, count in tx.execute(select(*place, name, number).where(*where).group_by(*place, name)):
        found[track, step or ""][named or ""] = count
    return found


def count_enrolled_by_step(tx: Transaction) -> dict[StepKey, tuple[int, int, int]]:
    """Return the numbers of leads on each step now: active, held there while sales has them, and suspended there."""
    on_track = custody.c.kind == Custodian.TRACK.value
    states = (IS_ACTIVE & on_track, IS_ACTIVE & ~on_track, enrollment.c.suspended_at.is_not(None))
    query = (
        select(enrollment.c.track, enrollment.c.step, *(func.sum(case((one, 1), else_=0)) for one in states))
        .join(custody, custody.c.lead_id == enrollment.c.lead_id)
        .where(enrollment.c.ended_at.is_(None))
        .group_by(enrollment.c.track, enrollment.c.step)
    )
    return {(row[0], row[1]): (row[2], row[3], row[4]) for row in tx.execute(query)}


def signals_by_step(tx: Transaction) -> dict[StepKey, dict[str, int]]:
    """Return the number of leads with human signals, by step and kind."""
    leads = func.count(distinct(signal.c.lead_id))
    return _count_by_step(tx, signal.c.kind, leads, signal.c.track.is_not(None), signal.c.verdict == "human")


def clicks_by_link(tx: Transaction) -> list[tuple[str, str, str, str, int, int]]:
    """Return (track, step, link, verdict, clicks, leads) of every clicked link."""
    clicks, leads = func.count(), func.count(distinct(signal.c.lead_id))
    names = (signal.c.track, signal.c.step, signal.c.link, signal.c.verdict)
    query = (
        select(*names, clicks, leads)
        .where(signal.c.kind == "clicked", signal.c.track.is_not(None), signal.c.link.is_not(None))
        .group_by(*names)
    )
    return [(row[0], row[1] or "", row[2], row[3], row[4], row[5]) for row in tx.execute(query)]


def ended_by_step(tx: Transaction) -> dict[StepKey, dict[str, int]]:
    """Return the number of enrollments that ended on each step, by reason."""
    return _count_by_step(tx, enrollment.c.end_reason, func.count(), enrollment.c.ended_at.is_not(None))


def count_goals(tx: Transaction) -> list[tuple[str, int, int, int, int, int]]:
    """Return (track, version that they entered, enrollments, active ones, goals reached, exits) of every version."""
    is_open, reason = IS_ACTIVE, enrollment.c.end_reason
    counts = (func.sum(case((one, 1), else_=0)) for one in (is_open, reason == "goal", reason == "exit"))
    versions = (enrollment.c.track, enrollment.c.track_version)
    query = select(*versions, func.count(), *counts).group_by(*versions).order_by(*versions)
    return list(tx.execute(query).tuples())


def _filter_by_source(query: Select[Any], key: Any, source: str | None) -> Select[Any]:
    if source is None:
        return query
    return query.join(lead, lead.c.id == key).where(lead.c.source == source)


def list_sources(tx: Transaction) -> list[str]:
    """Return the sources of leads; it reads one entry of the index for each of them."""
    names = select(func.min(lead.c.source).label("name")).cte("names", recursive=True)
    following = select(func.min(lead.c.source)).where(lead.c.source > names.c.name).scalar_subquery()
    names = names.union_all(select(following).where(names.c.name.is_not(None)))
    return list(tx.execute(select(names.c.name).where(names.c.name.is_not(None)).order_by(names.c.name)).scalars())


def leads_by_readiness(tx: Transaction, source: str | None) -> dict[str, int]:
    """Return the number of leads by readiness rule; "" is not classified yet."""
    query = select(lead.c.readiness, func.count()).group_by(lead.c.readiness).order_by(lead.c.readiness)
    if source is not None:
        query = query.where(lead.c.source == source)
    return dict(tx.execute(query).tuples().all())


def leads_by_track(tx: Transaction, source: str | None) -> dict[str, int]:
    """Return the number of leads that were ever on each track."""
    query = (
        select(enrollment.c.track, func.count(distinct(enrollment.c.lead_id)))
        .select_from(enrollment)
        .group_by(enrollment.c.track)
        .order_by(enrollment.c.track)
    )
    return dict(tx.execute(_filter_by_source(query, enrollment.c.lead_id, source)).tuples().all())


def leads_by_event(tx: Transaction, events: tuple[str, ...], source: str | None) -> dict[str, int]:
    """Return the number of leads with each of *events* in the journal."""
    query = (
        select(journal.c.event, func.count(distinct(journal.c.lead_id)))
        .select_from(journal)
        .where(journal.c.event.in_(events))
        .group_by(journal.c.event)
    )
    return dict(tx.execute(_filter_by_source(query, journal.c.lead_id, source)).tuples().all())


def count_recycled(tx: Transaction, source: str | None) -> int:
    """Return the number of leads that returned from sales to a track."""
    back = select(func.count(distinct(journal.c.lead_id))).where(
        journal.c.custody_from.in_((Custodian.OFFER.value, Custodian.REP.value)),
        journal.c.custody_to == Custodian.TRACK.value,
    )
    number: int = tx.execute(_filter_by_source(back.select_from(journal), journal.c.lead_id, source)).scalar_one()
    return number


def offers_by_state(tx: Transaction, source: str | None) -> dict[str, int]:
    """Return the number of hand-offs in each state."""
    query = select(offer.c.state, func.count()).select_from(offer).group_by(offer.c.state)
    return dict(tx.execute(_filter_by_source(query, offer.c.lead_id, source)).tuples().all())


def leads_by_custody(tx: Transaction, source: str | None) -> dict[tuple[str, str], int]:
    """Return the number of leads by custodian (kind, ref); ref is "" for intake, offers and reps."""
    named = case(
        (custody.c.kind.in_((Custodian.OFFER.value, Custodian.REP.value, Custodian.INTAKE.value)), ""),
        else_=custody.c.ref,
    )
    query = select(custody.c.kind, named, func.count()).select_from(custody).group_by(custody.c.kind, named)
    rows = tx.execute(_filter_by_source(query, custody.c.lead_id, source))
    return {(kind, ref): number for kind, ref, number in rows}


def touches_by_week(tx: Transaction) -> tuple[list[WeekRow], Mapping[str, int]]:
    """Return the touches of each week and track or broadcast, and the number of leads touched in each week."""
    # One expression object in SELECT and GROUP BY: PostgreSQL treats two equal ones with parameters as different.
    week, track = week_of(tx, message.c.accepted_at), func.coalesce(message.c.track, "")
    sent = and_(message.c.kind.in_(MARKETING), message.c.accepted_at.is_not(None))
    touches = select(week, track, func.count()).where(sent).group_by(week, track).order_by(week)
    leads_touched = select(week, func.count(distinct(message.c.lead_id))).where(sent).group_by(week)
    rows = [WeekRow._make(row) for row in tx.execute(touches)]
    return rows, dict(tx.execute(leads_touched).tuples().all())


def touches_by_hour(tx: Transaction) -> dict[str, int]:
    """Return the touches of each clock hour (UTC, ISO text) in which any were sent."""
    hour = hour_of(tx, message.c.accepted_at)
    sent = and_(message.c.kind.in_(MARKETING), message.c.accepted_at.is_not(None))
    return dict(tx.execute(select(hour, func.count()).where(sent).group_by(hour)).tuples().all())


def list_handoffs(tx: Transaction) -> list[HandoffRow]:
    """Return every hand-off, oldest first."""
    query = (
        select(*row_columns(HandoffRow, offer, enrollment, custody, offer_id=offer.c.id, custodian=custody.c.kind))
        .outerjoin(enrollment, enrollment.c.id == offer.c.enrollment_id)
        .outerjoin(custody, custody.c.lead_id == offer.c.lead_id)
        .order_by(offer.c.id)
    )
    return [HandoffRow._make(row) for row in tx.execute(query)]


def wins_by_days(
    tx: Transaction, since: datetime | None = None, last: datetime | None = None, source: str | None = None
) -> list[WonRow]:
    """Return wins by days (UTC) since first contact; only the first win of a lead counts.

    Who was a customer when an import created the lead was not won here.
    """
    arrived_as_customer = exists().where(
        lead.c.id == outcome.c.lead_id, lead.c.created_at == outcome.c.recorded_at, outcome.c.source == IMPORT_SOURCE
    )
    first = (
        select(
            outcome.c.lead_id,
            func.min(outcome.c.happened_at, type_=outcome.c.happened_at.type).label("at"),
            func.coalesce(func.max(outcome.c.amount), 0.0).label("amount"),
        )
        .where(outcome.c.closing == "won", ~arrived_as_customer)
        .group_by(outcome.c.lead_id)
        .subquery()
    )
    days = days_between(tx, lead.c.first_contact_at, first.c.at)
    query = (
        select(days, func.count(), func.sum(first.c.amount))
        .select_from(first)
        .join(lead, lead.c.id == first.c.lead_id)
        .where(
            *((first.c.at >= since,) if since is not None else ()),
            *((first.c.at <= last,) if last is not None else ()),
            *((lead.c.source == source,) if source is not None else ()),
        )
        .group_by(days)
        .order_by(days)
    )
    return [WonRow._make(row) for row in tx.execute(query)]
