"""The suppression journal: opt-outs and opt-ins in a file outside the database, by keyed hashes.

A restored backup has forgotten who opted out since; this file has not. Its lines are on the disk before the
transaction commits, so it may know of an opt-out that never came to be (mailing less is safe), while an
opt-in counts only with the line that is added after the commit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Final, NamedTuple

import orjson

from nurture.db.types import to_utc
from nurture.domain.consent.suppression import LogAction, SuppressionScope
from nurture.files import sync_folder

SUFFIX: Final = ".suppressions"
ERASED: Final = "erase"
"""The action of a line that says that a person was erased."""

_STARTED: Final = "started"
_ACTIONS: Final = {action: action for action in (LogAction.SUPPRESS.value, LogAction.OPT_IN.value, ERASED)}


class JournalLine(NamedTuple):
    """One action about an address, which *address_hash* names: its keyed hash."""

    address_hash: str
    action: str
    scope: str
    ref: str
    source: str
    at: datetime


class SuppressionJournal:
    """The journal of one machine for one database, at *path*; *now* tells when it was started."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self.path = path
        self._now = now
        self._file: int | None = None
        self._lock = Lock()

    def open_file(self) -> int:
        """Create the file where it is missing, and return its descriptor."""
        with self._lock:
            if self._file is None:
                is_new = not self.path.exists()
                self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
                if is_new:
                    header = [_STARTED, self._now()]
                    os.write(self._file, orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE))
                    os.fsync(self._file)
                    sync_folder(self.path.parent)
                elif (size := os.fstat(self._file).st_size) and os.pread(self._file, 1, size - 1) != b"\n":
                    os.write(self._file, b"\n")  # whoever wrote last died in the middle of a line
            return self._file

    def write(self, entries: Sequence[JournalLine]) -> str:
        """Put *entries* on the disk; return by which name `commit` confirms them."""
        name, file = token_hex(8), self.open_file()
        data = b"".join(orjson.dumps([name, *line], option=orjson.OPT_APPEND_NEWLINE) for line in entries)
        if os.write(file, data) != len(data):
            raise OSError(f"{self.path} took only a part of what was written; is its disk full?")
        os.fsync(file)
        return name

    def commit(self, batch_id: str) -> None:
        """Confirm what `write` wrote under *batch_id*. If this is lost, its opt-ins do not count."""
        os.write(self.open_file(), orjson.dumps([batch_id], option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Give the open file back. Closing twice is allowed."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                os.close(file)


class JournalContents(NamedTuple):
    """What journals say, the oldest action first; *unreadable* lines could not be read.

    *started_at* is when the oldest of them was started: it knows of nothing before. None: none is whole.
    """

    entries: list[JournalLine]
    unreadable: int
    started_at: datetime | None


def read_journals(paths: Iterable[Path]) -> JournalContents:
    """Return what the files say together. Raises OSError for one that cannot be read."""
    lines: set[JournalLine] = set()
    started: list[datetime] = []
    unreadable = 0
    for path in paths:
        batch_entries: list[tuple[str, JournalLine]] = []
        committed: set[str] = set()
        for raw in filter(None, path.read_bytes().split(b"\n")):
            try:
                match orjson.loads(raw):
                    case ["started", str(at)]:
                        started.append(_parse_timestamp(at))
                    case [str(name)]:
                        committed.add(name)
                    case [str(name), str(hash_), str(action), str(scope), str(ref), str(source), str(at)]:
                        line = JournalLine(
                            hash_, _ACTIONS[action], SuppressionScope(scope).value, ref, source, _parse_timestamp(at)
                        )
                        batch_entries.append((name, line))
                    case _:
                        unreadable += 1
            except (ValueError, KeyError):
                unreadable += 1
        lines |= {line for name, line in batch_entries if line.action != LogAction.OPT_IN or name in committed}
    return JournalContents(sorted(lines, key=lambda line: (line.at, line)), unreadable, min(started, default=None))


def _parse_timestamp(text: str) -> datetime:
    return to_utc(datetime.fromisoformat(text))
