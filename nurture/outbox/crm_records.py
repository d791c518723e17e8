"""What the CRM is to know of hand-offs: planned with the offer, claimed, stamped before the call, settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Select,
    String,
    Table,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.db.tables import crm as tables_crm
from nurture.db.types import UtcDateTime

record: Table = tables_crm.CrmRecord.__table__  # type: ignore[attr-defined]
offer: Table = core.Offer.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
address: Table = core.Address.__table__  # type: ignore[attr-defined]
identity: Table = core.Identity.__table__  # type: ignore[attr-defined]

_Columns = Mapping[str, TypeEngine[Any]]
_OPEN: Final = ("planned", "claimed", "sending", "in_doubt")


class Going(NamedTuple):
    """A hand-off that is about to be told, with its lead as it is now."""

    id: int
    offer_id: int
    lead_id: int
    wanted: str
    wanted_at: datetime
    attempts: int
    rep: str
    because: str
    facts: dict[str, Any]
    country: str
    address: str | None
    known_as: str | None


class Told(NamedTuple):
    """What became of telling: *written* is the state that the CRM holds now, None if it took none."""

    id: int
    state: str
    written: str | None
    crm: str | None
    crm_id: str | None
    reason: str | None
    due_at: datetime | None


class Doubtful(NamedTuple):
    """A hand-off of which nobody knows whether the CRM took it."""

    id: int
    offer_id: int
    lead_id: int
    wanted: str


_PLANNED: Final[_Columns] = {
    "key": String(),
    "offer_id": BigInteger(),
    "lead_id": BigInteger(),
    "wanted": String(),
    "wanted_at": UtcDateTime(),
    "state": String(),
    "state_at": UtcDateTime(),
    "due_at": UtcDateTime(),
    "attempts": Integer(),
}
_TOLD: Final[_Columns] = dict(
    zip(
        Told._fields,
        (BigInteger(), String(), String(), String(), String(), String(), UtcDateTime()),
        strict=True,
    )
)


def plan(
    database: Database, connection: Connection, offered: Sequence[tuple[int, int]], now: datetime
) -> None:
    """Intend to tell the CRM of new offers: (offer id, lead id)."""
    rows = [
        (f"handoff:{offer_id}", offer_id, lead_id, "offered", now, "planned", now, now, 0)
        for offer_id, lead_id in offered
    ]
    database.insert(connection, record.name, _PLANNED, rows, keys=["key"])


def intend(
    database: Database, connection: Connection, answered: Sequence[tuple[int, str]], now: datetime
) -> None:
    """Intend to tell the CRM how offers were answered: (offer id, state).

    What is on its way, or in doubt, stays so: whoever settles it sees that something newer is wanted.
    """
    if not answered:
        return
    given = database.rows("given", {"id": BigInteger(), "state": String()}, answered)
    if database.skips_locked:
        mine = select(record.c.id).join(given, given.c.id == record.c.offer_id).order_by(record.c.id)
        connection.execute(mine.with_for_update(of=record))
    theirs = update(record).where(record.c.offer_id == given.c.id)
    connection.execute(theirs.values(wanted=given.c.state, **_anew(now)))


def _anew(now: datetime) -> dict[str, Any]:
    """Return what makes a hand-off be told again that rests; what is on its way is let go on."""
    rests = record.c.state.in_(("done", "refused"))
    return {
        "wanted_at": now,
        "state": case((rests, "planned"), else_=record.c.state),
        "state_at": case((rests, now), else_=record.c.state_at),
        "due_at": case((rests, now), else_=record.c.due_at),
        "attempts": case((rests, 0), else_=record.c.attempts),
    }


CAUGHT_UP: Final = 20_000
"""How many of the newest hand-offs are looked at for what changed in passing."""


def catch_up(database: Database, connection: Connection, now: datetime) -> int:
    """Intend to tell what became of hand-offs whoever changed them, of the newest; return how many."""
    newest = select(func.coalesce(func.max(record.c.id), 0)).scalar_subquery()
    changed = select(record.c.id).join(offer, offer.c.id == record.c.offer_id)
    changed = changed.where(record.c.id > newest - CAUGHT_UP, record.c.wanted != offer.c.state)
    if database.skips_locked:
        changed = changed.with_for_update(of=record, skip_locked=True)
    late = update(record).where(record.c.id.in_(changed), record.c.offer_id == offer.c.id)
    return connection.execute(late.values(wanted=offer.c.state, **_anew(now))).rowcount


def adopt(connection: Connection, since: datetime, now: datetime) -> int:
    """Plan hand-offs of before, offered at *since* or later, anew; return how many. Written again they are
    the same records.
    """
    made = select(
        literal("handoff:").concat(cast(offer.c.id, String)),
        offer.c.id,
        offer.c.lead_id,
        offer.c.state,
        func.coalesce(offer.c.answered_at, offer.c.offered_at),
        bindparam("state", "planned"),
        bindparam("at", now, type_=UtcDateTime()),
        bindparam("due", now, type_=UtcDateTime()),
        bindparam("attempts", 0),
    ).where(offer.c.offered_at >= since, ~exists().where(record.c.offer_id == offer.c.id))
    into = record.insert().from_select(list(_PLANNED), made.order_by(offer.c.id)).returning(record.c.id)
    new = len(connection.execute(into).all())
    chosen = select(offer.c.id).where(offer.c.offered_at >= since)
    again = connection.execute(
        update(record)
        .where(record.c.offer_id.in_(chosen), record.c.state.in_(("done", "refused")))
        .values(state="planned", state_at=now, due_at=now, written=None, attempts=0, reason=None)
    ).rowcount
    return new + again


def claim(
    database: Database, connection: Connection, token: str, until: datetime, now: datetime, limit: int
) -> list[tuple[int, str]]:
    """Take what is due, in the order of hand-offs, one of each lead; return (id, key).

    A hand-off waits for its lead's earlier ones: the CRM hears of them in order.
    """
    earlier = record.alias("earlier")
    before = exists().where(
        earlier.c.lead_id == record.c.lead_id, earlier.c.id < record.c.id, earlier.c.state.in_(_OPEN)
    )
    chosen = (
        select(record.c.id)
        .where(record.c.state == "planned", record.c.due_at <= now, ~before)
        .order_by(record.c.id)
        .limit(limit)
    )
    if database.skips_locked:
        chosen = chosen.with_for_update(of=record, skip_locked=True)
    taken = connection.execute(
        update(record)
        .where(record.c.id.in_(chosen))
        .values(state="claimed", state_at=now, lease_token=token, lease_until=until)
        .returning(record.c.id, record.c.key)
    )
    return sorted((row.id, row.key) for row in taken)


def stamp(
    database: Database,
    connection: Connection,
    ids: Sequence[int],
    crm: str,
    token: str,
    until: datetime,
    now: datetime,
) -> list[Going]:
    """Note that the call comes next; return those that are still this worker's, as they are now."""
    mine = database.ids("mine", ids)
    stamped = set(
        connection.execute(
            update(record)
            .where(record.c.id == mine.c.id, record.c.state == "claimed", record.c.lease_token == token)
            .values(state="sending", state_at=now, lease_until=until, attempts=record.c.attempts + 1, crm=crm)
            .returning(record.c.id)
        ).scalars()
    )
    chosen = database.ids("chosen", sorted(stamped))
    known_as = (
        select(func.min(identity.c.external_id))
        .where(identity.c.lead_id == record.c.lead_id, identity.c.source == crm)
        .scalar_subquery()
    )
    wanted = (
        select(
            record.c.id,
            record.c.offer_id,
            record.c.lead_id,
            record.c.wanted,
            record.c.wanted_at,
            record.c.attempts,
            offer.c.rep,
            offer.c.because,
            lead.c.facts,
            lead.c.country,
            address.c.email,
            known_as,
        )
        .join(chosen, chosen.c.id == record.c.id)
        .join(offer, offer.c.id == record.c.offer_id)
        .join(lead, lead.c.id == record.c.lead_id)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .order_by(record.c.id)
    )
    return [Going._make(row) for row in connection.execute(wanted)]


