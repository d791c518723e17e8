"""Find and delete rows that are older than a time, a bounded number at once.

Ids grow with the time of their rows, so the end of the old ones is found by bisection: none of these tables needs an
index on its time.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Table, and_, delete, func, or_, select, update

from nurture.db.tables.inbound import provider_event, raw_batch, reply, tracking_request
from nurture.db.tables.installation import clock
from nurture.db.tables.leads import journal
from nurture.db.tables.signals import signal
from nurture.db.transaction import Transaction

_TOLERANCE: Final = timedelta(days=2)
"""How far the times of neighboring rows may differ from the order of their ids: clocks are corrected."""

_UNREADABLE: Final = {"text": "", "sender": "", "contact": "", "attachments": []}


class OldRows(NamedTuple):
    """Rows of *table* older than a time, for which *where* holds."""

    table: Table
    key: str
    time: str
    where: ColumnElement[bool] | None = None

    def is_older(self, before: datetime) -> ColumnElement[bool]:
        """Return the condition of rows before *before*."""
        old = self.table.c[self.time] < before
        return old if self.where is None else and_(old, self.where)


RAW_EVENTS: Final = OldRows(raw_batch, "id", "received_at", raw_batch.c.processed_at.is_not(None))
EVENTS: Final = OldRows(provider_event, "id", "received_at")
REQUESTS: Final = OldRows(tracking_request, "signal_id", "at")
REPLIES: Final = OldRows(
    reply, "id", "received_at", or_(*(reply.c[name] != "" for name in ("text", "sender", "contact")))
)
JOURNAL: Final = OldRows(journal, "id", "at", and_(journal.c.stage == "advance", journal.c.custody_to.is_(None)))
"""What the planner decided without a change of custodian. All other entries are proofs: a trigger keeps them."""


def find_end(tx: Transaction, rows: OldRows, before: datetime) -> int:
    """Return an id below which all rows before *before* stand; at most 64 statements, by the primary key."""
    key, time = _columns(rows)
    low, high = tx.execute(select(func.coalesce(func.min(key), 0), func.coalesce(func.max(key), -1) + 1)).one()
    before += _TOLERANCE
    while low < high:
        middle = (low + high) // 2
        found = tx.execute(select(key, time).where(key >= middle).order_by(key).limit(1)).first()
        if found is None or found[1] >= before:
            high = middle
        else:
            low = found[0] + 1
    return int(low)


def count(tx: Transaction, rows: OldRows, before: datetime) -> int:
    """Return how many rows are before *before*."""
    key, _ = _columns(rows)
    number: int = tx.execute(
        select(func.count()).select_from(rows.table).where(key < find_end(tx, rows, before), rows.is_older(before))
    ).scalar_one()
    return number


def find(tx: Transaction, rows: OldRows, before: datetime, end: int, after: int, limit: int) -> list[int]:
    """Return the keys of at most *limit* rows before *before*: those above *after* and below *end*, in order."""
    key, _ = _columns(rows)
    query = select(key).where(key > after, key < end, rows.is_older(before)).order_by(key).limit(limit)
    return list(tx.execute(query).scalars())


def remove(tx: Transaction, rows: OldRows, keys: Sequence[int]) -> None:
    """Delete these rows; of replies only what the person wrote, so that the same email never counts twice."""
    key, _ = _columns(rows)
    chosen = tx.ids("chosen", keys)
    if rows is REQUESTS:  # without its request a click is never classified again: its verdict is final
        tx.execute(update(signal).where(signal.c.id.in_(select(chosen.c.id))).values(click_filter_key=None))
    if rows is REPLIES:
        tx.execute(update(reply).where(key.in_(select(chosen.c.id))).values(_UNREADABLE))
    else:
        tx.execute(delete(rows.table).where(key.in_(select(chosen.c.id))))


def note_journal_since(tx: Transaction, since: datetime) -> None:
    """Keep that the journal is complete from *since* on, unless it is only from a later time."""
    later = or_(clock.c.journal_since.is_(None), clock.c.journal_since < since)
    tx.execute(update(clock).where(later).values(journal_since=since))


def _columns(rows: OldRows) -> tuple[Column[int], Column[datetime]]:
    return rows.table.c[rows.key], rows.table.c[rows.time]
