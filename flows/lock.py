"""The lock of `nurture up`: it runs once in a folder, and names its process and addresses to whoever asks."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from nurture.errors import AlreadyRunning
from nurture.files import make_folder, open_private

LOCK_FILE = "up.lock"


@contextmanager
def hold_lock(home: Path) -> Iterator[IO[str]]:
    """Hold the lock of *home*; yield the lock file, for `write_owner`.

    The operating system releases the lock when its owner ends in any way; a leftover file blocks nobody.
    Raises AlreadyRunning, naming the owner and its addresses.
    """
    make_folder(home)
    with open_private(home / LOCK_FILE, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not `filelock`: the file names the owner
        except BlockingIOError:
            raise AlreadyRunning(_already_running_text(file)) from None
        write_owner(file, {})
        try:
            yield file
        finally:
            file.truncate(0)


def write_owner(file: IO[str], urls: Mapping[str, str]) -> None:
    """Record this process and its URLs in the lock file."""
    file.truncate(0)
    json.dump({"pid": os.getpid(), "urls": dict(urls)}, file)
    file.flush()


def read_urls(home: Path) -> Mapping[str, str]:
    """Return the URLs of the process that holds the lock of *home*, by name; {} if none does."""
    try:
        with (home / LOCK_FILE).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # not held: what it says is left over
            except BlockingIOError:
                owner = _read_owner(file)
                return {} if owner is None else dict(owner["urls"])
    except OSError:
        pass
    return {}


def _read_owner(file: IO[str]) -> dict[str, Any] | None:
    """Return what the owner wrote, None while it writes."""
    file.seek(0)
    try:
        owner: dict[str, Any] = json.loads(file.read())
    except ValueError:
        return None
    return owner


def _already_running_text(file: IO[str]) -> str:
    owner = _read_owner(file)
    if owner is None:
        return "nurture is already running here."
    where = "".join(f"\n  {name}: {url}" for name, url in owner["urls"].items())
    return (
        f"nurture is already running here, as process {owner['pid']}:{where or ' it is starting'}\n"
        f"Stop it with Ctrl-C where it runs, or with `kill {owner['pid']}`."
    )
