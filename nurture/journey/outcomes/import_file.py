"""Import a CSV file of outcomes, one lead per row."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Unpack

from nurture.db.transaction import Transaction
from nurture.domain.lead import Closing
from nurture.errors import InvalidState
from nurture.formats.column_mapping import ColumnMapping, load_field_mapping
from nurture.formats.columns import normalize_name, words_by_name
from nurture.formats.csv_reader import FileRow
from nurture.formats.outcome_file import OUTCOME_FIELDS, OutcomeRow, OutcomeRows
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
_MAX_SHOWN: Final = 10
_OPEN: Final = "open"
_MEANINGS: Final = (*(one.value for one in Closing), _OPEN)
_CLOSED_AS: Final = re.compile(r"(?:closed|deal)\W*(won|lost)\b", re.IGNORECASE)
_AROUND_STAGE: Final = re.compile(r"\([^)]*\)|\[[^]]*\]|\d+\s*%|^\W*\d+\W*")

_CLOSINGS: Final = {
    LeadStatus.WON: Closing.WON,
    LeadStatus.CUSTOMER: Closing.WON,
    LeadStatus.LOST: Closing.LOST,
    LeadStatus.UNQUALIFIED: Closing.DISCARDED,
}


@dataclass
class OutcomeImportResult(ImportResult):
    """The result of an import of outcomes. *still_open* are rows of open deals, which change nothing; they are among
    *unchanged*.
    """

    still_open: int = 0


def import_outcomes(
    ctx: AppContext,
    path: Path,
    now: datetime,
    *,
    source: str | None = None,
    mapping: Path | None = None,
    **options: Unpack[ImportOptions],
) -> OutcomeImportResult:
    """Record the outcomes of the file at *path*: columns lead, outcome; optionally amount, date, reason.

    *lead* is an id, an address or an external id. An export of deals works as it is, or with a *mapping*. Importing a
    file again changes nothing. Raises FileUnreadable.
    """
    columns = ColumnMapping() if mapping is None else load_field_mapping(mapping, OUTCOME_FIELDS, "statuses", _MEANINGS)
    source = source or columns.source or "csv"
    result = OutcomeImportResult(source)
    unknown: Counter[str] = Counter()
    without_amount: list[str] = []

    def write(tx: Transaction, batch: Sequence[tuple[OutcomeRow, FileRow]]) -> list[BadRow]:
        found = find.resolve_leads(tx, (lead for row, _ in batch for lead in (row.lead, *row.other_leads)))
        reports, bad = [], []
        for row, source_row in batch:
            try:
                report = _parse_report(row, columns.meanings, found, now, unknown)
            except (InvalidState, ValueError) as error:
                bad.append(source_row.reject(str(error)))
                continue
            if report is None:
                result.still_open += 1
            else:
                reports.append(report)
                if row.amount_fault:
                    without_amount.append(f"line {row.line}, {row.amount_fault}")
        verdicts = Counter(outcomes.record_outcomes_in(ctx, tx, reports, source, now))
        result.new += verdicts["closed"]
        result.updated += verdicts["completed"]
        result.unchanged += verdicts["same"] + verdicts["known"] + len(batch) - len(bad) - len(reports)
        result.conflicts += verdicts["conflict"]
        return bad

    rows = OutcomeRows(path, ("lead", "outcome"), options.get("reading"), columns, deals=True)
    with rows.file as file:
        result.mapped, result.unmapped = rows.columns.mapped, rows.columns.unmapped
        ImportRun("outcomes", file, file.header, rows, write, result).execute(ctx.database, now, **options)
    if without_amount:
        count, shown = len(without_amount), "; ".join(without_amount[:_MAX_SHOWN])
        shown += "; ..." if count > _MAX_SHOWN else ""
        note = f"{count:,} closed without the amount; correct it and import the file again, which adds it: {shown}."
        result.notes = (*result.notes, note)
    if unknown:
        texts = ", ".join(f"{text!r} ({count:,})" for text, count in unknown.most_common(_MAX_SHOWN))
        note = f"Unknown stages count as still open; say what they mean under `statuses:` in a mapping file: {texts}."
        result.notes = (*result.notes, note)
    return result


def _parse_report(
    row: OutcomeRow,
    meanings: Mapping[str, str],
    found: Mapping[str, Sequence[int]],
    now: datetime,
    unknown: Counter[str],
) -> OutcomeReport | None:
    """Return the report of a row, None for a deal that is still open. Raises InvalidState or ValueError."""
    if row.faults:
        raise ValueError("; ".join(row.faults))
    closing = parse_closing(row.outcome, meanings)
    if closing is None and not row.is_stage and not is_open_stage(row.outcome, meanings):
        known = ", ".join(one.value for one in Closing)
        raise ValueError(f"{row.outcome[:60]!r} is not an outcome; use one of {known}")
    # Of several people whom a deal names, the first that is a lead stands for it, so that it counts once.
    lead = next((lead for lead in (row.lead, *row.other_leads) if len(found.get(lead, ())) == 1), row.lead)
    lead_id = find.require_one(lead, found)
    if closing is None:
        if not is_open_stage(row.outcome, meanings):
            unknown[row.outcome[:60]] += 1
        return None
    at = row.closed_at
    if at is not None and at > now + FUTURE_TOLERANCE:
        raise ValueError(f"{at:%Y-%m-%d} is in the future; write the date of closing")
    reason = row.reason[:_MAX_REASON_LENGTH] or ("" if closing is Closing.WON else outcomes.NO_REASON)
    return OutcomeReport(lead_id, closing, min(at, now) if at else None, row.amount, reason)


def parse_closing(text: str, meanings: Mapping[str, str]) -> Closing | None:
    """Return the closing that the word in a file means; None for an open or an unknown stage.

    *meanings* are those of a mapping. Numbers and brackets around a stage are left out: "5 - Closed Won (EU)".
    """
    word = text.strip().casefold()
    if meaning := meanings.get(word):
        return None if meaning == _OPEN else Closing(meaning)
    if word in set(Closing):
        return Closing(word)
    plain = " ".join(_AROUND_STAGE.sub(" ", text).split())
    status = map_status(text) or map_status(plain)
    if status is None and (ending := _CLOSED_AS.match(plain)):  # Closed Lost to Competition
        return Closing(ending[1].casefold())
    return _CLOSINGS.get(status) if status is not None else None


def is_open_stage(text: str, meanings: Mapping[str, str]) -> bool:
    """Return whether the word in a file is known for a deal that is still open; *meanings* as in `parse_closing`."""
    word = normalize_name(_AROUND_STAGE.sub(" ", text))
    is_known = not word or word in words_by_name("open_stage") or map_status(text) not in (None, *_CLOSINGS)
    return is_known or meanings.get(text.strip().casefold()) == _OPEN
