"""Uploaded files that wait for their import: each in a private folder of its own, removed after a day.

A folder holds the file, the choices of the user as a mapping file, and what each step found. Its lock is held by the
process that works on the file, so that whatever ends the process also ends the step.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any, Final

import orjson

from nurture.errors import InvalidState, NotFound
from nurture.files import make_folder, open_private, write_private

LIFETIME: Final = timedelta(days=1)
MAX_BYTES: Final = 200 * 10**6
"""Bytes of one uploaded file."""

MAX_KEPT_BYTES: Final = 2 * 10**9
"""Bytes of all uploaded files that are kept at once."""

ENDINGS: Final = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".json", ".html", ".htm")
BAD_ROWS: Final = "bad-rows.csv"
MAPPING: Final = "mapping.yaml"
LEAK_PAGE: Final = "leaks.html"

_ID: Final = re.compile(r"[a-z0-9-]{1,40}-[0-9a-f]{16}")
_MAX_NAME: Final = 100
_SMALL: Final = 10**5
"""Bytes of a file from which its size is shown in MB."""

_ABOUT: Final = "about.json"
_LOCK: Final = "lock"
_FILE: Final = "file"
_testing: Final = Lock()
"""Held while a lock is tested or taken, so that no test makes a start fail."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file: its *id*, which names its *folder*, its own *name*, who uploaded it, and when (UTC)."""

    id: str
    folder: Path
    name: str
    by: str
    at: datetime
    size: int

    @property
    def file(self) -> Path:
        """Return the path of the file, which has its own name: journals name it as the origin of leads."""
        return self.folder / _FILE / self.name

    @property
    def size_text(self) -> str:
        """Return the size in words."""
        if self.size < 1_000:
            return f"{self.size} bytes"
        return f"{self.size / 1e6:,.1f} MB" if self.size >= _SMALL else f"{self.size / 1e3:,.1f} kB"

    @property
    def mapping(self) -> Path:
        """Return the path of the mapping file that the user's choices are written to."""
        return self.folder / MAPPING


