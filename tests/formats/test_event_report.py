from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from nurture.formats.event_report import find_event_time, people_rows

HELD = datetime(2026, 3, 5, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    "lines",
    [
        [["Topic", "Actual Start Time"], ["Forecasting", "2026-03-05 14:00:00"]],
        [["Webinar Date:", "2026-03-05T15:00:00+01:00"]],
        [["Actual Start Date/Time", "", "Duration"], ["Mar 5, 2026 09:00 AM EST", "", "50"]],
        [["Actual Start Time"], ["03/05/2026 02:00:00 PM"]],
        [["Start time", "3/5/26, 2:00:00 PM"]],
        [["Startzeit: 05.03.2026 14:00"]],
        [["Session Start Time:", "March 5, 2026 2:00 pm Greenwich Mean Time"]],
        [["Attendee Report"], [""], ["Start Time", "2026-03-05 14:00"]],
    ],
)
def test_the_start_is_read_below_or_beside_its_label(lines: list[list[str]]) -> None:
    assert find_event_time(lines) == HELD


@pytest.mark.parametrize(
    "lines", [[], [["Start Time"]], [["Start Time", "5 March"], ["x", "soon"]], [["Topic", "2026-03-05"]]]
)
def test_an_unreadable_start_is_none(lines: list[list[str]]) -> None:
    assert find_event_time(lines) is None


def test_a_part_that_lists_no_people_is_passed_over_until_the_header_comes_again() -> None:
    header = ["Name", "Email", "Attended"]
    ana, bo = ["Ana", "ana@example.com", "Yes"], ["Bo", "bo@example.com", "No"]
    other = [["Poll Details", "", ""], ["Question", "Answer", ""], ["How?", "Well", ""], header]
    passed_over: Counter[str] = Counter()
    lines = [ana, ["2. Reminder", "", ""], bo, *other, ana, ["3. Notes", "", ""]]
    found = people_rows(list(enumerate(lines)), header, passed_over)
    assert [row[1] for row in found if isinstance(row, tuple)] == [ana, ["2. Reminder", "", ""], bo, ana]
    assert {title: count for title, count in passed_over.items() if count} == {"Poll Details": 2}
