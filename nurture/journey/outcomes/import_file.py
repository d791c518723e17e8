"""Import a CSV file of outcomes, one lead per row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Unpack

from nurture.db.transaction import Transaction
from nurture.domain.lead import Closing
from nurture.errors import InvalidState
from nurture.formats.csv_reader import FileRow
from nurture.formats.outcome_file import OutcomeRow, OutcomeRows
from nurture.formats.rejected_rows import BadRow
from nurture.formats.status_mapping import LeadStatus, map_status
from nurture.journey.leads import find
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import OutcomeReport
from nurture.runtime.context import AppContext
from nurture.runtime.import_run import ImportOptions, ImportResult, ImportRun

FUTURE_TOLERANCE: Final = timedelta(days=1)
"""How far ahead a close date may be, as other time zones may be a day ahead."""

_MAX_REASON_LENGTH: Final = 300

_CLOSINGS: Final = {
    LeadStatus.WON: Closing.WON,
    LeadStatus.CUSTOMER: Closing.WON,
    LeadStatus.LOST: Closing.LOST,
    LeadStatus.UNQUALIFIED: Closing.DISCARDED,
}


def import_outcomes(
    ctx: AppContext, path: Path, now: datetime, *, source: str = "csv", **options: Unpack[ImportOptions]
) -> ImportResult:
    """Record the outcomes of the CSV at *path*: columns lead, outcome; optionally amount, date, reason.

    *lead* is an id, an address or an external id. Importing a file again changes nothing. Raises FileUnreadable.
    """
    result = ImportResult(source)

    def write(tx: Transaction, batch: Sequence[tuple[OutcomeRow, FileRow]]) -> list[BadRow]:
        found = find.resolve_leads(tx, (row.lead for row, _ in batch))
        reports, bad = [], []
        for row, source_row in batch:
            try:
                reports.append(_parse_report(row, found, now))
            except (InvalidState, ValueError) as error:
                bad.append(source_row.reject(str(error)))
        verdicts = Counter(outcomes.record_outcomes_in(ctx, tx, reports, source, now))
        result.new += verdicts["closed"]
        result.updated += verdicts["completed"]
        result.unchanged += verdicts["same"] + verdicts["known"]
        result.conflicts += verdicts["conflict"]
        return bad

    rows = OutcomeRows(path, ("outcome",))
    with rows.file as file:
        ImportRun("outcomes", file, file.header, rows, write, result).execute(ctx.database, now, **options)
    return result


def _parse_report(row: OutcomeRow, found: Mapping[str, Sequence[int]], now: datetime) -> OutcomeReport:
    lead_id = find.require_one(row.lead, found)
    closing = parse_closing(row.outcome)
    if closing in (Closing.LOST, Closing.DISCARDED) and not row.reason:
        raise ValueError(f"{row.outcome!r} needs a reason; fill in the column reason")
    if row.amount is not None and closing is not Closing.WON:
        raise ValueError(f"an amount is allowed for won deals only, not for {row.outcome!r}; empty the cell")
    at = row.closed_at
    if at is not None and at > now + FUTURE_TOLERANCE:
        raise ValueError(f"{at:%Y-%m-%d} is in the future; write the date of closing")
    return OutcomeReport(lead_id, closing, min(at, now) if at else None, row.amount, row.reason[:_MAX_REASON_LENGTH])


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