@dataclass(slots=True)
class Step:
    """What a step found so far: *read* of *size* bytes, then either a *result* or an *error* for the user."""

    by: str = ""
    at: datetime | None = None
    read: int = 0
    size: int = 0
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Return whether the step came to its end."""
        return bool(self.error or self.result)


def folder_of(spool: Path) -> Path:
    """Return the folder of uploads in the spool folder, which no web server serves."""
    return spool.absolute() / "uploads"


def clean_name(name: str) -> str:
    """Return *name* without folders and without characters that have a meaning in paths. Raises InvalidState."""
    plain = re.sub(r"[^\w .()+-]", "_", name.replace("\\", "/").rpartition("/")[2]).strip(" .")
    ending = Path(plain).suffix.lower()
    if ending not in ENDINGS:
        raise InvalidState(f"{plain[:_MAX_NAME] or 'The file'} is not a list of leads.", f"Use {', '.join(ENDINGS)}.")
    return plain[: _MAX_NAME - len(ending) - 1] + plain[-len(ending) :] if len(plain) > _MAX_NAME else plain


def make_id(name: str) -> str:
    """Return the id of a new upload, which begins with the name of its file. Raises InvalidState."""
    slug = re.sub(r"[^a-z0-9]+", "-", Path(clean_name(name)).stem.lower()).strip("-")[:40] or "leads"
    return f"{slug}-{token_hex(8)}"


def begin(spool: Path, upload_id: str, name: str, by: str, now: datetime) -> Upload:
    """Return a new upload, whose file does not exist yet. Raises InvalidState."""
    remove_expired(spool, now)
    if sum(one.size for one in list_all(spool)) > MAX_KEPT_BYTES:
        raise InvalidState("Too many uploaded files wait.", "Remove some that are no longer needed.")
    made = Upload(upload_id, folder_of(spool) / upload_id, clean_name(name), by, now, 0)
    make_folder(made.file.parent)
    return made


def finish(spool: Path, upload_id: str, by: str, now: datetime) -> Upload:
    """Note that the file of an upload has arrived; until then no list shows it. Raises NotFound."""
    folder = folder_of(spool) / upload_id
    arrived = next((folder / _FILE).iterdir(), None) if (folder / _FILE).is_dir() else None
    if arrived is None or (folder / _ABOUT).exists():
        raise NotFound("No file arrives here.", "Upload it on the page Import.")
    made = Upload(upload_id, folder, arrived.name, by, now, arrived.stat().st_size)
    about = {"name": made.name, "by": by, "at": now.isoformat(), "size": made.size}
    write_private(folder / _ABOUT, orjson.dumps(about).decode())
    return made


def list_all(spool: Path) -> list[Upload]:
    """Return the uploads, the newest first."""
    folder = folder_of(spool)
    found = [_read_about(one) for one in folder.iterdir() if _ID.fullmatch(one.name)] if folder.is_dir() else []
    return sorted((one for one in found if one is not None), key=lambda one: one.at, reverse=True)


def find(spool: Path, upload_id: str) -> Upload:
    """Return an upload. Raises NotFound."""
    found = _read_about(folder_of(spool) / upload_id) if is_id(upload_id) else None
    if found is None:
        raise NotFound("This file is not there any more.", "Uploaded files are removed after a day. Upload it again.")
    return found


def is_id(text: str) -> bool:
    """Return whether *text* has the form of an id, which names no other folder."""
    return _ID.fullmatch(text) is not None


def _read_about(folder: Path) -> Upload | None:
    try:
        about = orjson.loads((folder / _ABOUT).read_bytes())
    except (OSError, ValueError):
        return None
    at = datetime.fromisoformat(about["at"])
    return Upload(folder.name, folder, about["name"], about["by"], at, about["size"])


def remove(upload: Upload) -> None:
    """Remove an upload with all that was found in it."""
    shutil.rmtree(upload.folder, ignore_errors=True)


def remove_expired(spool: Path, now: datetime) -> None:
    """Remove the uploads that are older than a day, and what an upload that broke off has left."""
    folder = folder_of(spool)
    for one in folder.iterdir() if folder.is_dir() else ():
        if not _ID.fullmatch(one.name):
            continue
        found = _read_about(one)
        with suppress(OSError):
            began = found.at.timestamp() if found is not None else one.stat().st_mtime
            if began < (now - LIFETIME).timestamp() and not is_locked(one):
                shutil.rmtree(one, ignore_errors=True)


def read_step(upload: Upload, name: str) -> Step | None:
    """Return what the step *name* found so far, None if it was not started."""
    try:
        raw = orjson.loads((upload.folder / f"{name}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return Step(**{**raw, "at": datetime.fromisoformat(raw["at"]) if raw["at"] else None})


def write_step(upload: Upload, name: str, step: Step) -> None:
    """Write what a step found so far; a reader sees the state before it or all of it."""
    target = upload.folder / f"{name}.json"
    part = target.with_suffix(".part")
    with open_private(part, "wb") as file:
        file.write(orjson.dumps(step, _to_json, orjson.OPT_NON_STR_KEYS))
    part.replace(target)


def _to_json(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return value._asdict()
    return list(value) if isinstance(value, tuple | set | frozenset) else str(value)


def forget_steps(upload: Upload, *names: str) -> None:
    """Remove what these steps found."""
    for name in names:
        (upload.folder / f"{name}.json").unlink(missing_ok=True)


def is_locked(folder: Path) -> bool:
    """Return whether a process works on the upload in *folder*."""
    with _testing, open_private(folder / _LOCK, "ab") as file:
        return not _try_lock(file.fileno())


@contextmanager
def lock(upload: Upload) -> Iterator[int]:
    """Hold the lock of an upload; yield its descriptor, which a child may inherit. Raises InvalidState if it is held.

    The lock is released when the block ends and every child that inherited the descriptor has ended.
    """
    with open_private(upload.folder / _LOCK, "ab") as file:
        with _testing:
            taken = _try_lock(file.fileno())
        if not taken:
            raise InvalidState(f"{upload.name} is being read or imported.", "Wait until that has ended.")
        yield file.fileno()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def free_bytes(spool: Path) -> int:
    """Return how many bytes the disk of the uploads has left."""
    folder = make_folder(folder_of(spool))
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