def settle(
    database: Database, connection: Connection, told: Sequence[Told], token: str | None, now: datetime
) -> None:
    """Write what became of telling, and plan anew whatever became another state meanwhile.

    With a token, only what it still holds: a worker that was slow overwrites nobody.
    """
    if not told:
        return
    came = database.rows("came", _TOLD, told)
    if database.skips_locked:
        mine = select(record.c.id).join(came, came.c.id == record.c.id).order_by(record.c.id)
        connection.execute(mine.with_for_update(of=record))
    behind = (came.c.state == "done") & (came.c.written != record.c.wanted)
    statement = (
        update(record)
        .where(record.c.id == came.c.id)
        .values(
            state=case((behind, "planned"), else_=came.c.state),
            state_at=now,
            written=func.coalesce(came.c.written, record.c.written),
            written_at=case((came.c.written.is_not(None), now), else_=record.c.written_at),
            crm=func.coalesce(came.c.crm, record.c.crm),
            crm_id=func.coalesce(came.c.crm_id, record.c.crm_id),
            reason=came.c.reason,
            due_at=case((behind, now), else_=func.coalesce(came.c.due_at, record.c.due_at)),
            attempts=case((came.c.state == "done", 0), else_=record.c.attempts),
            lease_token=None,
            lease_until=None,
        )
    )
    if token is not None:
        statement = statement.where(record.c.lease_token == token)
    connection.execute(statement)


