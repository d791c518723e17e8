"""The spread of a cohort: each lead has its place, within the send window, and always the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.planning import calendar
from nurture.domain.planning.calendar import Delay, Window
from nurture.domain.planning.decision import HoldReason
from nurture.domain.planning.frequency_cap import FrequencyCap
from nurture.domain.planning.lead_view import Touch, TouchState
from nurture.domain.planning.planner import decide
from nurture.domain.planning.program import draw
from nurture.domain.planning.send_time import spread_send_time
from tests.domain.builders import (
    ALWAYS,
    DAY,
    HOUR,
    NO_ENTRIES,
    OFFICE,
    START,
    Mail,
    World,
    at,
    lead,
    policy,
    track,
    view,
)

MINUTE = timedelta(minutes=1)
ZONES = sorted(available_timezones() - {"localtime", "Factory"})


def places(count: int, span: timedelta, window: Window, due: datetime) -> list[datetime]:
    of = track(Mail(), window=window)
    return [spread_send_time(of, "s0", id_, span, due, "UTC", ()) for id_ in range(count)]


def test_ten_thousand_leads_are_spread_evenly_over_the_open_hours_of_the_span() -> None:
    by_hour = Counter(one.replace(minute=0) for one in places(10_000, 3 * DAY, OFFICE, at(1, 8)))
    assert len(by_hour) == 3 * 8
    mean = 10_000 / len(by_hour)
    assert all(0.85 * mean < number < 1.15 * mean for number in by_hour.values())
    by_minute = Counter(one.minute for one in places(10_000, 3 * DAY, ALWAYS, at(1, 8)))
    assert max(by_minute.values()) < 1.5 * 10_000 / 60


def test_a_span_begins_with_the_first_opening_after_a_weekend() -> None:
    found = places(500, DAY, OFFICE, at(6, 12))
    assert (min(found) >= at(8, 9), max(found) < at(8, 17)) == (True, True)
    assert len(set(found)) > 200


windows = st.builds(
    Window,
    st.sampled_from([frozenset(range(7)), frozenset({0, 1, 2, 3, 4}), frozenset({2, 6})]),
    st.sampled_from([datetime.min.replace(hour=hour).time() for hour in (0, 9, 22)]),
    st.sampled_from([datetime.min.replace(hour=hour).time() for hour in (0, 6, 17)]),
    st.booleans(),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(1, 10**9),
    st.sampled_from([HOUR, 5 * HOUR, DAY, 3 * DAY, 30 * DAY]),
    windows,
    st.integers(0, 365 * 24 * 60).map(lambda minute: START + minute * MINUTE),
    st.sampled_from(ZONES),
    st.sets(st.integers(0, 40), max_size=5),
)
def test_no_place_is_before_the_due_time_nor_later_than_the_span_and_all_are_open(
    lead_id: int, span: timedelta, window: Window, due: datetime, zone: str, free: set[int]
) -> None:
    holidays = {due.date() + number * DAY for number in free}
    of = track(Mail(), window=window)
    place = spread_send_time(of, "s0", lead_id, span, due, zone, holidays)
    opens_at = calendar.next_open(window, zone, holidays, due)
    assert due <= opens_at <= place < opens_at + span
    assert calendar.is_open(window, zone, holidays, place)
    assert place == spread_send_time(of, "s0", lead_id, span, due, zone, holidays)


def decided(of: Any, lead_id: int, now: datetime = START, **more: Any) -> Any:
    return decide(view("s0", lead=lead(id=lead_id), **more), of, NO_ENTRIES, policy(), now)


def test_only_the_first_touch_of_a_track_is_spread_and_the_next_counts_from_it() -> None:
    of = track(Mail(), Mail(Delay(days=2)), window=OFFICE, spread=3 * DAY)
    worlds = [World(of, policy(), lead(id=number)).run(at(28)) for number in range(1, 30)]
    firsts = {world.sent[0].send_at for world in worlds}
    assert len(firsts) > 20
    for world in worlds:
        first, second = (one.send_at for one in world.sent)
        assert second == calendar.next_open(OFFICE, "UTC", (), first + 2 * DAY)
        assert world.sent[0].planned_at == first


def test_a_spread_step_is_spread_each_time_and_its_reason_says_so() -> None:
    of = track(Mail(), window=ALWAYS)
    spread: Any = replace(of.instructions[0], spread=5 * DAY)  # type: ignore[call-arg]
    of = replace(of, instructions=(spread, *of.instructions[1:]))
    moved = next(one for one in (decided(of, number) for number in range(50)) if one.move)
    assert moved.hold is HoldReason.NOT_DUE
    assert "spread over 5 days" in moved.reason
    assert START < moved.wake_at < START + 5 * DAY


def test_a_first_touch_that_was_recalled_is_spread_again() -> None:
    of = track(Mail(), window=ALWAYS, spread=3 * DAY)
    recalled = (Touch("s0", 1, TouchState.RECALLED, START),)
    again = [decided(of, number, touches=recalled) for number in range(30)]
    assert again == [decided(of, number) for number in range(30)]
    assert len({one.wake_at for one in again}) > 20


def test_a_spread_email_still_fits_the_cap() -> None:
    of = track(Mail(), spread=DAY, cap=FrequencyCap(1, 7 * DAY))
    for number in range(20):
        assert decided(of, number, sent_at=(START - DAY,)).wake_at >= START + 6 * DAY


def test_the_place_depends_on_the_lead_the_track_and_the_step() -> None:
    drawn = {draw(10**9, *ids) for ids in (("a", "x", 1), ("a", "x", 2), ("a", "y", 1), ("b", "x", 1))}
    assert len(drawn) == 4
