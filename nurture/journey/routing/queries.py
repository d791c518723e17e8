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
from nurture.domain.planning.callback import CALL_BACK

routing: Table = sales.Routing.__table__  # type: ignore[attr-defined]
leave: Table = sales.Leave.__table__  # type: ignore[attr-defined]
pool_turn: Table = sales.PoolTurn.__table__  # type: ignore[attr-defined]
wanted_fact: Table = sales.FactWanted.__table__  # type: ignore[attr-defined]
offer: Table = core.Offer.__table__  # type: ignore[attr-defined]
custody: Table = core.Custody.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]

_IN_HAND: Final = (offer.c.state.in_(("offered", "accepted")), offer.c.followed_up_at.is_(None))


class LeaveRow(NamedTuple):
    """Days on which a rep takes no leads."""

    id: int
    rep: str
    first_day: date
    last_day: date
    deputy: str | None


class WantedRow(NamedTuple):
    """A fact that routing waits for, or waited for."""

    lead_id: int
    field: str
    rule: str
    wanted_at: datetime
    overdue_at: datetime
    filled_at: datetime | None
    filled_by: str | None


class Decided(NamedTuple):
    """One decision, with all that it was asked."""

    lead_id: int
    offer_id: int | None
    at: datetime
    policy_version: int
    rule: str
    rep: str | None
    queue: str | None
    because: list[str]
    asked: dict[str, Any]


class Stored(NamedTuple):
    """A decision as it is kept."""

    id: int
    lead_id: int
    offer_id: int | None
    at: datetime
    policy_version: int
    rule: str
    rep: str | None
    queue: str | None
    because: list[str]
    asked: dict[str, Any]


_DECIDED: Mapping[str, TypeEngine[Any]] = dict(
    zip(
        Decided._fields,
        (BigInteger(), BigInteger(), UtcDateTime(), Integer(), String(), String(), String(), Json, Json),
        strict=True,
    )
)
_WANTED: Mapping[str, TypeEngine[Any]] = dict(
    zip(
        WantedRow._fields,
        (BigInteger(), String(), String(), UtcDateTime(), UtcDateTime(), UtcDateTime(), String()),
        strict=True,
    )
)


def former_owners(database: Database, connection: Connection, lead_ids: Sequence[int]) -> dict[int, str]:
    """Return who took each of these leads over last, or said that they will call, by lead id."""
    chosen = database.ids("chosen", lead_ids)
    newest = (
        select(func.max(offer.c.id).label("id"))
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(or_(offer.c.state == "accepted", offer.c.reason == CALL_BACK))
        .group_by(offer.c.lead_id)
        .subquery()
    )
    wanted = select(offer.c.lead_id, offer.c.rep).join(newest, newest.c.id == offer.c.id)
    return dict(connection.execute(wanted).tuples().all())


def leaves(connection: Connection, first: date, last: date) -> list[LeaveRow]:
    """Return the leave that falls on any day from *first* to *last*, by rep and day."""
    wanted = (
        select(*[leave.c[name] for name in LeaveRow._fields])
        .where(leave.c.cancelled_at.is_(None), leave.c.first_day <= last, leave.c.last_day >= first)
        .order_by(leave.c.rep, leave.c.first_day, leave.c.id)
    )
    return [LeaveRow._make(row) for row in connection.execute(wanted)]


def add_leave(
    connection: Connection, rep: str, first: date, last: date, deputy: str | None, now: datetime
) -> int:
    """Note days on which a rep takes no leads; return the entry's id."""
    added = leave.insert().values(rep=rep, first_day=first, last_day=last, deputy=deputy, recorded_at=now)
    return int(connection.execute(added.returning(leave.c.id)).scalar_one())


def cancel_leave(connection: Connection, rep: str, first: date, now: datetime) -> int:
    """Take back the leave of a rep that begins on *first*; return how many entries that were."""
    gone = update(leave).where(leave.c.rep == rep, leave.c.first_day == first, leave.c.cancelled_at.is_(None))
    return connection.execute(gone.values(cancelled_at=now)).rowcount


