"""Doctor checks of this machine: versions, account, file permissions."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Final

from nurture.crm import registry as crms
from nurture.db.engine import Database
from nurture.files import find_exposed
from nurture.mail.providers.registry import local_folders
from nurture.operations.doctor import CheckResult, DoctorContext
from nurture.versions import INSTALL_HINT, unmet_requirements

_MOST: Final = 1_000
"""How many exposed files are counted; more is "1,000 or more"."""

ROOT_WARNING: Final = "nurture runs as root: give it an account of its own."


def check_versions(_setup: DoctorContext, *, root: bool | None = None) -> Sequence[CheckResult]:
    """Report the versions of nurture and Python, unmet requirements, and whether it runs as root."""
    found = f"nurture {version('nurture')} on {platform.python_implementation()} {platform.python_version()}"
    if wrong := list(unmet_requirements()):
        return [CheckResult("nurture", "failed", f"{found}: {'; '.join(wrong)}", INSTALL_HINT)]
    if os.geteuid() == 0 if root is None else root:
        return [CheckResult("nurture", "warning", found, ROOT_WARNING)]
    return [CheckResult("nurture", "ok", found)]


def check_file_permissions(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for private files that other accounts may read or change."""
    private_paths = list(_list_private_paths(setup))
    found = list(islice(find_exposed(private_paths), _MOST))
    if not found:
        return [CheckResult("files", "ok", "private files are closed to other accounts")]
    tops = [
        private_path for private_path in private_paths if any(private_path in (path, *path.parents) for path in found)
    ]
    named = " ".join(shlex.quote(str(top)) + "*" * top.is_file() for top in tops)  # with a database's -wal
    many = f"{len(found):,}{' or more' if len(found) == _MOST else ''} of our files and folders"
    return [
        CheckResult(
            "files",
            "warning",
            f"other accounts can open {many}, with personal data, links or secrets: {_join_paths(found)}",
            f"`chmod -R go= {named}`",
        )
    ]


def _join_paths(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths[:3])) + (" and others" if len(paths) > 3 else "")


def _list_private_paths(setup: DoctorContext) -> Iterator[Path]:
    """Yield the private files and folders; crm/in is not one, as other accounts write to it."""
    settings = setup.settings
    database = Database(settings.database_url.get_secret_value())
    database.close()
    if database.file is not None:
        yield database.file
        if not list(find_exposed([database.file])):  # otherwise SQLite creates them with the same permissions
            yield from (Path(f"{database.file}{end}") for end in ("-wal", "-shm"))
    yield from (*local_folders(settings), *crms.private_folders(settings), settings.spool)
    yield from (settings.state_dir, settings.journal_dir)
    yield from sorted(Path().glob("*.bad-rows.csv"))
