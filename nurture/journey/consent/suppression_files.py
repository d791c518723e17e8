"""Opt-outs in files: lists of other systems in, everything that stands out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from secrets import token_hex
from typing import IO, Final, NamedTuple

from nurture.domain.consent.suppression import Scope, Source, source_named, stands
from nurture.domain.consent.suppression import unlifted as standing_acts
from nurture.errors import FileUnreadable, NotFound, Refused
from nurture.files import open_private, require_ours
from nurture.formats.columns import field_of, squash
from nurture.formats.csv_cells import OPT_OUTS, CsvWriter
from nurture.formats.csv_reader import CsvRows, Row, open_rows
from nurture.formats.dates import DateReader
from nurture.formats.rejected_rows import BadRow, BadRowReport, report_path
from nurture.journey.consent.suppression import About, Names, OptOut, address, known_addresses, opt_out
from nurture.journey.leads import suppression_queries
from nurture.runtime.context import House

BATCH: Final = 2_000
"""Rows in one transaction."""

_NAMES: Final = {
    "scope": {"scope"},
    "ref": {"ref", "topicortrack"},
    "source": {"source", "by"},
    "date": {
        "date", "created", "createdat", "since", "at", "time", "timestamp", "recordedat", "unsubscribedat",
        "unsubscribedate", "optoutdate", "optouttime", "bouncedat", "datecreated", "createddate",
    },
    "status": {"status"},
    "reason": {"reason"},
    "ip": {"ip"},
}  # fmt: skip
_REFUSED_BY_SERVER: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}|[45]\d\d")
_STILL_WANTED: Final = frozenset({"subscribed", "active", "opted in", "opted-in", "confirmed"})


@dataclass
class SuppressionsImported:
    """What came of a file: *rows* = *new* + *known* + *bad*. *report_path* holds the bad ones, if any."""

    rows: int = 0
    new: int = 0
    known: int = 0
    bad: int = 0
    report_path: Path | None = None
    notes: tuple[str, ...] = ()


class Listed(NamedTuple):
    """An opt-out that stands."""

    email: str
    scope: str
    ref: str
    source: str
    since: datetime


class _Said(NamedTuple):
    """A row that was understood."""

    line: int
    cells: list[str]
    normal: str
    about: About
    source: Source
    at: datetime | None


def import_suppressions(
    house: House, path: Path, now: datetime, *, report: Path | None = None
) -> SuppressionsImported:
    """Log the opt-outs of the CSV at *path*; the same file again changes nothing, and no file lifts anything.

    One column holds addresses; scope, ref, source and date where known. SendGrid's exports and bare lists of
    addresses are read too. A row without a date, or with one that cannot be read, counts from now.
    Bad rows go to *report* (default: beside the file). Raises FileUnreadable.
    """
    done = SuppressionsImported()
    report = report_path(path, report)
    with _opened(path) as file:
        reader = _Reader(house, file)
        with BadRowReport(report, reader.header) as bad:
            rows = reader.rows()
            while page := list(islice(rows, min(house.batch, BATCH))):
                said = list(reader.understood(page, bad))
                _log(house, said, done, now)
            done.bad = bad.count
            done.report_path = bad.path if bad.count else None
    done.rows = done.new + done.known + done.bad
    if reader.undated:
        done.notes = (f"{reader.undated:,} dates could not be read: these opt-outs count from now.",)
    return done


def _opened(path: Path) -> CsvRows:
    return open_rows(path, lambda cells: any(_is_address_column(cell) for cell in cells), headless=_is_row)


def _is_address_column(name: str) -> bool:
    found = field_of(name, None)
    return found is not None and found[0] == "email"


def _is_row(cells: Sequence[str]) -> bool:
    return any("@" in cell for cell in cells)


def _log(house: House, said: Sequence[_Said], done: SuppressionsImported, now: datetime) -> None:
    if not said:
        return
    with house.database.write() as connection:
        normals = sorted({one.normal for one in said})
        found = known_addresses(house.database, connection, normals)
        acts = [OptOut(found[one.normal], one.source, *one.about, at=one.at) for one in said]
        new = sum(opt_out(house.database, connection, acts, now))
    done.new += new
    done.known += len(said) - new


class _Reader:
    """Reads rows as opt-outs, each column by its name."""

    def __init__(self, house: House, file: CsvRows) -> None:
        self.undated = 0
        self._house = house
        self._file = file
        self._names: Names | None = None
        self._date = DateReader()
        self._bare = _is_row(file.header)
        self.header: Sequence[str] = file.header
        if self._bare:
            places = [place for place, cell in enumerate(file.header) if "@" in cell]
            self._places = {"email": places[0]}
            self.header = [
                "email" if place == places[0] else f"column {place + 1}" for place in range(len(file.header))
            ]
        else:
            self._places = _places(file)

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield the rows; in a bare list the first line is one."""
        first: list[Row | BadRow] = [(self._file.header_line, list(self._file.header))] if self._bare else []
        return chain(first, self._file)

    def understood(self, page: Iterable[Row | BadRow], bad: BadRowReport) -> Iterator[_Said]:
        """Yield the rows that can be read; the others go to *bad*."""
        for row in page:
            if isinstance(row, BadRow):
                bad.add(row)
                continue
            line, cells = row
            told = {name: cells[place].strip() for name, place in self._places.items()}
            try:
                yield self._said(line, cells, told)
            except (Refused, NotFound) as fault:
                bad.add(BadRow.of(line, str(fault), cells))

    def _said(self, line: int, cells: list[str], told: Mapping[str, str]) -> _Said:
        if told.get("status", "").lower() in _STILL_WANTED:
            raise Refused(f"its status is {told['status']}; leave out who did not opt out")
        normal = address(told["email"])
        return _Said(line, cells, normal, self._about(told), self._source(told), self._at(told))

    def _about(self, told: Mapping[str, str]) -> About:
        text = told.get("scope", "").lower() or Scope.GLOBAL.value
        if text not in set(Scope):
            raise Refused(f"{text!r} is no scope; write global, topic or track")
        about = About(Scope(text), told.get("ref", ""))
        if about.scope is Scope.GLOBAL:
            return About()
        if not about.ref:
            raise Refused(f"the {about.scope} is not named; write it into the column ref")
        if self._names is None:
            with self._house.database.read() as connection:
                self._names = Names.of(self._house, connection)
        return self._names.find(about)

    def _source(self, told: Mapping[str, str]) -> Source:
        text = told.get("source", "").lower()
        if text in set(Source):
            return source_named(text)
        if "source" in self._places or "date" not in self._places:
            return Source.IMPORT
        # SendGrid's own exports: bounces say what the server answered, spam reports from which IP they came.
        answer = told.get("status", ""), told.get("reason", "")[:8].split(" ")[0].split("-")[0]
        if "status" in self._places and any(_REFUSED_BY_SERVER.fullmatch(text) for text in answer):
            return Source.BOUNCE
        return Source.COMPLAINT if "ip" in self._places else Source.IMPORT

    def _at(self, told: Mapping[str, str]) -> datetime | None:
        text = told.get("date", "")
        if not text:
            return None
        try:
            return self._date(text)
        except ValueError:
            self.undated += 1  # a date is no reason to lose an opt-out
            return None