def turns(connection: Connection, keys: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return how many leads each rep was given in turn, by the key of the turn."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    if keys:
        wanted = select(pool_turn.c.key, pool_turn.c.rep, pool_turn.c.given).where(pool_turn.c.key.in_(keys))
        for key, rep, given in connection.execute(wanted):
            found[key][rep] = given
    return found


def count_turns(database: Database, connection: Connection, rows: Sequence[tuple[str, str, int]]) -> None:
    """Add (key, rep, how many) to what was given in turn."""
    if not rows:
        return
    given = database.rows("given", {"key": String(), "rep": String(), "more": Integer()}, rows)
    connection.execute(
        update(pool_turn)
        .where(pool_turn.c.key == given.c.key, pool_turn.c.rep == given.c.rep)
        .values(given=pool_turn.c.given + given.c.more)
    )
    database.insert(
        connection, "pool_turn", {"key": String(), "rep": String(), "given": Integer()}, rows, once=True
    )


def wanted(database: Database, connection: Connection, lead_ids: Sequence[int]) -> dict[int, list[WantedRow]]:
    """Return the facts that were ever waited for, of each of these leads."""
    chosen = database.ids("chosen", lead_ids)
    asked = select(*[wanted_fact.c[name] for name in WantedRow._fields]).join(
        chosen, chosen.c.id == wanted_fact.c.lead_id
    )
    found: dict[int, list[WantedRow]] = defaultdict(list)
    for row in map(WantedRow._make, connection.execute(asked)):
        found[row.lead_id].append(row)
    return found


def want(database: Database, connection: Connection, rows: Sequence[WantedRow]) -> None:
    """Note facts that are waited for; those that were before keep their clock."""
    database.insert(connection, "fact_wanted", _WANTED, rows, once=True)


def fill(
    database: Database, connection: Connection, rows: Sequence[tuple[int, str, str]], now: datetime
) -> None:
    """Note that (lead id, field, by whom) is known now."""
    if not rows:
        return
    known = database.rows("known", {"lead_id": BigInteger(), "field": String(), "by": String()}, rows)
    connection.execute(
        update(wanted_fact)
        .where(
            wanted_fact.c.lead_id == known.c.lead_id,
            wanted_fact.c.field == known.c.field,
            wanted_fact.c.filled_at.is_(None),
        )
        .values(filled_at=now, filled_by=known.c.by)
    )


def record(database: Database, connection: Connection, rows: Sequence[Decided]) -> None:
    """Keep decisions with all that they were asked."""
    database.insert(connection, "routing", _DECIDED, rows)


def decisions(connection: Connection, after: int, limit: int, lead_id: int | None = None) -> list[Stored]:
    """Return decisions behind the one with id *after*, in the order in which they were made."""
    asked = (
        select(*[routing.c[name] for name in Stored._fields])
        .where(routing.c.id > after)
        .order_by(routing.c.id)
        .limit(limit)
    )
    if lead_id is not None:
        asked = asked.where(routing.c.lead_id == lead_id)
    return [Stored._make(row) for row in connection.execute(asked)]


def erase(connection: Connection, lead_id: int) -> int:
    """Delete what routing was asked about a lead; return how many decisions that were."""
    return connection.execute(routing.delete().where(routing.c.lead_id == lead_id)).rowcount


def set_country(connection: Connection, lead_id: int, code: str, now: datetime) -> None:
    """Write in which country a lead works, as it said itself."""
    connection.execute(update(lead).where(lead.c.id == lead_id).values(country=code, updated_at=now))


class Wait(NamedTuple):
    """How a fact was waited for: of one lead, since when, until when, and by whom it came to be known."""

    field: str
    wanted_at: datetime
    overdue_at: datetime
    filled_at: datetime | None
    filled_by: str | None


def waits(connection: Connection) -> list[Wait]:
    """Return every wait for a fact that there ever was."""
    asked = select(*[wanted_fact.c[name] for name in Wait._fields]).order_by(wanted_fact.c.field)
    return [Wait._make(row) for row in connection.execute(asked)]


def known_by_now(connection: Connection) -> list[tuple[int, str, dict[str, Any]]]:
    """Return (lead id, field, facts) of the leads that wait for a fact, and were changed since."""
    asked = (
        select(wanted_fact.c.lead_id, wanted_fact.c.field, lead.c.facts, lead.c.country)
        .join(lead, lead.c.id == wanted_fact.c.lead_id)
        .where(wanted_fact.c.filled_at.is_(None), lead.c.updated_at > wanted_fact.c.wanted_at)
    )
    return [
        (id_, field, {**facts, **({"country": country} if country else {})})
        for id_, field, facts, country in connection.execute(asked)
    ]


def wake(database: Database, connection: Connection, lead_ids: Sequence[int], now: datetime) -> None:
    """Have leads that wait for a fact looked at now."""
    if not lead_ids:
        return
    chosen = database.ids("chosen", lead_ids)
    connection.execute(
        update(custody)
        .where(
            custody.c.lead_id == chosen.c.id,
            custody.c.kind == "queue",
            custody.c.ref.like("needs-%"),
        )
        .values(due_at=now, version=custody.c.version + 1)
    )


class Load(NamedTuple):
    """What a rep was given: offers this business day, open work in hand, and the newest offer's number."""

    today: int = 0
    in_hand: int = 0
    newest: int = 0


def loads(database: Database, connection: Connection, days: Mapping[str, datetime]) -> dict[str, Load]:
    """Return what each rep was given since their business day began, and what they have in hand.

    In hand is what waits for their answer, and what they took over and did not follow up yet.
    """
    began = database.rows("began", {"rep": String(), "at": UtcDateTime()}, list(days.items()))
    last = select(offer.c.id).where(offer.c.rep == began.c.rep)  # by the index, however many there were
    last = last.order_by(offer.c.offered_at.desc(), offer.c.id.desc()).limit(1)
    ever = connection.execute(select(began.c.rep, last.scalar_subquery())).tuples()
    newest = {rep: number for rep, number in ever if number is not None}
    given = (
        select(offer.c.rep, func.count())
        .join(began, began.c.rep == offer.c.rep)
        .where(offer.c.offered_at >= began.c.at)
        .group_by(offer.c.rep)
    )
    today: dict[str, int] = dict(connection.execute(given).tuples().all())
    held = select(offer.c.rep, func.count()).where(*_IN_HAND).group_by(offer.c.rep)
    in_hand: dict[str, int] = dict(connection.execute(held).tuples().all())
    return {rep: Load(today.get(rep, 0), in_hand.get(rep, 0), newest.get(rep, 0)) for rep in days}
