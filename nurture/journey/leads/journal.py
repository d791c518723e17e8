"""Writing the journal: what happened to each lead, and why. Entries are never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.types import TypeEngine

from nurture.db.transaction import Transaction
from nurture.db.types import Json, UtcDateTime

_ID, _INT, _TEXT = BigInteger(), Integer(), String()


class JournalEntry(NamedTuple):
    """One entry of the journal."""

    lead_id: int
    at: datetime
    stage: str
    event: str
    reason: str
    enrollment_id: int | None = None
    track: str | None = None
    track_version: int | None = None
    policy_version: int | None = None
    step: str | None = None
    detail: Mapping[str, Any] | None = None
    custody_from: str | None = None
    custody_to: str | None = None
    ref: str | None = None


_JOURNAL_ENTRY: Mapping[str, TypeEngine[Any]] = dict(
    zip(
        JournalEntry._fields,
        (_ID, UtcDateTime(), _TEXT, _TEXT, _TEXT, _ID, _TEXT, _INT, _INT, _TEXT, Json, _TEXT, _TEXT, _TEXT),
        strict=True,
    )
)


def write_journal(tx: Transaction, entries: Sequence[JournalEntry]) -> None:
    """Add *entries* to the journal, with one statement."""
    tx.insert("journal", _JOURNAL_ENTRY, entries)
