"""Outcomes: how leads ended, each as often as it was told, and what each of them goes back to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    ScalarSelect,
    String,
    Table,
    func,
    select,
    update,
)
from sqlalchemy.sql.selectable import NamedFromClause
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.tables import core, crm
from nurture.db.types import UtcDateTime

told: Table = crm.OutcomeTold.__table__  # type: ignore[attr-defined]
outcome: Table = core.Outcome.__table__  # type: ignore[attr-defined]
offer: Table = core.Offer.__table__  # type: ignore[attr-defined]
message: Table = core.Message.__table__  # type: ignore[attr-defined]
enrollment: Table = core.Enrollment.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]

_Columns = Mapping[str, TypeEngine[Any]]


class Told(NamedTuple):
    """An outcome as somebody told it, and what it did."""

    natural_key: str
    lead_id: int
    closing: str
    happened_at: datetime
    amount: float | None
    reason: str
    source: str
    told_at: datetime
    verdict: str


class Stands(NamedTuple):
    """The outcome that counts for a lead."""

    id: int
    lead_id: int
    closing: str
    happened_at: datetime
    amount: float | None


class Open(NamedTuple):
    """A telling that contradicts what was known, and has not been settled."""

    id: int
    lead_id: int
    closing: str
    happened_at: datetime
    amount: float | None
    reason: str
    source: str
    told_at: datetime
    stands: str | None
    stands_amount: float | None
    stands_source: str | None


class Joined(NamedTuple):
    """An outcome with where it came from: the hand-off, its policy, the track and the last touch."""

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


_TOLD: Final[_Columns] = dict(
    zip(
        Told._fields,
        (
            String(),
            BigInteger(),
            String(),
            UtcDateTime(),
            Float(),
            String(),
            String(),
            UtcDateTime(),
            String(),
        ),
        strict=True,
    )
)


def known(database: Database, connection: Connection, keys: Sequence[str]) -> set[str]:
    """Return which of *keys* were told before."""
    asked = database.rows("asked", {"key": String()}, [(key,) for key in keys])
    wanted = select(told.c.natural_key).join(asked, asked.c.key == told.c.natural_key)
    return set(connection.execute(wanted).scalars())


def standing(database: Database, connection: Connection, lead_ids: Sequence[int]) -> dict[int, Stands]:
    """Return the newest outcome of each lead that has one."""
    chosen = database.ids("chosen", sorted(set(lead_ids)))
    newest = (
        select(func.max(outcome.c.id).label("id"))
        .join(chosen, chosen.c.id == outcome.c.lead_id)
        .group_by(outcome.c.lead_id)
        .subquery()
    )
    wanted = select(*(outcome.c[name] for name in Stands._fields)).join(newest, newest.c.id == outcome.c.id)
    return {row.lead_id: row for row in map(Stands._make, connection.execute(wanted))}


def keep(database: Database, connection: Connection, rows: Sequence[Told]) -> None:
    """Write what was told, each thing once."""
    database.insert(connection, told.name, _TOLD, rows, keys=["natural_key"])


def complete(database: Database, connection: Connection, amounts: Sequence[tuple[int, float]]) -> None:
    """Write the amounts of outcomes that had none: (outcome id, amount)."""
    if not amounts:
        return
    given = database.rows("given", {"id": BigInteger(), "amount": Float()}, amounts)
    connection.execute(
        update(outcome)
        .where(outcome.c.id == given.c.id, outcome.c.amount.is_(None))
        .values(amount=given.c.amount)
    )


def replace(connection: Connection, outcome_id: int, by: Open) -> None:
    """Let *by* stand in the place of an outcome."""
    connection.execute(
        update(outcome)
        .where(outcome.c.id == outcome_id)
        .values(
            closing=by.closing,
            happened_at=by.happened_at,
            amount=by.amount,
            reason=by.reason,
            source=by.source,
        )
    )


def contradicting(connection: Connection, telling_id: int | None = None) -> list[Open]:
    """Return the tellings that contradict what stands and are not settled, the oldest first."""
    other = outcome.alias("other")
    newest = select(func.max(other.c.id)).where(other.c.lead_id == told.c.lead_id).correlate(told)
    wanted = (
        select(
            *(told.c[name] for name in Open._fields[:8]),
            outcome.c.closing,
            outcome.c.amount,
            outcome.c.source,
        )
        .select_from(told)
        .outerjoin(outcome, outcome.c.id == newest.scalar_subquery())
        .where(told.c.verdict == "contradicts", told.c.settled.is_(None))
        .order_by(told.c.id)
    )
    if telling_id is not None:
        wanted = wanted.where(told.c.id == telling_id)
    return [Open._make(row) for row in connection.execute(wanted)]


def settle(connection: Connection, telling_id: int, how: str, now: datetime) -> bool:
    """Note how a contradiction was settled; return whether it was open till now."""
    mine = update(told).where(told.c.id == telling_id, told.c.settled.is_(None))
    return connection.execute(mine.values(settled=how, settled_at=now)).rowcount > 0


def _newest(table: Table, passes: Callable[[NamedFromClause], ColumnElement[bool]]) -> ScalarSelect[int]:
    """Return the newest row of a lead in *table* that *passes*, beside each outcome."""
    one = table.alias(f"newest_{table.name}")
    wanted = select(func.max(one.c.id)).where(one.c.lead_id == outcome.c.lead_id, passes(one))
    return wanted.correlate(outcome).scalar_subquery()


def joined(connection: Connection, closing: str | None, limit: int) -> list[Joined]:
    """Return outcomes with where they came from, the newest first."""
    until = outcome.c.recorded_at
    offered = _newest(offer, lambda one: one.c.offered_at <= until)
    stayed = _newest(enrollment, lambda one: one.c.entered_at <= until)
    touched = _newest(message, lambda one: (one.c.kind == "touch") & (one.c.accepted_at <= until))
    wanted = (
        select(
            outcome.c.lead_id,
            outcome.c.closing,
            outcome.c.happened_at,
            outcome.c.amount,
            outcome.c.reason,
            outcome.c.source,
            lead.c.source,
            lead.c.first_contact_at,
            offer.c.id,
            offer.c.rep,
            offer.c.policy_version,
            func.coalesce(message.c.track, enrollment.c.track),
            message.c.track_version,
            message.c.step,
        )
        .join(lead, lead.c.id == outcome.c.lead_id)
        .outerjoin(offer, offer.c.id == offered)
        .outerjoin(enrollment, enrollment.c.id == stayed)
        .outerjoin(message, message.c.id == touched)
        .order_by(outcome.c.id.desc())
        .limit(limit)
    )
    if closing is not None:
        wanted = wanted.where(outcome.c.closing == closing)
    return [Joined._make(row) for row in connection.execute(wanted)]
