"""Render the sales report as one self-contained HTML page, without scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nurture.reporting.sales import Month, SalesReport
from nurture.web.templates import Templates

WIDTH, HEIGHT, GAP = 560, 180, 14
_MAX_MONTHS: Final = 18


@dataclass(frozen=True, slots=True)
class ChartColumn:
    """One month of the chart; *parts* are (class, y, height, count) from the bottom up, in units of the viewBox."""

    label: str
    total: int
    x: float
    width: float
    parts: tuple[tuple[str, float, float, int], ...]


def render_sales_page(report: SalesReport) -> str:
    """Return the page as HTML."""
    months = report.months[-_MAX_MONTHS:]
    max_handed_off = max((month.handed_off for month in months), default=0)
    return Templates().render(
        "sales-report.html",
        report=report,
        columns=_columns(months, max_handed_off),
        width=WIDTH,
        height=HEIGHT,
        max_handed_off=max_handed_off,
        max_wins=max((band.wins for band in report.wins.bands), default=0),
    )


def _columns(months: Sequence[Month], max_handed_off: int) -> list[ChartColumn]:
    if not max_handed_off:
        return []
    step = WIDTH / len(months)
    width = min(step - min(GAP, step / 3), 60)
    return [
        ChartColumn(
            month.month, month.handed_off, position * step + (step - width) / 2, width, _parts(month, max_handed_off)
        )
        for position, month in enumerate(months)
    ]


def _parts(month: Month, max_handed_off: int) -> tuple[tuple[str, float, float, int], ...]:
    """Return the stacked parts of a month: contacted, accepted only, not accepted."""
    in_touch = min(month.reached, month.accepted)
    numbers = (
        ("reached", in_touch),
        ("accepted", month.accepted - in_touch),
        ("not-accepted", month.handed_off - month.accepted),
    )
    parts, top = [], float(HEIGHT)
    for name, number in numbers:
        part_height = HEIGHT * number / max_handed_off
        top -= part_height
        if number:
            parts.append((name, round(top, 1), round(part_height, 1), number))
    return tuple(parts)
