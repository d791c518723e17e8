"""Read and write outcomes, reports of outcomes, and contradictions."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Float, ScalarSelect, String, Table, func, select, update
from sqlalchemy.sql.selectable import NamedFromClause

from nurture.db.row_values import row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import lead
from nurture.db.tables.outcomes import outcome, outcome_report
from nurture.db.tables.tracks import enrollment
from nurture.db.transaction import Transaction
from nurture.outbox.messages import MARKETING


class OutcomeReportRow(NamedTuple):
    """A reported outcome and its verdict."""

    natural_key: str
    lead_id: int
    closing: str
    happened_at: datetime
    amount: float | None
    reason: str
    source: str
    reported_at: datetime
    verdict: str


class CurrentOutcome(NamedTuple):
    """The current outcome of a lead."""

    id: int
    lead_id: int
    closing: str
    happened_at: datetime
    amount: float | None


class Contradiction(NamedTuple):
    """An unresolved report that contradicts the current outcome."""

    id: int
    lead_id: int
    closing: str
    happened_at: datetime
    amount: float | None
    reason: str
    source: str
    reported_at: datetime
    current_closing: str | None
    current_amount: float | None
    current_source: str | None


class OutcomeDetails(NamedTuple):
    """An outcome with its source: hand-off, policy version, track and last touch."""

    lead_id: int
    closing: str
    happened_at: datetime
    amount: float | None
    reason: str
    source: str
    lead_source: str
    first_contact_at: datetime
    offer_id: int | None
    rep: str | None
    policy_version: int | None
    track: str | None
    track_version: int | None
    touch: str | None


def load_known_keys(tx: Transaction, keys: Sequence[str]) -> set[str]:
    """Return which of *keys* are recorded already."""
    requested = tx.rows("requested", {"key": String()}, [(key,) for key in keys])
    query = select(outcome_report.c.natural_key).join(requested, requested.c.key == outcome_report.c.natural_key)
    return set(tx.execute(query).scalars())


def load_current_outcomes(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, CurrentOutcome]:
    """Return the newest outcome of each lead that has one."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    newest = (
        select(func.max(outcome.c.id).label("id"))
        .join(chosen, chosen.c.id == outcome.c.lead_id)
        .group_by(outcome.c.lead_id)
        .subquery()
    )
    query = select(*(outcome.c[name] for name in CurrentOutcome._fields)).join(newest, newest.c.id == outcome.c.id)
    return {row.lead_id: row for row in map(CurrentOutcome._make, tx.execute(query))}


def insert_reports(tx: Transaction, rows: Sequence[OutcomeReportRow]) -> None:
    """Insert reports, each key once."""
    tx.insert(outcome_report, OutcomeReportRow._fields, rows, unique_columns=["natural_key"])


def set_missing_amounts(tx: Transaction, amounts: Sequence[tuple[int, float]]) -> None:
    """Store (outcome id, amount) for outcomes without an amount."""
    if not amounts:
        return
    new = tx.rows("new", {"id": BigInteger(), "amount": Float()}, amounts)
    tx.execute(update(outcome).where(outcome.c.id == new.c.id, outcome.c.amount.is_(None)).values(amount=new.c.amount))


def replace_outcome(tx: Transaction, outcome_id: int, by: Contradiction) -> None:
    """Replace an outcome by the report *by*."""
    tx.execute(
        update(outcome)
        .where(outcome.c.id == outcome_id)
        .values(closing=by.closing, happened_at=by.happened_at, amount=by.amount, reason=by.reason, source=by.source)
    )


def load_contradictions(tx: Transaction, report_id: int | None = None) -> list[Contradiction]:
    """Return the unresolved contradictions, the oldest first."""
    other = outcome.alias("other")
    newest = select(func.max(other.c.id)).where(other.c.lead_id == outcome_report.c.lead_id).correlate(outcome_report)
    query = (
        select(
            *(outcome_report.c[name] for name in Contradiction._fields[:8]),
            outcome.c.closing,
            outcome.c.amount,
            outcome.c.source,
        )
        .select_from(outcome_report)
        .outerjoin(outcome, outcome.c.id == newest.scalar_subquery())
        .where(outcome_report.c.verdict == "conflict", outcome_report.c.resolution.is_(None))
        .order_by(outcome_report.c.id)
    )
    if report_id is not None:
        query = query.where(outcome_report.c.id == report_id)
    return [Contradiction._make(row) for row in tx.execute(query)]


def mark_resolved(tx: Transaction, report_id: int, resolution: str, now: datetime) -> bool:
    """Store how a contradiction was resolved; return whether it was unresolved."""
    unresolved = update(outcome_report).where(outcome_report.c.id == report_id, outcome_report.c.resolution.is_(None))
    return tx.execute(unresolved.values(resolution=resolution, resolved_at=now)).rowcount > 0


def _newest_id(source: Table, condition: Callable[[NamedFromClause], ColumnElement[bool]]) -> ScalarSelect[int]:
    """Return the id of the lead's newest row in *source* for which *condition* holds, correlated to each outcome."""
    one = source.alias(f"newest_{source.name}")
    query = select(func.max(one.c.id)).where(one.c.lead_id == outcome.c.lead_id, condition(one))
    return query.correlate(outcome).scalar_subquery()


def load_outcome_details(tx: Transaction, closing: str | None, limit: int) -> list[OutcomeDetails]:
    """Return outcomes with their sources, the newest first."""
    until = outcome.c.recorded_at
    newest_offer = _newest_id(offer, lambda one: one.c.offered_at <= until)
    newest_enrollment = _newest_id(enrollment, lambda one: one.c.entered_at <= until)
    newest_touch = _newest_id(message, lambda one: (one.c.kind.in_(MARKETING)) & (one.c.accepted_at <= until))
    query = (
        select(
            *row_columns(
                OutcomeDetails,
                outcome,
                offer,
                lead,
                message,
                lead_source=lead.c.source,
                offer_id=offer.c.id,
                track=func.coalesce(message.c.track, enrollment.c.track),
                touch=message.c.step,
            )
        )
        .join(lead, lead.c.id == outcome.c.lead_id)
        .outerjoin(offer, offer.c.id == newest_offer)
        .outerjoin(enrollment, enrollment.c.id == newest_enrollment)
        .outerjoin(message, message.c.id == newest_touch)
        .order_by(outcome.c.id.desc())
        .limit(limit)
    )
    if closing is not None:
        query = query.where(outcome.c.closing == closing)
    return [OutcomeDetails._make(row) for row in tx.execute(query)]
