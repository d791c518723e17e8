"""Delete what is older than its retention, and that no proof needs: consent, opt-outs, hand-offs and outcomes stay."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from nurture.db.vacuum import find_free_bytes
from nurture.operations import cleanup_queries as queries
from nurture.operations.cleanup_queries import OldRows
from nurture.runtime.batches import drain
from nurture.runtime.context import AppContext
from nurture.runtime.retention import Retention

BATCH: Final = 5_000
"""Rows that one transaction deletes: other writers wait for some ten milliseconds."""


class Cleaned(NamedTuple):
    """What was deleted, or would be, of one kind of data. *before*: None if all of it is kept."""

    name: str
    rows: int
    before: datetime | None


class CleanupReport(NamedTuple):
    """What a cleanup did. *free_bytes*: what the database file of SQLite holds and does not use, 0 on PostgreSQL."""

    cleaned: tuple[Cleaned, ...]
    free_bytes: int


def clean_up(ctx: AppContext, now: datetime, *, dry_run: bool = False) -> CleanupReport:
    """Delete what is past its retention at *now*, or count it with *dry_run*.

    Safe to run twice, in parallel, and to end at any moment: each transaction deletes at most `BATCH` rows, the
    oldest first.
    """
    cleaned = tuple(_clean(ctx, *one, dry_run=dry_run) for one in _plan(ctx.retention, now))
    return CleanupReport(cleaned, find_free_bytes(ctx.database))


def _plan(retention: Retention, now: datetime) -> Iterator[tuple[str, OldRows, datetime | None]]:
    """Yield each kind of data: its name, its rows, and the time before which they are deleted."""

    def before(kept: timedelta | None) -> datetime | None:
        return None if kept is None else now - kept

    yield "webhook batches", queries.RAW_EVENTS, before(retention.raw_events)
    yield "provider events", queries.EVENTS, before(retention.events)
    yield "requests of clicks and opens", queries.REQUESTS, before(retention.events)
    yield "texts of replies", queries.REPLIES, before(retention.replies)
    until = before(retention.journal)
    # Whole days: the daily counts before this day cannot be counted again.
    until = until and until.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    yield "planner decisions in the journal", queries.JOURNAL, until


def _clean(ctx: AppContext, name: str, rows: OldRows, before: datetime | None, *, dry_run: bool) -> Cleaned:
    if before is None:
        return Cleaned(name, 0, None)
    with ctx.database.read() as tx:
        if dry_run:
            return Cleaned(name, queries.count(tx, rows, before), before)
        end, keys = queries.find_end(tx, rows, before), [-1]

    def next_batch() -> list[int]:
        with ctx.database.write() as tx:
            found = queries.find(tx, rows, before, end, keys[-1], BATCH)
            if found and rows is queries.JOURNAL:
                queries.note_journal_since(tx, before)
            if found:
                queries.remove(tx, rows, found)
        keys[:] = found or keys
        return found

    return Cleaned(name, sum(map(len, drain(next_batch, lambda found: len(found) == BATCH))), before)
