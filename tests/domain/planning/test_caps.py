"""Caps of tracks and topics, exempt emails, and in words what moved an email to another day."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.decision import HoldReason, SendTouch
from nurture.domain.planning.frequency_cap import CountedEmail, FrequencyCap, format_span
from nurture.domain.planning.planner import decide
from nurture.domain.planning.program import Email, Program
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

GENERAL = FrequencyCap(2, 7 * DAY)
WEEK = 7 * DAY


def ask(of: Program, seen: Any, now: datetime) -> Any:
    return decide(seen, of, NO_ENTRIES, policy(), now)


def exempt(of: Program, *steps: str) -> Program:
    """Return the track with a reason at *steps* why no cap holds them."""
    changed = [replace(one, exempt="promised") if one.step in steps else one for one in of.instructions]  # type: ignore[union-attr, arg-type, call-arg]
    return replace(of, instructions=tuple(changed))


def test_a_cap_of_a_track_counts_only_its_own_emails_and_holds_beside_the_general_one() -> None:
    of = track(Mail(), caps=(GENERAL, FrequencyCap(1, 3 * DAY, track="warm")))
    other, own = CountedEmail(at(7), "cold"), CountedEmail(at(7), "warm")
    assert isinstance(ask(of, view("s0", reached=at(8), counted_emails=(other,)), at(8)).actions[0], SendTouch)
    assert ask(of, view("s0", reached=at(8), counted_emails=(own,)), at(8)).wake_at == at(10)
    both = ask(of, view("s0", reached=at(8), counted_emails=(own, CountedEmail(at(6)))), at(8))
    assert both.wake_at == at(13)
    assert "already 2 emails in 7 days" in both.reason


def test_a_cap_of_a_topic_counts_the_emails_of_all_its_tracks() -> None:
    of = track(Mail(), topic="Web  Seminars", caps=(GENERAL, FrequencyCap(1, WEEK, topic="web seminars")))
    seen = view("s0", reached=at(8), counted_emails=(CountedEmail(at(3), "cold", "web seminars"),))
    decision = ask(of, seen, at(8))
    assert (decision.hold, decision.wake_at) == (HoldReason.FREQUENCY_CAP, at(10))
    assert decision.reason == (
        "s0, due on Monday 8 June, moved to Wednesday 10 June: already 1 email on web seminars in 7 days"
    )


def test_an_exempt_email_goes_past_the_caps_and_says_so_and_counts_for_others() -> None:
    of = exempt(track(Mail(), Mail(Delay(days=1)), cap=GENERAL), "s0")
    seen = view("s0", reached=at(8), sent_at=(at(6), at(7)))
    (send,) = ask(of, seen, at(8)).actions
    assert send.past_cap
    assert not ask(of, view("s0", reached=at(8)), at(8)).actions[0].past_cap
    later = view("s1", reached=at(8), anchor=at(8), sent_at=(at(7), at(8)))
    assert ask(of, later, at(9)).wake_at == at(14)


def test_an_exempt_track_keeps_its_own_cap_and_the_interval_of_the_lead() -> None:
    of = track(Mail(), caps=(GENERAL, FrequencyCap(1, 2 * DAY, track="warm")), exempt="a course that was booked")
    counted = (CountedEmail(at(6), "cold"), CountedEmail(at(7), "warm"))
    assert ask(of, view("s0", reached=at(8), counted_emails=counted), at(8)).wake_at == at(9)
    rare = ask(of, view("s0", reached=at(9), counted_emails=counted, lead=lead(touch_interval=4 * DAY)), at(9))
    assert rare.wake_at == at(11)
    assert "the lead asked for one email in 4 days at most" in rare.reason


@pytest.mark.parametrize(
    ("due", "sent", "reason"),
    [
        (at(6, 10), (), "s0, due on Saturday 6 June, moved to Monday 8 June: the weekend; 2 later steps count from it"),
        (at(4, 19), (), "moved to Monday 8 June: the weekend and a public holiday"),
        (at(4, 19), (at(2), at(3)), "moved to Tuesday 9 June: already 2 emails in 7 days; 2 later steps"),
        (at(4, 10), (at(1), at(3)), "moved to Monday 8 June: already 2 emails in 7 days"),
        (at(2, 19), (), "moved to Wednesday 3 June: emails only from 09:00 to 17:00"),
        (at(5, 19), (), "moved to Monday 8 June: the weekend"),
        (at(4, 10), (at(-1, 12), at(3)), "June: already 2 emails in 7 days, then the weekend"),
        (at(2, 7), (), "s0 is due on Tuesday 2 June at 09:00 (the lead's time)"),
    ],
)
def test_the_reason_names_the_day_and_the_cause_in_the_zone_of_the_lead_before_and_when_it_is_sent(
    due: datetime, sent: tuple[datetime, ...], reason: str
) -> None:
    first = Mail(Delay(hours=(due - START) / HOUR))
    of = track(first, Mail(Delay(days=1)), Mail(Delay(days=1)), window=OFFICE, cap=GENERAL)
    seen = view("s0", sent_at=sent, lead=lead(holidays=frozenset({at(5).date()})))
    early = ask(of, seen, START)
    assert reason in early.reason
    sending = ask(of, seen, early.wake_at)
    assert isinstance(sending.actions[0], SendTouch)
    assert sending.reason == early.reason


def test_a_day_of_another_year_is_named_with_it_and_causes_come_in_order() -> None:
    of = track(Mail(), window=OFFICE, cap=FrequencyCap(1, 215 * DAY))
    decision = ask(of, view("s0", reached=at(2, 9), sent_at=(at(1, 9),)), at(2, 9))
    assert decision.move == "moved to Monday 4 January 2027: already 1 email in 215 days, then the weekend"


def test_a_track_that_sends_on_some_weekdays_says_on_which() -> None:
    of = track(Mail(), window=replace(OFFICE, days=frozenset({1, 3})))
    assert ask(of, view("s0", reached=at(5, 9)), at(5, 9)).move.endswith("emails only on Tuesday and Thursday")


@pytest.mark.parametrize(
    ("span", "text"), [(DAY, "1 day"), (WEEK, "7 days"), (36 * HOUR, "36 hours"), (HOUR / 2, "0.5 hours")]
)
def test_a_span_is_written_as_in_definitions(span: timedelta, text: str) -> None:
    assert format_span(span) == text


caps = st.builds(
    FrequencyCap, st.integers(1, 3), st.sampled_from([DAY, WEEK, 20 * DAY]), st.sampled_from(["", "warm", "cold"])
) | st.builds(FrequencyCap, st.integers(1, 3), st.sampled_from([DAY, WEEK]), topic=st.sampled_from(["news", "fairs"]))
others = st.builds(
    CountedEmail,
    st.integers(-20 * 24, 0).map(lambda hour: START + hour * HOUR),
    st.sampled_from(["cold", "warm"]),
    st.sampled_from(["", "news", "fairs"]),
)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 90).map(lambda hours: Mail(Delay(hours=hours))), min_size=1, max_size=6),
    st.lists(caps, max_size=3),
    st.lists(others, max_size=6),
    st.sampled_from([ALWAYS, OFFICE]),
    st.sampled_from(["news", "fairs"]),
)
def test_no_lead_ever_gets_more_than_each_cap_allows(
    mails: list[Mail], some: list[FrequencyCap], before: list[CountedEmail], window: Any, topic: str
) -> None:
    of = track(*mails, window=window, caps=tuple(some), topic=topic)
    world = World(of, policy(), lead(), other_emails=tuple(before)).run(START + 200 * DAY)
    sent = [CountedEmail(one.send_at, of.track, topic) for one in world.sent]
    assert len({(one.step, one.visit) for one in world.sent}) == len(world.sent) == len(mails)
    for cap in some:
        times = [one.at for one in (*before, *sent) if cap.track in ("", one.track) and cap.topic in ("", one.topic)]
        for email in sent if cap.track in ("", of.track) and cap.topic in ("", topic) else ():
            assert sum(email.at - cap.per < when <= email.at for when in times) <= max(cap.touches, 1)


def test_emails_on_other_ways_through_the_track_do_not_count_as_later() -> None:
    of = track(Mail(), Mail(), Mail())
    assert of.later_emails == {"s0": 2, "s1": 1, "s2": 0}
    assert all(isinstance(one, Email) for one in of.instructions[:3])
