"""Keep the counts of leads with their rows: by first contact, source, readiness rule and custodian."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import FromClause, Select, select

from nurture.db import rollups
from nurture.db.tables.leads import custody, lead
from nurture.db.transaction import Transaction


class CountedLead(NamedTuple):
    """What a lead is counted by. *ref* counts only for queues."""

    first_contact_at: datetime
    source: str
    readiness: str
    kind: str
    ref: str


def load_counted(tx: Transaction, lead_ids: Collection[int]) -> dict[int, CountedLead]:
    """Return what these leads are counted by now. Needs them locked."""
    if not lead_ids:
        return {}
    return {id_: CountedLead(*values) for id_, *values in tx.execute_for(_counted_query, sorted(lead_ids))}


def _counted_query(chosen: FromClause) -> Select[Any]:
    columns = lead.c.id, lead.c.first_contact_at, lead.c.source, lead.c.readiness, custody.c.kind, custody.c.ref
    query = select(*columns).join(chosen, chosen.c.id == lead.c.id)
    return query.join(custody, custody.c.lead_id == lead.c.id)


def count_new(tx: Transaction, leads: Iterable[tuple[datetime, str, str, str, str]]) -> None:
    """Count leads that are inserted; each is given as the values of `CountedLead`."""
    rollups.count_leads(tx, [(*key, number) for key, number in Counter(leads).items()])


def count_changes(tx: Transaction, changes: Iterable[tuple[CountedLead, CountedLead]]) -> None:
    """Count leads that change; *changes* are what each was counted by before, and after."""
    counts = Counter[CountedLead]()
    for old, new in changes:
        counts[old] -= 1
        counts[new] += 1
    rollups.count_leads(tx, [(*key, number) for key, number in counts.items() if number])
