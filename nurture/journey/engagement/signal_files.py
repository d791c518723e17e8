"""Bring in a file of signals: one row per thing that a lead did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from nurture.domain.address import normalise_address
from nurture.errors import FileUnreadable, Refused
from nurture.formats.csv_reader import CsvRows, open_rows
from nurture.formats.rejected_rows import BadRow, BadRowReport, report_path
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries
from nurture.runtime.context import House

REQUIRED: Final = ("lead", "kind", "at")
COLUMNS: Final = (*REQUIRED, "value", "email", "link")
BATCH: Final = 1_000

Told = tuple[int, list[str], dict[str, str]]
"""Line, cells, and the cells by column."""


@dataclass
class SignalsImported:
    """What came of a file: *rows* = *new* + *known* + *bad*."""

    rows: int = 0
    new: int = 0
    known: int = 0
    bad: int = 0
    report_path: Path | None = None


def import_signals(house: House, path: Path, now: datetime, *, report: Path | None = None) -> SignalsImported:
    """Record the signals of the CSV at *path*: columns lead, kind, at; value, email, link where known.

    *lead* is an id, an address or an external id; *at* is ISO, UTC unless it says otherwise. Bad rows go to
    *report* (default: beside the file). Raises FileUnreadable.
    """
    done = SignalsImported()
    report = report_path(path, report)
    with open_rows(path) as file:
        names = [name.strip().lower() for name in file.header]
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise FileUnreadable(
                f"{path} has no column {', '.join(missing)}. Its first line must name: {', '.join(COLUMNS)}; "
                "value, email and link may be left out."
            )
        with BadRowReport(report, file.header) as bad:
            for batch in _batches(file, names, bad):
                _record(house, batch, bad, done, now)
            done.bad = bad.count
            done.rows = done.new + done.known + done.bad
            done.report_path = bad.path if bad.count else None
    return done


def _batches(file: CsvRows, names: Sequence[str], bad: BadRowReport) -> Iterator[list[Told]]:
    rows = iter(file)
    while page := list(islice(rows, BATCH)):
        batch: list[Told] = []
        for row in page:
            if isinstance(row, BadRow):
                bad.add(row)
            else:
                line, cells = row
                told = dict(zip(names, (cell.strip() for cell in cells), strict=False))
                batch.append((line, cells, told))
        yield batch


def _record(
    house: House, batch: Sequence[Told], bad: BadRowReport, done: SignalsImported, now: datetime
) -> None:
    with house.database.read() as connection:
        texts = [told.get("lead", "") for _, _, told in batch]
        known = leads_queries.resolve(
            house.database, connection, {text: normalise_address(text) for text in texts}
        )
        pairs = [
            (ids[0], told["email"])
            for _, _, told in batch
            if told.get("email") and len(ids := known.get(told.get("lead", ""), ())) == 1
        ]
        touches = signal_queries.newest_touches(house.database, connection, pairs)
    heard, kept = [], []
    for line, cells, told in batch:
        try:
            heard.append(_signal(told, known, touches, now))
            kept.append((line, cells))
        except Refused as fault:
            bad.add(BadRow.of(line, str(fault), cells))
    new, refused = engagement_signals.record_apart(house, heard, now) if heard else (0, [])
    for place in refused:
        line, cells = kept[place]
        bad.add(BadRow.of(line, "the database does not take it; shorten its texts", cells))
    done.new += new
    done.known += len(heard) - len(refused) - new


def _signal(
    told: Mapping[str, str],
    known: Mapping[str, Sequence[int]],
    touches: Mapping[tuple[int, str], signal_queries.Answered],
    now: datetime,
) -> signal_queries.Recorded:
    text = told.get("lead", "")
    ids = known.get(text, ())
    if len(ids) != 1:
        several = f"{text!r} means several leads: {', '.join(map(str, ids))}; write the id"
        raise Refused(
            several if ids else f"no lead is called {text!r}; write an id, an address or an external id"
        )
    kind, value = engagement_signals.checked(told.get("kind", ""), told.get("value") or None)
    at = _moment(told.get("at", ""))
    if at > now:
        raise Refused(f"{told['at']} is in the future; a signal is something that the lead did")
    email = told.get("email") or None
    answered = touches.get((ids[0], email)) if email else None
    return engagement_signals.told(ids[0], kind, value, at, now, email, told.get("link") or None, answered)


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(f"{text!r} is not a time; write it as 2027-03-31T09:00") from None
