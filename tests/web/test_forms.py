"""Parse and compute the dates of forms."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.web import forms

_days = st.dates(date(1990, 1, 1), date(2200, 1, 1))


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2027-03-31", date(2027, 3, 31)),
        ("2027-02", date(2027, 2, 28)),
        ("2028-02", date(2028, 2, 29)),
        ("2027-13", None),
        ("2027-02-30", None),
        ("soon", None),
        ("in time", None),
        ("", None),
    ],
)
def test_only_a_day_or_a_month_is_parsed(text: str, day: date | None) -> None:
    assert forms.parse_day(text) == day


@given(_days, st.integers(1, 24))
def test_adding_months_keeps_the_day_or_takes_the_last_of_a_shorter_month(day: date, months: int) -> None:
    later = forms.add_months(day, months)
    assert (later.year * 12 + later.month) - (day.year * 12 + day.month) == months
    assert later.day == day.day or (later.day < day.day and later == forms.month_end(later))


@given(_days)
def test_quarters_end_on_their_last_day_one_after_the_other_from_today_on(today: date) -> None:
    ends = forms.quarter_ends(today, 4)
    assert today <= ends[0] < today + timedelta(days=92)
    for end, after in pairwise(ends):
        assert forms.quarter_ends(end + timedelta(days=1), 1) == [after]
    assert all((end + timedelta(days=1)).day == 1 for end in ends)
