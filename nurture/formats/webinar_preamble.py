"""Find when a webinar was held in the lines above the header of its report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

_DATE_LABEL: Final = re.compile(r"\b(start time|webinar date|event date|date held)\b", re.IGNORECASE)


def find_webinar_time(lines: Sequence[Sequence[str]]) -> datetime | None:
    """Return the start in UTC, from the ISO time below or to the right of its label; None without one."""
    below: Sequence[str]
    for above, below in pairwise([*lines, ()]):
        for position, cell in enumerate(above):
            if _DATE_LABEL.search(cell):
                beside = above[position + 1 : position + 2]
                for value in (*below[position : position + 1], *beside):
                    timestamp = _parse_time(value)
                    if timestamp is not None:
                        return timestamp
    return None


def _parse_time(text: str) -> datetime | None:
    try:
        timestamp = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)
