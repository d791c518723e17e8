"""Import a file of leads in batches, each in one transaction. Imports can be repeated."""

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

from nurture.db.engine import Database
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.errors import DatabaseUnavailable, FileUnreadable
from nurture.formats.column_mapping import ColumnMapping, load_mapping
from nurture.formats.lead_file import LeadFile, open_leads
from nurture.formats.lead_row import LeadRow
from nurture.formats.rejected_rows import BadRow, BadRowReport, choose_report_path
from nurture.formats.row_plan import make_plan
from nurture.journey.engagement.signals import apply_pending_signals
from nurture.journey.intake import queries
from nurture.journey.intake.queries import ImportRun
from nurture.journey.intake.upsert import LeadUpsert
from nurture.journey.routing.missing_fields import recheck_filled_fields
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.gc_pause import gc_paused

BATCH_SIZE: Final = 2_000
"""Rows per transaction."""

ProgressCallback = Callable[[int, int], None]
"""Called with (bytes read, total bytes) after each batch."""

OpenTransaction = Callable[[], AbstractContextManager[Transaction]]


@dataclass
class ImportResult:
    """The result of an import. *rows* = *new* + *updated* + *unchanged* + *rejected*.

    *by_custodian* counts new leads by custodian, *by_queue* those in queues by queue. *report_path* is the file of
    rejected rows, None if there are none. *mapped* maps columns to fields; *unmapped* columns become custom fields.
    """

    source: str
    rows: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    signals: int = 0
    by_custodian: Counter[str] = field(default_factory=Counter)
    by_queue: Counter[str] = field(default_factory=Counter)
    report_path: Path | None = None
    mapped: Mapping[str, str] = field(default_factory=dict)
    unmapped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def add(self, upsert: LeadUpsert) -> None:
        """Add the counts of an imported batch."""
        self.new += upsert.counts["new"]
        self.updated += upsert.counts["updated"]
        self.unchanged += upsert.counts["unchanged"]
        self.signals += upsert.counts["signals"]
        for (kind, ref), count in upsert.by_custodian.items():
            self.by_custodian[kind] += count
            if kind == Custodian.QUEUE:
                self.by_queue[ref] += count


def import_file(
    ctx: AppContext,
    path: Path,
    now: datetime,
    *,
    mapping: Path | None = None,
    source: str | None = None,
    dry_run: bool = False,
    report: Path | None = None,
    progress: ProgressCallback | None = None,
) -> ImportResult:
    """Import the leads of the CSV file at *path*. Importing the same file again changes nothing.

    *source* is the system whose ids the file contains. A *dry_run* writes only the report of rejected rows, which is
    by default next to the file.

    Raises:
        FileUnreadable: The file or the mapping is invalid; earlier batches remain imported.
    """
    columns = load_mapping(mapping) if mapping is not None else ColumnMapping()
    if source is not None:
        columns = replace(columns, source=source)
    report = choose_report_path(path, report)
    with open_leads(path, columns) as file:
        result = _start_result(file, columns)
        with (
            gc_paused(),
            _progress_in_errors(result, dry_run=dry_run),
            BadRowReport(report, file.header) as bad,
            _transactions(ctx.database, dry_run=dry_run) as transaction,
        ):
            for batch in _batches(file, bad, result, min(ctx.batch_size, BATCH_SIZE)):
                _import_batch(batch, transaction, result, file, now)
                gc.collect(1)
                if progress is not None:
                    progress(file.bytes_read, file.size)
            result.report_path = bad.path if bad.count else None
            run = _import_run(path, result, now)
            with transaction() as tx:
                queries.record_import_run(tx, run)
    if not dry_run:
        _apply_signals(ctx, now)
    return result


def import_rows(ctx: AppContext, rows: Sequence[LeadRow], name: str, now: datetime) -> ImportResult:
    """Import leads that come from no file, in one transaction; *name* is their origin in the journal."""
    with ctx.database.write() as tx:
        upsert = LeadUpsert(tx, name, now)
        upsert.add_rows(rows)
    result = ImportResult(name, rows=len(rows))
    result.add(upsert)
    _apply_signals(ctx, now)
    return result


def _start_result(file: LeadFile, columns: ColumnMapping) -> ImportResult:
    plan = make_plan(file.header, columns, str(file.path))
    mapping = {step.column: step.field for step in plan.columns}
    unmapped = tuple(file.header[index] for index, _ in plan.custom if file.header[index] not in mapping)
    return ImportResult(file.source, mapped=mapping, unmapped=unmapped, notes=tuple(file.notes))


def _batches(file: LeadFile, bad: BadRowReport, result: ImportResult, size: int) -> Iterator[list[LeadRow]]:
    batch: list[LeadRow] = []
    for row in file:
        result.rows += 1
        if isinstance(row, BadRow):
            bad.add(row)
            result.rejected += 1
            continue
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _import_batch(
    batch: list[LeadRow], transaction: OpenTransaction, result: ImportResult, file: LeadFile, now: datetime
) -> None:
    with transaction() as tx:
        upsert = LeadUpsert(tx, file.path.name, now, file.webinar_at)
        upsert.add_rows(batch)
    result.add(upsert)


class _Rollback(Exception):
    """Ends the transaction of a dry run."""


@contextmanager
def _transactions(database: Database, *, dry_run: bool) -> Iterator[OpenTransaction]:
    """Provide one transaction per batch; a dry run has one for all batches, which is rolled back."""
    if not dry_run:
        yield database.write
        return
    try:
        with database.write() as tx:
            yield lambda: nullcontext(tx)
            raise _Rollback  # noqa: TRY301 - an error that leaves the block rolls it back
    except _Rollback:
        return


@contextmanager
def _progress_in_errors(result: ImportResult, *, dry_run: bool) -> Iterator[None]:
    """Add to errors how many rows were imported, and that the import can be repeated."""
    try:
        yield
    except OSError as error:
        message = f"{error.filename or 'The file'}: {error.strerror}."
        raise FileUnreadable(f"{message} {_progress_text(result, dry_run=dry_run)}") from error
    except (FileUnreadable, DatabaseUnavailable) as error:
        raise type(error)(f"{error} {_progress_text(result, dry_run=dry_run)}") from error


def _progress_text(result: ImportResult, *, dry_run: bool) -> str:
    if dry_run:
        return "Nothing was written."
    count = result.new + result.updated + result.unchanged
    return f"{count:,} rows were imported. Correct the file and import it again: no lead is imported twice."


def _import_run(path: Path, result: ImportResult, now: datetime) -> ImportRun:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ImportRun(path.name, result.source, digest, now, result.rows, result.new, result.updated, result.rejected)


def _apply_signals(ctx: AppContext, now: datetime) -> None:
    """Apply signals at once if a policy is published; otherwise the first run after publication does."""
    recheck_filled_fields(ctx, now)
    with ctx.database.read() as tx:
        ready = any(row.kind == publication_queries.POLICY for row in publication_queries.load_versions_in_force(tx))
    if ready:
        apply_pending_signals(ctx, now)
