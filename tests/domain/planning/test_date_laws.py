"""Laws of touches that hang on dates of the lead, over generated tracks, zones and windows, while the dates move."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import reduce
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.planning import calendar
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.dates import DateOffset, find_date, local_day, parse_date
from nurture.domain.planning.lead_view import Touch, TouchState
from nurture.domain.planning.planner import RecallTouch, SendTouch, SkipTouch, apply_decision, decide
from nurture.domain.planning.program import Email
from tests.domain import builders
from tests.domain.builders import (
    DAY,
    HOUR,
    NO_ENTRIES,
    START,
    Fork,
    Mail,
    Wait,
    World,
    policy,
    track,
    view,
)
from tests.domain.planning.test_planner_laws import (
    LIFE,
    brief_law,
    conditions,
    date_texts,
    delays,
    few,
    law,
    lives,
    offsets,
    spans,
)

lengths = st.one_of(
    st.builds(Delay, days=st.integers(1, 9), at=st.sampled_from([None, time(2, 30), time(10), time(20)])),
    st.builds(Delay, business_days=st.integers(1, 6)),
    st.builds(Delay, hours=st.sampled_from([1 / 3, 2, 30, 100])),
)
names = st.sampled_from(["due", "due", "due", "due", "first_contact"])
date_offsets = st.builds(DateOffset, names, lengths, st.booleans()) | st.builds(DateOffset, names)
limits = st.dates(date(2024, 1, 1), date(2030, 1, 1)) | date_offsets
dated = st.builds(Mail, date_offsets)
parts = st.one_of(
    dated,
    dated,
    dated,
    st.builds(Mail, delays, not_after=limits),
    st.builds(Wait, conditions, spans, few(dated, 2)),
    st.builds(Fork, conditions, few(dated, 2), few(dated, 2)),
)


@st.composite
def moving_lives(draw: Any) -> Any:
    """Draw a life in which the date `due` changes now and then, and mail waits in the outbox."""
    waits = draw(st.sampled_from([50 * HOUR, 50 * HOUR, timedelta()]))
    grace = draw(st.sampled_from([3 * DAY, 3 * DAY, 4 * HOUR]))
    life = draw(lives(parts, draw(st.sampled_from([0, 0, 0, 1])), grace=grace))
    start = life().start
    soon = st.integers(2, 30).map(lambda day: (start + day * DAY).date().isoformat())
    first = draw(soon)
    texts = soon | soon | soon | date_texts(start)
    moves = draw(st.lists(st.tuples(st.integers(0, 40 * 24), texts), min_size=4, max_size=9))

    def begin() -> World:
        world = life(waits=waits)
        world.set_field("due", first)
        for hour, text in moves:
            world.at(start + hour * HOUR, lambda text=text: world.set_field("due", text))
        return world

    return begin


@law
@given(moving_lives(), offsets)
def test_sweeping_more_often_changes_nothing_while_dates_move(life: Any, more: list[Any]) -> None:
    woken = life()
    woken.run(woken.start + LIFE)
    swept = life().run(woken.start + LIFE, [woken.start + when for when in more])
    assert swept.happened == woken.happened
    assert (swept.enrollment, swept.wake_at) == (woken.enrollment, woken.wake_at)


@law
@given(moving_lives(), offsets)
def test_a_moved_date_sends_no_touch_twice(life: Any, more: list[Any]) -> None:
    """A round of a repeat sends its touch again, as another visit."""
    world = life()
    world.run(world.start + LIFE, [world.start + when for when in more])
    taken = [(send.step, send.visit) for _, send, _ in world.claimed]
    assert len(taken) == len(set(taken))
    skipped = [(one.step, one.visit) for _, one in world.happened if isinstance(one, SkipTouch)]
    assert not set(taken) & set(skipped)
    assert len(skipped) == len(set(skipped))


@law
@given(st.sampled_from([one for one in TouchState if one not in (TouchState.PLANNED, TouchState.RECALLED)]), offsets)
def test_a_touch_that_a_worker_took_is_neither_recalled_nor_sent_again_wherever_its_date_moves(
    state: TouchState, moves: list[timedelta]
) -> None:
    of = track(Mail(DateOffset("due", Delay(days=1), is_before=True)))
    touches = (Touch("s0", 1, state, START),)
    for moved in (START + one for one in moves):
        seen = view("s0", lead=builders.lead(fields={"due": moved.date().isoformat()}), touches=touches)
        done = decide(seen, of, NO_ENTRIES, policy(), START + HOUR).actions
        assert not [one for one in done if isinstance(one, RecallTouch | SendTouch)]


@law
@given(moving_lives())
def test_a_touch_before_a_date_goes_before_it_and_none_after_its_last_day(life: Any) -> None:
    world = life()
    world.run(world.start + LIFE)
    for when, send, lead in world.claimed:
        email = world.program.instructions[world.program.index[send.step]]
        assert isinstance(email, Email)
        zone = lead.zone or world.program.zone_fallback
        if isinstance(email.after, DateOffset):
            found = find_date(lead, email.after.name)
            assert found is not None, "a touch without its date is skipped"
            if email.after.is_before and not email.after.delay.hours:
                assert local_day(when, zone) < local_day(found, zone)
        if isinstance(email.not_after, date):
            assert local_day(when, zone) <= email.not_after


@brief_law
@given(moving_lives())
def test_a_touch_goes_in_the_window_on_its_day_or_for_days_before_a_date_on_an_earlier_day_only_if_it_is_closed(
    life: Any,
) -> None:
    world = life()
    world.run(world.start + LIFE)
    for when, send, lead in world.claimed:
        email = world.program.instructions[world.program.index[send.step]]
        offset, zone = email.after, lead.zone or world.program.zone_fallback
        found = find_date(lead, offset.name) if isinstance(offset, DateOffset) else None
        if found is None or not offset.is_before or not offset.delay.days:
            continue
        day = local_day(found, zone) - offset.delay.days * DAY
        while local_day(when, zone) < day:
            opens = calendar.next_open(world.program.window, zone, lead.holidays, calendar.start_of_day(day, zone))
            assert local_day(opens, zone) > day
            day -= DAY


@brief_law
@given(moving_lives())
def test_replaying_the_decisions_about_moving_dates_rebuilds_the_state(life: Any) -> None:
    world = life()
    world.run(world.start + LIFE)
    assert reduce(apply_decision, world.decisions, world.entered) == world.enrollment
    for _, action in world.happened:
        assert not isinstance(action, RecallTouch | SkipTouch) or action.reason


@given(st.dates(date(1900, 1, 1), date(2999, 12, 31)), st.datetimes(datetime(1900, 1, 2), datetime(2999, 12, 30)))
def test_an_iso_date_or_time_is_read_and_any_other_text_is_no_date(day: date, at: datetime) -> None:
    assert parse_date(day.isoformat()) == day
    assert parse_date(f"{at.isoformat()}Z") == parse_date(at.isoformat()) == at.replace(tzinfo=calendar.UTC)
    assert parse_date(f"on {day}") is None
