"""Read a lead as the recipient of an email that somebody on our side looks at."""

from typing import Any, NamedTuple

from sqlalchemy import func, select

from nurture.db.row_values import row_columns
from nurture.db.tables.leads import address, custody, lead
from nurture.db.transaction import Transaction


class RecipientRow(NamedTuple):
    """What an email says to a lead depends on."""

    fields: dict[str, Any]
    zone: str
    country: str
    consent_basis: str | None
    email: str | None


def find_recipient(tx: Transaction, lead_id: int) -> RecipientRow | None:
    """Return a lead, None if there is none."""
    query = select(*row_columns(RecipientRow, lead, address)).outerjoin(address, address.c.id == lead.c.address_id)
    row = tx.execute(query.where(lead.c.id == lead_id)).one_or_none()
    return RecipientRow._make(row) if row is not None else None


def find_newest_lead(tx: Transaction) -> int | None:
    """Return the id of the newest lead, None if there is none."""
    found: int | None = tx.execute(select(func.max(custody.c.lead_id))).scalar()
    return found
