"""Allow one `nurture up` per folder: a lock that ends with its owner and names it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from nurture.errors import AlreadyRunning
from nurture.files import make_folder, open_private

LOCK_FILE = "up.lock"


@contextmanager
def hold_lock(home: Path) -> Iterator[Callable[[Mapping[str, str]], None]]:
    """Hold the lock of *home*; yield a function that records the URLs in the lock file.

    The operating system releases the lock when its owner ends in any way; a leftover file blocks nobody.
    Raises AlreadyRunning, naming the owner and its addresses.
    """
    make_folder(home)
    with open_private(home / LOCK_FILE, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not `filelock`: the file names the owner
        except BlockingIOError:
            raise AlreadyRunning(_already_running_text(file)) from None
        _write_owner(file, {})
        try:
            yield lambda urls: _write_owner(file, urls)
        finally:
            file.truncate(0)


def _write_owner(file: IO[str], urls: Mapping[str, str]) -> None:
    file.truncate(0)
    json.dump({"pid": os.getpid(), "urls": dict(urls)}, file)
    file.flush()


def _already_running_text(file: IO[str]) -> str:
    file.seek(0)
    try:
        owner: dict[str, Any] = json.loads(file.read())
    except ValueError:
        return "nurture is already running here."
    where = "".join(f"\n  {name}: {url}" for name, url in owner["urls"].items())
    return (
        f"nurture is already running here, as process {owner['pid']}:{where or ' it is starting'}\n"
        f"Stop it with Ctrl-C where it runs, or with `kill {owner['pid']}`."
    )
