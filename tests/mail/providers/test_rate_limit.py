from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.providers.rate_limit import DEFAULT_WAIT, MAX_WAIT, MIN_WAIT, RateLimit

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
STAMP = int(NOW.timestamp())


def limits(remaining: object, reset: object) -> dict[str, str]:
    return {"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": str(reset)}


def test_without_headers_there_is_no_limit() -> None:
    rate_limit = RateLimit().updated(202, {}, NOW)
    assert not rate_limit.is_exhausted()
    assert rate_limit.has_capacity(1_000)


def test_no_more_start_than_remain() -> None:
    rate_limit = RateLimit().updated(202, limits(3, STAMP + 20), NOW)
    assert rate_limit.has_capacity(2)
    assert not rate_limit.has_capacity(3)
    assert not rate_limit.is_exhausted()


def test_an_exhausted_limit_lasts_until_the_reset() -> None:
    rate_limit = RateLimit().updated(202, limits(0, STAMP + 20), NOW)
    assert rate_limit.is_exhausted()
    assert rate_limit.resets_at == NOW + timedelta(seconds=20)
    assert rate_limit.without_expired_window(NOW + timedelta(seconds=19)).is_exhausted()
    assert not rate_limit.without_expired_window(NOW + timedelta(seconds=20)).is_exhausted()


def test_a_late_response_does_not_raise_the_limit() -> None:
    rate_limit = RateLimit().updated(202, limits(0, STAMP + 20), NOW)
    assert rate_limit.updated(202, limits(5, STAMP + 20), NOW).is_exhausted()
    assert rate_limit.updated(202, limits(5, STAMP - 40), NOW).is_exhausted()
    assert rate_limit.updated(202, limits(599, STAMP + 80), NOW).has_capacity(100)


@pytest.mark.parametrize(
    ("headers", "delay"),
    [
        ({}, DEFAULT_WAIT),
        (limits(0, STAMP + 42), timedelta(seconds=42)),
        (limits(9, STAMP + 42), timedelta(seconds=42)),
        (limits(0, "soon"), DEFAULT_WAIT),
        (limits(0, STAMP - 5), MIN_WAIT),
        (limits(0, STAMP * 1000), DEFAULT_WAIT),
        (limits(0, STAMP + 86_400), MAX_WAIT),
    ],
)
def test_a_429_lasts_between_a_second_and_an_hour(headers: dict[str, str], delay: timedelta) -> None:
    rate_limit = RateLimit().updated(429, headers, NOW)
    assert rate_limit.is_exhausted()
    assert rate_limit.resets_at == NOW + delay


ANSWERS = st.tuples(
    st.sampled_from([202, 400, 429, 500]),
    st.none()
    | st.tuples(st.integers(-1, 9) | st.text(max_size=4), st.integers(0, 10**15) | st.integers(STAMP - 99, STAMP + 99)),
)


@given(st.lists(ANSWERS, max_size=12))
def test_any_limit_ends_within_an_hour(
    responses: list[tuple[int, tuple[object, int] | None]],
) -> None:
    rate_limit = RateLimit()
    for status, limit_values in responses:
        rate_limit = rate_limit.updated(status, limits(*limit_values) if limit_values else {}, NOW)
    assert not rate_limit.is_exhausted() or (rate_limit.resets_at is not None and rate_limit.resets_at > NOW)
    assert not rate_limit.without_expired_window(NOW + MAX_WAIT).is_exhausted()
