from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.providers.sendgrid.rate_limit import LONGEST, SHORTEST, USUAL, Pace

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
STAMP = int(NOW.timestamp())


def limits(left: object, reset: object) -> dict[str, str]:
    return {"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": str(reset)}


def test_without_headers_everything_may_go() -> None:
    pace = Pace().heard(202, {}, NOW)
    assert not pace.is_shut()
    assert pace.has_room(1_000)


def test_no_more_start_than_are_left() -> None:
    pace = Pace().heard(202, limits(3, STAMP + 20), NOW)
    assert pace.has_room(2)
    assert not pace.has_room(3)
    assert not pace.is_shut()


def test_nothing_left_is_shut_until_the_reset() -> None:
    pace = Pace().heard(202, limits(0, STAMP + 20), NOW)
    assert pace.is_shut()
    assert pace.opens == NOW + timedelta(seconds=20)
    assert pace.at(NOW + timedelta(seconds=19)).is_shut()
    assert not pace.at(NOW + timedelta(seconds=20)).is_shut()


def test_an_answer_that_comes_late_opens_nothing() -> None:
    pace = Pace().heard(202, limits(0, STAMP + 20), NOW)
    assert pace.heard(202, limits(5, STAMP + 20), NOW).is_shut()
    assert pace.heard(202, limits(5, STAMP - 40), NOW).is_shut()
    assert pace.heard(202, limits(599, STAMP + 80), NOW).has_room(100)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, USUAL),
        (limits(0, STAMP + 42), timedelta(seconds=42)),
        (limits(9, STAMP + 42), timedelta(seconds=42)),
        (limits(0, "soon"), USUAL),
        (limits(0, STAMP - 5), SHORTEST),
        (limits(0, STAMP * 1000), USUAL),
        (limits(0, STAMP + 86_400), LONGEST),
    ],
)
def test_a_429_is_shut_for_a_sane_time_whatever_it_says(headers: dict[str, str], wait: timedelta) -> None:
    pace = Pace().heard(429, headers, NOW)
    assert pace.is_shut()
    assert pace.opens == NOW + wait


ANSWERS = st.tuples(
    st.sampled_from([202, 400, 429, 500]),
    st.none()
    | st.tuples(
        st.integers(-1, 9) | st.text(max_size=4), st.integers(0, 10**15) | st.integers(STAMP - 99, STAMP + 99)
    ),
)


@given(st.lists(ANSWERS, max_size=12))
def test_whatever_is_said_it_opens_again_within_the_hour(
    said: list[tuple[int, tuple[object, int] | None]],
) -> None:
    pace = Pace()
    for status, told in said:
        pace = pace.heard(status, limits(*told) if told else {}, NOW)
    assert not pace.is_shut() or (pace.opens is not None and pace.opens > NOW)
    assert not pace.at(NOW + LONGEST).is_shut()
