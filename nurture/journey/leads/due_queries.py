"""Find what is due: for the loop of `nurture up`, for a virtual clock, and for the replay after a restore."""

from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, bindparam, exists, func, or_, select

from nurture.db.tables.crm import crm_record
from nurture.db.tables.delivery import broadcast, message
from nurture.db.tables.inbound import inbound_mail, raw_batch
from nurture.db.tables.leads import custody
from nurture.db.tables.signals import signal
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.lead import Custodian

_CLAIMED_CUSTODIANS: Final = {"intake": (Custodian.INTAKE, Custodian.RESTING), "advance": (Custodian.TRACK,)}
"""Whose due leads the stages claim in batches, each worker others."""


def find_next_due(tx: Transaction, custodians: tuple[Custodian, ...], recipient: str | None = None) -> datetime | None:
    """Return when the next lead of *custodians*, broadcast or planned message is due, None if never.

    *recipient* None means any.
    """
    found = tx.execute(_next_due_query(custodians, recipient)).one()
    return min((due_at for due_at in found if due_at is not None), default=None)


@cache
def _next_due_query(custodians: tuple[Custodian, ...], recipient: str | None) -> Select[Any]:
    # One kind per subquery and the filter on due_at match the partial index; otherwise SQLite scans all leads.
    first = select(func.min(custody.c.due_at, type_=custody.c.due_at.type)).where(custody.c.due_at.is_not(None))
    queries = [first.where(custody.c.kind == one.value) for one in custodians]
    planned = select(func.min(message.c.send_at, type_=message.c.send_at.type)).where(message.c.state == "planned")
    queries.append(planned if recipient is None else planned.where(message.c.recipient == recipient))
    begins = select(func.min(broadcast.c.due_at, type_=broadcast.c.due_at.type)).where(broadcast.c.planned_at.is_(None))
    return select(*[one.scalar_subquery() for one in (*queries, begins)])


def find_due_stages(tx: Transaction, now: datetime, stages: tuple[str, ...] = ()) -> frozenset[str]:
    """Return the names of the stages for which something is due at *now* (UTC): one statement of index probes.

    What only a call to a mailbox or a CRM could tell is not among it. Asks about *stages* only, if any are given.
    """
    found = tx.execute(_due_stages_query(stages), {"now": now}).mappings().one()
    return frozenset(str(name) for name, is_due in found.items() if is_due)


@cache
def _due_stages_query(stages: tuple[str, ...]) -> Select[Any]:
    now = bindparam("now", type_=UtcDateTime())

    def held_by(*custodians: Custodian) -> list[ColumnElement[bool]]:
        return [exists().where(custody.c.kind == one.value, custody.c.due_at <= now) for one in custodians]

    def in_outbox(outbox: Table, *unknown: str) -> list[ColumnElement[bool]]:
        return [
            exists().where(_is_in(outbox, "planned"), outbox.c.send_at <= now),
            exists().where(_is_in(outbox, "claimed", "sending"), outbox.c.lease_until < now),
            exists().where(_is_in(outbox, *unknown), outbox.c.state == "unknown"),
        ]

    waiting: list[ColumnElement[bool]] = [
        exists().where(signal.c.applied_at.is_(None)),
        exists().where(raw_batch.c.processed_at.is_(None), raw_batch.c.error.is_(None)),
        exists().where(inbound_mail.c.error.is_(None)),
    ]
    due: dict[str, list[ColumnElement[bool]]] = {
        "signals": waiting,
        **{name: held_by(*custodians) for name, custodians in _CLAIMED_CUSTODIANS.items()},
        "hand-off": held_by(Custodian.OFFER, Custodian.REP, Custodian.QUEUE),
        "crm": in_outbox(crm_record, "unknown", "rejected"),
        "deliver": [
            exists().where(broadcast.c.planned_at.is_(None), broadcast.c.due_at <= now),
            *in_outbox(message, "unknown"),
        ],
    }
    return select(*[or_(*due[name]).label(name) for name in stages or due])


def is_more_due(tx: Transaction, stage: str, now: datetime, count: int) -> bool:
    """Return whether more than *count* leads or messages are due at *now* (UTC) for a stage that claims them."""
    found = tx.execute(_due_rows_query(stage, count + 1), {"now": now}).scalar_one()
    return bool(found > count)


@cache
def _due_rows_query(stage: str, limit: int) -> Select[Any]:
    now = bindparam("now", type_=UtcDateTime())
    if stage == "deliver":
        due = [select(message.c.id).where(_is_in(message, "planned"), message.c.send_at <= now)]
    else:
        due = [
            select(custody.c.lead_id).where(custody.c.kind == one.value, custody.c.due_at <= now)
            for one in _CLAIMED_CUSTODIANS[stage]
        ]
    counts = [select(func.count()).select_from(one.limit(limit).subquery()).scalar_subquery() for one in due]
    return select(sum(counts[1:], counts[0]))


def _is_in(outbox: Table, *states: str) -> ColumnElement[bool]:
    """Return a condition with literal states, as in the partial indexes; with bound values SQLite scans the table."""
    if len(states) == 1:
        return outbox.c.state == bindparam(None, states[0], literal_execute=True)
    return outbox.c.state.in_(bindparam(None, states, expanding=True, literal_execute=True))
