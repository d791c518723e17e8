"""Import a CSV file of outcomes, one lead per row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from nurture.domain.address import normalize_address
from nurture.domain.lead import Closing
from nurture.formats.outcome_file import OutcomeRow, OutcomeRows
from nurture.formats.rejected_rows import BadRow, BadRowReport, choose_report_path
from nurture.formats.status_mapping import LeadStatus, map_status
from nurture.journey.leads import queries as leads_queries
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import OutcomeReport
from nurture.runtime.context import AppContext

BATCH: Final = 1_000
FUTURE_TOLERANCE: Final = timedelta(days=1)
"""How far ahead a close date may be, as other time zones may be a day ahead."""

_MAX_REASON_LENGTH: Final = 300

_CLOSINGS: Final = {
    LeadStatus.WON: Closing.WON,
    LeadStatus.CUSTOMER: Closing.WON,
    LeadStatus.LOST: Closing.LOST,
    LeadStatus.UNQUALIFIED: Closing.DISCARDED,
}

ParsedRow = tuple[OutcomeRow, Sequence[str]]


@dataclass
class OutcomeImportResult:
    """The result of an import: *rows* = the sum of *counts* + *rejected*."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    report_path: Path | None = None


def import_outcomes(
    ctx: AppContext, path: Path, now: datetime, *, source: str = "csv", report: Path | None = None
) -> OutcomeImportResult:
    """Record the outcomes of the CSV at *path*: columns lead, outcome; optionally amount, date, reason.

    *lead* is an id, an address or an external id. Rejected rows go to *report* (default: next to the file), each
    with its line and a remedy. Importing a file again changes nothing. Raises FileUnreadable.
    """
    result = OutcomeImportResult()
    report = choose_report_path(path, report)
    rows = OutcomeRows(path, ("outcome",))
    with rows.file, BadRowReport(report, rows.header) as bad:
        for batch in _batches(rows, bad):
            _import_batch(ctx, batch, bad, result, source, now)
        result.rejected = bad.count
        result.rows = sum(result.counts.values()) + result.rejected
        result.report_path = bad.path if bad.count else None
    return result


def _batches(rows: OutcomeRows, bad: BadRowReport) -> Iterator[list[ParsedRow]]:
    source = iter(rows)
    while page := list(islice(source, BATCH)):
        batch: list[ParsedRow] = []
        for row in page:
            if isinstance(row, BadRow):
                bad.add(row)
            else:
                batch.append(row)
        yield batch


def _import_batch(
    ctx: AppContext,
    batch: Sequence[ParsedRow],
    bad: BadRowReport,
    result: OutcomeImportResult,
    source: str,
    now: datetime,
) -> None:
    with ctx.database.read() as tx:
        texts = {row.lead: normalize_address(row.lead) for row, _ in batch}
        found = leads_queries.resolve_leads(tx, texts)
    reports = []
    for row, cells in batch:
        try:
            reports.append(_parse_report(row, found.get(row.lead, ()), now))
        except ValueError as error:
            bad.add(BadRow.trimmed(row.line, str(error), cells))
    result.counts.update(outcomes.record_outcomes(ctx, reports, source, now))


def _parse_report(row: OutcomeRow, ids: Sequence[int], now: datetime) -> OutcomeReport:
    if len(ids) != 1:
        ambiguous = f"{row.lead!r} matches several leads: {', '.join(map(str, ids))}; use the id"
        raise ValueError(ambiguous if ids else f"no lead matches {row.lead!r}; use an id, an address or an external id")
    closing = parse_closing(row.outcome)
    if closing in (Closing.LOST, Closing.DISCARDED) and not row.reason:
        raise ValueError(f"{row.outcome!r} needs a reason; fill in the column reason")
    if row.amount is not None and closing is not Closing.WON:
        raise ValueError(f"an amount is allowed for won deals only, not for {row.outcome!r}; empty the cell")
    at = row.closed_at
    if at is not None and at > now + FUTURE_TOLERANCE:
        raise ValueError(f"{at:%Y-%m-%d} is in the future; write the date of closing")
    return OutcomeReport(ids[0], closing, min(at, now) if at else None, row.amount, row.reason[:_MAX_REASON_LENGTH])


def parse_closing(text: str) -> Closing:
    """Return the closing that the word in a file means. Raises ValueError for an unknown word."""
    word = text.strip().casefold()
    for closing in Closing:
        if word == closing.value:
            return closing
    status = map_status(text)
    if status in _CLOSINGS:
        return _CLOSINGS[status]
    known = ", ".join(closing.value for closing in Closing)
    raise ValueError(f"{text[:60]!r} is not an outcome; use one of {known}")
