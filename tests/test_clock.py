"""Real and virtual clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from nurture.clock import Clock, RealClock, VirtualClock
from nurture.errors import ClockWentBackwards

NOON = datetime(2025, 3, 30, 12, tzinfo=UTC)


def test_the_real_clock_tells_the_systems_time_in_utc() -> None:
    clock: Clock = RealClock()
    before, shown, after = time.time_ns() / 1e9, clock.now(), time.time_ns() / 1e9
    assert shown.tzinfo is UTC
    assert before - 1e-3 <= shown.timestamp() <= after + 1e-3


def test_the_real_clock_cannot_be_moved() -> None:
    assert not hasattr(RealClock(), "advance_to")


def test_a_virtual_clock_stands_still_until_it_is_advanced() -> None:
    clock = VirtualClock(NOON)
    assert clock.now() == clock.now() == NOON
    clock.advance_to(NOON)
    clock.advance_to(NOON + timedelta(days=180))
    assert clock.now() == NOON + timedelta(days=180)


def test_a_virtual_clock_tells_utc_whatever_zone_it_was_given() -> None:
    clock = VirtualClock(NOON.astimezone(timezone(timedelta(hours=9))))
    assert (clock.now(), clock.now().tzinfo) == (NOON, UTC)


def test_a_virtual_clock_never_goes_back_and_stays_where_it_was() -> None:
    clock = VirtualClock(NOON)
    with pytest.raises(ClockWentBackwards, match="12:00:00 UTC and cannot go back to 2025-03-30 11"):
        clock.advance_to(NOON - timedelta(microseconds=1))
    assert clock.now() == NOON


@pytest.mark.parametrize("give", [VirtualClock, VirtualClock(NOON).advance_to])
def test_a_time_without_a_zone_is_rejected(give: object) -> None:
    with pytest.raises(ValueError, match="zone"):
        give(datetime(2025, 3, 30, 12))  # type: ignore[operator]
