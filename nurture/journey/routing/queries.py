"""What routing is asked about, read in sets, and what it decided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Connection, Integer, String, Table, func, or_, select, update
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.tables import core, sales
from nurture.db.types import Json, UtcDateTime
from nurture.domain.planning.callback import CALLBACK_RULE

routing_decision: Table = sales.RoutingDecision.__table__  # type: ignore[attr-defined]
rep_leave: Table = sales.RepLeave.__table__  # type: ignore[attr-defined]
round_robin_count: Table = sales.RoundRobinCount.__table__  # type: ignore[attr-defined]
missing_field: Table = sales.MissingField.__table__  # type: ignore[attr-defined]
offer: Table = core.Offer.__table__  # type: ignore[attr-defined]
custody: Table = core.Custody.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]

IN_HAND: Final = (offer.c.state.in_(("offered", "accepted")), offer.c.followed_up_at.is_(None))


class LeaveRow(NamedTuple):
    """Days on which a rep takes no leads."""

    id: int
    rep: str
    first_day: date
    last_day: date
    deputy: str | None


class MissingField(NamedTuple):
    """A fact that routing waits for, or waited for."""

    lead_id: int
    field: str
    rule: str
    requested_at: datetime
    due_at: datetime
    filled_at: datetime | None
    filled_by: str | None


class NewDecision(NamedTuple):
    """One decision, with all that it was asked."""

    lead_id: int
    offer_id: int | None
    at: datetime
    policy_version: int
    rule: str
    rep: str | None
    queue: str | None
    reasons: list[str]
    request: dict[str, Any]


class StoredDecision(NamedTuple):
    """A decision as it is kept."""

    id: int
    lead_id: int
    offer_id: int | None
    at: datetime
    policy_version: int
    rule: str
    rep: str | None
    queue: str | None
    reasons: list[str]
    request: dict[str, Any]


_DECISION_COLUMNS: Mapping[str, TypeEngine[Any]] = dict(
    zip(
        NewDecision._fields,
        (BigInteger(), BigInteger(), UtcDateTime(), Integer(), String(), String(), String(), Json, Json),
        strict=True,
    )
)
_MISSING_FIELD_COLUMNS: Mapping[str, TypeEngine[Any]] = dict(
    zip(
        MissingField._fields,
        (BigInteger(), String(), String(), UtcDateTime(), UtcDateTime(), UtcDateTime(), String()),
        strict=True,
    )
)


def load_former_owners(database: Database, connection: Connection, lead_ids: Sequence[int]) -> dict[int, str]:
    """Return who took each of these leads over last, or said that they will call, by lead id."""
    chosen = database.ids("chosen", lead_ids)
    newest = (
        select(func.max(offer.c.id).label("id"))
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(or_(offer.c.state == "accepted", offer.c.reason == CALLBACK_RULE))
        .group_by(offer.c.lead_id)
        .subquery()
    )
    query = select(offer.c.lead_id, offer.c.rep).join(newest, newest.c.id == offer.c.id)
    return dict(connection.execute(query).tuples().all())


def load_leaves(connection: Connection, first: date, last: date) -> list[LeaveRow]:
    """Return the leave that falls on any day from *first* to *last*, by rep and day."""
    query = (
        select(*[rep_leave.c[name] for name in LeaveRow._fields])
        .where(rep_leave.c.cancelled_at.is_(None), rep_leave.c.first_day <= last, rep_leave.c.last_day >= first)
        .order_by(rep_leave.c.rep, rep_leave.c.first_day, rep_leave.c.id)
    )
    return [LeaveRow._make(row) for row in connection.execute(query)]


def add_leave(connection: Connection, rep: str, first: date, last: date, deputy: str | None, now: datetime) -> int:
    """Note days on which a rep takes no leads; return the entry's id."""
    added = rep_leave.insert().values(rep=rep, first_day=first, last_day=last, deputy=deputy, recorded_at=now)
    return int(connection.execute(added.returning(rep_leave.c.id)).scalar_one())


def cancel_leave(connection: Connection, rep: str, first: date, now: datetime) -> int:
    """Take back the leave of a rep that begins on *first*; return how many entries that were."""
    gone = update(rep_leave).where(
        rep_leave.c.rep == rep, rep_leave.c.first_day == first, rep_leave.c.cancelled_at.is_(None)
    )
    return connection.execute(gone.values(cancelled_at=now)).rowcount


