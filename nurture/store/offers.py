"""Hand-offs: who was offered what, and what came of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, Select, String, Table, func, select, update

from nurture.domain.routing import Load
from nurture.store import crmrecords, tables
from nurture.store.database import Database

offer: Table = tables.Offer.__table__  # type: ignore[attr-defined]
journal: Table = tables.Journal.__table__  # type: ignore[attr-defined]


class OfferRow(NamedTuple):
    """One hand-off as it stands."""

    id: int
    lead_id: int
    enrollment_id: int | None
    rep: str
    rule: str
    because: str
    routed_because: str
    policy_version: int
    state: str
    offered_at: datetime
    expires_at: datetime
    answered_at: datetime | None
    reason: str | None


def _offers() -> Select[tuple[object, ...]]:
    return select(*[offer.c[name] for name in OfferRow._fields])


def find(database: Database, connection: Connection, ids: Sequence[int]) -> dict[int, OfferRow]:
    """Return these offers by id."""
    chosen = database.ids("chosen", list(set(ids)))
    rows = connection.execute(_offers().join(chosen, chosen.c.id == offer.c.id))
    return {row.id: row for row in map(OfferRow._make, rows)}


def open_of(database: Database, connection: Connection, lead_ids: Sequence[int]) -> dict[int, OfferRow]:
    """Return the open offer of each lead that has one, by lead id."""
    chosen = database.ids("chosen", list(set(lead_ids)))
    rows = connection.execute(
        _offers().join(chosen, chosen.c.id == offer.c.lead_id).where(offer.c.state == "offered")
    )
    return {row.lead_id: row for row in map(OfferRow._make, rows)}


def listing(connection: Connection, *, state: str | None, rep: str | None, limit: int) -> list[OfferRow]:
    """Return offers, the newest first."""
    wanted = _offers().order_by(offer.c.id.desc()).limit(limit)
    if state is not None:
        wanted = wanted.where(offer.c.state == state)
    if rep is not None:
        wanted = wanted.where(offer.c.rep == rep)
    return [OfferRow._make(row) for row in connection.execute(wanted)]


def loads(connection: Connection, reps: Sequence[str], day_began: datetime) -> dict[str, Load]:
    """Return what each rep was given since *day_began*, and the number of its newest offer ever."""
    mine = offer.c.rep.in_(reps)
    ever = select(offer.c.rep, func.max(offer.c.id)).where(mine).group_by(offer.c.rep)
    newest: dict[str, int] = dict(connection.execute(ever).tuples().all())
    counted = (
        select(offer.c.rep, func.count()).where(mine, offer.c.offered_at >= day_began).group_by(offer.c.rep)
    )
    today: dict[str, int] = dict(connection.execute(counted).tuples().all())
    return {rep: Load(today.get(rep, 0), newest.get(rep, 0)) for rep in reps}


def refused_by(database: Database, connection: Connection, lead_ids: Sequence[int]) -> Mapping[int, set[str]]:
    """Return the reps who rejected each lead, or let it expire."""
    chosen = database.ids("chosen", lead_ids)
    wanted = (
        select(offer.c.lead_id, offer.c.rep)
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(offer.c.state.in_(("rejected", "expired")))
    )
    found: dict[int, set[str]] = defaultdict(set)
    for lead_id, rep in connection.execute(wanted):
        found[lead_id].add(rep)
    return found


def whys(database: Database, connection: Connection, lead_ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Return (rule, because) of each lead's newest hand-off decision."""
    chosen = database.ids("chosen", lead_ids)
    newest = (
        select(func.max(journal.c.id).label("id"))
        .join(chosen, chosen.c.id == journal.c.lead_id)
        .where(journal.c.event == "hand_off")
        .group_by(journal.c.lead_id)
        .subquery()
    )
    wanted = select(journal.c.lead_id, journal.c.ref, journal.c.because).join(
        newest, newest.c.id == journal.c.id
    )
    return {lead_id: (rule or "", because) for lead_id, rule, because in connection.execute(wanted)}


def answer(
    database: Database,
    connection: Connection,
    answers: Sequence[tuple[int, str, str | None]],
    now: datetime,
) -> set[int]:
    """Write (offer id, state, reason) for offers that are still open; return the ids that were."""
    if not answers:
        return set()
    given = database.rows("given", {"id": BigInteger(), "state": String(), "reason": String()}, answers)
    answered = set(
        connection.execute(
            update(offer)
            .where(offer.c.id == given.c.id, offer.c.state == "offered")
            .values(state=given.c.state, answered_at=now, reason=given.c.reason)
            .returning(offer.c.id)
        ).scalars()
    )
    crmrecords.intend(
        database, connection, [(id_, state) for id_, state, _ in answers if id_ in answered], now
    )
    return answered


def by_policy(connection: Connection) -> dict[int, int]:
    """Return how many hand-offs were made under each version of the policy."""
    wanted = select(offer.c.policy_version, func.count()).group_by(offer.c.policy_version)
    return {row[0]: row[1] for row in connection.execute(wanted)}
