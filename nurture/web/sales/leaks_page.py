"""Render the leak report as one self-contained HTML page, without scripts."""

from __future__ import annotations

from typing import Final

from nurture.reporting.leaks.report import LeakReport
from nurture.reporting.leaks.sections import is_number, make_sections
from nurture.reporting.wording import format_percent
from nurture.web.templates import Templates

MAX_ROWS: Final = 500
"""Rows of a list that the page shows; a CSV file has all."""


def render_leaks_page(report: LeakReport) -> str:
    """Return the page as HTML. It names leads only in the lists that the report was asked for."""
    return Templates().render(
        "leaks.html",
        report=report,
        sections=make_sections(report),
        percent=format_percent,
        is_text=lambda value: not is_number(value),
        max_rows=MAX_ROWS,
    )
