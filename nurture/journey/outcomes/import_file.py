"""Bring in a file of outcomes: one row per lead, with how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from nurture.domain.address import normalise_address
from nurture.domain.lead import Closing
from nurture.formats.outcome_file import OutcomeRow, OutcomeRows
from nurture.formats.rejected_rows import BadRow, BadRowReport, report_path
from nurture.formats.status_words import Status, status_of
from nurture.journey.leads import queries as leads_queries
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import Telling
from nurture.runtime.context import House

BATCH: Final = 1_000
SKEW: Final = timedelta(days=1)
"""How far ahead a close date may be: other zones write their own day."""

_LONGEST: Final = 300

_CLOSINGS: Final = {
    Status.WON: Closing.WON,
    Status.CUSTOMER: Closing.WON,
    Status.LOST: Closing.LOST,
    Status.UNQUALIFIED: Closing.DISCARDED,
}

Read = tuple[OutcomeRow, Sequence[str]]


@dataclass
class OutcomesImported:
    """What came of a file: *rows* = the sum of *counts* + *bad*."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    report_path: Path | None = None


def import_outcomes(
    house: House, path: Path, now: datetime, *, source: str = "csv", report: Path | None = None
) -> OutcomesImported:
    """Take in the outcomes of the CSV at *path*: lead, outcome; amount, date, reason where known.

    *lead* is an id, an address or an external id. Bad rows go to *report* (default: beside the file), each
    with its line and a remedy. The same file again changes nothing. Raises FileUnreadable.
    """
    done = OutcomesImported()
    report = report_path(path, report)
    rows = OutcomeRows(path, ("outcome",))
    with rows.file, BadRowReport(report, rows.header) as bad:
        for batch in _batches(rows, bad):
            _take(house, batch, bad, done, source, now)
        done.bad = bad.count
        done.rows = sum(done.counts.values()) + done.bad
        done.report_path = bad.path if bad.count else None
    return done


def _batches(rows: OutcomeRows, bad: BadRowReport) -> Iterator[list[Read]]:
    source = iter(rows)
    while page := list(islice(source, BATCH)):
        batch: list[Read] = []
        for row in page:
            if isinstance(row, BadRow):
                bad.add(row)
            else:
                batch.append(row)
        yield batch


def _take(
    house: House, batch: Sequence[Read], bad: BadRowReport, done: OutcomesImported, source: str, now: datetime
) -> None:
    with house.database.read() as connection:
        texts = {row.lead: normalise_address(row.lead) for row, _ in batch}
        found = leads_queries.resolve(house.database, connection, texts)
    told = []
    for row, cells in batch:
        try:
            told.append(_telling(row, found.get(row.lead, ()), now))
        except ValueError as fault:
            bad.add(BadRow.of(row.line, str(fault), cells))
    done.counts.update(outcomes.tell(house, told, source, now))


def _telling(row: OutcomeRow, ids: Sequence[int], now: datetime) -> Telling:
    if len(ids) != 1:
        several = f"{row.lead!r} means several leads: {', '.join(map(str, ids))}; write the id"
        raise ValueError(
            several if ids else f"no lead is called {row.lead!r}; write an id, an address or an external id"
        )
    closing = closing_of(row.outcome)
    if closing in (Closing.LOST, Closing.DISCARDED) and not row.reason:
        raise ValueError(f"{row.outcome!r} needs a reason; write why in the column reason")
    if row.amount is not None and closing is not Closing.WON:
        raise ValueError(f"an amount belongs to a deal that is won, not to {row.outcome!r}; empty the cell")
    at = row.closed_at
    if at is not None and at > now + SKEW:
        raise ValueError(f"{at:%Y-%m-%d} is in the future; write the day on which it was closed")
    return Telling(ids[0], closing, min(at, now) if at else None, row.amount, row.reason[:_LONGEST])


def closing_of(text: str) -> Closing:
    """Return what the word of a file means. Raises ValueError for a word that nobody has told us."""
    plain = text.strip().casefold()
    for closing in Closing:
        if plain == closing.value:
            return closing
    status = status_of(text)
    if status in _CLOSINGS:
        return _CLOSINGS[status]
    known = ", ".join(closing.value for closing in Closing)
    raise ValueError(f"{text[:60]!r} is no outcome; write one of {known}")
