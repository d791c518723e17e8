"""Arguments that several commands take: a lead, a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from nurture.errors import InvalidState

LeadArgument = Annotated[str, typer.Argument(help="A lead's id, email address or external id.")]
_YEARS: Final = range(1970, 2200)
"""What a time on the command line may be in."""


def parse_time(text: str) -> datetime:
    """Read an ISO time from the command line; without a zone it is UTC. Raises InvalidState."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidState(f"{text!r} is not a time. Write it as 2027-03-31 or 2027-03-31T09:00.") from None
    if parsed.year not in _YEARS:
        raise InvalidState(f"{text!r} is not in the years {_YEARS[0]} to {_YEARS[-1]}. Check it.")
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
