"""Create files and folders with personal data or secrets, closed to other accounts whatever the umask."""

import errno
import os
import stat
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
_GROUP_AND_OTHERS: Final = 0o077


def make_folder(path: Path, *, owned: bool = True) -> Path:
    """Create *path* and its missing parents with mode 0700. Raises OSError.

    Restricts the permissions of an existing folder if *owned*; pass False for a folder that a person chose or
    others write to.
    """
    for folder in reversed([one for one in (path, *path.parents) if not one.exists()]):
        with suppress(FileExistsError):  # another worker was faster
            folder.mkdir(FOLDER_MODE)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder", str(path))
    if owned:
        restrict_permissions(path)
    return path


def open_private(path: Path, mode: str = "w", **options: Any) -> IO[Any]:
    """Open a file as `open` does; a new file, or an existing one of our account, gets mode 0600.

    Raises OSError.
    """

    def opener(name: str, flags: int) -> int:
        handle = os.open(name, flags, FILE_MODE)
        found = os.fstat(handle)
        if _is_accessible_to_others(found) and stat.S_ISREG(found.st_mode):  # leave a terminal or /dev/null unchanged
            os.fchmod(handle, stat.S_IMODE(found.st_mode) & ~_GROUP_AND_OTHERS)
        return handle

    return open(path, mode, opener=opener, **options)


def require_own_file(path: Path, prefix: str) -> None:
    """Raise FileExistsError if *path* is a file that does not begin with *prefix*, so not one of ours.

    Empty files, terminals and pipes are accepted.
    """
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(len(prefix.encode()) + len(BOM_UTF8)).removeprefix(BOM_UTF8)
        if start and not start.startswith(prefix.encode()):
            raise FileExistsError(errno.EEXIST, "it exists already, and nurture did not write it", str(path))


def write_private(path: Path, text: str) -> None:
    """Write *text* to a file of mode 0600. Raises OSError."""
    with open_private(path, encoding="utf-8") as file:
        file.write(text)


def create_file(path: Path) -> None:
    """Create an empty file of mode 0600 if none exists.

    Does not open an existing one: closing a database's file would release the locks that SQLite holds on it.
    """
    with suppress(OSError):  # the next open reports the error
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))


def restrict_permissions(path: Path) -> None:
    """Remove the permissions of other accounts from a file or folder of our account.

    Leaves symbolic links, files of other accounts, and shared folders (`_is_shared`) unchanged.
    """
    with suppress(OSError):  # a file may vanish; `doctor` reports what stays open
        found = path.lstat()
        plain = stat.S_ISREG(found.st_mode) or (stat.S_ISDIR(found.st_mode) and not _is_shared(path, found))
        if plain and _is_accessible_to_others(found):
            path.chmod(stat.S_IMODE(found.st_mode) & ~_GROUP_AND_OTHERS)


def find_exposed(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield each of *paths*, and everything below it, that other accounts may read or change."""
    for path in paths:
        with suppress(OSError):
            found = path.stat()
            if found.st_mode & _GROUP_AND_OTHERS and not (path.is_dir() and _is_shared(path, found)):
                yield path
            if path.is_dir() and not path.is_symlink():
                yield from find_exposed(sorted(path.iterdir()))


def sync_folder(path: Path) -> None:
    """Flush a folder to disk, so that files created, renamed or linked in it survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def contains_working_folder(path: Path) -> bool:
    """Return whether *path* is the working folder, the home folder, or a parent of one of them."""
    place, working_folders = path.resolve(), [Path.cwd()]
    with suppress(RuntimeError):  # an account without a home
        working_folders.append(Path.home().resolve())
    return any(place == one or place in one.parents for one in working_folders)


def _is_accessible_to_others(found: os.stat_result) -> bool:
    return bool(found.st_mode & _GROUP_AND_OTHERS) and found.st_uid == os.geteuid()


def _is_shared(path: Path, found: os.stat_result) -> bool:
    """Return whether a folder is shared: /tmp and the like, the working folder, home, and their parents."""
    return bool(found.st_mode & stat.S_ISVTX) or contains_working_folder(path)
