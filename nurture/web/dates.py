"""Days as people choose them on a page."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from typing import Final

MAX_AHEAD: Final = timedelta(days=10 * 366)
"""No lead decides later than that; a date beyond is a slip of the finger."""


def parse_day(text: str) -> date | None:
    """Read a day, or a month, which stands for its last day; None for what is neither."""
    try:
        if len(text) == len("2027-03"):
            return month_end(date.fromisoformat(f"{text}-01"))
        return date.fromisoformat(text)
    except ValueError:
        return None


def month_end(day: date) -> date:
    """Return the last day of the month of *day*."""
    return day.replace(day=monthrange(day.year, day.month)[1])


def add_months(day: date, months: int) -> date:
    """Return the day *months* later, or the last of that month if it is shorter."""
    first = date(day.year + (day.month - 1 + months) // 12, (day.month - 1 + months) % 12 + 1, 1)
    return min(month_end(first), first + timedelta(days=day.day - 1))


def quarter_ends(today: date, count: int) -> list[date]:
    """Return the last days of this quarter and of those that follow."""
    first = today.replace(day=1, month=(today.month - 1) // 3 * 3 + 1)
    return [month_end(add_months(first, 3 * number + 2)) for number in range(count)]


def quarter_starts(today: date, count: int) -> list[date]:
    """Return the first days of the quarters after this one."""
    return [end + timedelta(days=1) for end in quarter_ends(today, count)]