def _places(file: CsvRows) -> dict[str, int]:
    """Return where each column is that we read. Raises FileUnreadable if none holds addresses."""
    mended = [name.casefold() for name in file.header[:2]] == ["line", "reason"]  # a report of bad rows
    places: dict[str, int] = {}
    for place, name in enumerate(file.header):
        if mended and place < 2:
            continue
        if _is_address_column(name):
            places.setdefault("email", place)
            continue
        for field, names in _NAMES.items():
            if squash(name) in names:
                places.setdefault(field, place)
    if "email" not in places and len(file.header) == 1:
        places["email"] = 0
    if "email" not in places:
        shown = ", ".join(name[:40] for name in file.header[:12])
        raise FileUnreadable(
            f"{file.path} has no column with addresses (columns: {shown}); name one Email, or leave only "
            "addresses in it, one to a line"
        )
    return places


def listed(house: House, email: str | None = None) -> Iterator[Listed]:
    """Yield what stands, by address; *email* asks for one address only. Raises Refused for what is none."""
    normal = address(email) if email is not None else None
    with house.database.read() as connection:
        for found, log in suppression_queries.everything(connection, normal):
            for one in stands(log):
                yield Listed(found, one.scope.value, one.ref, one.source.value, one.since)


def unlifted(house: House) -> Iterator[Listed]:
    """Yield every opt-out that no opt-in lifts, by address and time: reading them brings it all back."""
    with house.database.read() as connection:
        for found, log in suppression_queries.everything(connection):
            for one in standing_acts(log):
                yield Listed(found, one.scope.value, one.ref, one.source.value, one.at)


def export(house: House, to: IO[str]) -> int:
    """Write what stands as CSV; return how many rows."""
    writer = CsvWriter(to, lineterminator="\n")
    writer.row(OPT_OUTS)
    rows = 0
    for one in unlifted(house):
        writer.row((*one[:4], one.since.isoformat()))
        rows += 1
    return rows


def export_to(house: House, path: Path) -> int:
    """Write what stands to the CSV at *path*, whole or not at all. Raises FileUnreadable."""
    part = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        require_ours(path, ",".join(OPT_OUTS))
        if path.exists() and not path.is_file():  # a terminal, a pipe
            with open_private(path, encoding="utf-8", newline="") as file:
                return export(house, file)
        with open_private(part, "x", encoding="utf-8", newline="") as file:
            rows = export(house, file)
        part.replace(path)
    except OSError as fault:
        raise FileUnreadable(
            f"{path} cannot be written: {fault.strerror}. Name a file in a folder that you may write to."
        ) from fault
    finally:
        part.unlink(missing_ok=True)
    return rows