def load_round_robin_counts(connection: Connection, keys: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return how many leads each rep was given in turn, by the key of the turn."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    if keys:
        query = select(round_robin_count.c.rotation_key, round_robin_count.c.rep, round_robin_count.c.assigned).where(
            round_robin_count.c.rotation_key.in_(keys)
        )
        for key, rep, assigned in connection.execute(query):
            found[key][rep] = assigned
    return found


def add_round_robin_counts(database: Database, connection: Connection, rows: Sequence[tuple[str, str, int]]) -> None:
    """Add (key, rep, how many) to what was given in turn."""
    if not rows:
        return
    new = database.rows("new", {"key": String(), "rep": String(), "added": Integer()}, rows)
    connection.execute(
        update(round_robin_count)
        .where(round_robin_count.c.rotation_key == new.c.key, round_robin_count.c.rep == new.c.rep)
        .values(assigned=round_robin_count.c.assigned + new.c.added)
    )
    database.insert(
        connection,
        round_robin_count.name,
        {"rotation_key": String(), "rep": String(), "assigned": Integer()},
        rows,
        ignore_conflicts=True,
    )


def load_missing_fields(
    database: Database, connection: Connection, lead_ids: Sequence[int]
) -> dict[int, list[MissingField]]:
    """Return the facts that were ever waited for, of each of these leads."""
    chosen = database.ids("chosen", lead_ids)
    query = select(*[missing_field.c[name] for name in MissingField._fields]).join(
        chosen, chosen.c.id == missing_field.c.lead_id
    )
    found: dict[int, list[MissingField]] = defaultdict(list)
    for row in map(MissingField._make, connection.execute(query)):
        found[row.lead_id].append(row)
    return found


def add_missing_fields(database: Database, connection: Connection, rows: Sequence[MissingField]) -> None:
    """Note facts that are waited for; those that were before keep their clock."""
    database.insert(connection, missing_field.name, _MISSING_FIELD_COLUMNS, rows, ignore_conflicts=True)


def mark_filled(
    database: Database, connection: Connection, rows: Sequence[tuple[int, str, str]], now: datetime
) -> None:
    """Note that (lead id, field, by whom) is known now."""
    if not rows:
        return
    filled = database.rows("filled", {"lead_id": BigInteger(), "field": String(), "by": String()}, rows)
    connection.execute(
        update(missing_field)
        .where(
            missing_field.c.lead_id == filled.c.lead_id,
            missing_field.c.field == filled.c.field,
            missing_field.c.filled_at.is_(None),
        )
        .values(filled_at=now, filled_by=filled.c.by)
    )


def record_decisions(database: Database, connection: Connection, rows: Sequence[NewDecision]) -> None:
    """Keep decisions with all that they were asked."""
    database.insert(connection, routing_decision.name, _DECISION_COLUMNS, rows)


def load_decisions(connection: Connection, after: int, limit: int, lead_id: int | None = None) -> list[StoredDecision]:
    """Return decisions behind the one with id *after*, in the order in which they were made."""
    query = (
        select(*[routing_decision.c[name] for name in StoredDecision._fields])
        .where(routing_decision.c.id > after)
        .order_by(routing_decision.c.id)
        .limit(limit)
    )
    if lead_id is not None:
        query = query.where(routing_decision.c.lead_id == lead_id)
    return [StoredDecision._make(row) for row in connection.execute(query)]


def delete_decisions(connection: Connection, lead_id: int) -> int:
    """Delete what routing was asked about a lead; return how many decisions that were."""
    return connection.execute(routing_decision.delete().where(routing_decision.c.lead_id == lead_id)).rowcount


def set_country(connection: Connection, lead_id: int, code: str, now: datetime) -> None:
    """Write in which country a lead works, as it said itself."""
    connection.execute(update(lead).where(lead.c.id == lead_id).values(country=code, updated_at=now))


class FieldWait(NamedTuple):
    """How a fact was waited for: of one lead, since when, until when, and by whom it came to be known."""

    field: str
    requested_at: datetime
    due_at: datetime
    filled_at: datetime | None
    filled_by: str | None


def load_field_waits(connection: Connection) -> list[FieldWait]:
    """Return every wait for a fact that there ever was."""
    query = select(*[missing_field.c[name] for name in FieldWait._fields]).order_by(missing_field.c.field)
    return [FieldWait._make(row) for row in connection.execute(query)]


def load_newly_filled(connection: Connection) -> list[tuple[int, str, dict[str, Any]]]:
    """Return (lead id, field, fields) of the leads that wait for a fact, and were changed since."""
    query = (
        select(missing_field.c.lead_id, missing_field.c.field, lead.c.fields, lead.c.country)
        .join(lead, lead.c.id == missing_field.c.lead_id)
        .where(missing_field.c.filled_at.is_(None), lead.c.updated_at > missing_field.c.requested_at)
    )
    return [
        (id_, field, {**fields, **({"country": country} if country else {})})
        for id_, field, fields, country in connection.execute(query)
    ]


def wake_leads(database: Database, connection: Connection, lead_ids: Sequence[int], now: datetime) -> None:
    """Have leads that wait for a fact looked at now."""
    if not lead_ids:
        return
    chosen = database.ids("chosen", lead_ids)
    connection.execute(
        update(custody)
        .where(custody.c.lead_id == chosen.c.id, custody.c.kind == "queue", custody.c.ref.like("needs-%"))
        .values(due_at=now, version=custody.c.version + 1)
    )


class RepLoad(NamedTuple):
    """What a rep was given: offers this business day, open work in hand, and the newest offer's number."""

    offers_today: int = 0
    open_leads: int = 0
    last_offer: int = 0


def load_rep_loads(database: Database, connection: Connection, days: Mapping[str, datetime]) -> dict[str, RepLoad]:
    """Return what each rep was given since their business day began, and what they have in hand.

    In hand is what waits for their answer, and what they took over and did not follow up yet.
    """
    day_starts = database.rows("day_starts", {"rep": String(), "at": UtcDateTime()}, list(days.items()))
    newest_offer = select(offer.c.id).where(offer.c.rep == day_starts.c.rep)  # by the index, however many there were
    newest_offer = newest_offer.order_by(offer.c.offered_at.desc(), offer.c.id.desc()).limit(1)
    newest_rows = connection.execute(select(day_starts.c.rep, newest_offer.scalar_subquery())).tuples()
    last_offers = {rep: number for rep, number in newest_rows if number is not None}
    today_query = (
        select(offer.c.rep, func.count())
        .join(day_starts, day_starts.c.rep == offer.c.rep)
        .where(offer.c.offered_at >= day_starts.c.at)
        .group_by(offer.c.rep)
    )
    offers_today: dict[str, int] = dict(connection.execute(today_query).tuples().all())
    open_query = select(offer.c.rep, func.count()).where(*IN_HAND).group_by(offer.c.rep)
    open_leads: dict[str, int] = dict(connection.execute(open_query).tuples().all())
    return {rep: RepLoad(offers_today.get(rep, 0), open_leads.get(rep, 0), last_offers.get(rep, 0)) for rep in days}
