"""The default CRM: a folder to which hand-offs are written, and from which outcomes are read, as CSV files."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from fcntl import LOCK_EX, flock
from io import StringIO
from pathlib import Path
from typing import Final

from nurture.crm.base import ChangePage, CrmUnavailable, HandoffRecord, RemoteRecord
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt
from nurture.errors import FileUnreadable
from nurture.files import make_folder, open_private, sync_folder
from nurture.formats.csv_writer import HANDOFF_KEY, CsvWriter
from nurture.formats.outcome_file import OutcomeRow, OutcomeRows
from nurture.formats.rejected_rows import BadRow

OUT_COLUMNS: Final = (
    HANDOFF_KEY,
    "nurture_handoff",
    "nurture_handoff_status",
    "changed_at",
    "email",
    "first_name",
    "last_name",
    "company",
    "title",
    "phone",
    "country",
    "offered_to",
    "owner_email",
    "handoff_reason",
)
"""The columns of the files in out/."""

QUIET_SECONDS: Final = 5.0
"""Seconds after its last write before a file in in/ is read."""


class CsvFolderCrm:
    """A folder with out/ (read by sales), in/ (read by nurture) and .sent/ (the records already written).

    A batch counts as sent once its list is in .sent/; its file in out/ is then published, even after a crash. So
    each state of a hand-off is in exactly one file, however often it is sent.
    """

    name = "csv"
    batch_size = 500

    def __init__(self, root: Path) -> None:
        self._root = root
        self._out_dir, self._in_dir, self._sent_dir = root / "out", root / "in", root / ".sent"
        self._sent_records: dict[str, dict[str, RemoteRecord]] = {}

    def look_up(self, keys: Sequence[str]) -> Mapping[str, RemoteRecord]:
        """Return the last sent record of each of *keys*. Raises CrmUnavailable."""
        try:
            with self._locked():
                self._recover_unpublished()
                return self._last_sent(keys)
        except OSError as error:
            raise CrmUnavailable(self._describe_error(error)) from error

    def upsert(self, records: Sequence[HandoffRecord], now: datetime) -> Sequence[Receipt]:
        """Write one file with *records*, without those already sent in the same state."""
        del now
        if not records:
            return []
        try:
            with self._locked():
                self._recover_unpublished()
                last_sent = self._last_sent([record.key for record in records])
                new = [record for record in records if not _is_unchanged(last_sent.get(record.key), record)]
                name = self._write(new) if new else ""
        except OSError as error:
            return [NotSent(self._describe_error(error), blocks_all=True) for _ in records]
        new_keys = {record.key for record in new}
        return [Accepted(name if record.key in new_keys else last_sent[record.key].crm_id) for record in records]

    def fetch_changes(self, cursor: str, limit: int, now: datetime) -> ChangePage:
        """Return the outcomes in the next file of in/, and move the file of *cursor* to processed/."""
        del limit  # a file is one page
        if cursor:
            self._archive(cursor)
        try:
            pending = sorted(path for path in self._in_dir.glob("*.csv") if path.is_file() and _is_quiet(path, now))
        except OSError as error:
            raise CrmUnavailable(self._describe_error(error)) from error
        if not pending:
            return ChangePage((), "")
        path = pending[0]
        try:
            records, problems = _read_outcomes(path, now)
        except FileUnreadable as problem:
            records, problems = [], [str(problem)]
        return ChangePage(records, path.name, has_more=True, problems=problems)

    def check(self, now: datetime) -> Sequence[str]:
        """Return a problem if the folder cannot be written."""
        del now
        folder = self._root if self._root.exists() else self._root.absolute().parent
        if os.access(folder, os.W_OK):
            return []
        return [f"{folder} cannot be written. Name another folder in NURTURE_CRM_FOLDER."]

    def record_url(self, crm_id: str) -> str:
        """Return "": a file has no page."""
        del crm_id
        return ""

    def close(self) -> None:
        """Do nothing: no file stays open between calls."""

    def _write(self, records: Sequence[HandoffRecord]) -> str:
        """Write file and list of a batch; renaming the list marks the batch as sent."""
        number = max((int(path.stem) for path in self._sent_dir.glob("[0-9]*.csv")), default=0) + 1
        name = f"{number:06}.csv"
        out_part, list_part = self._out_dir / f".{name}.part", self._sent_dir / f".{name}.part"
        _write_durably(out_part, _format_csv(OUT_COLUMNS, (_row_cells(record) for record in records)))
        lines = (
            (record.key, record.handoff_key, record.handoff_status.value, record.at.isoformat()) for record in records
        )
        _write_durably(list_part, _format_csv(("key", "handoff_key", "handoff_status", "at"), lines))
        list_part.rename(self._sent_dir / name)
        sync_folder(self._sent_dir)
        self._publish(out_part, name)
        return name

    def _publish(self, part: Path, name: str) -> None:
        part.rename(self._out_dir / f"handoffs-{name}")
        sync_folder(self._out_dir)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder for one worker; the lock of a worker that dies is released."""
        for folder in (self._out_dir, self._in_dir, self._sent_dir):
            make_folder(folder, owned=folder != self._in_dir)  # others write to in/
        with open_private(self._sent_dir / "lock") as lock:
            flock(lock, LOCK_EX)  # in the kernel; `filelock` would poll, and takes 0.1 s to import
            yield

    def _recover_unpublished(self) -> None:
        """Publish the file of a worker that died after it wrote the list."""
        for part in self._out_dir.glob(".[0-9]*.csv.part"):
            name = part.name.removeprefix(".").removesuffix(".part")
            if (self._sent_dir / name).exists():
                self._publish(part, name)

    def _last_sent(self, keys: Sequence[str]) -> dict[str, RemoteRecord]:
        found: dict[str, RemoteRecord] = {}
        for sent in self._sent_newest_first():
            found |= {key: sent[key] for key in keys if key in sent and key not in found}
            if len(found) == len(set(keys)):
                break
        return found

    def _sent_newest_first(self) -> Iterator[dict[str, RemoteRecord]]:
        for path in sorted(self._sent_dir.glob("[0-9]*.csv"), reverse=True):
            if path.name not in self._sent_records:
                with path.open(encoding="utf-8", newline="") as file:
                    self._sent_records[path.name] = {
                        row["key"]: RemoteRecord(
                            row["key"],
                            path.name,
                            datetime.fromisoformat(row["at"]),
                            row["handoff_key"],
                            row["handoff_status"],
                        )
                        for row in csv.DictReader(file)
                    }
            yield self._sent_records[path.name]

    def _archive(self, name: str) -> None:
        path = self._in_dir / name
        if path.parent != self._in_dir or not path.exists():
            return
        try:
            make_folder(self._in_dir / "processed", owned=False)
            archived, number = self._in_dir / "processed" / name, 1
            while archived.exists():
                archived = self._in_dir / "processed" / f"{path.stem}-{number}.csv"
                number += 1
            path.rename(archived)
        except OSError as error:
            raise CrmUnavailable(self._describe_error(error)) from error

    def _describe_error(self, error: OSError) -> str:
        return f"{self._root} cannot be used: {error.strerror or error}. Check NURTURE_CRM_FOLDER."


