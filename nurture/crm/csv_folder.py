"""The default CRM: a folder. Hand-offs go out as files, and what sales did comes in as files."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, flock
from io import StringIO
from pathlib import Path
from typing import Final

from nurture.crm.base import CrmDown, NotWritten, Page, Receipt, Record, Seen, Written
from nurture.errors import FileUnreadable
from nurture.files import make_folder, open_private, sync_folder
from nurture.formats.csv_cells import KEY, CsvWriter
from nurture.formats.outcome_file import OutcomeRow, OutcomeRows
from nurture.formats.rejected_rows import BadRow

HEADER: Final = (
    KEY,
    "nurture_handoff",
    "nurture_status",
    "at",
    "email",
    "first_name",
    "last_name",
    "company",
    "title",
    "phone",
    "country",
    "offered_to",
    "owner_email",
    "why",
)
"""The columns of the files in out/."""

RESTS: Final = 5.0
"""Seconds that a file in in/ is left alone after it was last written to."""


class CsvFolder:
    """A folder with out/ (for sales to import), in/ (for us to read) and .told/, our list of what went out.

    A batch counts as told at the moment at which its list stands in .told/; its file follows, also after a
    crash. So each hand-off stands in one file for each state, however often it is tried.
    """

    name = "csv"
    at_once = 500

    def __init__(self, root: Path) -> None:
        self._root = root
        self._out, self._in, self._told = root / "out", root / "in", root / ".told"
        self._lists: dict[str, dict[str, Seen]] = {}

    def look_up(self, keys: Sequence[str]) -> Mapping[str, Seen]:
        """Return how each of *keys* was told last."""
        try:
            with self._alone():
                self._finish()
                return self._known(keys)
        except OSError as error:
            raise CrmDown(self._unwritable(error)) from error

    def put(self, records: Sequence[Record], now: datetime) -> Sequence[Receipt]:
        """Write one file of *records*; what was told alike before is left out."""
        del now
        if not records:
            return []
        try:
            with self._alone():
                self._finish()
                known = self._known([record.key for record in records])
                new = [record for record in records if not _same(known.get(record.key), record)]
                name = self._write(new) if new else ""
        except OSError as error:
            return [NotWritten(self._unwritable(error), stops=True) for _ in records]
        fresh = {record.key for record in new}
        return [Written(name if record.key in fresh else known[record.key].crm_id) for record in records]

    def changes(self, cursor: str, limit: int, now: datetime) -> Page:
        """Return what the next file in in/ says. The file of *cursor* was read, and is put aside now."""
        del limit  # a file is one page: its lines belong together
        if cursor:
            self._put_aside(cursor)
        try:
            waiting = sorted(path for path in self._in.glob("*.csv") if path.is_file() and _rests(path, now))
        except OSError as error:
            raise CrmDown(self._unwritable(error)) from error
        if not waiting:
            return Page((), "")
        path = waiting[0]
        try:
            seen, faults = _read(path, now)
        except FileUnreadable as fault:
            seen, faults = [], [str(fault)]
        return Page(seen, path.name, more=True, faults=faults)

    def check(self, now: datetime) -> Sequence[str]:
        """Say whether the folder can be written."""
        del now
        place = self._root if self._root.exists() else self._root.absolute().parent
        if os.access(place, os.W_OK):
            return []
        return [f"{place} cannot be written. Name another folder in NURTURE_CRM_FOLDER."]

    def close(self) -> None:
        """Nothing is held open."""

    def _write(self, records: Sequence[Record]) -> str:
        """Write the file and the list of a batch; the list's last step is what makes it count."""
        number = max((int(path.stem) for path in self._told.glob("[0-9]*.csv")), default=0) + 1
        name = f"{number:06}.csv"
        part, draft = self._out / f".{name}.part", self._told / f".{name}.part"
        _durable(part, _table(HEADER, (_cells(record) for record in records)))
        lines = ((one.key, one.handoff, one.stage.value, one.at.isoformat()) for one in records)
        _durable(draft, _table(("key", "handoff", "stage", "at"), lines))
        draft.rename(self._told / name)
        sync_folder(self._told)
        self._publish(part, name)
        return name

    def _publish(self, part: Path, name: str) -> None:
        part.rename(self._out / f"handoffs-{name}")
        sync_folder(self._out)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one worker at a time write here; the lock of one that dies is free at once."""
        for folder in (self._out, self._in, self._told):
            make_folder(folder, ours=folder != self._in)  # others write to in/
        with open_private(self._told / "lock") as lock:
            flock(lock, LOCK_EX)
            yield

    def _finish(self) -> None:
        """Publish the file of a worker that died between its list and its last step."""
        for part in self._out.glob(".[0-9]*.csv.part"):
            name = part.name.removeprefix(".").removesuffix(".part")
            if (self._told / name).exists():
                self._publish(part, name)

    def _known(self, keys: Sequence[str]) -> dict[str, Seen]:
        found: dict[str, Seen] = {}
        for told in self._newest_first():
            found |= {key: told[key] for key in keys if key in told and key not in found}
            if len(found) == len(set(keys)):
                break
        return found

    def _newest_first(self) -> Iterator[dict[str, Seen]]:
        for path in sorted(self._told.glob("[0-9]*.csv"), reverse=True):
            if path.name not in self._lists:
                with path.open(encoding="utf-8", newline="") as file:
                    self._lists[path.name] = {
                        row["key"]: Seen(
                            row["key"],
                            path.name,
                            datetime.fromisoformat(row["at"]),
                            row["handoff"],
                            row["stage"],
                        )
                        for row in csv.DictReader(file)
                    }
            yield self._lists[path.name]

    def _put_aside(self, name: str) -> None:
        path = self._in / name
        if path.parent != self._in or not path.exists():
            return
        try:
            make_folder(self._in / "read", ours=False)
            aside, number = self._in / "read" / name, 1
            while aside.exists():
                aside = self._in / "read" / f"{path.stem}-{number}.csv"
                number += 1
            path.rename(aside)
        except OSError as error:
            raise CrmDown(self._unwritable(error)) from error

    def _unwritable(self, error: OSError) -> str:
        return f"{self._root} cannot be used: {error.strerror or error}. Check NURTURE_CRM_FOLDER."


def _rests(path: Path, now: datetime) -> bool:
    """Say whether nobody has written to the file for a while: it may be half a file till then."""
    return not 0 <= now.timestamp() - path.stat().st_mtime < RESTS


def _same(held: Seen | None, record: Record) -> bool:
    return held is not None and (held.handoff, held.stage) == (record.handoff, record.stage)


def _cells(record: Record) -> Sequence[str]:
    who = record.person
    return (
        record.key,
        record.handoff,
        record.stage.value,
        record.at.astimezone(UTC).isoformat(timespec="seconds"),
        who.email,
        who.first_name,
        who.last_name,
        who.company,
        who.title,
        who.phone,
        who.country,
        record.offered_to,
        record.owner,
        record.why,
    )


def _table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    text = StringIO()
    writer = CsvWriter(text)
    writer.row(header)
    writer.rows(rows)
    return text.getvalue()


def _durable(path: Path, content: str) -> None:
    with open_private(path, encoding="utf-8", newline="") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, now: datetime) -> tuple[list[Seen], list[str]]:
    seen: list[Seen] = []
    faults: list[str] = []
    rows = OutcomeRows(path, ())
    with rows.file:
        for row in rows:
            if isinstance(row, BadRow):
                faults.append(f"{path.name}, line {row.line}: {row.reason}")
            else:
                seen.append(_seen(row[0], path, now))
    return seen, faults


def _seen(row: OutcomeRow, path: Path, now: datetime) -> Seen:
    return Seen(
        key=row.lead,
        crm_id=path.name,
        changed_at=row.changed_at or row.closed_at or row.touched_at or now,
        status=row.outcome or row.status,
        owner=row.owner,
        touched_at=row.touched_at,
        closed_at=row.closed_at,
        amount=row.amount,
        reason=row.reason,
    )
