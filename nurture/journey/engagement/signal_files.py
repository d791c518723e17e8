"""Import a CSV file of signals, one per row."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Unpack

from nurture.clock import parse_time
from nurture.db.transaction import Transaction
from nurture.errors import FileUnreadable, InvalidState
from nurture.formats.columns import find_columns, normalize_name, words_by_name
from nurture.formats.csv_reader import FileRow, open_rows, parse_rows
from nurture.formats.rejected_rows import BadRow
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.leads import find, signal_queries
from nurture.runtime.context import AppContext
from nurture.runtime.import_run import ImportOptions, ImportResult, ImportRun

REQUIRED: Final = ("lead", "kind", "at")


def import_signals(ctx: AppContext, path: Path, now: datetime, **options: Unpack[ImportOptions]) -> ImportResult:
    """Record the signals of the file at *path*: columns lead, kind, at; optionally value, email, link.

    *lead* is an id, an address or an external id; *at* is ISO, UTC unless it has an offset. Raises FileUnreadable.
    """
    result = ImportResult()
    with open_rows(path, reading=options.get("reading")) as file:
        columns = find_columns(file.header, "signal_column")
        if "lead" not in columns and "email" in columns:  # exports of other systems name the address so
            columns["lead"] = columns.pop("email")
        missing = [name for name in REQUIRED if name not in columns]
        if missing:
            raise FileUnreadable(
                f"{path} has no column {', '.join(missing)}. Its first line must name: {', '.join(REQUIRED)}; "
                "value, email and link are optional."
            )
        rows = parse_rows(file, columns, lambda row: row)
        write = partial(_write, result, now)
        ImportRun("signals", file, file.header, rows, write, result).execute(ctx.database, now, **options)
    if result.new and not options.get("dry_run"):
        engagement_signals.apply_if_published(ctx, now)
    return result


def _write(result: ImportResult, now: datetime, tx: Transaction, batch: Sequence[FileRow]) -> list[BadRow]:
    known = find.resolve_leads(tx, (row.values["lead"] for row in batch))
    emails = [(row.values["lead"], row.values.get("email")) for row in batch]
    pairs = [(id_, email) for text, email in emails if email for id_ in known.get(text, ())]
    touches = signal_queries.find_latest_touches(tx, pairs)
    parsed, bad = [], []
    for row in batch:
        try:
            parsed.append((row, _parse_signal(row.values, known, touches, now)))
        except InvalidState as error:
            bad.append(row.reject(str(error)))
    new, refused = engagement_signals.record_valid(tx, [signal for _, signal in parsed], now)
    result.new += new
    result.unchanged += len(parsed) - len(refused) - new
    return bad + [parsed[place][0].reject("the database rejects it; shorten its texts") for place in refused]


def _parse_signal(
    values: Mapping[str, str],
    known: Mapping[str, Sequence[int]],
    touches: Mapping[tuple[int, str], signal_queries.TouchRef],
    now: datetime,
) -> signal_queries.NewSignal:
    lead_id = find.require_one(values["lead"], known)
    name = words_by_name("signal_kind").get(normalize_name(values["kind"]), values["kind"])
    kind, value = engagement_signals.validate_signal(name, values.get("value") or None)
    at = parse_time(values["at"])
    if at > now:
        raise InvalidState(f"{values['at']} is in the future; a signal is a past action of the lead")
    email = values.get("email") or None
    touch = touches.get((lead_id, email)) if email else None
    return engagement_signals.build_reported_signal(
        lead_id, kind, value, at, now, email, values.get("link") or None, touch
    )
