"""State that this machine keeps outside the database: its id, the newest generation seen, and opt-outs."""

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

from nurture.db import clock_row
from nurture.db.suppression_journal import SUFFIX, JournalLine, SuppressionJournal
from nurture.db.transaction import Transaction
from nurture.domain.address import erasure_hash
from nurture.errors import InvalidState
from nurture.files import make_folder

_SYSTEM_ID: Final = Path("/etc/machine-id")
_GENERATION_DIGITS: Final = 20
_log: Final = logging.getLogger(__name__)


class DatabaseOutdated(InvalidState):
    """The database is older than what this machine has seen. Run `nurture admin restored --since TIME`."""


class Machine:
    """The record of one database on this machine.

    *folder* must outlive the database. *installation_id* identifies the database, *salt* keys its hashes,
    *location* distinguishes it from a copy on the same machine, and *now* is its clock. Files are created when
    they are needed; methods raise OSError if the folder cannot be used.
    """

    def __init__(
        self, folder: Path, installation_id: str, salt: str, location: str, now: Callable[[], datetime]
    ) -> None:
        self.folder = folder
        self.installation_id = installation_id
        self._salt = salt
        self._now = now
        self._path = folder / f"{installation_id}-{sha256(location.encode()).hexdigest()[:8]}.generation"
        self._lock = Lock()

    @cached_property
    def id(self) -> str:
        """Return the id of this machine, which depends on the folder and the operating system's machine id."""
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
    def suppression_journal(self) -> SuppressionJournal:
        """Return this machine's suppression journal."""
        return SuppressionJournal(self.folder / f"{self.installation_id}-{self.id}{SUFFIX}", self._now)

    def list_journals(self) -> list[Path]:
        """Return the suppression journals of this database in the folder."""
        return sorted(self.folder.glob(f"{self.installation_id}-*{SUFFIX}"))

    def address_hash(self, normal: str) -> str:
        """Return the keyed hash of a normalized address, as used in journals."""
        return erasure_hash(normal, self._salt)

    def newest_generation(self) -> int | None:
        """Return the newest generation seen here, None if this machine has not seen the database."""
        try:
            return _parse_generation(self._path.read_bytes())
        except FileNotFoundError:
            return None

    def newest_generation_of_any_copy(self) -> int | None:
        """Return the newest generation seen of this database or any copy of it, None without any."""
        found = [
            _parse_generation(path.read_bytes()) for path in self.folder.glob(f"{self.installation_id}-*.generation")
        ]
        return max((one for one in found if one is not None), default=None)

    def record_generation(self, generation: int) -> None:
        """Record *generation*, unless a newer one is recorded."""
        with self._lock:
            # Against other processes of this machine. The file stays open; `filelock` would open another each time.
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                before = _parse_generation(os.pread(self._file, _GENERATION_DIGITS, 0))
                if before is None or generation > before:
                    os.pwrite(self._file, b"%0*d" % (_GENERATION_DIGITS, generation), 0)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def before_external_calls(self, tx: Transaction, _: Sequence[object]) -> Callable[[], None]:
        """Begin a generation at the end of the transaction before external calls.

        Every recorded generation was committed, so the new one is higher; otherwise the database was restored
        meanwhile. Raises DatabaseOutdated or OSError; then no call may be made.
        """
        generation = clock_row.increment_generation(tx)
        newest_seen = self.newest_generation()
        if newest_seen is not None and newest_seen >= generation:
            raise DatabaseOutdated(describe_outdated(generation - 1, newest_seen))
        os.fstat(self._file)  # opens it: without the file, no call may be made
        return lambda: self.record_generation(generation)

    def before_suppressions(self, tx: Transaction, entries: Sequence[JournalLine]) -> Callable[[], None]:
        """Write *entries* to the journal at the end of their transaction.

        A journal that cannot be written does not block the opt-out, which is in the database.
        """
        generation = clock_row.increment_generation(tx)
        try:
            name = self.suppression_journal.write(entries)
        except OSError as error:
            _log.error("the suppression journal in %s cannot be written: %s", self.folder, error.strerror)
            return lambda: None

        def committed() -> None:
            with suppress(OSError):
                self.suppression_journal.commit(name)
                self.record_generation(generation)

        return committed

    @cached_property
    def _file(self) -> int:
        make_folder(self.folder)
        return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)

    def close(self) -> None:
        """Close open files. Closing twice is allowed."""
        file = self.__dict__.pop("_file", None)
        if file is not None:
            os.close(file)
        journal = self.__dict__.pop("suppression_journal", None)
        if journal is not None:
            journal.close()


def describe_outdated(generation: int, newest_seen: int) -> str:
    """Return the reason why a database at *generation* is outdated."""
    seen = f"generation {generation:,} of {newest_seen:,}"
    return f"it is older than what this machine has seen ({seen}): a backup was restored"


def _parse_generation(digits: bytes) -> int | None:
    return int(digits) if digits.isdigit() else None
