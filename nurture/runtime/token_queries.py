"""Digests of the tokens in public links."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, select

from nurture.db.tables import handoff as handoff_tables
from nurture.db.tables import links as link_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction

link_token = table(link_tables.LinkToken)
_offer = table(handoff_tables.Offer)


class TokenRecord(NamedTuple):
    """The purpose of a token and the rows that it refers to."""

    purpose: str
    lead_id: int
    message_id: int | None
    offer_id: int | None


def insert_tokens(tx: Transaction, rows: Sequence[tuple[str, str, int, int | None, int | None, datetime]]) -> None:
    """Insert (digest, purpose, lead id, message id, offer id, created at) rows."""
    tx.insert(link_token, ("digest", "purpose", "lead_id", "message_id", "offer_id", "created_at"), rows)


def find_token(tx: Transaction, digest: str) -> TokenRecord | None:
    """Return the token with this digest, None if there is none."""
    row = tx.execute(
        select(link_token.c.purpose, link_token.c.lead_id, link_token.c.message_id, link_token.c.offer_id).where(
            link_token.c.digest == digest
        )
    ).one_or_none()
    return TokenRecord._make(row) if row is not None else None


def delete_offer_tokens(tx: Transaction, rep: str) -> int:
    """Delete the tokens of offers made to *rep*; return how many."""
    offers, leads = (select(column).where(_offer.c.rep == rep) for column in (_offer.c.id, _offer.c.lead_id))
    # The condition on the lead is redundant, but only lead_id has an index.
    is_of_rep = (link_token.c.lead_id.in_(leads), link_token.c.offer_id.in_(offers))
    return tx.execute(delete(link_token).where(*is_of_rep)).rowcount
