"""Columns of exports that say whether, when and how often sales touched a lead."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nurture.formats.csv_reader import open_rows
from nurture.reporting.leaks.touch_columns import TouchColumns, TouchReading

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def _read(folder: Path, header: str, *rows: str) -> tuple[TouchColumns, list[TouchReading]]:
    path = folder / "leads.csv"
    path.write_text("\n".join([f"Email,{header}", *(f"a@a.example,{row}" for row in rows)]) + "\n", "utf-8")
    with open_rows(path) as opened:
        columns = TouchColumns(opened, NOW)
        names = list(columns.declared)  # in the order of the columns
        cells = [cells for _, cells in opened if isinstance(cells, list)]
    return columns, [columns.read(dict(zip(names, row[1:], strict=False))) for row in cells]


@pytest.mark.parametrize(
    ("header", "cell", "touched"),
    [
        ("Last Activity", "3/22/2026", True), ("Last Contacted", "", False), ("Last Contacted", "never", False),
        ("Number of times contacted", "0", False), ("Number of times contacted", "2", True),
        ("Person - Done activities", "1", True), ("Last Activity", "2027-03-01", False),
        ("Last Activity", "soon", None), ("Last Activity", "03/04/2026", True),
        ("Erstkontakt", "5. März 2026", True), ("Last Contacted", "0000-00-00", False),
    ],
)  # fmt: skip
def test_a_cell_says_whether_a_lead_was_touched(tmp_path: Path, header: str, cell: str, touched: bool | None) -> None:
    columns, (found,) = _read(tmp_path, header, cell)
    assert columns.has_touches
    assert found.touched is touched


def test_the_earliest_of_several_first_touches_counts(tmp_path: Path) -> None:
    columns, (found,) = _read(
        tmp_path, "First Call Date/Time,First Email Date/Time", "2026-03-04 10:00,2026-03-03 09:00"
    )
    assert columns.has_first
    assert found == TouchReading(True, datetime(2026, 3, 3, 9, tzinfo=UTC))


def test_the_order_of_day_and_month_is_that_of_the_column(tmp_path: Path) -> None:
    _, found = _read(tmp_path, "First Contacted", "03/04/2026", "25/04/2026")
    assert found[0].first_at == datetime(2026, 4, 3, tzinfo=UTC)


def test_an_activity_to_come_is_planned_and_an_unreadable_cell_is_counted(tmp_path: Path) -> None:
    columns, found = _read(tmp_path, "Last Activity,Lead Owner: Active", "2027-05-01,0", "whenever,1")
    assert [(one.planned, one.owner_active) for one in found] == [(True, False), (False, True)]
    assert columns.unread == {"Last Activity": 1}


def test_what_edits_change_is_no_touch(tmp_path: Path) -> None:
    columns, _ = _read(tmp_path, "Last Activity Time", "2026-03-04")
    assert not columns.has_touches
    assert columns.not_counted == ("Last Activity Time",)
