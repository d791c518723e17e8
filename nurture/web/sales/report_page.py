"""The sales report as one page that can be mailed: no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nurture.reporting.sales import Month, SalesReport
from nurture.web.templates import Look

WIDTH, HEIGHT, GAP = 560, 180, 14
_MOST_MONTHS: Final = 18


@dataclass(frozen=True, slots=True)
class Column:
    """One month in the chart; *parts* are (class, y, height, number) from the bottom up, in its units."""

    label: str
    total: int
    x: float
    width: float
    parts: tuple[tuple[str, float, float, int], ...]


def sales_page(found: SalesReport) -> str:
    """Return the page as HTML."""
    months = found.months[-_MOST_MONTHS:]
    most = max((month.handed_off for month in months), default=0)
    return Look().render(
        "sales-report.html",
        report=found,
        columns=_columns(months, most),
        width=WIDTH,
        height=HEIGHT,
        most=most,
        won=max((band.wins for band in found.wins.bands), default=0),
    )


def _columns(months: Sequence[Month], most: int) -> list[Column]:
    if not most:
        return []
    step = WIDTH / len(months)
    width = min(step - min(GAP, step / 3), 60)
    return [
        Column(month.month, month.handed_off, place * step + (step - width) / 2, width, _parts(month, most))
        for place, month in enumerate(months)
    ]


def _parts(month: Month, most: int) -> tuple[tuple[str, float, float, int], ...]:
    """Stack what became of a month's hand-offs: in touch, only accepted, not accepted."""
    in_touch = min(month.reached, month.accepted)
    numbers = (
        ("reached", in_touch),
        ("accepted", month.accepted - in_touch),
        ("not-accepted", month.handed_off - month.accepted),
    )
    parts, top = [], float(HEIGHT)
    for name, number in numbers:
        tall = HEIGHT * number / most
        top -= tall
        if number:
            parts.append((name, round(top, 1), round(tall, 1), number))
    return tuple(parts)
