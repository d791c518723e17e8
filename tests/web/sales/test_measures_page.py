"""The page of measures: a bar for each share, and a line for each that changes."""

from __future__ import annotations

import re

from nurture.reporting.measures.definitions import load_measures
from nurture.reporting.measures.measure_queries import GroupCount, MonthCount, Spread
from nurture.reporting.measures.report import Figure, MeasureReport
from nurture.web.sales.measures_page import HEIGHT, render_measures_page
from tests.journey.builders import START


def _page(*figures: Figure) -> str:
    return render_measures_page(MeasureReport(START, figures))


def _months(*parts: int) -> tuple[MonthCount, ...]:
    return tuple(MonthCount(f"2026-0{place}", part, 10, 0) for place, part in enumerate(parts, 1))


def test_the_line_rises_with_the_share_and_names_its_top() -> None:
    page = _page(Figure(load_measures()["R18"], 9, 30, 4, _months(0, 3, 6), notes=("one note",)))
    (points,) = re.findall(r'<polyline points="([^"]+)"', page)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert heights == [HEIGHT, HEIGHT / 2, 0]
    assert "top 60.0" in page
    assert "4 not known" in page
    assert "one note" in page


def test_a_share_that_never_changes_has_no_line() -> None:
    assert "<polyline" not in _page(Figure(load_measures()["R40"], 20, 20, 0, _months(10, 10)))


def test_groups_percentiles_and_reasons_are_shown_and_names_are_escaped() -> None:
    groups = (GroupCount("<b>web</b>", 1, 2, None), GroupCount("fair", 0, 1, None))
    known = load_measures()
    page = _page(Figure(known["R13"], 1, 3, 0, (), groups, Spread(2, 30, 40)), Figure(known["R66"], 0, 0, 0))
    assert "&lt;b&gt;web" in page
    assert "median 2.0, 95 % within 30.0 hours" in page
    assert known["R66"].none in page.replace("&#39;", "'")


def test_groups_of_the_part_have_shares_of_the_whole() -> None:
    groups = (GroupCount("dach", 1, 1, None), GroupCount("nordics", 2, 2, None))
    page = _page(Figure(load_measures()["R12"], 3, 4, 0, (), groups))
    assert re.findall(r"<td>(\S+)\s%</td>", page) == ["25.0", "50.0"]


def test_a_measure_of_nothing_is_listed_without_a_bar() -> None:
    page = _page(Figure(load_measures()["R8-page"], 0, 0, 98))
    assert 'class="scale"' not in page
    assert "R8-page Routable on arrival by landing page (98 not known): The same by" in page
