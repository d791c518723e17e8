"""Lock leads in the one order in which all writers lock them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction

custody = table(lead_tables.Custody)
lead = table(lead_tables.Lead)


def lock_leads(tx: Transaction, lead_ids: Iterable[int]) -> None:
    """Lock these leads until the transaction ends.

    Locks are taken in the order of ids and before any other lock on these leads, which prevents deadlocks. Read the
    leads in a later statement: a statement that waited for the lock may not see what its holder wrote.
    """
    if tx.skips_locked:
        chosen = tx.ids("chosen", sorted(set(lead_ids)))
        statement = select(custody.c.lead_id).join(chosen, chosen.c.id == custody.c.lead_id)
        tx.execute(statement.order_by(custody.c.lead_id).with_for_update(of=custody))


def lock_existing_leads(tx: Transaction, lead_ids: Iterable[int]) -> set[int]:
    """Lock leads as `lock_leads` does; return those that are not erased."""
    unique_ids = sorted(set(lead_ids))
    if not unique_ids:
        return set()
    lock_leads(tx, unique_ids)
    chosen = tx.ids("chosen", unique_ids)
    statement = select(lead.c.id).join(chosen, chosen.c.id == lead.c.id).where(lead.c.erased_at.is_(None))
    return set(tx.execute(statement).scalars())


def lock_open_leads(tx: Transaction) -> None:
    """Lock every lead that is not closed, for writers that change leads in several statements."""
    if tx.skips_locked:
        statement = select(custody.c.lead_id).where(custody.c.kind != "closed")
        tx.execute(statement.order_by(custody.c.lead_id).with_for_update())
