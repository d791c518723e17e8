"""Everything that one batch of decisions changes, written in a constant number of statements.

Custody is written first, guarded by its version: whoever lost the race is left out of all that follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Date,
    Float,
    FromClause,
    Integer,
    String,
    Table,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.tables import core, sales
from nurture.db.types import Json, UtcDateTime
from nurture.outbox import crm_records

_ID, _INT, _NUM, _TEXT, _TIME, _DATE = BigInteger(), Integer(), Float(), String(), UtcDateTime(), Date()
_YES = Boolean()

custody: Table = core.Custody.__table__  # type: ignore[attr-defined]
enrollment: Table = core.Enrollment.__table__  # type: ignore[attr-defined]
message: Table = core.Message.__table__  # type: ignore[attr-defined]
journal: Table = core.Journal.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
outcome: Table = core.Outcome.__table__  # type: ignore[attr-defined]
offer: Table = core.Offer.__table__  # type: ignore[attr-defined]
urgency: Table = sales.Urgency.__table__  # type: ignore[attr-defined]


class Custodied(NamedTuple):
    """Where a lead goes. *since* None keeps the old one: the custodian stays the same."""

    lead_id: int
    version: int
    kind: str
    ref: str
    since: datetime | None
    next_action: str
    due_at: datetime | None


class Placed(NamedTuple):
    """Where an open enrollment stands now, or that it ended."""

    id: int
    lead_id: int
    step: str
    visit: int
    anchor_at: datetime
    reached_at: datetime
    ended_at: datetime | None = None
    end_reason: str | None = None


class Entered(NamedTuple):
    """A new enrollment."""

    lead_id: int
    track: str
    entered_at: datetime
    step: str
    visit: int
    anchor_at: datetime
    reached_at: datetime


class Intended(NamedTuple):
    """A mail that is to go out."""

    send_key: str
    kind: str
    lead_id: int
    enrollment_id: int | None
    offer_id: int | None
    track: str | None
    track_version: int | None
    step: str
    visit: int
    email: str
    rep: str | None
    planned_at: datetime
    send_at: datetime
    expires_at: datetime
    state: str
    state_at: datetime
    attempts: int = 0

    @classmethod
    def to_rep(
        cls,
        send_key: str,
        kind: str,
        email: str,
        rep: str,
        *,
        lead_id: int,
        offer_id: int | None,
        now: datetime,
        expires_at: datetime,
        enrollment_id: int | None = None,
    ) -> Intended:
        """Plan something about a lead that goes to somebody in sales at once."""
        return cls(
            send_key=send_key,
            kind=kind,
            lead_id=lead_id,
            enrollment_id=enrollment_id,
            offer_id=offer_id,
            track=None,
            track_version=None,
            step="",
            visit=1,
            email=email,
            rep=rep,
            planned_at=now,
            send_at=now,
            expires_at=expires_at,
            state="planned",
            state_at=now,
        )


class Noted(NamedTuple):
    """One line of the journal."""

    lead_id: int
    at: datetime
    stage: str
    event: str
    because: str
    enrollment_id: int | None = None
    track: str | None = None
    track_version: int | None = None
    policy_version: int | None = None
    step: str | None = None
    detail: Mapping[str, Any] | None = None
    custody_from: str | None = None
    custody_to: str | None = None
    ref: str | None = None


class Cancelled(NamedTuple):
    """All of a lead's touches that have not gone yet are called off."""

    lead_id: int
    reason: str


class Ended(NamedTuple):
    """How a lead was closed."""

    lead_id: int
    closing: str
    happened_at: datetime
    amount: float | None
    reason: str
    source: str
    recorded_at: datetime


class Factual(NamedTuple):
    """A lead's facts, all of them."""

    lead_id: int
    facts: Mapping[str, Any]


class Offered(NamedTuple):
    """A hand-off to a rep; its id was reserved, because the brief's send key holds it."""

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
    round: int = 1
    urgency: float = 0.0
    hot: bool = False
    level: int = 0


class Ranked(NamedTuple):
    """How urgent a lead is that was just handed off."""

    lead_id: int
    rule: str
    points: int
    hot: bool
    since: datetime
    rank: datetime


