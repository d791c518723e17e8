"""Import opt-outs from files of other systems, and export the active suppressions."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from secrets import token_hex
from typing import IO, NamedTuple, Unpack

from nurture.db.transaction import Transaction
from nurture.domain.consent.statements import active_withdrawals
from nurture.domain.consent.suppression import active_opt_outs, current_suppressions
from nurture.errors import FileUnreadable
from nurture.files import open_private, require_own_file
from nurture.formats.columns import is_address_column
from nurture.formats.csv_reader import open_rows
from nurture.formats.csv_writer import OPT_OUT_COLUMNS, CsvWriter
from nurture.formats.rejected_rows import BadRow
from nurture.journey.consent import statements
from nurture.journey.consent.suppression import OptOut, get_or_create_addresses, opt_out, parse_address
from nurture.journey.consent.suppression_rows import (
    WITHDRAWAL,
    ParsedOptOut,
    SuppressionReader,
    has_address,
)
from nurture.journey.consent.undo_import import import_evidence
from nurture.journey.leads import consent_queries, suppression_queries
from nurture.runtime.context import AppContext
from nurture.runtime.import_run import ImportOptions, ImportResult, ImportRun


class ListedOptOut(NamedTuple):
    """An active suppression, or a withdrawal of consent in force."""

    email: str
    scope: str
    ref: str
    source: str
    since: datetime
    kind: str = "suppression"


@dataclass
class SuppressionImportResult(ImportResult):
    """The result of an import of opt-outs: *new* and *unchanged* count addresses, *left_out* rows without opt-out."""

    left_out: int = 0


def import_suppressions(
    ctx: AppContext, path: Path, now: datetime, **options: Unpack[ImportOptions]
) -> SuppressionImportResult:
    """Log the opt-outs of the file at *path*. Importing it again changes nothing; no file lifts a suppression.

    One column must contain addresses; scope, ref, source and date are optional. In an export of contacts only
    rows count whose flags, statuses or consents say no. A row without a readable date counts from now. Raises
    FileUnreadable.
    """
    result = SuppressionImportResult()

    def write(tx: Transaction, batch: Sequence[tuple[ParsedOptOut, ...]]) -> Iterable[BadRow]:
        rows = [one for row in batch for one in row]
        found = get_or_create_addresses(tx, sorted({one.normal for one in rows}))
        evidence = import_evidence(run.reserve_id(tx))
        opt_outs = [
            OptOut(found[one.normal], one.source, *one.target, at=one.at, evidence=evidence)
            for one in rows
            if not one.withdrawn_by
        ]
        withdrawn = [
            (found[one.normal], one.target.ref, one.at or now, one.withdrawn_by) for one in rows if one.withdrawn_by
        ]
        new = sum(opt_out(tx, opt_outs, now)) + statements.add_withdrawals(tx, withdrawn, now, evidence)
        result.new += new
        result.unchanged += len(rows) - new
        return ()

    reading = options.get("reading")
    with open_rows(path, lambda cells: any(map(is_address_column, cells)), has_address, reading) as file:
        reader = SuppressionReader(ctx, file)
        run = ImportRun("suppressions", file, reader.header, reader.rows(), write, result)
        run.execute(ctx.database, now, **options)
    result.left_out = reader.left_out.total()
    result.rows += result.left_out - reader.extra_rows
    result.notes += tuple(
        f"{count:,} {'row is' if count == 1 else 'rows are'} left out: {column!r} and the other columns say no opt-out."
        for column, count in reader.left_out.items()
    )
    if reader.undated:
        result.notes += (f"{reader.undated:,} dates could not be read: these opt-outs count from now.",)
    return result


def list_current(ctx: AppContext, email: str | None = None) -> Iterator[ListedOptOut]:
    """Yield current suppressions and withdrawals by address, or of *email* only.

    Raises InvalidState for an invalid address.
    """
    normal = parse_address(email) if email is not None else None
    with ctx.database.read() as tx:
        suppressions = (
            ListedOptOut(found, one.scope.value, one.ref, one.source.value, one.since)
            for found, log in suppression_queries.iterate_logs(tx, normal)
            for one in current_suppressions(log)
        )
        yield from heapq.merge(suppressions, _list_withdrawals(tx, normal), key=itemgetter(0))


def list_unlifted(ctx: AppContext) -> Iterator[ListedOptOut]:
    """Yield every opt-out and withdrawal that nothing lifts, by address and time; importing them restores these."""
    with ctx.database.read() as tx:
        opt_outs = (
            ListedOptOut(found, one.scope.value, one.ref, one.source.value, one.at)
            for found, log in suppression_queries.iterate_logs(tx)
            for one in active_opt_outs(log)
        )
        yield from heapq.merge(opt_outs, _list_withdrawals(tx), key=itemgetter(0))


def _list_withdrawals(tx: Transaction, normal: str | None = None) -> Iterator[ListedOptOut]:
    for found, history in consent_queries.iterate_histories(tx, normal):
        listed = ((one.scope.value, one.ref, one.source, one.at) for one in active_withdrawals(history))
        yield from (ListedOptOut(found, *one, WITHDRAWAL) for one in dict.fromkeys(listed))


def export(ctx: AppContext, to: IO[str]) -> int:
    """Write active opt-outs as CSV; return the number of rows."""
    writer = CsvWriter(to, lineterminator="\n")
    writer.write_row(OPT_OUT_COLUMNS)
    rows = 0
    for one in list_unlifted(ctx):
        writer.write_row((*one[:4], one.since.isoformat(), one.kind))
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
