"""Bring a file of leads in: batch by batch, each all or nothing, as often as you like."""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from nurture.db.engine import Database
from nurture.domain.lead import Custodian
from nurture.errors import DatabaseUnusable, FileUnreadable
from nurture.formats.column_mapping import Mapping as ColumnMapping
from nurture.formats.column_mapping import load_mapping
from nurture.formats.lead_file import LeadFile, open_leads
from nurture.formats.lead_row import LeadRow
from nurture.formats.rejected_rows import BadRow, BadRowReport, report_path
from nurture.formats.row_plan import make_plan
from nurture.journey.engagement.signals import listen
from nurture.journey.intake import queries
from nurture.journey.intake.queries import ImportRun
from nurture.journey.intake.upsert import Arrivals
from nurture.journey.routing.missing_fields import look_again
from nurture.runtime import publication_queries
from nurture.runtime.context import House
from nurture.runtime.gc_pause import undisturbed

BATCH: Final = 2_000
"""Rows in one transaction."""

Progress = Callable[[int, int], None]
"""Told (bytes read, bytes in all) after each batch."""

Transaction = Callable[[], AbstractContextManager[Connection]]


@dataclass
class Imported:
    """What came of a file. *rows* = *new* + *updated* + *unchanged* + *bad*.

    *placed* counts the custodians of new leads, *queued* the queues among them. *report_path* holds the bad
    rows, None if there are none. *mapped* says which column became which field; *unmapped* are kept as facts.
    """

    source: str
    rows: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    bad: int = 0
    signals: int = 0
    placed: Counter[str] = field(default_factory=Counter)
    queued: Counter[str] = field(default_factory=Counter)
    report_path: Path | None = None
    mapped: Mapping[str, str] = field(default_factory=dict)
    unmapped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def add(self, arrivals: Arrivals) -> None:
        """Count a batch that is in."""
        self.new += arrivals.counts["new"]
        self.updated += arrivals.counts["updated"]
        self.unchanged += arrivals.counts["unchanged"]
        self.signals += arrivals.counts["signals"]
        for (kind, ref), count in arrivals.placed.items():
            self.placed[kind] += count
            if kind == Custodian.QUEUE:
                self.queued[ref] += count


def import_file(
    house: House,
    path: Path,
    now: datetime,
    *,
    mapping: Path | None = None,
    source: str | None = None,
    dry_run: bool = False,
    report: Path | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Import the leads of the CSV file at *path*. The same file again changes nothing.

    *source* names the system whose ids the file holds. *dry_run* tells what would happen and writes nothing
    but the report of bad rows, by default beside the file.

    Raises:
        FileUnreadable: The file or the mapping is not what it should be; what was read before is in.
    """
    columns = load_mapping(mapping) if mapping is not None else ColumnMapping()
    if source is not None:
        columns = replace(columns, source=source)
    report = report_path(path, report)
    with open_leads(path, columns) as file:
        done = _mapped(file, columns)
        with (
            undisturbed(),
            _explained(done, dry_run=dry_run),
            BadRowReport(report, file.header) as bad,
            _transactions(house.database, dry_run=dry_run) as transaction,
        ):
            for batch in _batches(file, bad, done, min(house.batch, BATCH)):
                _bring_in(house, batch, transaction, done, file, now)
                gc.collect(1)
                if progress is not None:
                    progress(file.bytes_read, file.size)
            done.report_path = bad.path if bad.count else None
            run = _run(path, done, now)
            with transaction() as connection:
                queries.note_run(connection, run)
    if not dry_run:
        _listen(house, now)
    return done


def bring_in(house: House, rows: Sequence[LeadRow], name: str, now: datetime) -> Imported:
    """Bring in leads that no file told of, all or none; *name* says in the journal where they are from."""
    with house.database.write() as connection:
        arrivals = Arrivals(house.database, connection, name, now)
        arrivals.take(rows)
    done = Imported(name, rows=len(rows))
    done.add(arrivals)
    _listen(house, now)
    return done


def _mapped(file: LeadFile, columns: ColumnMapping) -> Imported:
    plan = make_plan(file.header, columns, str(file.path))
    mapped = {step.column: step.field for step in plan.steps}
    unmapped = tuple(file.header[index] for index, _ in plan.custom if file.header[index] not in mapped)
    return Imported(file.source, mapped=mapped, unmapped=unmapped, notes=tuple(file.notes))


def _batches(file: LeadFile, bad: BadRowReport, done: Imported, size: int) -> Iterator[list[LeadRow]]:
    batch: list[LeadRow] = []
    for row in file:
        done.rows += 1
        if isinstance(row, BadRow):
            bad.add(row)
            done.bad += 1
            continue
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _bring_in(
    house: House,
    batch: list[LeadRow],
    transaction: Transaction,
    done: Imported,
    file: LeadFile,
    now: datetime,
) -> None:
    with transaction() as connection:
        arrivals = Arrivals(house.database, connection, file.path.name, now, file.held_at)
        arrivals.take(batch)
    done.add(arrivals)


class _Undone(Exception):
    """Ends the transaction of a dry run."""


@contextmanager
def _transactions(database: Database, *, dry_run: bool) -> Iterator[Transaction]:
    """Give a transaction per batch; a dry run has one for all, which leaves nothing behind."""
    if not dry_run:
        yield database.write
        return
    try:
        with database.write() as connection:
            yield lambda: nullcontext(connection)
            raise _Undone  # noqa: TRY301 - leaving the block by an error is what rolls it back
    except _Undone:
        return


@contextmanager
def _explained(done: Imported, *, dry_run: bool) -> Iterator[None]:
    """Say how far the import came, and that it may simply be repeated."""
    try:
        yield
    except OSError as error:
        said = f"{error.filename or 'The file'}: {error.strerror}."
        raise FileUnreadable(f"{said} {_so_far(done, dry_run=dry_run)}") from error
    except (FileUnreadable, DatabaseUnusable) as error:
        raise type(error)(f"{error} {_so_far(done, dry_run=dry_run)}") from error


def _so_far(done: Imported, *, dry_run: bool) -> str:
    if dry_run:
        return "Nothing was written."
    count = done.new + done.updated + done.unchanged
    return f"{count:,} rows are in. Import the file again when it is mended: no lead comes in twice."


def _run(path: Path, done: Imported, now: datetime) -> ImportRun:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ImportRun(path.name, done.source, digest, now, done.rows, done.new, done.updated, done.bad)


def _listen(house: House, now: datetime) -> None:
    """Apply the signals at once if there are rules to weigh them; else the first sweep does."""
    look_again(house, now)
    with house.database.read() as connection:
        ready = any(
            row.kind == publication_queries.POLICY for row in publication_queries.in_force(connection)
        )
    if ready:
        listen(house, now)
