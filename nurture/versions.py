"""Which versions of libraries, SQLite and PostgreSQL nurture runs on; others are refused at the start."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from nurture.errors import DatabaseUnavailable, Misconfigured

MIN_SQLITE: Final = (3, 35, 0)
"""The first with RETURNING."""

MIN_POSTGRESQL: Final = 15
"""The oldest that its makers still mend."""

INSTALL_HINT: Final = "Install what requirements.lock names, in an environment of its own."


@cache
def require_installed() -> None:
    """Raise Misconfigured if a library is missing, or of a version that nurture does not run on."""
    if found := list(unmet_requirements()):
        raise Misconfigured(f"nurture does not run on what is installed: {'; '.join(found)}. {INSTALL_HINT}")


def unmet_requirements(
    requirements: Iterable[str] | None = None, installed: Callable[[str], str] = version
) -> Iterator[str]:
    """Yield in words each of *requirements* that is not met, by default nurture's own."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - only who looks at versions needs it

    for requirement in map(Requirement, (requires("nurture") or ()) if requirements is None else requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = installed(requirement.name)
        except PackageNotFoundError:
            yield f"{requirement.name} is missing"
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            yield f"{requirement.name} is {found}, needed is {requirement.specifier}"


def require_sqlite(found: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raise DatabaseUnavailable if Python's SQLite is too old."""
    if found < MIN_SQLITE:
        raise DatabaseUnavailable(
            f"This Python has SQLite {_dotted(found)}; nurture needs {_dotted(MIN_SQLITE)} or newer. "
            "Use a newer Python, or PostgreSQL: set NURTURE_DATABASE_URL."
        )


def require_postgresql(found: int) -> None:
    """Raise DatabaseUnavailable if the server is too old; *found* is its number, as 180001."""
    if found // 10_000 < MIN_POSTGRESQL:
        raise DatabaseUnavailable(
            f"The server is PostgreSQL {found // 10_000}; nurture needs {MIN_POSTGRESQL} or newer. "
            "Upgrade it, or name another server in NURTURE_DATABASE_URL."
        )


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
