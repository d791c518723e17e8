"""Hand-offs: who was offered what, and what came of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Connection, Integer, Select, String, Table, func, select, update

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.domain.lead import Custodian
from nurture.journey.leads.changeset import hold
from nurture.journey.routing.queries import _IN_HAND
from nurture.outbox import crm_records

custody: Table = core.Custody.__table__  # type: ignore[attr-defined]
offer: Table = core.Offer.__table__  # type: ignore[attr-defined]
journal: Table = core.Journal.__table__  # type: ignore[attr-defined]


_OVER: Final = ("rejected", "expired", "lapsed", "reassigned")


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
    level: int = 0
    round: int = 1
    urgency: float = 0.0
    hot: bool = False
    followed_up_at: datetime | None = None
    followed_how: str | None = None


class Had(NamedTuple):
    """A rep who had a lead before, and how that ended."""

    lead_id: int
    rep: str
    state: str
    reason: str | None
    offered_at: datetime


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


def had(database: Database, connection: Connection, lead_ids: Sequence[int]) -> Mapping[int, list[Had]]:
    """Return who had each lead and has it no more, the oldest first."""
    chosen = database.ids("chosen", lead_ids)
    wanted = (
        select(*[offer.c[name] for name in Had._fields])
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(offer.c.state.in_(_OVER))
        .order_by(offer.c.id)
    )
    found: dict[int, list[Had]] = defaultdict(list)
    for one in map(Had._make, connection.execute(wanted)):
        found[one.lead_id].append(one)
    return found


def refused_by(database: Database, connection: Connection, lead_ids: Sequence[int]) -> Mapping[int, set[str]]:
    """Return the reps who rejected each lead, let it expire, or had it taken from them."""
    return {
        lead_id: {one.rep for one in past} for lead_id, past in had(database, connection, lead_ids).items()
    }


def accepted_of(database: Database, connection: Connection, lead_ids: Sequence[int]) -> dict[int, OfferRow]:
    """Return the newest offer that a rep accepted of each lead, by lead id."""
    chosen = database.ids("chosen", list(set(lead_ids)))
    rows = connection.execute(
        _offers()
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(offer.c.state == "accepted")
        .order_by(offer.c.id)
    )
    return {row.lead_id: row for row in map(OfferRow._make, rows)}


def raise_levels(database: Database, connection: Connection, levels: Sequence[tuple[int, int]]) -> None:
    """Write (offer id, level): how far up their ladders offers are."""
    if levels:
        raised = database.rows("raised", {"id": BigInteger(), "level": Integer()}, levels)
        above = update(offer).where(offer.c.id == raised.c.id, offer.c.level < raised.c.level)
        connection.execute(above.values(level=raised.c.level))


def look_at(
    database: Database, connection: Connection, reps: Collection[str], at: datetime, *, others: bool = False
) -> None:
    """Have what these reps (*others*: all but these) have in hand looked at no later than *at*."""
    theirs = offer.c.rep.not_in(reps) if others else offer.c.rep.in_(reps)
    ids = connection.execute(select(offer.c.lead_id).where(*_IN_HAND, theirs)).scalars().all()
    if not ids:
        return
    hold(database, connection, ids)
    chosen = database.ids("chosen", sorted(set(ids)))
    kept = custody.c.kind.in_((Custodian.OFFER.value, Custodian.REP.value))
    sooner = update(custody).where(custody.c.lead_id == chosen.c.id, kept, custody.c.due_at > at)
    connection.execute(sooner.values(due_at=at, version=custody.c.version + 1))


def take_away(database: Database, connection: Connection, ended: Sequence[tuple[int, str, str]]) -> None:
    """Write (offer id, state, reason) of accepted leads that are taken from their reps again."""
    if ended:
        taken = database.rows("taken", {"id": BigInteger(), "state": String(), "reason": String()}, ended)
        mine = update(offer).where(offer.c.id == taken.c.id, offer.c.state == "accepted")
        connection.execute(mine.values(state=taken.c.state, reason=taken.c.reason))


def follow_up(
    database: Database, connection: Connection, touches: Sequence[tuple[int, str]], now: datetime
) -> set[int]:
    """Note the first touch of leads (id, how) that reps took over; return those that had none."""
    if not touches:
        return set()
    touched = database.rows("touched", {"id": BigInteger(), "how": String()}, touches)
    first = (
        update(offer)
        .where(offer.c.lead_id == touched.c.id, offer.c.state == "accepted", offer.c.followed_up_at.is_(None))
        .values(followed_up_at=now, followed_how=touched.c.how)
        .returning(offer.c.lead_id)
    )
    return set(connection.execute(first).scalars())


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
    crm_records.intend(
        database, connection, [(id_, state) for id_, state, _ in answers if id_ in answered], now
    )
    return answered


def by_policy(connection: Connection) -> dict[int, int]:
    """Return how many hand-offs were made under each version of the policy."""
    wanted = select(offer.c.policy_version, func.count()).group_by(offer.c.policy_version)
    return {row[0]: row[1] for row in connection.execute(wanted)}
