"""Prepare a demo's folder. Only files that a demo made are deleted, and only if the folder holds nothing else."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from os import walk
from pathlib import Path
from typing import Final

from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.errors import InvalidState, NurtureError
from nurture.files import contains_working_folder, make_folder, open_private

MARKER: Final = ".nurture-demo"
"""The file that marks a folder as a demo's; only a demo writes it."""

_MARKER_TEXT: Final = "Made by `nurture demo`. Its next run deletes what the demo made here, and nothing else.\n"
_PARTIAL_CSV: Final = r"\.\d{6}\.csv\.part"
_DEMO_PATHS: Final = re.compile(
    rf"{re.escape(MARKER)}|nurture\.db(-wal|-shm|-journal)?|webinar\.bad-rows\.csv"
    r"|mail(/(new|cur|html|tmp))?|mail/(new|cur)/[^/]+\.eml(:2,[A-Z]*)?|mail/html/[^/]+\.html"
    r"|mail/tmp/([^/]+\.(eml|html)|check)(\.\d+)*"
    r"|spool|spool/\d{8}T\d{6}-[0-9a-f]{16}\.(json|tmp|bad)"
    rf"|crm(/(out|\.sent|in(/processed)?))?|crm/out/(handoffs-\d{{6}}\.csv|{_PARTIAL_CSV})"
    rf"|crm/\.sent/(\d{{6}}\.csv|{_PARTIAL_CSV}|lock)"
    r"|\.nurture|\.nurture/(up\.lock|sign-in|logs|logs/[a-z]+\.log(\.1)?|prefect(/.*)?)"
)


@contextmanager
def demo_folder(folder: Path) -> Iterator[None]:
    """Lock *folder* for one demo, and empty it except for the marker.

    Raises InvalidState, and deletes nothing, if the folder holds anything that no demo made.
    """
    _require_safe_folder(folder)
    if folder.exists() and any(folder.iterdir()) and not _has_marker(folder):
        raise InvalidState(
            f"{folder} is not empty and has no demo marker ({MARKER}). Nothing was deleted. "
            "Name an empty folder with --folder, or delete an older demo's folder yourself."
        )
    make_folder(folder)
    with open_private(folder / MARKER, "a", encoding="utf-8") as marker:
        try:
            flock(marker, LOCK_EX | LOCK_NB)  # not `filelock`: the marker has a text
        except BlockingIOError:
            raise InvalidState(f"A demo is running in {folder}. Name another folder with --folder.") from None
        _clear_folder(folder)
        if marker.tell() == 0:
            marker.write(_MARKER_TEXT)
            marker.flush()
        yield


def _require_safe_folder(folder: Path) -> None:
    if folder.is_symlink():
        raise InvalidState(f"{folder} is a symbolic link. Name a real folder with --folder.")
    if contains_working_folder(folder):
        raise InvalidState(
            f"{folder} is the working folder, your home folder, or a parent of one. Nothing was deleted. "
            "Name a separate folder for the demo with --folder."
        )
    if folder.exists() and not folder.is_dir():
        raise InvalidState(f"{folder} is a file. Name a folder with --folder.")


def _has_marker(folder: Path) -> bool:
    marker = folder / MARKER
    if marker.is_symlink() or not marker.is_file():
        return False
    killed_at_once = marker.stat().st_size == 0 and len(list(folder.iterdir())) == 1
    return killed_at_once or marker.read_bytes() == _MARKER_TEXT.encode()


def _clear_folder(folder: Path) -> None:
    """Delete everything in *folder* except the marker. Raises InvalidState if no demo made some of it."""
    found = [Path(above, name) for above, folders, files in walk(folder) for name in sorted((*folders, *files))]
    foreign = [path.relative_to(folder) for path in found if not _is_demo_file(path, folder)]
    if foreign:
        listed = ", ".join(map(str, foreign[:3])) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise InvalidState(
            f"{folder} holds files that no demo made: {listed}. Nothing was deleted. Move them, or name another "
            "folder with --folder."
        )
    database = folder / "nurture.db"
    if database.exists() and not _is_virtual(database):
        raise InvalidState(
            f"{database} was not made by a demo: it does not run on virtual time. Nothing was deleted. "
            "Name another folder with --folder."
        )
    for path in reversed(found):  # a folder is listed before its contents
        if path.is_dir():
            path.rmdir()
        elif path != folder / MARKER:
            path.unlink(missing_ok=True)
    for end in ("-wal", "-shm"):  # opening the database creates them
        Path(f"{database}{end}").unlink(missing_ok=True)


def _is_demo_file(path: Path, folder: Path) -> bool:
    plain = not path.is_symlink() and (path.is_file() or path.is_dir())
    return plain and _DEMO_PATHS.fullmatch(path.relative_to(folder).as_posix()) is not None


def _is_virtual(file: Path) -> bool:
    """Return whether the database is a demo's. A demo that was killed at its start leaves an empty one."""
    database = Database(f"sqlite:///{file}")
    try:
        with database.read() as tx:
            tables = tx.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        return tables == 0 or clock_row.read_mode(database) in ("virtual", None)
    except NurtureError:
        return False
    finally:
        database.close()
