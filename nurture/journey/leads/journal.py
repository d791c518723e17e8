"""Writing the journal: what happened to each lead, and why. Entries are never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction

journal = table(lead_tables.Journal)


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


def write_journal(tx: Transaction, entries: Sequence[JournalEntry]) -> None:
    """Add *entries* to the journal, with one statement."""
    tx.insert(journal, JournalEntry._fields, entries)
