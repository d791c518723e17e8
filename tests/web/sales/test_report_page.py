"""The sales page draws the figures of the sales report."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from nurture.reporting.sales import Month, SalesReport, TimeToOwner
from nurture.reporting.sales_rates import SalesRate
from nurture.reporting.tracks import Wins
from nurture.web.sales.report_page import HEIGHT, render_sales_page

AT = datetime(2026, 9, 1, tzinfo=UTC)


def _report(*months: Month) -> SalesReport:
    rates = (SalesRate("reached <b>", 3, 4, "30 %", "somebody got in touch"), SalesRate("ignored", 0, 0, "", "nobody"))
    waited = TimeToOwner(0, None, None)
    return SalesReport(AT, None, None, None, 4, 0, rates, waited, (), (), (), months, Wins(0, (), 0, 0.0))


def test_each_month_is_a_column_as_tall_as_its_hand_offs() -> None:
    page = render_sales_page(_report(Month("2026-07", 10, 6, 4, 2, 1), Month("2026-08", 5, 0, 0, 0, 0)))
    tall: dict[str, list[float]] = {}
    for name, height in re.findall(r'<rect class="([a-z-]+)".*?height="([\d.]+)"', page):
        tall.setdefault(name, []).append(float(height))
    assert tall == {"reached": [HEIGHT * 0.4], "accepted": [HEIGHT * 0.2], "not-accepted": [HEIGHT * 0.4, HEIGHT * 0.5]}


def test_shares_are_shown_beside_their_baseline_and_not_for_zero_cases() -> None:
    page = render_sales_page(_report())
    assert "75.0 %" in page
    assert "Benchmark: 30 %" in page
    assert "\N{EN DASH}" in page
    assert "<svg" not in page


def test_the_page_loads_no_other_resource_and_escapes_its_content() -> None:
    page = render_sales_page(_report(Month("2026-07", 1, 1, 1, 1, 1)))
    assert not re.search(r"<script|<link|(?:src|href)=", page)
    assert "reached <b>" not in page.lower()
