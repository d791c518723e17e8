from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nurture.formats.webinar_preamble import find_webinar_time

HELD = datetime(2026, 3, 5, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    "lines",
    [
        [["Topic", "Actual Start Time"], ["Forecasting", "2026-03-05 14:00:00"]],
        [["Webinar Date:", "2026-03-05T15:00:00+01:00"]],
        [["Attendee Report"], [""], ["Start Time", "2026-03-05 14:00"]],
    ],
)
def test_the_start_is_read_below_or_beside_its_label(lines: list[list[str]]) -> None:
    assert find_webinar_time(lines) == HELD


@pytest.mark.parametrize(
    "lines", [[], [["Start Time"]], [["Start Time", "5 March"], ["x", "soon"]], [["Topic", "2026-03-05"]]]
)
def test_an_unreadable_start_is_none(lines: list[list[str]]) -> None:
    assert find_webinar_time(lines) is None
