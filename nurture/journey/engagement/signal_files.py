"""Import a CSV file of signals, one per row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from nurture.domain.address import normalize_address
from nurture.errors import FileUnreadable, InvalidState
from nurture.formats.csv_reader import CsvRows, open_rows
from nurture.formats.rejected_rows import BadRow, BadRowReport, choose_report_path
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries
from nurture.runtime.context import AppContext

REQUIRED: Final = ("lead", "kind", "at")
COLUMNS: Final = (*REQUIRED, "value", "email", "link")
BATCH: Final = 1_000

SignalRow = tuple[int, list[str], dict[str, str]]
"""Line number, cells, and cells by column."""


@dataclass
class SignalImportResult:
    """The result of an import: *rows* = *new* + *duplicates* + *rejected*."""

    rows: int = 0
    new: int = 0
    duplicates: int = 0
    rejected: int = 0
    report_path: Path | None = None


def import_signals(ctx: AppContext, path: Path, now: datetime, *, report: Path | None = None) -> SignalImportResult:
    """Record the signals of the CSV at *path*: columns lead, kind, at; optionally value, email, link.

    *lead* is an id, an address or an external id; *at* is ISO, UTC unless it has an offset. Rejected rows go to
    *report* (default: next to the file). Raises FileUnreadable.
    """
    result = SignalImportResult()
    report = choose_report_path(path, report)
    with open_rows(path) as file:
        names = [name.strip().lower() for name in file.header]
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise FileUnreadable(
                f"{path} has no column {', '.join(missing)}. Its first line must name: {', '.join(COLUMNS)}; "
                "value, email and link are optional."
            )
        with BadRowReport(report, file.header) as bad:
            for batch in _batches(file, names, bad):
                _import_batch(ctx, batch, bad, result, now)
            result.rejected = bad.count
            result.rows = result.new + result.duplicates + result.rejected
            result.report_path = bad.path if bad.count else None
    return result


def _batches(file: CsvRows, names: Sequence[str], bad: BadRowReport) -> Iterator[list[SignalRow]]:
    rows = iter(file)
    while page := list(islice(rows, BATCH)):
        batch: list[SignalRow] = []
        for row in page:
            if isinstance(row, BadRow):
                bad.add(row)
            else:
                line, cells = row
                values = dict(zip(names, (cell.strip() for cell in cells), strict=False))
                batch.append((line, cells, values))
        yield batch


def _import_batch(
    ctx: AppContext, batch: Sequence[SignalRow], bad: BadRowReport, result: SignalImportResult, now: datetime
) -> None:
    with ctx.database.read() as tx:
        texts = [values.get("lead", "") for _, _, values in batch]
        known = leads_queries.resolve_leads(tx, {text: normalize_address(text) for text in texts})
        pairs = [
            (ids[0], values["email"])
            for _, _, values in batch
            if values.get("email") and len(ids := known.get(values.get("lead", ""), ())) == 1
        ]
        touches = signal_queries.find_latest_touches(tx, pairs)
    signals, sources = [], []
    for line, cells, values in batch:
        try:
            signals.append(_parse_signal(values, known, touches, now))
            sources.append((line, cells))
        except InvalidState as error:
            bad.add(BadRow.trimmed(line, str(error), cells))
    new, rejected = engagement_signals.record_valid(ctx, signals, now) if signals else (0, [])
    for place in rejected:
        line, cells = sources[place]
        bad.add(BadRow.trimmed(line, "the database rejects it; shorten its texts", cells))
    result.new += new
    result.duplicates += len(signals) - len(rejected) - new


def _parse_signal(
    values: Mapping[str, str],
    known: Mapping[str, Sequence[int]],
    touches: Mapping[tuple[int, str], signal_queries.TouchRef],
    now: datetime,
) -> signal_queries.NewSignal:
    text = values.get("lead", "")
    ids = known.get(text, ())
    if len(ids) != 1:
        ambiguous = f"{text!r} matches several leads: {', '.join(map(str, ids))}; use the id"
        raise InvalidState(ambiguous if ids else f"no lead matches {text!r}; use an id, an address or an external id")
    kind, value = engagement_signals.validate_signal(values.get("kind", ""), values.get("value") or None)
    at = _parse_time(values.get("at", ""))
    if at > now:
        raise InvalidState(f"{values['at']} is in the future; a signal is a past action of the lead")
    email = values.get("email") or None
    touch = touches.get((ids[0], email)) if email else None
    return engagement_signals.build_reported_signal(
        ids[0], kind, value, at, now, email, values.get("link") or None, touch
    )


def _parse_time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidState(f"{text!r} is not a time; write it as 2027-03-31T09:00") from None
