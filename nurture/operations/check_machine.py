"""What the doctor looks at on this machine: versions, the account, who may read our files."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Final

from nurture.db.engine import Database
from nurture.files import exposed
from nurture.operations.doctor import Finding, SetUp
from nurture.versions import INSTALL, unmet

_MOST: Final = 1_000
"""How many files the doctor counts; more is "1,000 or more"."""


ROOT: Final = "nurture runs as root: give it an account that owns its folder alone."
"""What to say to who runs nurture as root."""


def versions(_setup: SetUp, *, root: bool | None = None) -> Sequence[Finding]:
    """Say which nurture this is, on which Python, whether its libraries will do, and if it runs as root."""
    found = f"nurture {version('nurture')} on {platform.python_implementation()} {platform.python_version()}"
    if wrong := list(unmet()):
        return [Finding("nurture", "fails", f"{found}: {'; '.join(wrong)}", INSTALL)]
    if os.geteuid() == 0 if root is None else root:
        return [Finding("nurture", "warning", found, ROOT)]
    return [Finding("nurture", "ok", found)]


def files(setup: SetUp) -> Sequence[Finding]:
    """Look for files with people, links or secrets in them that other accounts may read or change."""
    places = list(_kept(setup))
    found = list(islice(exposed(places), _MOST))
    if not found:
        return [Finding("files", "ok", "no other account can open what holds people, links or secrets")]
    tops = [place for place in places if any(place in (path, *path.parents) for path in found)]
    named = " ".join(shlex.quote(str(top)) + "*" * top.is_file() for top in tops)  # with a database's -wal
    many = f"{len(found):,}{' or more' if len(found) == _MOST else ''} of our files and folders"
    return [
        Finding(
            "files",
            "warning",
            f"other accounts can open {many}, with people, links or secrets: {_listed(found)}",
            f"`chmod -R go= {named}`",
        )
    ]


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths[:3])) + (" and others" if len(paths) > 3 else "")


def _kept(setup: SetUp) -> Iterator[Path]:
    """Yield where this set-up keeps what is private; to crm/in others write."""
    settings = setup.settings
    database = Database(settings.database_url.get_secret_value())
    database.close()
    if database.file is not None:
        yield database.file
        if not list(exposed([database.file])):  # else SQLite gives them its rights as they come and go
            yield from (Path(f"{database.file}{end}") for end in ("-wal", "-shm"))
    yield from (settings.mailbox, settings.spool, settings.crm_folder / "out", settings.crm_folder / ".told")
    yield from (settings.home, settings.journal_dir)
    yield from sorted(Path().glob("*.bad-rows.csv"))
