"""What a webinar platform writes above the header of its report: when the webinar was held."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

_HELD: Final = re.compile(r"\b(start time|webinar date|event date|date held)\b", re.IGNORECASE)


def held_at(lines: Sequence[Sequence[str]]) -> datetime | None:
    """Return when the webinar began (UTC), None if no cell says so in ISO form.

    The value stands under its label or beside it.
    """
    below: Sequence[str]
    for above, below in pairwise([*lines, ()]):
        for place, cell in enumerate(above):
            if _HELD.search(cell):
                beside = above[place + 1 : place + 2]
                for value in (*below[place : place + 1], *beside):
                    moment = _moment(value)
                    if moment is not None:
                        return moment
    return None


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