def _is_quiet(path: Path, now: datetime) -> bool:
    """Return whether the file was not written to recently; it may be incomplete until then."""
    return not 0 <= now.timestamp() - path.stat().st_mtime < QUIET_SECONDS


def _is_unchanged(held: RemoteRecord | None, record: HandoffRecord) -> bool:
    return held is not None and (held.handoff_key, held.handoff_status) == (record.handoff_key, record.handoff_status)


def _row_cells(record: HandoffRecord) -> Sequence[str]:
    person = record.person
    return (
        record.key,
        record.handoff_key,
        record.handoff_status.value,
        record.at.astimezone(UTC).isoformat(timespec="seconds"),
        person.email,
        person.first_name,
        person.last_name,
        person.company,
        person.title,
        person.phone,
        person.country,
        record.offered_to,
        record.owner,
        record.reason,
    )


def _format_csv(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    text = StringIO()
    writer = CsvWriter(text)
    writer.write_row(header)
    writer.write_rows(rows)
    return text.getvalue()


def _write_durably(path: Path, content: str) -> None:
    with open_private(path, encoding="utf-8", newline="") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read_outcomes(path: Path, now: datetime) -> tuple[list[RemoteRecord], list[str]]:
    records: list[RemoteRecord] = []
    problems: list[str] = []
    rows = OutcomeRows(path, ("lead",))
    with rows.file:
        for row in rows:
            if isinstance(row, BadRow):
                problems.append(f"{path.name}, line {row.line}: {row.reason}")
            else:
                found = _to_remote_record(row[0], path, now)
                faults = "; ".join(filter(None, (*row[0].faults, row[0].amount_fault)))  # nobody would see a note
                problem = f"{path.name}, line {row[0].line}: {faults}" if faults else ""
                records.append(replace(found, problem=problem))
    return records, problems


def _to_remote_record(row: OutcomeRow, path: Path, now: datetime) -> RemoteRecord:
    return RemoteRecord(
        key=row.lead,
        crm_id=path.name,
        changed_at=row.changed_at or row.closed_at or row.touched_at or now,
        crm_status=row.outcome or row.status,
        owner=row.owner,
        touched_at=row.touched_at,
        closed_at=row.closed_at,
        amount=row.amount,
        reason=row.reason,
    )
