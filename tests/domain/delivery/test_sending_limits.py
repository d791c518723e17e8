"""What a sender domain may send, and the slots of its emails."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.delivery.sending_limits import (
    SendingLimits,
    SendingRules,
    WarmUp,
    next_slot,
    normalize_domain,
    remaining_capacity,
    sending_pause_reason,
)

NOON = datetime(2026, 12, 1, 12, 20, tzinfo=UTC)
FIRST = date(2026, 12, 1)
RAMP = WarmUp(FIRST, 50, 1.6)

numbers = st.one_of(st.none(), st.integers(1, 400))
ramps = st.builds(
    WarmUp,
    st.dates(date(2026, 11, 1), date(2027, 1, 15)),
    st.integers(1, 60),
    st.sampled_from([1.0, 1.05, 1.3, 2.0, 9.0]),
)
limits = st.builds(SendingLimits, numbers, numbers, st.one_of(st.none(), ramps))
times = st.datetimes(datetime(2026, 11, 20), datetime(2027, 2, 1)).map(lambda at: at.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("day", "allowed"), [(-1, 0), (0, 50), (1, 80), (2, 128), (3, 204), (9, 3435), (10, 4000), (5000, 4000)]
)
def test_a_warm_up_grows_day_by_day_up_to_the_daily_cap(day: int, allowed: int) -> None:
    assert SendingLimits(per_day=4000, warm_up=RAMP).max_on_day(FIRST + timedelta(days=day)) == allowed


def test_a_warm_up_without_a_daily_cap_ends_in_no_limit() -> None:
    assert SendingLimits(warm_up=RAMP).max_on_day(FIRST + timedelta(days=30_000)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SendingLimits(per_hour=0),
        lambda: SendingLimits(per_day=0),
        lambda: WarmUp(FIRST, 0, 2),
        lambda: WarmUp(FIRST, 1, 0.9),
    ],
)
def test_limits_that_allow_nothing_are_rejected(wrong: object) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        wrong()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("limits", "used", "left"),
    [
        (SendingLimits(), (9999, 99999), None),
        (SendingLimits(per_hour=100), (40, 4000), 60),
        (SendingLimits(per_hour=100), (140, 140), 0),
        (SendingLimits(per_day=1000), (40, 990), 10),
        (SendingLimits(per_hour=100, per_day=1000), (40, 990), 10),
        (SendingLimits(per_hour=5, per_day=1000), (0, 0), 5),
        (SendingLimits(per_day=4000, warm_up=RAMP), (0, 20), 30),
        (SendingLimits(warm_up=WarmUp(date(2026, 12, 2), 50, 2)), (0, 0), 0),
    ],
)
def test_capacity_is_what_the_tightest_limit_leaves(
    limits: SendingLimits, used: tuple[int, int], left: int | None
) -> None:
    assert remaining_capacity(limits, *used, NOON) == left


def test_days_and_hours_are_those_of_utc() -> None:
    late = datetime(2026, 12, 1, 20, 30, tzinfo=timezone(-timedelta(hours=8)))  # 04:30 of the 2nd
    assert remaining_capacity(SendingLimits(per_day=4000, warm_up=RAMP), 0, 0, late) == 80
    assert next_slot(SendingLimits(per_hour=10), 10, 10, 0, late) == datetime(2026, 12, 2, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("limits", "used", "position", "at"),
    [
        (SendingLimits(per_hour=60), (60, 60), 0, "2026-12-01T13:00"),
        (SendingLimits(per_hour=60), (60, 60), 30, "2026-12-01T13:30"),
        (SendingLimits(per_hour=60), (60, 60), 60, "2026-12-01T14:00"),
        (SendingLimits(per_hour=60), (0, 0), 11 * 60, "2026-12-02T00:00"),
        (SendingLimits(per_hour=60, per_day=100), (60, 60), 40, "2026-12-02T00:00"),
        (SendingLimits(per_hour=60, per_day=100), (0, 0), 40, "2026-12-02T00:00"),
        (SendingLimits(per_hour=60, per_day=100), (60, 100), 199, "2026-12-03T01:39"),
        (SendingLimits(per_day=120), (0, 120), 60, "2026-12-02T00:30"),
        (SendingLimits(per_day=120), (0, 0), 120, "2026-12-03T00:00"),
        (SendingLimits(per_day=4000, warm_up=RAMP), (0, 50), 80, "2026-12-03T00:00"),
        (SendingLimits(warm_up=WarmUp(date(2027, 1, 4), 50, 2)), (0, 0), 49, "2027-01-04T00:58:48"),
        (SendingLimits(), (0, 0), 10_000, "2026-12-01T13:00"),
    ],
)
def test_those_without_capacity_get_slots_in_the_hours_and_days_to_come(
    limits: SendingLimits, used: tuple[int, int], position: int, at: str
) -> None:
    assert next_slot(limits, *used, position, NOON) == datetime.fromisoformat(at).replace(tzinfo=UTC)


@given(limits, st.integers(0, 500), st.integers(0, 500), times, st.integers(1, 300))
def test_a_schedule_of_slots_keeps_every_limit(
    limits: SendingLimits, used_this_hour: int, more_today: int, now: datetime, count: int
) -> None:
    used_today = used_this_hour + more_today
    now_going = remaining_capacity(limits, used_this_hour, used_today, now) or 0
    slots = [next_slot(limits, used_this_hour, used_today, position, now) for position in range(count)]
    assert slots == sorted(slots)
    assert all(at > now for at in slots)
    hours = Counter(at.replace(minute=0, second=0, microsecond=0) for at in slots)
    days = Counter(at.date() for at in slots)
    assert now.replace(minute=0, second=0, microsecond=0) not in hours
    if limits.per_hour is not None:
        assert max(hours.values()) <= limits.per_hour
    for day, going in days.items():
        cap = limits.max_on_day(day)
        if cap is not None:
            assert going + (used_today + now_going if day == now.date() else 0) <= cap


@given(limits, st.integers(0, 500), st.integers(0, 500), times, st.integers(0, 20_000))
def test_no_hour_with_capacity_is_passed_over(
    limits: SendingLimits, used_this_hour: int, more_today: int, now: datetime, position: int
) -> None:
    """The next slot is at most a day later, unless the warm-up has not begun."""
    first, second = (
        next_slot(limits, used_this_hour, used_this_hour + more_today, at, now) for at in (position, position + 1)
    )
    assert timedelta() <= second - first <= timedelta(days=1, hours=1)


@given(st.integers(0, 2000), st.integers(0, 50), st.integers(0, 5))
def test_a_sending_pause_names_its_figures(sent: int, bounced: int, complained: int) -> None:
    found = sending_pause_reason(SendingLimits(), sent, bounced, complained)
    over = bounced / max(sent, 100) > 0.02 or complained / max(sent, 1000) > 0.001
    assert (found is not None) == over
    assert found is None or f"{bounced} of" in found or f"{complained} of" in found


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((1000, 20, 1), None),
        ((1000, 21, 0), "21 of the last 1,000 emails bounced permanently, which is 2.1 %; the limit is 2 %"),
        ((1000, 0, 2), "2 of the last 1,000 emails were reported as spam, which is 0.2 %; the limit is 0.1 %"),
        ((10, 2, 1), None),
        ((10, 3, 0), "3 of the last 10 emails bounced permanently, which is 30 %; the limit is 2 %"),
        ((0, 3, 0), "3 of the last 3 emails bounced permanently, which is 100 %; the limit is 2 %"),
    ],
)  # fmt: skip
def test_a_domain_stops_above_its_shares_of_bounces_and_complaints(
    counts: tuple[int, int, int], reason: str | None
) -> None:
    assert sending_pause_reason(SendingLimits(), *counts) == reason


def test_own_shares_count() -> None:
    strict = replace(SendingLimits(), max_bounce_rate=0.01, max_complaint_rate=0.002)
    assert sending_pause_reason(strict, 1000, 11, 0) is not None
    assert sending_pause_reason(strict, 1000, 10, 2) is None


@pytest.mark.parametrize(
    ("domain", "per_day"),
    [
        ("example.com", 1),
        ("news.example.com", 2),
        ("a.b.news.example.com", 2),
        ("web.example.com", 1),
        ("EXAMPLE.com.", 1),
        ("notexample.com", 9),
        ("com", 9),
        ("bücher.example", 3),
        ("xn--bcher-kva.example", 3),
        ("", 9),
    ],
)
def test_a_subdomain_has_the_limits_of_the_closest_domain_above_it(domain: str, per_day: int) -> None:
    rules = SendingRules(
        SendingLimits(per_day=9),
        {
            "example.com": SendingLimits(per_day=1),
            "news.example.com": SendingLimits(per_day=2),
            normalize_domain("Bücher.example"): SendingLimits(per_day=3),
        },
    )
    assert rules.for_domain(domain).per_day == per_day
