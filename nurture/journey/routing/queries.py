"""Read and write routing data: round robin counts, leave, missing fields, decisions, rep load."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Integer, String, bindparam, func, select, text, update

from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import custody, lead
from nurture.db.tables.routing import missing_field, rep_leave, round_robin_count, routing_decision
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.lead import Custodian, Queue
from nurture.journey.leads.custody import bring_forward

IN_HAND: Final = (text("offer.state in ('offered', 'accepted')"), offer.c.followed_up_at.is_(None))
"""A rep has to answer or to contact; written as in `ix_offer_held_by_rep`, which SQLite does not use otherwise."""


class LeaveRow(NamedTuple):
    """A leave of a rep, from first to last day."""

    id: int
    rep: str
    first_day: date
    last_day: date
    deputy: str | None


class MissingField(NamedTuple):
    """A field that routing waits for, or waited for."""

    lead_id: int
    field: str
    rule: str
    requested_at: datetime
    due_at: datetime
    filled_at: datetime | None
    filled_by: str | None


class RoutingDecision(NamedTuple):
    """A routing decision with its full input; *id* is 0 until it is stored."""

    lead_id: int
    offer_id: int | None
    at: datetime
    policy_version: int
    rule: str
    rep: str | None
    queue: str | None
    reasons: list[str]
    request: dict[str, Any]
    id: int = 0


def load_leaves(tx: Transaction, first: date, last: date) -> list[LeaveRow]:
    """Return the leaves that include any day from *first* to *last*, by rep and day."""
    return [LeaveRow._make(row) for row in tx.execute(_LEAVES, {"first": first, "last": last})]


_LEAVES: Final = (
    select(*[rep_leave.c[name] for name in LeaveRow._fields])
    .where(rep_leave.c.cancelled_at.is_(None))
    .where(rep_leave.c.first_day <= bindparam("last"), rep_leave.c.last_day >= bindparam("first"))
    .order_by(rep_leave.c.rep, rep_leave.c.first_day, rep_leave.c.id)
)


def add_leave(tx: Transaction, rep: str, first: date, last: date, deputy: str | None, now: datetime) -> int:
    """Store a leave; return its id."""
    added = rep_leave.insert().values(rep=rep, first_day=first, last_day=last, deputy=deputy, recorded_at=now)
    return int(tx.execute(added.returning(rep_leave.c.id)).scalar_one())


def cancel_leave(tx: Transaction, rep: str, first: date, now: datetime) -> int:
    """Cancel the leave of a rep that begins on *first*; return how many entries were cancelled."""
    gone = update(rep_leave).where(
        rep_leave.c.rep == rep, rep_leave.c.first_day == first, rep_leave.c.cancelled_at.is_(None)
    )
    return tx.execute(gone.values(cancelled_at=now)).rowcount


def load_round_robin_counts(tx: Transaction, keys: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return how many leads each rep got by round robin, by rotation key."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    if keys:
        query = select(round_robin_count.c.rotation_key, round_robin_count.c.rep, round_robin_count.c.assigned).where(
            round_robin_count.c.rotation_key.in_(keys)
        )
        for key, rep, assigned in tx.execute(query):
            found[key][rep] = assigned
    return found


def add_round_robin_counts(tx: Transaction, rows: Sequence[tuple[str, str, int]]) -> None:
    """Add (rotation key, rep, count) rows to the round robin counts."""
    if not rows:
        return
    new = tx.rows("new", {"key": String(), "rep": String(), "added": Integer()}, rows)
    tx.execute(
        update(round_robin_count)
        .where(round_robin_count.c.rotation_key == new.c.key, round_robin_count.c.rep == new.c.rep)
        .values(assigned=round_robin_count.c.assigned + new.c.added)
    )
    tx.insert(round_robin_count, ("rotation_key", "rep", "assigned"), rows, ignore_conflicts=True)


def load_missing_fields(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, list[MissingField]]:
    """Return all fields that routing ever waited for, by lead."""
    chosen = tx.ids("chosen", lead_ids)
    query = select(*[missing_field.c[name] for name in MissingField._fields]).join(
        chosen, chosen.c.id == missing_field.c.lead_id
    )
    found: dict[int, list[MissingField]] = defaultdict(list)
    for row in map(MissingField._make, tx.execute(query)):
        found[row.lead_id].append(row)
    return found


def add_missing_fields(tx: Transaction, rows: Sequence[MissingField]) -> None:
    """Store missing fields; those already stored keep their deadline."""
    tx.insert(missing_field, MissingField._fields, rows, ignore_conflicts=True)


def mark_filled(tx: Transaction, rows: Sequence[tuple[int, str, str]], now: datetime) -> None:
    """Mark (lead id, field, filled by) rows as filled at *now*."""
    if not rows:
        return
    filled = tx.rows("filled", {"lead_id": BigInteger(), "field": String(), "by": String()}, rows)
    tx.execute(
        update(missing_field)
        .where(
            missing_field.c.lead_id == filled.c.lead_id,
            missing_field.c.field == filled.c.field,
            missing_field.c.filled_at.is_(None),
        )
        .values(filled_at=now, filled_by=filled.c.by)
    )


def record_decisions(tx: Transaction, rows: Sequence[RoutingDecision]) -> None:
    """Store decisions."""
    tx.insert(routing_decision, RoutingDecision._fields[:-1], [row[:-1] for row in rows])


def load_decisions(tx: Transaction, after: int, limit: int, lead_id: int | None = None) -> list[RoutingDecision]:
    """Return decisions after id *after*, the oldest first."""
    query = (
        select(*[routing_decision.c[name] for name in RoutingDecision._fields])
        .where(routing_decision.c.id > after)
        .order_by(routing_decision.c.id)
        .limit(limit)
    )
    if lead_id is not None:
        query = query.where(routing_decision.c.lead_id == lead_id)
    return [RoutingDecision._make(row) for row in tx.execute(query)]


def set_country(tx: Transaction, lead_id: int, code: str, now: datetime) -> None:
    """Store the country that a lead stated."""
    tx.execute(update(lead).where(lead.c.id == lead_id).values(country=code, updated_at=now))


def load_newly_filled(tx: Transaction) -> list[tuple[int, str, dict[str, Any]]]:
    """Return (lead id, field, fields) of leads that miss a field and were changed since it was asked for."""
    query = (
        select(missing_field.c.lead_id, missing_field.c.field, lead.c.fields, lead.c.country)
        .join(lead, lead.c.id == missing_field.c.lead_id)
        .where(missing_field.c.filled_at.is_(None), lead.c.updated_at > missing_field.c.requested_at)
    )
    return [
        (id_, field, {**fields, **({"country": country} if country else {})})
        for id_, field, fields, country in tx.execute(query)
    ]


def wake_leads(tx: Transaction, lead_ids: Sequence[int], now: datetime) -> None:
    """Make leads that wait for a field due now."""
    is_waiting = (custody.c.kind == Custodian.QUEUE.value) & (custody.c.ref == Queue.MISSING_FIELD.value)
    bring_forward(tx, now, is_waiting, lead_ids)


class RepLoad(NamedTuple):
    """Load of a rep: offers this business day, open work in hand, and the id of the newest offer."""

    offers_today: int = 0
    open_leads: int = 0
    last_offer: int = 0


def load_rep_loads(tx: Transaction, days: Mapping[str, datetime]) -> dict[str, RepLoad]:
    """Return the load of each rep, with offers counted since the start of the rep's business day.

    In hand are offers not answered yet, and accepted leads without a follow-up.
    """
    day_starts = tx.rows("day_starts", {"rep": String(), "at": UtcDateTime()}, list(days.items()))
    newest_offer = select(offer.c.id).where(
        offer.c.rep == day_starts.c.rep
    )  # one index lookup per rep, however many offers there were
    newest_offer = newest_offer.order_by(offer.c.offered_at.desc(), offer.c.id.desc()).limit(1)
    newest_rows = tx.execute(select(day_starts.c.rep, newest_offer.scalar_subquery())).tuples()
    last_offers = {rep: number for rep, number in newest_rows if number is not None}
    of_today = select(func.count()).where(offer.c.rep == day_starts.c.rep, offer.c.offered_at >= day_starts.c.at)
    today_query = select(day_starts.c.rep, of_today.correlate(day_starts).scalar_subquery())
    offers_today: dict[str, int] = dict(tx.execute(today_query).tuples().all())
    open_query = select(offer.c.rep, func.count()).where(*IN_HAND).group_by(offer.c.rep)
    open_leads: dict[str, int] = dict(tx.execute(open_query).tuples().all())
    return {rep: RepLoad(offers_today.get(rep, 0), open_leads.get(rep, 0), last_offers.get(rep, 0)) for rep in days}
