"""Writing the custody of leads: who is responsible for each, what happens next, and when it is due."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, func, select, update

from nurture.db.row_values import column_types
from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction

custody = table(lead_tables.Custody)


class CustodyUpdate(NamedTuple):
    """The new custody of a lead. *since* None keeps the stored time, because the custodian does not change."""

    lead_id: int
    version: int
    kind: str
    ref: str
    since: datetime | None
    next_action: str
    due_at: datetime | None


def write_custody(tx: Transaction, rows: Sequence[CustodyUpdate]) -> set[int]:
    """Write *rows* whose version is still the stored one; return their leads.

    A lead that another worker moved meanwhile keeps what that worker wrote.
    """
    if not rows:
        return set()
    moved = tx.rows("moved", column_types(custody, CustodyUpdate._fields), rows)
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
    return set(tx.execute(statement).scalars().all())


def bring_forward(
    tx: Transaction, at: datetime, where: ColumnElement[bool], lead_ids: Collection[int] | None = None
) -> None:
    """Make leads due at *at* that would be due later: those for which *where* holds, or those of them in *lead_ids*."""
    later = and_(where, custody.c.due_at > at)
    if lead_ids is not None:
        if not lead_ids:
            return
        later = and_(later, custody.c.lead_id == tx.ids("chosen", sorted(set(lead_ids))).c.id)
    elif tx.skips_locked:
        # In the order of ids, like every lock on leads: prevents deadlocks.
        tx.execute(select(custody.c.lead_id).where(later).order_by(custody.c.lead_id).with_for_update())
    tx.execute(update(custody).where(later).values(due_at=at, version=custody.c.version + 1))
