"""Import a file of any kind: batches, a report of rejected rows, dry runs, and a record of the run.

An import can be repeated: rows that were imported before change nothing.
"""

import gc
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypedDict, TypeVar, Unpack

from nurture.db.engine import Database
from nurture.db.tables.intake import import_file
from nurture.db.transaction import Transaction
from nurture.errors import DatabaseUnavailable, FileUnreadable
from nurture.formats.rejected_rows import BadRow, BadRowReport, choose_report_path
from nurture.formats.table_file import ReadOptions
from nurture.runtime.batches import gc_paused

BATCH_SIZE: Final = 2_000
"""Rows per transaction."""

_RECORD: Final = ("id", "kind", "name", "source", "digest", "imported_at", "rows", "created", "updated", "rejected")

T = TypeVar("T")
ProgressCallback = Callable[[int, int], None]
"""Called with (bytes read, total bytes) after each batch."""

OpenTransaction = Callable[[], AbstractContextManager[Transaction]]


class ImportOptions(TypedDict, total=False):
    """The options of every import. A *dry_run* writes only the report of rejected rows, which is by default next to
    the file. *reading* is what a person knows of the file; the importer opens it so.
    """

    report: Path | None
    dry_run: bool
    progress: ProgressCallback | None
    reading: ReadOptions


@dataclass
class ImportResult:
    """The result of an import. *rows* = *new* + *updated* + *unchanged* + *conflicts* + *rejected*.

    *report_path* is the file of rejected rows, None if there are none. *notes* are remarks for the marketer.
    *import_id* is the id of its record; 0 for a dry run. *mapped* maps columns to fields; *unmapped* columns are not
    used, or become custom fields of leads.
    """

    source: str = ""
    rows: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    conflicts: int = 0
    rejected: int = 0
    report_path: Path | None = None
    notes: tuple[str, ...] = ()
    import_id: int = field(default=0, compare=False)
    mapped: Mapping[str, str] = field(default_factory=dict)
    unmapped: tuple[str, ...] = ()


class _SourceFile(Protocol):
    path: Path
    size: int

    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def bytes_read(self) -> int: ...


@dataclass
class ImportRun(Generic[T]):
    """One kind of import. *write* writes a batch, counts its rows in *result*, and returns those that it rejects.

    *header* are the column names for the report. *batch_size* None reads the whole file into one batch.
    *write_opt_outs* writes the opt-outs in rejected rows.
    """

    kind: str
    file: _SourceFile
    header: Sequence[str]
    rows: Iterable[T | BadRow]
    write: Callable[[Transaction, list[T]], Iterable[BadRow]]
    result: ImportResult = field(default_factory=ImportResult)
    batch_size: int | None = BATCH_SIZE
    write_opt_outs: Callable[[Transaction, list[Any]], None] | None = None
    _opt_outs: list[Any] = field(default_factory=list, init=False)
    _imported: int = field(default=0, init=False)

    def execute(self, database: Database, now: datetime, **options: Unpack[ImportOptions]) -> None:
        """Import the file in batches, each in one transaction.

        Raises:
            FileUnreadable: The file or its report cannot be used; earlier batches remain imported.
            DatabaseUnavailable: Earlier batches remain imported.
        """
        file, result, progress = self.file, self.result, options.get("progress")
        dry_run = options.get("dry_run", False)
        with (
            gc_paused(),
            self._progress_in_errors(dry_run=dry_run),
            BadRowReport(choose_report_path(file.path, options.get("report")), self.header) as bad,
            _transactions(database, dry_run=dry_run) as transaction,
        ):
            for batch in self._batches(bad):
                with transaction() as tx:
                    if self._opt_outs and self.write_opt_outs is not None:
                        self.write_opt_outs(tx, self._opt_outs)
                    rejected = list(self.write(tx, batch)) if batch else []
                self._opt_outs = []
                self._imported += len(batch) - len(rejected)
                for row in rejected:
                    bad.add(row)
                gc.collect(1)
                if progress is not None:
                    progress(file.bytes_read, file.size)
            result.rejected = bad.count
            result.report_path = bad.path if bad.count else None
            result.notes = (*file.notes, *result.notes)
            with transaction() as tx:
                self._record(tx, now)
            if dry_run:
                result.import_id = 0

    def reserve_id(self, tx: Transaction) -> int:
        """Return the id of the record of this import."""
        if not self.result.import_id:
            self.result.import_id = tx.reserve_ids(import_file.name, 1)[0]
        return self.result.import_id

    def _batches(self, bad: BadRowReport) -> Iterator[list[T]]:
        batch: list[T] = []
        for row in self.rows:
            self.result.rows += 1
            if isinstance(row, BadRow):
                bad.add(row)
                self._opt_outs += row.opt_outs
                if len(self._opt_outs) >= BATCH_SIZE:
                    yield batch
                    batch = []
                continue
            batch.append(row)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch or self._opt_outs:
            yield batch

    @contextmanager
    def _progress_in_errors(self, *, dry_run: bool) -> Iterator[None]:
        """Add to errors how many rows were imported, and that the import can be repeated."""
        try:
            yield
        except OSError as error:
            message = f"{error.filename or 'The file'}: {error.strerror}."
            raise FileUnreadable(f"{message} {self._progress_text(dry_run=dry_run)}") from error
        except (FileUnreadable, DatabaseUnavailable) as error:
            raise type(error)(f"{str(error).rstrip('.')}. {self._progress_text(dry_run=dry_run)}") from error

    def _progress_text(self, *, dry_run: bool) -> str:
        if dry_run:
            return "Nothing was written."
        done = "1 row was imported." if self._imported == 1 else f"{self._imported:,} rows were imported."
        return f"{done} Correct the file and import it again: no row is imported twice."

    def _record(self, tx: Transaction, now: datetime) -> None:
        path, done = self.file.path, self.result
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        counts = done.rows, done.new, done.updated, done.rejected
        tx.insert(
            import_file, _RECORD, [(self.reserve_id(tx), self.kind, path.name, done.source, digest, now, *counts)]
        )


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
