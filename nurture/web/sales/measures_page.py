"""Render the measures as one self-contained HTML page with charts, without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nurture.reporting.measures.measure_queries import MonthCount
from nurture.reporting.measures.report import Figure, MeasureReport
from nurture.web.templates import Templates

WIDTH, HEIGHT = 300, 60
_MAX_MONTHS: Final = 24


@dataclass(frozen=True, slots=True)
class Trend:
    """The line of a measure by month: points in units of the viewBox, and the highest share that it shows."""

    points: tuple[tuple[float, float, str], ...]
    top: float
    first: str
    last: str

    @property
    def line(self) -> str:
        """Return the points as SVG has them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in self.points)


def render_measures_page(found: MeasureReport) -> str:
    """Return the page as HTML."""
    counted = [one for one in found.figures if not one.measure.none]
    shown = [one for one in counted if one.whole or one.notes]
    return Templates().render(
        "measures.html",
        at=found.at,
        figures=[(one, _trend(one.months)) for one in shown],
        empty=[one for one in counted if one not in shown],
        without=[one for one in found.figures if one.measure.none],
        width=WIDTH,
        height=HEIGHT,
        unit=_spread,
    )


def _trend(months: Sequence[MonthCount]) -> Trend | None:
    known = [one for one in months if one.whole][-_MAX_MONTHS:]
    shares = [one.part / one.whole for one in known]
    if len(set(shares)) < 2:  # a flat line says nothing that the figure does not
        return None
    top = max(*shares, 0.01)
    step = WIDTH / (len(known) - 1)
    points = (
        (place * step, HEIGHT - HEIGHT * share / top, f"{one.month}: {one.part:,} of {one.whole:,}")
        for place, (one, share) in enumerate(zip(known, shares, strict=True))
    )
    return Trend(tuple(points), top, known[0].month, known[-1].month)


def _spread(one: Figure) -> str:
    if one.spread is None:
        return ""
    return f"median {one.spread.p50:,.1f}, 95 % within {one.spread.p95:,.1f} {one.measure.unit}"
