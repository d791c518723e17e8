"""Read messages with unknown delivery."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from nurture.db.row_values import row_columns
from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction

message = table(delivery_tables.Message)
lead = table(lead_tables.Lead)
address = table(lead_tables.Address)


class UnknownMessage(NamedTuple):
    """A message with unknown delivery. *called_at* (UTC) is when it was stamped, right before the call."""

    id: int
    send_key: str
    kind: str
    lead_id: int
    track: str | None
    step: str
    rep: str | None
    called_at: datetime
    attempts: int
    reason: str | None
    email: str | None
    provider: str | None = None


_SELECT_UNKNOWN = (
    select(*row_columns(UnknownMessage, message, called_at=message.c.state_at, email=address.c.email))
    .join(lead, lead.c.id == message.c.lead_id)
    .outerjoin(address, address.c.id == lead.c.address_id)
    .where(message.c.state == "unknown")
)


def load_unknown(tx: Transaction) -> list[UnknownMessage]:
    """Return every unknown message, the oldest first."""
    return [UnknownMessage._make(row) for row in tx.execute(_SELECT_UNKNOWN.order_by(message.c.state_at, message.c.id))]


def load_unknown_by_id(tx: Transaction, ids: Sequence[int], *, lock: bool = False) -> list[UnknownMessage]:
    """Return those of *ids* that are unknown; *lock* locks them until the transaction ends."""
    query = _SELECT_UNKNOWN.join(picked := tx.ids("picked", ids), picked.c.id == message.c.id)
    if lock and tx.skips_locked:
        query = query.with_for_update(of=message)
    return [UnknownMessage._make(row) for row in tx.execute(query.order_by(message.c.id))]
