"""Keep a practice world in a folder of its own. Only files that a practice made are deleted, if there are no others."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from os import walk
from pathlib import Path
from typing import IO, Any, Final

from nurture.crm.registry import NO_CRM
from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.errors import InvalidState, NotFound, NurtureError
from nurture.files import contains_working_folder, make_folder, open_private

MARKER: Final = ".nurture-practice"
"""The file that marks a folder as a practice world's, and describes the world; nothing else writes it."""

DATABASE: Final = "nurture.db"
LEADS: Final = "leads.csv"
REJECTED: Final = "rejected-rows.csv"
_RUN_LOCK: Final = "run.lock"
_MADE_BY: Final = "nurture practice"
_PARTIAL_CSV: Final = r"\.\d{6}\.csv\.part"
_OWN_PATHS: Final = re.compile(
    rf"{re.escape(MARKER)}|{_RUN_LOCK}|nurture\.db(-wal|-shm|-journal)?|leads\.csv|rejected-rows\.csv"
    r"|mail(/(new|cur|html|tmp))?|mail/(new|cur)/[^/]+\.eml(:2,[A-Z]*)?|mail/html/[^/]+\.html"
    r"|mail/tmp/([^/]+\.(eml|html)|check)(\.\d+)*"
    r"|spool|spool/\d{8}T\d{6}-[0-9a-f]{16}\.(json|tmp|bad)|spool/uploads(/.*)?"
    rf"|crm(/(out|\.sent|in(/processed)?))?|crm/out/(handoffs-\d{{6}}\.csv|{_PARTIAL_CSV})"
    rf"|crm/\.sent/(\d{{6}}\.csv|{_PARTIAL_CSV}|lock)"
    r"|\.nurture|\.nurture/(up\.lock|sign-in|logs|logs/[a-z]+\.log(\.1)?|prefect(/.*)?)"
)


@dataclass(frozen=True, slots=True)
class WorldDescription:
    """What a world was made with: its *seed*, when it began (ISO, UTC), its templates, the port of its pages, its CRM.

    *until* is how far the last run is to go: one that was interrupted continues to there.
    """

    seed: str
    started_at: str
    templates: str
    port: int
    crm: str = NO_CRM
    until: str | None = None


@contextmanager
def new_world(folder: Path, description: WorldDescription, *, replace: bool) -> Iterator[None]:
    """Lock *folder* for a new world, empty it except for the marker, and describe the world in it.

    *replace* an older world; otherwise it is refused. Raises InvalidState, and deletes nothing, if the folder holds
    anything that no practice made.
    """
    _require_safe_folder(folder)
    if folder.exists() and any(folder.iterdir()):
        if not _has_marker(folder):
            raise InvalidState(
                f"{folder} is not empty and has no marker of a practice world ({MARKER}). Nothing was deleted. "
                "Name an empty folder with --folder."
            )
        if not replace and (folder / DATABASE).exists():
            raise InvalidState(
                f"There is a practice world in {folder}. Go on with `nurture practice run 7 days`, begin anew with "
                "--replace, or name another folder with --folder."
            )
    make_folder(folder)
    with _locked_marker(folder, LOCK_EX) as marker:
        _clear_folder(folder)
        _write(marker, description)
        yield


@contextmanager
def open_world(folder: Path, *, running: bool = False) -> Iterator[WorldDescription]:
    """Keep the world in *folder* from being deleted, and with *running* from being run by another process.

    Raises NotFound if there is none, InvalidState if another process runs or replaces it.
    """
    description = read_description(folder)
    with _locked_marker(folder, LOCK_SH):
        if not running:
            yield description
            return
        with open_private(folder / _RUN_LOCK, "a") as lock:
            _lock(lock, LOCK_EX, f"The practice world in {folder} is running already. Wait until that run is over.")
            yield description


def delete_world(folder: Path) -> None:
    """Delete the world in *folder*, and the folder. Raises as `open_world`, and if the folder holds other files."""
    _require_safe_folder(folder)
    read_description(folder)
    with _locked_marker(folder, LOCK_EX):
        _clear_folder(folder)
        (folder / MARKER).unlink()
    folder.rmdir()


def clear_world(folder: Path) -> None:
    """Delete what a world that is being made has so far in *folder*, which the caller has locked."""
    _clear_folder(folder)


