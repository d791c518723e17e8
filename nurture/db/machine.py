"""What this machine keeps outside the database: who it is, how far it has seen, and who opted out."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Final

from sqlalchemy import Connection

from nurture.db import instance
from nurture.db.suppression_journal import SUFFIX, Line, OptOutLog
from nurture.domain.address import mark_of
from nurture.errors import Refused
from nurture.files import make_folder

_SYSTEM_ID: Final = Path("/etc/machine-id")
_DIGITS: Final = 20
_log: Final = logging.getLogger(__name__)


class OlderThanSeen(Refused):
    """The database is older than what this machine has seen. `nurture admin restored` says what to do."""


class Machine:
    """This machine in the eyes of one database.

    *folder* outlives the database. *origin* names it, *salt* keys its hashes, *place* tells it from
    a copy that this machine uses as well, and *now* is its clock. Nothing is created before it is needed, and
    OSError says that the folder cannot be used.
    """

    def __init__(self, folder: Path, origin: str, salt: str, place: str, now: Callable[[], datetime]) -> None:
        self.folder = folder
        self.origin = origin
        self._salt = salt
        self._now = now
        self._path = folder / f"{origin}-{sha256(place.encode()).hexdigest()[:8]}.seen"
        self._lock = Lock()

    @cached_property
    def id(self) -> str:
        """Return what names this machine: with another folder, or another system, it is another one."""
        make_folder(self.folder)
        own = self.folder / "machine"
        if not own.exists():
            draft = own.with_name(f"machine.{token_hex(4)}")
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(file, token_hex(16).encode())
            os.fsync(file)
            os.close(file)
            with suppress(FileExistsError):  # another process of this machine was first
                os.link(draft, own)
            draft.unlink()
        system = _SYSTEM_ID.read_text("ascii", "replace").strip() if _SYSTEM_ID.is_file() else ""
        return sha256(f"nurture|{system}|{own.read_text('ascii')}".encode()).hexdigest()[:16]

    @cached_property
    def optouts(self) -> OptOutLog:
        """Return this machine's suppression journal."""
        return OptOutLog(self.folder / f"{self.origin}-{self.id}{SUFFIX}", self._now)

    def journals(self) -> list[Path]:
        """Return every suppression journal of this database in the folder."""
        return sorted(self.folder.glob(f"{self.origin}-*{SUFFIX}"))

    def mark(self, normal: str) -> str:
        """Return the keyed hash of a normalised address, as journals name it."""
        return mark_of(normal, self._salt)

    def seen(self) -> int | None:
        """Return the newest generation that this machine has seen, None if it never saw this database."""
        try:
            return _read(self._path.read_bytes())
        except FileNotFoundError:
            return None

    def seen_anywhere(self) -> int | None:
        """Return the newest generation seen of this database or of a copy of it, None if there is none."""
        found = [_read(path.read_bytes()) for path in self.folder.glob(f"{self.origin}-*.seen")]
        return max((one for one in found if one is not None), default=None)

    def saw(self, generation: int) -> None:
        """Remember *generation*, unless a newer one was seen."""
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)  # other processes of this machine
            try:
                before = _read(os.pread(self._file, _DIGITS, 0))
                if before is None or generation > before:
                    os.pwrite(self._file, b"%0*d" % (_DIGITS, generation), 0)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def before_calls(self, connection: Connection, _: Sequence[object]) -> Callable[[], None]:
        """Begin a generation, as the last of the transaction before something leaves for good.

        Each generation that this machine saw had committed, so the new one is above it; if it is not, the
        database has been put back meanwhile. Raises OlderThanSeen, and OSError: then nothing may leave.
        """
        generation = instance.grow(connection)
        seen = self.seen()
        if seen is not None and seen >= generation:
            raise OlderThanSeen(older(generation - 1, seen))
        os.fstat(self._file)  # if it cannot be opened, nothing may leave
        return lambda: self.saw(generation)

    def before_optouts(self, connection: Connection, lines: Sequence[Line]) -> Callable[[], None]:
        """Put *lines* on the disk, as the last of the transaction that makes them true.

        An opt-out is never refused because its journal cannot be written: it stands in the database.
        """
        generation = instance.grow(connection)
        try:
            name = self.optouts.write(lines)
        except OSError as error:
            _log.error("the suppression journal in %s cannot be written: %s", self.folder, error.strerror)
            return lambda: None

        def committed() -> None:
            with suppress(OSError):
                self.optouts.commit(name)
                self.saw(generation)

        return committed

    @cached_property
    def _file(self) -> int:
        make_folder(self.folder)
        return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)

    def close(self) -> None:
        """Give open files back. Closing twice is allowed."""
        file = self.__dict__.pop("_file", None)
        if file is not None:
            os.close(file)
        optouts = self.__dict__.pop("optouts", None)
        if optouts is not None:
            optouts.close()


PUT_BACK: Final = "a backup was put in its place"


def older(generation: int, seen: int) -> str:
    """Say that a database is older than what was seen of it."""
    return f"it is older than what this machine has seen (generation {generation:,} of {seen:,}): {PUT_BACK}"


def _read(digits: bytes) -> int | None:
    return int(digits) if digits.isdigit() else None
