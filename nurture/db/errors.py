"""Driver errors about the configuration, raised with a remedy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from nurture.errors import DatabaseUnavailable

_UPGRADE: Final = "The database has no tables yet, or old ones. Run `nurture admin upgrade`."
_READ_ONLY: Final = "The database is read-only. Check the permissions of the file and its folder."
_DISK: Final = "The disk is full or failing. Free some space; no partial change was made."

# Parts of SQLite's messages; the first match decides.
_SQLITE: Final = (
    ("readonly", _READ_ONLY),
    ("unable to open", "The database cannot be opened. Check that its folder exists and is writable."),
    ("no such table", _UPGRADE),
    ("no such column", _UPGRADE),
    ("has no column", _UPGRADE),
    ("not a database", "This file is not an SQLite database. Name another one in NURTURE_DATABASE_URL."),
    ("malformed", "The database file is damaged. Restore its last good backup."),
    ("locked", "Another program has locked the database. Wait for it, or stop it."),
    ("disk", _DISK),
)
# Parts of PostgreSQL's messages on connecting, which have no code; the first match decides.
_CONNECTING: Final = (
    ("no space left", _DISK),
    ("password", "PostgreSQL rejected the password. Check NURTURE_DATABASE_URL."),
    ("role", "PostgreSQL has no such user. Check NURTURE_DATABASE_URL, or create the role."),
    ("database", "PostgreSQL has no such database. Create it, then run `nurture admin upgrade`."),
)
_UNREACHABLE: Final = "The database does not answer. Check NURTURE_DATABASE_URL and that the server runs."
_CONFLICT: Final = "Two transactions conflicted, and this one was rolled back. Run it again."
_POOL_EXHAUSTED: Final = "All connections to the database are in use. Try again later."
_POSTGRES: Final = {
    "42P01": _UPGRADE,
    "42703": _UPGRADE,
    "3F000": _UPGRADE,
    "25006": "The database is read-only. Name the primary server in NURTURE_DATABASE_URL.",
    "42501": "The database user lacks a privilege. Grant it all privileges on its own database.",
    "53100": _DISK,
    "53300": "PostgreSQL has no free connection. Raise max_connections, or stop a worker.",
    "40P01": _CONFLICT,
    "40001": _CONFLICT,
    "57P01": _UNREACHABLE,
    "57P02": _UNREACHABLE,
    "57P03": _UNREACHABLE,
}


@contextmanager
def raise_database_unusable(name: str) -> Iterator[None]:
    """Raise configuration errors of the database *name* as DatabaseUnavailable; pass on all others."""
    try:
        yield
    except DBAPIError as error:
        remedy = _remedy(error)
        if remedy is None:
            raise
        driver_message = " ".join(str(error.orig).split())
        raise DatabaseUnavailable(f"{remedy} ({name}: {driver_message})") from error
    except PoolTimeout as error:
        raise DatabaseUnavailable(f"{_POOL_EXHAUSTED} ({name})") from error


def strip_row_values(context: ExceptionContext) -> None:
    """Remove row values from PostgreSQL's error messages, wherever they are shown or logged.

    DETAIL and CONTEXT quote whole rows; data exceptions (class 22) quote the value in their first line.
    """
    error = context.original_exception
    code, diag = getattr(error, "sqlstate", None), getattr(error, "diag", None)
    if not code or diag is None:
        return
    message = "a value does not fit" if code.startswith("22") else str(diag.message_primary)
    error.args = (f"{message} ({code})",)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"{type(error).__name__}: {error}",)


def is_transaction_conflict(error: BaseException) -> bool:
    """Return whether *error* is a conflict of transactions: a retry may succeed."""
    driver = error if isinstance(error, DBAPIError) else error.__cause__
    if not isinstance(driver, DBAPIError):
        return False
    code: str | None = getattr(driver.orig, "sqlstate", None)
    return code.startswith("40") if code is not None else "locked" in str(driver.orig).lower()


def _remedy(error: DBAPIError) -> str | None:
    driver_message = str(error.orig).lower()
    if type(error.orig).__module__.startswith("sqlite3"):
        return next((remedy for sign, remedy in _SQLITE if sign in driver_message), None)
    code: str | None = getattr(error.orig, "sqlstate", None)
    if code is not None:
        return _POSTGRES.get(code)
    if not error.connection_invalidated and "fatal:" in driver_message:
        refused = driver_message.rpartition("fatal:")[2]
        return next((remedy for sign, remedy in _CONNECTING if sign in refused), _UNREACHABLE)
    return _UNREACHABLE
