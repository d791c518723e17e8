"""The suppression journal: opt-outs and opt-ins by keyed hash, releases and stops of mail, outside the database.

A restored backup lacks what happened since; this file has it. Its lines are synced before the transaction
commits, so it may contain an opt-out that was rolled back (sending less is safe). An opt-in, and the undo of an
import, count only with the line that is added after the commit.
"""

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
from nurture.domain.delivery.stops import StopAction
from nurture.files import sync_folder

SUFFIX: Final = ".suppressions"
ERASED: Final = "erase"
"""The action of a line about an erased person."""

WITHDRAWN: Final = "withdraw"
"""The action of a line about consent that a record withdrew."""

RELEASED: Final = "release"
"""The action of a line about a broadcast that was released: *ref* is its track, and there is no address."""

STOPS: Final = tuple(one.value for one in StopAction)
"""The actions of lines about stops and starts of mail: *ref* is the track, "" for all mail."""

_STARTED: Final = "started"
_LOGGED: Final = tuple(one.value for one in LogAction)
_ACTIONS: Final = {action: action for action in (*_LOGGED, ERASED, WITHDRAWN, RELEASED, *STOPS)}


class JournalLine(NamedTuple):
    """One action on the address with the keyed hash *address_hash*, "" for one on the mail of *ref*."""

    address_hash: str
    action: str
    scope: str
    ref: str
    source: str
    at: datetime


class SuppressionJournal:
    """The journal of one machine for one database, at *path*; *now* is the clock for its start time."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self.path = path
        self._now = now
        self._file: int | None = None
        self._lock = Lock()

    def open_file(self) -> int:
        """Create the file if it is missing, and return its descriptor."""
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
                    os.write(self._file, b"\n")  # the last writer died in the middle of a line
            return self._file

    def write(self, entries: Sequence[JournalLine]) -> str:
        """Write and sync *entries*; return the batch id for `commit`."""
        name, file = token_hex(8), self.open_file()
        data = b"".join(orjson.dumps([name, *line], option=orjson.OPT_APPEND_NEWLINE) for line in entries)
        if os.write(file, data) != len(data):
            raise OSError(f"{self.path} was written only in part; is the disk full?")
        os.fsync(file)
        return name

    def commit(self, batch_id: str) -> None:
        """Confirm the batch of `write`; without this line its opt-ins do not count."""
        os.write(self.open_file(), orjson.dumps([batch_id], option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                os.close(file)


class JournalContents(NamedTuple):
    """The entries of journals, oldest first, and the number of unreadable lines.

    *started_at* is the start of the oldest journal, which has nothing from before; None if none has a start.
    """

    entries: list[JournalLine]
    unreadable: int
    started_at: datetime | None


def read_journals(paths: Iterable[Path]) -> JournalContents:
    """Return the merged contents of journals. Raises OSError for an unreadable file."""
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
        lifting = (LogAction.OPT_IN, LogAction.RETRACT)
        lines |= {line for name, line in batch_entries if line.action not in lifting or name in committed}
    return JournalContents(sorted(lines, key=lambda line: (line.at, line)), unreadable, min(started, default=None))


def _parse_timestamp(text: str) -> datetime:
    return to_utc(datetime.fromisoformat(text))
