"""How reports write their figures, in the terminal and on pages alike."""

from collections.abc import Mapping
from typing import Any


def format_percent(share: float | None) -> str:
    """Return a share as a percentage, "-" for None."""
    return "-" if share is None else f"{share * 100:.1f} %"


def pluralize(count: int, thing: str) -> str:
    """Return a count with its noun: 1 row, 2 rows."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def format_counts(found: Mapping[str, int] | Mapping[Any, int]) -> str:
    """Return counts as one line, the largest first."""
    return ", ".join(f"{count:,} {name}" for name, count in sorted(found.items(), key=lambda one: -one[1]) if count)


def format_hours(hours: float) -> str:
    """Return a time in hours, in minutes if it is short."""
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"