_CUSTODIED: Mapping[str, TypeEngine[Any]] = dict(
    zip(Custodied._fields, (_ID, _INT, _TEXT, _TEXT, _TIME, _TEXT, _TIME), strict=True)
)
_PLACED: Mapping[str, TypeEngine[Any]] = dict(
    zip(Placed._fields, (_ID, _ID, _TEXT, _INT, _TIME, _TIME, _TIME, _TEXT), strict=True)
)
_ENTERED: Mapping[str, TypeEngine[Any]] = dict(
    zip(Entered._fields, (_ID, _TEXT, _TIME, _TEXT, _INT, _TIME, _TIME), strict=True)
)
_INTENDED: Mapping[str, TypeEngine[Any]] = dict(
    zip(
        Intended._fields,
        (
            _TEXT,
            _TEXT,
            _ID,
            _ID,
            _ID,
            _TEXT,
            _INT,
            _TEXT,
            _INT,
            _TEXT,
            _TEXT,
            _TIME,
            _TIME,
            _TIME,
            _TEXT,
            _TIME,
            _INT,
        ),
        strict=True,
    )
)
_NOTED: Mapping[str, TypeEngine[Any]] = dict(
    zip(
        Noted._fields,
        (_ID, _TIME, _TEXT, _TEXT, _TEXT, _ID, _TEXT, _INT, _INT, _TEXT, Json, _TEXT, _TEXT, _TEXT),
        strict=True,
    )
)
_ENDED: Mapping[str, TypeEngine[Any]] = dict(
    zip(Ended._fields, (_ID, _TEXT, _TIME, _NUM, _TEXT, _TEXT, _TIME), strict=True)
)
_OFFERED: Mapping[str, TypeEngine[Any]] = dict(
    zip(
        Offered._fields,
        (_ID, _ID, _ID, _TEXT, _TEXT, _TEXT, _TEXT, _INT, _TEXT, _TIME, _TIME, _INT, _NUM, _YES, _INT),
        strict=True,
    )
)
_RANKED: Mapping[str, TypeEngine[Any]] = dict(
    zip(Ranked._fields, (_ID, _TEXT, _INT, _YES, _TIME, _TIME), strict=True)
)


@dataclass(slots=True)
class Changes:
    """Collects the changes of a batch, then writes them all."""

    custody: list[Custodied] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)
    entered: list[Entered] = field(default_factory=list)
    intended: list[Intended] = field(default_factory=list)
    noted: list[Noted] = field(default_factory=list)
    cancelled: list[Cancelled] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    facts: list[Factual] = field(default_factory=list)
    offered: list[Offered] = field(default_factory=list)
    ranked: list[Ranked] = field(default_factory=list)

    def write(self, database: Database, connection: Connection, now: datetime) -> set[int]:
        """Write everything for the leads whose custody had not changed meanwhile; return these leads.

        Leads in no custody row of the batch are written as they are.
        """
        won = _write_custody(database, connection, self.custody)
        lost = {row.lead_id for row in self.custody} - won
        self._write_rest(database, connection, lost, now)
        return won

    def _write_rest(self, database: Database, connection: Connection, lost: set[int], now: datetime) -> None:
        _write_placed(database, connection, _kept(self.placed, lost))
        _cancel(database, connection, _kept(self.cancelled, lost), now)
        insert_rows(database, connection, enrollment, _ENTERED, _kept(self.entered, lost))
        offered = _kept(self.offered, lost)
        insert_rows(database, connection, offer, _OFFERED, offered)
        crm_records.plan(database, connection, [(one.id, one.lead_id) for one in offered], now)
        insert_rows(database, connection, message, _INTENDED, _kept(self.intended, lost), keys=["send_key"])
        insert_rows(database, connection, outcome, _ENDED, _kept(self.ended, lost))
        _write_facts(database, connection, _kept(self.facts, lost), now)
        _write_ranks(database, connection, _kept(self.ranked, lost))
        insert_rows(database, connection, journal, _NOTED, _kept(self.noted, lost))


def hold(database: Database, connection: Connection, lead_ids: Iterable[int]) -> None:
    """Wait for these leads, and keep them until the transaction ends.

    In the order of ids, and before anything else of them: so nobody waits in a circle. Read them in a later
    statement: what the one before has just written may be missed by the one that waits.
    """
    if database.skips_locked:
        chosen = database.ids("chosen", sorted(set(lead_ids)))
        held = select(custody.c.lead_id).join(chosen, chosen.c.id == custody.c.lead_id)
        connection.execute(held.order_by(custody.c.lead_id).with_for_update(of=custody))


