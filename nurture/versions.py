"""Which versions of libraries, SQLite and PostgreSQL nurture runs on; others are refused at the start."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from packaging.requirements import Requirement

from nurture.errors import DatabaseUnusable, Misconfigured

SQLITE: Final = (3, 35, 0)
"""The first with RETURNING."""

POSTGRESQL: Final = 15
"""The oldest that its makers still mend."""

INSTALL: Final = "Install what requirements.lock names, in an environment of its own."


@cache
def require_installed() -> None:
    """Raise Misconfigured if a library is missing, or of a version that nurture does not run on."""
    if found := list(unmet()):
        raise Misconfigured(f"nurture does not run on what is installed: {'; '.join(found)}. {INSTALL}")


def unmet(needs: Iterable[str] | None = None, installed: Callable[[str], str] = version) -> Iterator[str]:
    """Yield in words each of *needs* that is not met, by default nurture's own."""
    for need in map(Requirement, (requires("nurture") or ()) if needs is None else needs):
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = installed(need.name)
        except PackageNotFoundError:
            yield f"{need.name} is missing"
            continue
        if not need.specifier.contains(found, prereleases=True):
            yield f"{need.name} is {found}, needed is {need.specifier}"


def require_sqlite(found: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raise DatabaseUnusable if Python's SQLite is too old."""
    if found < SQLITE:
        raise DatabaseUnusable(
            f"This Python has SQLite {_dotted(found)}; nurture needs {_dotted(SQLITE)} or newer. Use a newer "
            "Python, or PostgreSQL: set NURTURE_DATABASE_URL."
        )


def require_postgresql(found: int) -> None:
    """Raise DatabaseUnusable if the server is too old; *found* is its number, as 180001."""
    if found // 10_000 < POSTGRESQL:
        raise DatabaseUnusable(
            f"The server is PostgreSQL {found // 10_000}; nurture needs {POSTGRESQL} or newer. Upgrade it, "
            "or name another server in NURTURE_DATABASE_URL."
        )


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
