"""The planner's laws, over generated tracks, signals, zones, windows, caps and graces."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from typing import Any
from zoneinfo import available_timezones

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nurture.domain.lead import Custodian, Lead, Timeline
from nurture.domain.planning.calendar import Delay, Window
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    DecidesWithin,
    FieldCondition,
    Not,
    ScoreCondition,
    SignalCondition,
)
from nurture.domain.planning.date_conditions import DateCondition, InactiveFor
from nurture.domain.planning.frequency_cap import FrequencyCap
from nurture.domain.planning.lead_view import TouchState
from nurture.domain.planning.planner import EndEnrollment, OfferToSales, apply_decision, decide
from nurture.domain.planning.program import HandOff, Program
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from tests.domain.builders import (
    ALWAYS,
    DAY,
    HOUR,
    NO_CAP,
    NO_ENTRIES,
    OFFICE,
    UNSUBSCRIBED,
    Arms,
    Fork,
    Mail,
    Note,
    Offer,
    Round,
    Stop,
    Wait,
    World,
    policy,
    track,
)

LIFE = 75 * DAY
KINDS = (SignalKind.CLICKED, SignalKind.REPLIED, SignalKind.VISITED)
ZONES = sorted(available_timezones() - {"localtime", "Factory"})
NOTABLE = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/St_Johns",
    "Pacific/Kiritimati",
    "Asia/Beirut",
]

law = settings(max_examples=90, deadline=None, derandomize=True)

brief_law = settings(law, max_examples=40)


# Strategies


def few(blocks: Any, most: int) -> Any:
    return st.lists(blocks, max_size=most).map(tuple)


delays = st.one_of(
    st.builds(Delay, hours=st.sampled_from([0, 1, 5, 30, 100])),
    st.builds(Delay, days=st.integers(0, 9), at=st.sampled_from([None, time(2, 30), time(10)])),
    st.builds(Delay, business_days=st.integers(1, 4), on=st.sampled_from([None, 1])),
)
spans = st.sampled_from([Delay(hours=3), Delay(days=1), Delay(days=4), Delay(business_days=3), Delay(days=10)])
steps = st.sampled_from([f"s{number}" for number in range(8)])
signal_conditions = st.builds(
    SignalCondition,
    st.sampled_from(KINDS),
    email=st.none() | steps,
    times=st.integers(1, 3),
    within=st.none() | st.sampled_from([6 * HOUR, 2 * DAY, 9 * DAY]),
)
scores = st.builds(ScoreCondition, at_least=st.sampled_from([0.5, 1.0, 5.0, 5.5, 20.0])) | st.builds(
    ScoreCondition, below=st.sampled_from([0.7, 1.0, 2.5, 5.0])
)
field_conditions = st.builds(FieldCondition, st.just("flag"), st.just(Comparison.IS), st.booleans() | st.just("x"))
bounds = st.none() | st.integers(-30, 30) | st.dates(date(2024, 1, 1), date(2030, 1, 1))
date_conditions = st.one_of(
    st.builds(DateCondition, st.sampled_from(["due", "first_contact"]), bounds, bounds, st.just("due")),
    st.builds(InactiveFor, st.integers(1, 40)),
)
conditions = st.recursive(
    st.one_of(
        signal_conditions, scores, field_conditions, date_conditions, st.builds(DecidesWithin, st.integers(0, 40))
    ),
    lambda parts: st.one_of(
        st.builds(AllOf, st.lists(parts, min_size=1, max_size=2).map(tuple)),
        st.builds(AnyOf, st.lists(parts, min_size=1, max_size=2).map(tuple)),
        st.builds(Not, parts),
    ),
    max_leaves=3,
)
mails = st.builds(Mail, delays, st.sampled_from([("one",), ("one", "two", "three")]))
plain = st.one_of(mails, mails, st.builds(Note, st.just("flag"), st.booleans() | st.just("x")))


def nested(blocks: Any) -> Any:
    return st.one_of(
        st.builds(Wait, conditions, spans, few(blocks, 2), few(blocks, 2)),
        st.builds(Fork, conditions, few(blocks, 2), few(blocks, 2)),
        st.builds(Arms, st.lists(st.tuples(st.integers(1, 9), few(blocks, 2)), min_size=1, max_size=3).map(tuple)),
    )


simple = st.recursive(plain, nested, max_leaves=5)
with_offers = st.recursive(plain | st.builds(Offer) | st.builds(Stop), nested, max_leaves=5)
windows = st.one_of(
    st.just(ALWAYS),
    st.just(OFFICE),
    st.builds(
        Window,
        st.sampled_from([frozenset(range(7)), frozenset({0, 1, 2, 3, 4}), frozenset({2, 6})]),
        st.sampled_from([time(0), time(2), time(9, 30), time(22)]),
        st.sampled_from([time(0), time(3), time(6), time(17), time(23, 59)]),
        st.booleans(),
    ),
)
caps = st.one_of(st.just(NO_CAP), st.builds(FrequencyCap, st.integers(1, 3), st.sampled_from([DAY, 7 * DAY, 20 * DAY])))
graces = st.sampled_from([timedelta(), timedelta(minutes=20), 4 * HOUR, 3 * DAY])
changes_of_clocks = st.builds(
    lambda year, month_day, hour: datetime(year, *month_day, tzinfo=UTC) + hour * HOUR,
    st.integers(2024, 2029),
    st.sampled_from([(3, 8), (3, 25), (4, 1), (4, 24), (9, 5), (10, 1), (10, 25), (11, 1)]),
    st.integers(-72, 168),
)
anytime = st.integers(0, 6 * 365 * 24 * 4).map(lambda quarter: datetime(2024, 1, 1, tzinfo=UTC) + quarter * HOUR / 4)
states = st.sampled_from([TouchState.ACCEPTED, TouchState.CANCELLED, TouchState.REJECTED, TouchState.UNKNOWN])
deliveries = st.lists(
    st.tuples(states, st.sampled_from([timedelta(), timedelta(minutes=7), 11 * HOUR, 4 * DAY])), min_size=1, max_size=3
)


@st.composite
def programs(draw: Any, parts: Any = simple, **fixed: Any) -> Program:
    rounds = st.builds(
        Round,
        st.lists(parts, min_size=1, max_size=2).map(tuple),
        st.sampled_from([0.25, 3, 7]),
        st.sampled_from([1.0, 1.5]),
        st.just(20),
        st.sampled_from([None, 1, 2]),
    )
    steps = draw(st.lists(st.one_of(parts, parts, rounds), min_size=1, max_size=5))
    drawn = {"window": draw(windows), "cap": draw(caps), "grace": draw(graces)}
    return track(*steps, **(drawn | {"zone_fallback": draw(st.sampled_from(NOTABLE))} | fixed))


@st.composite
def leads(draw: Any, start: datetime) -> Lead:
    zone = draw(st.sampled_from(NOTABLE) | st.sampled_from(ZONES) | st.just(""))
    holidays = frozenset(start.date() + day * DAY for day in draw(st.sets(st.integers(0, 40), max_size=4)))
    decides_on = draw(st.none() | st.integers(-5, 90).map(lambda days: start.date() + days * DAY))
    timeline = None if decides_on is None else Timeline(decides_on, start)
    due, first = draw(date_texts(start)), start - draw(st.integers(0, 200)) * DAY
    known = {} if due is None else {"due": due}
    return Lead(draw(st.integers(1, 50)), known, zone, holidays, timeline=timeline, first_contact_at=first)


def date_texts(start: datetime) -> Any:
    """Return a strategy of what a date field may hold: a day, a time, nothing, or no date at all."""
    times = st.integers(-10 * 24, 60 * 24).map(lambda hour: start + hour * HOUR)
    days = times.map(lambda one: one.date().isoformat())
    return st.one_of(days, days, days, times.map(datetime.isoformat), st.none(), st.sampled_from(["soon", ""]))


@st.composite
def signals_made(draw: Any, start: datetime) -> list[Signal]:
    """Draw signals at whole hours, so that many coincide with deadlines and each other, or at odd seconds."""
    offsets = st.integers(0, 40 * 24).map(lambda hour: start + hour * HOUR)
    odd = st.integers(0, 40 * 86_400).map(lambda second: start + timedelta(seconds=second))
    verdicts = st.sampled_from([SignalVerdict.HUMAN] * 4 + [SignalVerdict.BOT])
    made = st.builds(Signal, st.sampled_from(KINDS), offsets | odd, verdicts, st.just(1), st.none(), st.none() | steps)
    return draw(st.lists(made, max_size=7))


@st.composite
def lives(draw: Any, parts: Any = with_offers, criteria: int = 2, latest: timedelta = 5 * HOUR, **fixed: Any) -> Any:
    """Draw a repeatable scenario: the world, and everything that will happen in it."""
    start = draw(changes_of_clocks | anytime)
    of, who, rules = (draw(programs(parts, **fixed)), draw(leads(start)), policy(*draw(few(conditions, criteria))))
    signals, delivery, late = (
        draw(signals_made(start)),
        draw(deliveries),
        draw(st.sampled_from([timedelta(), latest])),
    )
    answers_after = draw(st.sampled_from([None, 30 * HOUR]))

    def begin(**more: Any) -> World:
        world = World(of, rules, who, start, **({"deliveries": delivery, "answers_after": answers_after} | more))
        return world.receives(signals, late)

    return begin


offsets = st.lists(
    st.integers(0, LIFE // timedelta(minutes=1)).map(lambda minute: timedelta(minutes=minute)), max_size=30
)


# The laws


@law
@given(lives(), offsets)
def test_sweeping_more_often_changes_nothing_so_nothing_needs_polling(life: Any, more: list[timedelta]) -> None:
    """Includes hand-off criteria, waits and branches; each run also checks the laws of World."""
    woken = life()
    end = woken.start + LIFE
    woken.run(end)
    swept = life().run(end, [woken.start + when for when in more])
    hourly = life().run(end, [woken.start + hour * 4 * HOUR for hour in range(LIFE // (4 * HOUR))])
    for other in (swept, hourly):
        assert other.happened == woken.happened
        assert (other.enrollment, other.wake_at) == (woken.enrollment, woken.wake_at)


@law
@given(lives(simple, 0, timedelta(), grace=6 * HOUR), st.lists(st.integers(1, 360), min_size=1, max_size=60))
def test_gaps_up_to_the_grace_give_the_same_touches_planned_for_the_same_times(life: Any, gaps: list[int]) -> None:
    exact = life(accepts_when_planned=True)
    sweeps = [exact.start]
    while sweeps[-1] < exact.start + 30 * DAY:
        sweeps.append(sweeps[-1] + timedelta(minutes=gaps[len(sweeps) % len(gaps)]) + 3 * HOUR * (len(gaps) < 5))
        assume(sweeps[-1] - sweeps[-2] <= 6 * HOUR)
    late = life(accepts_when_planned=True).run_swept_at(sweeps)
    exact.run(sweeps[-1])
    assert planned(late) == planned(exact)
    assert late.enrollment == exact.enrollment


def planned(world: World) -> list[tuple[str, int, str, datetime]]:
    return [(send.step, send.visit, send.email, send.planned_at) for send in world.sent]


@brief_law
@given(lives(simple, 0), st.integers(1, 60), st.lists(st.integers(1, 20 * 24), min_size=1, max_size=3))
def test_after_a_long_gap_one_overdue_touch_goes_and_the_next_count_from_it(
    life: Any, before: int, gaps: list[int]
) -> None:
    world = life(deliveries=((TouchState.ACCEPTED, timedelta()),))
    now = world.start + before * HOUR
    world.run(now)
    for gap in gaps:
        world.now = now = now + gap * HOUR
        sent = len(world.sent)
        while world.events and world.events[0][0] <= now:
            world.events.pop(0)[2]()
            world.events.sort(key=lambda event: event[:2])
        for _ in range(3):
            world._sweep()
        new = world.sent[sent:]
        # World holds each until the next window; none is planned for a time more than the grace ago.
        assert len(new) <= 1
        world.run(now + DAY)
        now += DAY
    for first, second in zip(world.sent, world.sent[1:], strict=False):
        assert second.planned_at >= first.send_at


@brief_law
@given(lives(), st.integers(0, 40 * 24), st.sampled_from(["suppressed", "rep", "closed", "paused"]), offsets)
def test_no_mail_goes_to_a_lead_that_is_suppressed_with_a_rep_closed_or_paused_and_only_requests_to_sales(
    life: Any, hour: int, what: str, more: list[timedelta]
) -> None:
    world = life(answers_after=None)
    when = world.start + hour * HOUR
    paused_until = when + 10 * DAY

    def happen() -> None:
        if what == "suppressed":
            world.suppressions = UNSUBSCRIBED
        elif what == "paused":
            world.lead = Lead(
                **{name: getattr(world.lead, name) for name in Lead.__slots__} | {"paused_until": paused_until}
            )
        else:
            world.custodian = Custodian.REP if what == "rep" else Custodian.CLOSED

    world.at(when, happen)
    world.run(world.start + LIFE, [world.start + one for one in more])
    ends = paused_until if what == "paused" else world.start + LIFE
    done = [action for now, action in world.happened if when <= now < ends and not isinstance(action, EndEnrollment)]
    requests = {one.name for one in world.policy.requests} if what in ("suppressed", "paused") else set()
    assert [action for action in done if not isinstance(action, OfferToSales) or action.rule not in requests] == []


@brief_law
@given(lives())
def test_the_frequency_cap_holds_in_every_span(life: Any) -> None:
    world = life()
    world.run(world.start + LIFE)
    gone = (TouchState.CANCELLED, TouchState.REJECTED)
    times = sorted(touch.at for touch in world.touches.values() if touch.state not in gone)
    (cap,) = world.program.caps
    for last in times:
        assert sum(last - cap.per < when <= last for when in times) <= cap.touches


@brief_law
@given(lives())
def test_replaying_stored_decisions_rebuilds_the_state(life: Any) -> None:
    world = life()
    world.run(world.start + LIFE)
    assert reduce(apply_decision, world.decisions, world.entered) == world.enrollment


@brief_law
@given(lives(), st.randoms(use_true_random=False))
def test_the_order_in_which_signals_arrive_changes_nothing(life: Any, chance: Any) -> None:
    world = life()
    world.run(world.start + LIFE)
    seen, now = world.view(), world.now
    shuffled = list(seen.signals)
    chance.shuffle(shuffled)
    again = World(world.program, world.policy, seen.lead, world.start)
    again.lead = Lead(**{name: getattr(seen.lead, name) for name in Lead.__slots__ if name != "engagement"})
    for one in shuffled:
        again._record(one)
    other = type(seen)(
        again.lead,
        seen.custodian,
        seen.enrollment,
        again.signals,
        tuple(reversed(seen.touches)),
        tuple(reversed(seen.counted_emails)),
        seen.statements,
        seen.suppressions,
    )
    first = decide(seen, world.program, NO_ENTRIES, world.policy, now)
    second = decide(other, world.program, NO_ENTRIES, world.policy, now)
    assert (first.position, first.wake_at, first.hold) == (second.position, second.wake_at, second.hold)
    assert [type(action) for action in first.actions] == [type(action) for action in second.actions]


@brief_law
@given(programs(), changes_of_clocks, st.sampled_from(NOTABLE), st.integers(0, 30 * 24))
def test_a_reply_hands_off_when_it_comes_window_or_not(of: Program, start: datetime, zone: str, hour: int) -> None:
    who = Lead(1, {}, zone, frozenset({date(start.year, 4, 1)}))
    reply = Signal(SignalKind.REPLIED, start + hour * HOUR)
    world = World(of, policy(SignalCondition(SignalKind.REPLIED)), who, start).receives([reply])
    world.run(start + LIFE)
    left = [now for now, action in world.happened if isinstance(action, EndEnrollment)]
    offered = [now for now, action in world.happened if isinstance(action, OfferToSales)]
    assert offered == ([] if left and left[0] < reply.occurred_at else [reply.occurred_at])


@law
@given(programs(with_offers), st.integers(0, 400), st.integers(-10, 10 * 365), st.data())
def test_any_position_of_any_age_gets_an_answer(of: Program, visit: int, age: int, data: Any) -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    world = World(of, policy(), Lead(1), start)
    world.enrollment = type(world.entered)(
        1,
        "warm",
        start,
        type(world.entered.position)(data.draw(st.sampled_from(sorted(of.index))), visit + 1, start, start),
    )
    world.now = start + age * DAY
    world._sweep()
    assert not any("goes round" in decision.reason for decision in world.decisions)
    assert any(isinstance(one, HandOff) for one in of.instructions) or not any(
        isinstance(action, OfferToSales) for _, action in world.happened
    )