def read_description(folder: Path) -> WorldDescription:
    """Return the description of the world in *folder*. Raises NotFound if there is none."""
    try:
        if (folder / DATABASE).is_file():
            return WorldDescription(**_read_marker(folder))
    except (TypeError, ValueError):
        pass
    raise NotFound(
        f"There is no practice world in {folder}. Make one with `nurture practice start`, or name its folder with "
        "--folder."
    )


def write_description(folder: Path, description: WorldDescription) -> None:
    """Replace the description of the world in *folder*, which the caller has opened."""
    with open_private(folder / MARKER, "r+", encoding="utf-8") as marker:
        _write(marker, description)


def _write(marker: IO[str], description: WorldDescription) -> None:
    text = json.dumps({"made_by": _MADE_BY, **asdict(description)}, indent=2) + "\n"
    marker.seek(0)
    marker.write(text)
    marker.truncate()
    marker.flush()


def _read_marker(folder: Path) -> dict[str, Any]:
    """Return the description in the marker. Raises ValueError if there is none."""
    marker = folder / MARKER
    if marker.is_symlink() or not marker.is_file():
        raise ValueError("no marker")
    found = json.loads(marker.read_text("utf-8"))
    if not isinstance(found, dict) or found.pop("made_by", None) != _MADE_BY:
        raise ValueError("made by others")
    return found


@contextmanager
def _locked_marker(folder: Path, mode: int) -> Iterator[IO[str]]:
    with open_private(folder / MARKER, "r+" if (folder / MARKER).exists() else "w+", encoding="utf-8") as marker:
        _lock(marker, mode, f"The practice world in {folder} is in use. Stop its pages or its run, and try again.")
        yield marker


def _lock(file: IO[str], mode: int, message: str) -> None:
    try:
        flock(file, mode | LOCK_NB)  # not `filelock`: the marker has a text, and pages share it
    except BlockingIOError:
        raise InvalidState(message) from None


def _require_safe_folder(folder: Path) -> None:
    if folder.is_symlink():
        raise InvalidState(f"{folder} is a symbolic link. Name a real folder with --folder.")
    if contains_working_folder(folder):
        raise InvalidState(
            f"{folder} is the working folder, your home folder, or a parent of one. Nothing was deleted. "
            "Name a separate folder for the practice with --folder."
        )
    if folder.exists() and not folder.is_dir():
        raise InvalidState(f"{folder} is a file. Name a folder with --folder.")


def _has_marker(folder: Path) -> bool:
    marker = folder / MARKER
    if marker.is_file() and not marker.is_symlink() and marker.stat().st_size == 0:
        return len(list(folder.iterdir())) == 1  # killed at once
    try:
        _read_marker(folder)
    except ValueError:
        return False
    return True


def _clear_folder(folder: Path) -> None:
    """Delete everything in *folder* except the marker. Raises InvalidState if no practice made some of it."""
    found = [Path(above, name) for above, folders, files in walk(folder) for name in sorted((*folders, *files))]
    foreign = [path.relative_to(folder) for path in found if not _is_own_file(path, folder)]
    if foreign:
        listed = ", ".join(map(str, foreign[:3])) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise InvalidState(
            f"{folder} holds files that no practice made: {listed}. Nothing was deleted. Move them, or name another "
            "folder with --folder."
        )
    database = folder / DATABASE
    if database.exists() and not _is_virtual(database):
        raise InvalidState(
            f"{database} was not made by a practice: it does not run on virtual time. Nothing was deleted. "
            "Name another folder with --folder."
        )
    for path in reversed(found):  # a folder is listed before its contents
        if path.is_dir():
            path.rmdir()
        elif path != folder / MARKER:
            path.unlink(missing_ok=True)
    for end in ("-wal", "-shm"):  # opening the database creates them
        Path(f"{database}{end}").unlink(missing_ok=True)


def _is_own_file(path: Path, folder: Path) -> bool:
    plain = not path.is_symlink() and (path.is_file() or path.is_dir())
    return plain and _OWN_PATHS.fullmatch(path.relative_to(folder).as_posix()) is not None


def _is_virtual(file: Path) -> bool:
    """Return whether the database is a practice world's. One that was killed at its start leaves an empty one."""
    database = Database(f"sqlite:///{file}")
    try:
        with database.read() as tx:
            tables = tx.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        return tables == 0 or clock_row.read_mode(database) in ("virtual", None)
    except NurtureError:
        return False
    finally:
        database.close()
