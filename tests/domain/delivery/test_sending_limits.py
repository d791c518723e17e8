# ruff: noqa: E501  (a reason stands on one line, as it prints)
"""What a sender's domain may send, and when its emails have their turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.delivery.sending_limits import (
    Limits,
    SendingRules,
    WarmUp,
    normalise_domain,
    room,
    turn,
    verdict,
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
limits = st.builds(Limits, numbers, numbers, st.one_of(st.none(), ramps))
moments = st.datetimes(datetime(2026, 11, 20), datetime(2027, 2, 1)).map(lambda at: at.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("day", "allowed"), [(-1, 0), (0, 50), (1, 80), (2, 128), (3, 204), (9, 3435), (10, 4000), (5000, 4000)]
)
def test_a_warm_up_grows_day_by_day_up_to_the_daily_cap(day: int, allowed: int) -> None:
    assert Limits(per_day=4000, warm_up=RAMP).on_day(FIRST + timedelta(days=day)) == allowed


def test_a_warm_up_without_a_daily_cap_ends_in_no_limit() -> None:
    assert Limits(warm_up=RAMP).on_day(FIRST + timedelta(days=30_000)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Limits(per_hour=0),
        lambda: Limits(per_day=0),
        lambda: WarmUp(FIRST, 0, 2),
        lambda: WarmUp(FIRST, 1, 0.9),
    ],
)
def test_limits_under_which_nothing_ever_goes_do_not_exist(wrong: object) -> None:
    with pytest.raises(ValueError, match="at least one"):
        wrong()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("limits", "used", "left"),
    [
        (Limits(), (9999, 99999), None),
        (Limits(per_hour=100), (40, 4000), 60),
        (Limits(per_hour=100), (140, 140), 0),
        (Limits(per_day=1000), (40, 990), 10),
        (Limits(per_hour=100, per_day=1000), (40, 990), 10),
        (Limits(per_hour=5, per_day=1000), (0, 0), 5),
        (Limits(per_day=4000, warm_up=RAMP), (0, 20), 30),
        (Limits(warm_up=WarmUp(date(2026, 12, 2), 50, 2)), (0, 0), 0),
    ],
)
def test_room_is_what_the_tightest_limit_leaves(
    limits: Limits, used: tuple[int, int], left: int | None
) -> None:
    assert room(limits, *used, NOON) == left


def test_days_and_hours_are_those_of_utc() -> None:
    late = datetime(2026, 12, 1, 20, 30, tzinfo=timezone(-timedelta(hours=8)))  # 04:30 of the 2nd
    assert room(Limits(per_day=4000, warm_up=RAMP), 0, 0, late) == 80
    assert turn(Limits(per_hour=10), 10, 10, 0, late) == datetime(2026, 12, 2, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("limits", "used", "place", "at"),
    [
        (Limits(per_hour=60), (60, 60), 0, "2026-12-01T13:00"),
        (Limits(per_hour=60), (60, 60), 30, "2026-12-01T13:30"),
        (Limits(per_hour=60), (60, 60), 60, "2026-12-01T14:00"),
        (Limits(per_hour=60), (0, 0), 11 * 60, "2026-12-02T00:00"),
        (Limits(per_hour=60, per_day=100), (60, 60), 40, "2026-12-02T00:00"),
        (Limits(per_hour=60, per_day=100), (0, 0), 40, "2026-12-02T00:00"),
        (Limits(per_hour=60, per_day=100), (60, 100), 199, "2026-12-03T01:39"),
        (Limits(per_day=120), (0, 120), 60, "2026-12-02T00:30"),
        (Limits(per_day=120), (0, 0), 120, "2026-12-03T00:00"),
        (Limits(per_day=4000, warm_up=RAMP), (0, 50), 80, "2026-12-03T00:00"),
        (Limits(warm_up=WarmUp(date(2027, 1, 4), 50, 2)), (0, 0), 49, "2027-01-04T00:58:48"),
        (Limits(), (0, 0), 10_000, "2026-12-01T13:00"),
    ],
)
def test_those_without_room_have_their_turn_in_the_hours_and_days_to_come(
    limits: Limits, used: tuple[int, int], place: int, at: str
) -> None:
    assert turn(limits, *used, place, NOON) == datetime.fromisoformat(at).replace(tzinfo=UTC)


@given(limits, st.integers(0, 500), st.integers(0, 500), moments, st.integers(1, 300))
def test_a_schedule_of_turns_keeps_every_limit(
    limits: Limits, used_this_hour: int, more_today: int, now: datetime, count: int
) -> None:
    used_today = used_this_hour + more_today
    now_going = room(limits, used_this_hour, used_today, now) or 0
    turns = [turn(limits, used_this_hour, used_today, place, now) for place in range(count)]
    assert turns == sorted(turns)
    assert all(at > now for at in turns)
    hours = Counter(at.replace(minute=0, second=0, microsecond=0) for at in turns)
    days = Counter(at.date() for at in turns)
    assert now.replace(minute=0, second=0, microsecond=0) not in hours
    if limits.per_hour is not None:
        assert max(hours.values()) <= limits.per_hour
    for day, going in days.items():
        cap = limits.on_day(day)
        if cap is not None:
            assert going + (used_today + now_going if day == now.date() else 0) <= cap


@given(limits, st.integers(0, 500), st.integers(0, 500), moments, st.integers(0, 20_000))
def test_no_hour_with_room_is_passed_over(
    limits: Limits, used_this_hour: int, more_today: int, now: datetime, place: int
) -> None:
    """The next place is never more than a day behind, unless the warm-up has not begun."""
    first, second = (
        turn(limits, used_this_hour, used_this_hour + more_today, at, now) for at in (place, place + 1)
    )
    assert timedelta() <= second - first <= timedelta(days=1, hours=1)


@given(st.integers(0, 2000), st.integers(0, 50), st.integers(0, 5))
def test_who_must_stop_is_told_the_figures(sent: int, bounced: int, complained: int) -> None:
    found = verdict(Limits(), sent, bounced, complained)
    over = bounced / max(sent, 100) > 0.02 or complained / max(sent, 1000) > 0.001
    assert (found is not None) == over
    assert found is None or f"{bounced} of" in found or f"{complained} of" in found


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ((1000, 20, 1), None),
        ((1000, 21, 0), "21 of the last 1,000 emails bounced for good, which is 2.1 %; no more than 2 % may"),
        ((1000, 0, 2), "2 of the last 1,000 emails were reported as spam, which is 0.2 %; no more than 0.1 % may"),
        ((10, 2, 1), None),
        ((10, 3, 0), "3 of the last 10 emails bounced for good, which is 30 %; no more than 2 % may"),
        ((0, 3, 0), "3 of the last 3 emails bounced for good, which is 100 %; no more than 2 % may"),
    ],
)  # fmt: skip
def test_a_domain_stops_above_its_shares_of_bounces_and_complaints(
    counts: tuple[int, int, int], why: str | None
) -> None:
    assert verdict(Limits(), *counts) == why


def test_own_shares_count() -> None:
    strict = replace(Limits(), bounces=0.01, complaints=0.002)
    assert verdict(strict, 1000, 11, 0) is not None
    assert verdict(strict, 1000, 10, 2) is None


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
        Limits(per_day=9),
        {
            "example.com": Limits(per_day=1),
            "news.example.com": Limits(per_day=2),
            normalise_domain("Bücher.example"): Limits(per_day=3),
        },
    )
    assert rules.of(domain).per_day == per_day
