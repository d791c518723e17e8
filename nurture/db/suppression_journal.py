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

from nurture.db.types import in_utc
from nurture.domain.consent.suppression import Act, Scope
from nurture.files import sync_folder

SUFFIX: Final = ".optouts"
ERASED: Final = "erase"
"""The act of a line that says that a person was erased."""

_BEGUN: Final = "begun"
_ACTS: Final = {act: act for act in (Act.SUPPRESS.value, Act.OPT_IN.value, ERASED)}


class Line(NamedTuple):
    """One act about an address, which *mark* names: its keyed hash."""

    mark: str
    act: str
    scope: str
    ref: str
    source: str
    at: datetime


class OptOutLog:
    """The journal of one machine for one database, at *path*; *now* tells when it was begun."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self.path = path
        self._now = now
        self._file: int | None = None
        self._lock = Lock()

    def open(self) -> int:
        """Create the file where it is missing, and return its descriptor."""
        with self._lock:
            if self._file is None:
                fresh = not self.path.exists()
                self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
                if fresh:
                    begun = [_BEGUN, self._now()]
                    os.write(self._file, orjson.dumps(begun, option=orjson.OPT_APPEND_NEWLINE))
                    os.fsync(self._file)
                    sync_folder(self.path.parent)
                elif (size := os.fstat(self._file).st_size) and os.pread(self._file, 1, size - 1) != b"\n":
                    os.write(self._file, b"\n")  # whoever wrote last died in the middle of a line
            return self._file

    def write(self, lines: Sequence[Line]) -> str:
        """Put *lines* on the disk; return by which name `commit` confirms them."""
        name, file = token_hex(8), self.open()
        whole = b"".join(orjson.dumps([name, *line], option=orjson.OPT_APPEND_NEWLINE) for line in lines)
        if os.write(file, whole) != len(whole):
            raise OSError(f"{self.path} took only a part of what was written; is its disk full?")
        os.fsync(file)
        return name

    def commit(self, name: str) -> None:
        """Confirm what `write` wrote under *name*. If this is lost, its opt-ins do not count."""
        os.write(self.open(), orjson.dumps([name], option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Give the open file back. Closing twice is allowed."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                os.close(file)


class Journaled(NamedTuple):
    """What journals say, the oldest act first; *torn* lines could not be read.

    *begun* is when the oldest of them was begun: it knows of nothing before. None: none is whole.
    """

    lines: list[Line]
    torn: int
    begun: datetime | None


def read(paths: Iterable[Path]) -> Journaled:
    """Return what the files say together. Raises OSError for one that cannot be read."""
    lines: set[Line] = set()
    begun: list[datetime] = []
    torn = 0
    for path in paths:
        acts: list[tuple[str, Line]] = []
        committed: set[str] = set()
        for raw in filter(None, path.read_bytes().split(b"\n")):
            try:
                match orjson.loads(raw):
                    case ["begun", str(at)]:
                        begun.append(_moment(at))
                    case [str(name)]:
                        committed.add(name)
                    case [str(name), str(mark), str(act), str(scope), str(ref), str(source), str(at)]:
                        where = Scope(scope).value
                        acts.append((name, Line(mark, _ACTS[act], where, ref, source, _moment(at))))
                    case _:
                        torn += 1
            except (ValueError, KeyError):
                torn += 1
        lines |= {line for name, line in acts if line.act != Act.OPT_IN or name in committed}
    return Journaled(sorted(lines, key=lambda line: (line.at, line)), torn, min(begun, default=None))


def _moment(text: str) -> datetime:
    return in_utc(datetime.fromisoformat(text))
