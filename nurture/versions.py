"""Check the versions of libraries, SQLite and PostgreSQL at startup; unsupported ones are refused."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from nurture.errors import DatabaseUnavailable, Misconfigured

MIN_SQLITE: Final = (3, 35, 0)
"""The first version with RETURNING."""

MIN_POSTGRESQL: Final = 15
"""The oldest supported by the PostgreSQL project."""

INSTALL_HINT: Final = "Install the versions in requirements.lock, in a separate virtual environment."


@cache
def require_installed() -> None:
    """Raise Misconfigured if a library is missing or has an unsupported version."""
    if found := list(unmet_requirements()):
        raise Misconfigured(f"nurture cannot run with the installed libraries: {'; '.join(found)}. {INSTALL_HINT}")


def unmet_requirements(
    requirements: Iterable[str] | None = None, installed: Callable[[str], str] = version
) -> Iterator[str]:
    """Yield a description of each unmet requirement of *requirements*, by default nurture's own."""
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
            yield f"{requirement.name} is {found}, required is {requirement.specifier}"


def require_sqlite(found: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raise DatabaseUnavailable if Python's SQLite is too old."""
    if found < MIN_SQLITE:
        raise DatabaseUnavailable(
            f"This Python has SQLite {_dotted(found)}; nurture needs {_dotted(MIN_SQLITE)} or newer. "
            "Use a newer Python, or PostgreSQL: set NURTURE_DATABASE_URL."
        )


def require_postgresql(found: int) -> None:
    """Raise DatabaseUnavailable if the server is too old; *found* is its version number, such as 180001."""
    if found // 10_000 < MIN_POSTGRESQL:
        raise DatabaseUnavailable(
            f"The server is PostgreSQL {found // 10_000}; nurture needs {MIN_POSTGRESQL} or newer. "
            "Upgrade it, or set NURTURE_DATABASE_URL to another server."
        )


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
