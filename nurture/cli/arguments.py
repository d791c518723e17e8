"""Arguments that several commands share, and parsers for them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from getpass import getuser
from pathlib import Path
from typing import Annotated, Final

import typer

from nurture.errors import InvalidState
from nurture.settings import Settings

LeadArgument = Annotated[str, typer.Argument(help="A lead's id, email address or external id.")]
LimitOption = Annotated[int, typer.Option(min=1, help="The maximum number of rows.")]
ReportOption = Annotated[Path | None, typer.Option(help="Where rejected rows are written; default: beside FILE.")]
TemplatesOption = Annotated[
    Path | None, typer.Option("--templates", help="The folder of definitions; default NURTURE_TEMPLATES.")
]
_YEARS: Final = range(1970, 2200)
"""The years that a time on the command line may be in."""


def parse_time(text: str) -> datetime:
    """Return an ISO time from the command line as UTC; a time without a zone is UTC. Raises InvalidState."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidState(f"{text!r} is not a time. Write it as 2027-03-31 or 2027-03-31T09:00.") from None
    if parsed.year not in _YEARS:
        raise InvalidState(f"{text!r} is outside the years {_YEARS[0]} to {_YEARS[-1]}. Correct the year.")
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def parse_date(text: str) -> date:
    """Return an ISO date from the command line. Raises InvalidState."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidState(f"{text!r} is not a date. Write it as 2027-03-31.") from None


def templates_folder(given: Path | None) -> Path:
    """Return the folder of definitions: *given*, or the one in the settings."""
    return given or Settings.read().templates


def current_user() -> str:
    """Return the name of the user who runs the command, "unknown user" where the system has none."""
    try:
        return getuser()
    except (KeyError, OSError, ImportError):
        return "unknown user"