def hold_living(database: Database, connection: Connection, lead_ids: Iterable[int]) -> set[int]:
    """Hold leads as `hold` does; return those that were not erased: of the others nothing is recorded."""
    wanted = sorted(set(lead_ids))
    if not wanted:
        return set()
    hold(database, connection, wanted)
    chosen = database.ids("chosen", wanted)
    living = select(lead.c.id).join(chosen, chosen.c.id == lead.c.id).where(lead.c.erased_at.is_(None))
    return set(connection.execute(living).scalars())


def hold_all(database: Database, connection: Connection) -> None:
    """Hold every lead that is not closed, for whoever writes of leads by several statements."""
    if database.skips_locked:
        everybody = select(custody.c.lead_id).where(custody.c.kind != "closed")
        connection.execute(everybody.order_by(custody.c.lead_id).with_for_update())


def _kept(rows: Sequence[Any], lost: set[int]) -> Sequence[Any]:
    return [row for row in rows if row.lead_id not in lost] if lost else rows


def insert_rows(
    database: Database,
    connection: Connection,
    table: Table,
    columns: Mapping[str, TypeEngine[Any]],
    rows: Sequence[Sequence[Any]],
    *,
    once: bool = False,
    keys: Sequence[str] = (),
) -> int:
    """Insert *rows* with one statement; return how many went in. See `Database.insert`."""
    return database.insert(connection, table.name, columns, rows, once=once, keys=keys)


def _write_custody(database: Database, connection: Connection, rows: Sequence[Custodied]) -> set[int]:
    if not rows:
        return set()
    moved = database.rows("moved", _CUSTODIED, rows)
    statement = (
        update(custody)
        .where(custody.c.lead_id == moved.c.lead_id, custody.c.version == moved.c.version)
        .values(
            kind=moved.c.kind,
            ref=moved.c.ref,
            since=func.coalesce(moved.c.since, custody.c.since),
            next_action=moved.c.next_action,
            due_at=moved.c.due_at,
            version=custody.c.version + 1,
        )
        .returning(custody.c.lead_id)
    )
    return set(connection.execute(statement).scalars().all())


def _write_placed(database: Database, connection: Connection, rows: Sequence[Placed]) -> None:
    if not rows:
        return
    moved = database.rows("moved", _PLACED, rows)
    connection.execute(
        update(enrollment)
        .where(enrollment.c.id == moved.c.id)
        .values(
            step=moved.c.step,
            visit=moved.c.visit,
            anchor_at=moved.c.anchor_at,
            reached_at=moved.c.reached_at,
            ended_at=moved.c.ended_at,
            end_reason=moved.c.end_reason,
        )
    )


def _cancel(database: Database, connection: Connection, rows: Sequence[Cancelled], now: datetime) -> None:
    if not rows:
        return
    off = database.rows("off", {"lead_id": _ID, "reason": _TEXT}, rows)
    connection.execute(
        update(message)
        .where(
            message.c.lead_id == off.c.lead_id,
            message.c.kind == "touch",
            message.c.state.in_(("planned", "claimed")),
        )
        .values(
            state="cancelled",
            state_at=now,
            claimed_at=None,
            reason=off.c.reason,
            lease_token=None,
            lease_until=None,
        )
    )


def _write_ranks(database: Database, connection: Connection, rows: Sequence[Ranked]) -> None:
    """Replace what was known of an earlier hand-off of these leads."""
    if not rows:
        return
    chosen = database.ids("chosen", [row.lead_id for row in rows])
    connection.execute(delete(urgency).where(urgency.c.lead_id.in_(select(chosen.c.id))))
    insert_rows(database, connection, urgency, _RANKED, rows)


def _write_facts(database: Database, connection: Connection, rows: Sequence[Factual], now: datetime) -> None:
    if not rows:
        return
    new: FromClause = database.rows("new", {"lead_id": _ID, "facts": Json}, rows)
    connection.execute(
        update(lead).where(lead.c.id == new.c.lead_id).values(facts=new.c.facts, updated_at=now)
    )
