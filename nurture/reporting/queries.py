"""Counts for the track report: each function runs one or two statements over whole tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Select, and_, case, distinct, func, select

from nurture.db.row_values import row_columns
from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import handoff as handoff_tables
from nurture.db.tables import leads as lead_tables
from nurture.db.tables import outcomes as outcome_tables
from nurture.db.tables import signals as signal_tables
from nurture.db.tables import tracks as track_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.domain.planning.decision import HoldReason
from nurture.reporting.ledger_queries import days_between, week_of

custody = table(lead_tables.Custody)
enrollment = table(track_tables.Enrollment)
journal = table(lead_tables.Journal)
lead = table(lead_tables.Lead)
message = table(delivery_tables.Message)
offer = table(handoff_tables.Offer)
outcome = table(outcome_tables.Outcome)
signal = table(signal_tables.Signal)

# Excluded: the journal uses these two events for leads that leave, not for leads that are held.
_HOLD_EVENTS: Final = [
    reason.value for reason in HoldReason if reason not in (HoldReason.NOT_ENROLLED, HoldReason.CLOSED)
]

StepKey = tuple[str, str]
"""A track and a step; "" if the step is not known."""


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


def messages_by_step(tx: Transaction) -> dict[StepKey, tuple[int, int]]:
    """Return the numbers of touches sent and cancelled, by step."""
    sent = func.count(message.c.accepted_at)
    off = func.sum(case((message.c.state == "cancelled", 1), else_=0))
    query = (
        select(message.c.track, message.c.step, sent, off)
        .where(message.c.kind == "touch")
        .group_by(message.c.track, message.c.step)
    )
    return {(row[0] or "", row[1]): (row[2], row[3]) for row in tx.execute(query)}


def holds_by_step(tx: Transaction) -> dict[StepKey, dict[str, int]]:
    """Return the number of decisions that held a lead, by step and reason."""
    held = (journal.c.stage == "advance", journal.c.track.is_not(None), journal.c.event.in_(_HOLD_EVENTS))
    return _count_by_step(tx, journal.c.event, func.count(), *held)


def _count_by_step(
    tx: Transaction, name: Column[Any], number: ColumnElement[int], *where: ColumnElement[bool]
) -> dict[StepKey, dict[str, int]]:
    """Return *number* by step and *name*, a column of a table with track and step; "" for names that are null."""
    place = (name.table.c.track, name.table.c.step)
    found: dict[StepKey, dict[str, int]] = defaultdict(dict)
    for track, step, named, count in tx.execute(select(*place, name, number).where(*where).group_by(*place, name)):
        found[track, step or ""][named or ""] = count
    return found


def count_enrolled_by_step(tx: Transaction) -> dict[StepKey, tuple[int, int]]:
    """Return the numbers of leads on each step now: on the track, and held there while sales has them."""
    with_sales = func.sum(case((custody.c.kind == Custodian.TRACK.value, 0), else_=1))
    query = (
        select(enrollment.c.track, enrollment.c.step, func.count(), with_sales)
        .join(custody, custody.c.lead_id == enrollment.c.lead_id)
        .where(enrollment.c.ended_at.is_(None))
        .group_by(enrollment.c.track, enrollment.c.step)
    )
    return {(row[0], row[1]): (row[2] - row[3], row[3]) for row in tx.execute(query)}


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


def handed_off_by_step(tx: Transaction) -> dict[StepKey, int]:
    """Return the number of hand-offs from each step."""
    handed_off = (journal.c.event == "hand_off", journal.c.track.is_not(None))
    found = _count_by_step(tx, journal.c.event, func.count(), *handed_off)
    return {step_key: sum(counts.values()) for step_key, counts in found.items()}


def _filter_by_source(query: Select[Any], key: Any, source: str | None) -> Select[Any]:
    if source is None:
        return query
    return query.join(lead, lead.c.id == key).where(lead.c.source == source)


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
    """Return the touches of each week and track, and the number of leads touched in each week."""
    # One expression object in SELECT and GROUP BY: PostgreSQL treats two equal ones with parameters as different.
    week, track = week_of(tx, message.c.accepted_at), func.coalesce(message.c.track, "")
    sent = and_(message.c.kind == "touch", message.c.accepted_at.is_not(None))
    touches = select(week, track, func.count()).where(sent).group_by(week, track).order_by(week)
    leads_touched = select(week, func.count(distinct(message.c.lead_id))).where(sent).group_by(week)
    rows = [WeekRow._make(row) for row in tx.execute(touches)]
    return rows, dict(tx.execute(leads_touched).tuples().all())


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
    """Return wins by days (UTC) since first contact; only the first win of a lead counts."""
    first = (
        select(
            outcome.c.lead_id,
            func.min(outcome.c.happened_at, type_=outcome.c.happened_at.type).label("at"),
            func.coalesce(func.max(outcome.c.amount), 0.0).label("amount"),
        )
        .where(outcome.c.closing == "won")
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
