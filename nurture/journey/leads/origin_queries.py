"""Email address, country and fields of leads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction

address = table(lead_tables.Address)
custody = table(lead_tables.Custody)
lead = table(lead_tables.Lead)


class Origin(NamedTuple):
    """Email address and country of a lead, and since when its custodian has it."""

    lead_id: int
    email: str | None
    country: str
    since: datetime


def load_origins(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, Origin]:
    """Return the origins of these leads, by lead id."""
    chosen = tx.ids("chosen", lead_ids)
    statement = (
        select(lead.c.id, address.c.email, lead.c.country, custody.c.since)
        .join(chosen, chosen.c.id == lead.c.id)
        .join(custody, custody.c.lead_id == lead.c.id)
        .outerjoin(address, address.c.id == lead.c.address_id)
    )
    return {row.lead_id: row for row in map(Origin._make, tx.execute(statement))}


def load_fields(tx: Transaction, lead_id: int) -> dict[str, Any]:
    """Return the fields of a lead with its country code; empty if there is no such lead."""
    row = tx.execute(select(lead.c.fields, lead.c.country).where(lead.c.id == lead_id)).one_or_none()
    return {} if row is None else {**row.fields, **({"country": row.country} if row.country else {})}