def release_expired(database: Database, connection: Connection, now: datetime) -> tuple[int, int]:
    """Free what dead workers held: claimed goes back to planned, sending is in doubt. Returns both counts."""
    back = connection.execute(
        update(record)
        .where(record.c.id.in_(_expired(database, "claimed", now)))
        .values(state="planned", state_at=now, lease_token=None, lease_until=None)
    ).rowcount
    doubt = connection.execute(
        update(record)
        .where(record.c.id.in_(_expired(database, "sending", now)))
        .values(
            state="in_doubt",
            state_at=now,
            lease_until=None,
            reason="the worker that was telling it stopped; nobody knows whether the CRM took it",
        )
    ).rowcount
    return back, doubt


def _expired(database: Database, state: str, now: datetime) -> Select[tuple[int]]:
    leased = record.c.state.in_(
        bindparam("leased", ["claimed", "sending"], expanding=True, literal_execute=True)
    )
    left = select(record.c.id).where(leased, record.c.state == state, record.c.lease_until < now)
    return left.with_for_update(skip_locked=True) if database.skips_locked else left


def doubtful(connection: Connection, before: datetime, limit: int) -> list[Doubtful]:
    """Return what is in doubt since before *before*, the oldest hand-off first."""
    unsettled = record.c.state.in_(
        bindparam("unsettled", ["in_doubt", "refused"], expanding=True, literal_execute=True)
    )
    wanted = (
        select(record.c.id, record.c.offer_id, record.c.lead_id, record.c.wanted)
        .where(unsettled, record.c.state == "in_doubt", record.c.state_at <= before)
        .order_by(record.c.id)
        .limit(limit)
    )
    return [Doubtful._make(row) for row in connection.execute(wanted)]


class Standing(NamedTuple):
    """How many hand-offs are in a state, since when the oldest is, and why one of them is."""

    state: str
    handoffs: int
    since: datetime | None
    reason: str | None


def standing(connection: Connection) -> list[Standing]:
    """Return how many hand-offs are in each state."""
    wanted = (
        select(
            record.c.state,
            func.count(),
            func.min(record.c.state_at, type_=UtcDateTime()),
            func.max(func.coalesce(record.c.reason, null(), type_=String())),
        )
        .group_by(record.c.state)
        .order_by(record.c.state)
    )
    return [Standing._make(row) for row in connection.execute(wanted)]
