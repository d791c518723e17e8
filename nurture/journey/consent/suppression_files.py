"""Import opt-outs from files of other systems, and export the active suppressions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from secrets import token_hex
from typing import IO, Final, NamedTuple, Unpack

from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import (
    SuppressionScope,
    SuppressionSource,
    active_opt_outs,
    current_suppressions,
    parse_source,
)
from nurture.errors import FileUnreadable, InvalidState
from nurture.files import open_private, require_own_file
from nurture.formats.columns import find_columns, match_field
from nurture.formats.csv_reader import CsvRows, Row, open_rows, parse_rows
from nurture.formats.csv_writer import OPT_OUT_COLUMNS, CsvWriter
from nurture.formats.dates import DateReader
from nurture.formats.rejected_rows import BadRow
from nurture.journey.consent.suppression import (
    OptOut,
    SuppressionTarget,
    TargetIndex,
    get_or_create_addresses,
    opt_out,
    parse_address,
)
from nurture.journey.leads import suppression_queries
from nurture.runtime.context import AppContext
from nurture.runtime.import_run import ImportOptions, ImportResult, ImportRun

_COLUMNS: Final = "suppression_column"
_SMTP_REFUSAL: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}|[45]\d\d")
_SUBSCRIBED_STATUSES: Final = frozenset({"subscribed", "active", "opted in", "opted-in", "confirmed"})


class ListedOptOut(NamedTuple):
    """An active suppression."""

    email: str
    scope: str
    ref: str
    source: str
    since: datetime


class _ParsedRow(NamedTuple):
    """A valid row."""

    normal: str
    target: SuppressionTarget
    source: SuppressionSource
    at: datetime | None


def import_suppressions(ctx: AppContext, path: Path, now: datetime, **options: Unpack[ImportOptions]) -> ImportResult:
    """Log the opt-outs of the CSV file at *path*. Importing it again changes nothing; no file lifts a suppression.

    One column must contain addresses; scope, ref, source and date are optional. SendGrid exports and plain lists of
    addresses are supported. A row without a readable date counts from now. Raises FileUnreadable.
    """
    result = ImportResult()

    def write(tx: Transaction, batch: Sequence[_ParsedRow]) -> Iterable[BadRow]:
        found = get_or_create_addresses(tx, sorted({one.normal for one in batch}))
        opt_outs = [OptOut(found[one.normal], one.source, *one.target, at=one.at) for one in batch]
        new = sum(opt_out(tx, opt_outs, now))
        result.new += new
        result.unchanged += len(batch) - new
        return ()

    with open_rows(path, lambda cells: any(map(_is_address_column, cells)), is_data=_is_row) as file:
        reader = _Reader(ctx, file)
        run = ImportRun("suppressions", file, reader.header, reader.rows(), write, result)
        run.execute(ctx.database, now, **options)
    if reader.undated:
        result.notes = (f"{reader.undated:,} dates could not be read: these opt-outs count from now.",)
    return result


def _is_address_column(name: str) -> bool:
    found = match_field(name, None)
    return found is not None and found[0] == "email"


def _is_row(cells: Sequence[str]) -> bool:
    return any("@" in cell for cell in cells)


class _Reader:
    """Parses rows as opt-outs, by column name."""

    def __init__(self, ctx: AppContext, file: CsvRows) -> None:
        self.undated = 0
        self._ctx = ctx
        self._file = file
        self._targets: TargetIndex | None = None
        self._date = DateReader()
        self._headless = _is_row(file.header)
        self.header: Sequence[str] = file.header
        if self._headless:
            indexes = [index for index, cell in enumerate(file.header) if "@" in cell]
            self._columns = {"email": indexes[0]}
            self.header = [
                "email" if index == indexes[0] else f"column {index + 1}" for index in range(len(file.header))
            ]
        else:
            self._columns = _find_columns(file)

    def rows(self) -> Iterator[_ParsedRow | BadRow]:
        """Yield the rows; in a list without header the first line is one of them."""
        first: list[Row | BadRow] = [(self._file.header_line, list(self._file.header))] if self._headless else []
        return parse_rows(chain(first, self._file), self._columns, lambda row: self._parse_row(row.values))

    def _parse_row(self, values: Mapping[str, str]) -> _ParsedRow:
        if values.get("status", "").lower() in _SUBSCRIBED_STATUSES:
            raise InvalidState(f"its status is {values['status']}; remove rows of people who did not opt out")
        normal = parse_address(values["email"])
        return _ParsedRow(normal, self._parse_target(values), self._parse_source(values), self._parse_date(values))

    def _parse_target(self, values: Mapping[str, str]) -> SuppressionTarget:
        text = values.get("scope", "").lower() or SuppressionScope.GLOBAL.value
        if text not in set(SuppressionScope):
            raise InvalidState(f"{text!r} is not a scope; write global, topic or track")
        target = SuppressionTarget(SuppressionScope(text), values.get("ref", ""))
        if target.scope is SuppressionScope.GLOBAL:
            return SuppressionTarget()
        if not target.ref:
            raise InvalidState(f"the {target.scope} is missing; write it into the column ref")
        if self._targets is None:
            with self._ctx.database.read() as tx:
                self._targets = TargetIndex.load(self._ctx, tx)
        return self._targets.resolve(target)

    def _parse_source(self, values: Mapping[str, str]) -> SuppressionSource:
        text = values.get("source", "").lower()
        if text in set(SuppressionSource):
            return parse_source(text)
        if "source" in self._columns or "date" not in self._columns:
            return SuppressionSource.IMPORT
        # SendGrid exports: bounces have the server's reply, spam reports the IP address of their origin.
        server_reply = values.get("status", ""), values.get("reason", "")[:8].split(" ")[0].split("-")[0]
        if "status" in self._columns and any(_SMTP_REFUSAL.fullmatch(text) for text in server_reply):
            return SuppressionSource.BOUNCE
        return SuppressionSource.COMPLAINT if "ip" in self._columns else SuppressionSource.IMPORT

    def _parse_date(self, values: Mapping[str, str]) -> datetime | None:
        text = values.get("date", "")
        if not text:
            return None
        try:
            return self._date(text)
        except ValueError:
            self.undated += 1  # an opt-out with an invalid date still counts
            return None


def _find_columns(file: CsvRows) -> dict[str, int]:
    """Return the indexes of known columns. Raises FileUnreadable if none contains addresses."""
    columns = find_columns(file.header, _COLUMNS)
    addresses = [index for index, name in enumerate(file.header) if _is_address_column(name)]
    if addresses:
        columns["email"] = addresses[0]
    if "email" not in columns and len(file.header) == 1:
        columns["email"] = 0
    if "email" not in columns:
        shown = ", ".join(name[:40] for name in file.header[:12])
        raise FileUnreadable(
            f"{file.path} has no column with addresses (columns: {shown}); name one Email, or "
            "write only addresses, one per line"
        )
    return columns


def list_current(ctx: AppContext, email: str | None = None) -> Iterator[ListedOptOut]:
    """Yield current suppressions by address, or of *email* only. Raises InvalidState for an invalid address."""
    normal = parse_address(email) if email is not None else None
    with ctx.database.read() as tx:
        for found, log in suppression_queries.iterate_logs(tx, normal):
            for one in current_suppressions(log):
                yield ListedOptOut(found, one.scope.value, one.ref, one.source.value, one.since)


def list_unlifted(ctx: AppContext) -> Iterator[ListedOptOut]:
    """Yield every opt-out that no opt-in lifts, by address and time; importing them restores the suppressions."""
    with ctx.database.read() as tx:
        for found, log in suppression_queries.iterate_logs(tx):
            for one in active_opt_outs(log):
                yield ListedOptOut(found, one.scope.value, one.ref, one.source.value, one.at)


def export(ctx: AppContext, to: IO[str]) -> int:
    """Write active opt-outs as CSV; return the number of rows."""
    writer = CsvWriter(to, lineterminator="\n")
    writer.write_row(OPT_OUT_COLUMNS)
    rows = 0
    for one in list_unlifted(ctx):
        writer.write_row((*one[:4], one.since.isoformat()))
        rows += 1
    return rows


def export_to(ctx: AppContext, path: Path) -> int:
    """Write active opt-outs to the CSV file at *path*, all or nothing. Raises FileUnreadable."""
    temporary = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        require_own_file(path, ",".join(OPT_OUT_COLUMNS))
        if path.exists() and not path.is_file():  # a terminal, a pipe
            with open_private(path, encoding="utf-8", newline="") as file:
                return export(ctx, file)
        with open_private(temporary, "x", encoding="utf-8", newline="") as file:
            rows = export(ctx, file)
        temporary.replace(path)
    except OSError as error:
        raise FileUnreadable(
            f"{path} cannot be written: {error.strerror}. Choose a file in a writable folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return rows
