"""Classification of clicks as human, suspect or bot."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.scoring.click_filtering import (
    AgentType,
    ClickThresholds,
    TrackedEvent,
    classify,
)
from nurture.domain.signals import SignalKind, SignalVerdict
from tests.domain.builders import START

CLICKED, OPENED = SignalKind.CLICKED, SignalKind.OPENED
HUMAN, SUSPECT, BOT = SignalVerdict.HUMAN, SignalVerdict.SUSPECT, SignalVerdict.BOT
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
RULES = ClickThresholds()
DELIVERED = START
READ = START + 30 * MINUTE
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

law = settings(max_examples=200, deadline=None, derandomize=True)


def event(id_: int = 1, at: datetime = READ, **more: Any) -> TrackedEvent:
    values: dict[str, Any] = {
        "kind": CLICKED,
        "message": 1,
        "lead": 1,
        "link": "guide",
        "agent_type": AgentType.BROWSER,
        "ip_hash": "aa",
        "agent_hash": "f0",
        "delivered_at": DELIVERED,
    }
    return TrackedEvent(id=id_, at=at, **(values | more))


def verdicts(*events: TrackedEvent, rules: ClickThresholds = RULES) -> list[SignalVerdict]:
    classified = classify(events, rules)
    return [classified[one.id].verdict for one in events]


def reason_for(*events: TrackedEvent) -> str:
    return classify(events, RULES)[events[0].id].reason


def test_a_click_without_suspicion_is_human() -> None:
    assert classify([event()], RULES) == {1: (HUMAN, "")}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"honeypot": True}, "clicked a link that no reader sees"),
        ({"method": "HEAD"}, "requested with HEAD"),
        ({"method": "OPTIONS"}, "requested with OPTIONS"),
        ({"agent_type": AgentType.SCANNER}, "user agent of a scanner"),
        ({"agent_type": AgentType.PROXY}, "user agent of a mail program's proxy"),
        ({"is_machine": True}, "the provider reported a machine"),
    ],
)
def test_one_piece_of_evidence_makes_a_bot(how: dict[str, Any], reason: str) -> None:
    one = event(**how)
    assert verdicts(one) == [BOT]
    assert reason_for(one) == reason


@pytest.mark.parametrize(("seconds", "verdict"), [(-3, SUSPECT), (0, SUSPECT), (9.9, SUSPECT), (10, HUMAN)])
def test_nobody_reads_a_mail_within_ten_seconds_of_its_delivery(seconds: float, verdict: SignalVerdict) -> None:
    assert verdicts(event(at=DELIVERED + seconds * SECOND)) == [verdict]


def test_without_a_delivery_time_no_click_is_too_soon() -> None:
    assert verdicts(event(at=DELIVERED, delivered_at=None)) == [HUMAN]


def test_a_second_link_within_two_seconds_makes_the_first_one_suspect_too() -> None:
    first, second = event(1), event(2, READ + 2 * SECOND, link="prices")
    assert verdicts(first) == [HUMAN]
    assert verdicts(first, second) == [SUSPECT, SUSPECT]
    assert reason_for(first, second) == "2 links within 2 s"
    later = replace(second, at=READ + 2.1 * SECOND)
    assert verdicts(first, later) == [HUMAN, HUMAN]


def test_the_same_link_twice_or_links_of_two_emails_at_once_are_human() -> None:
    assert verdicts(event(1), event(2, READ + SECOND)) == [HUMAN, HUMAN]
    assert verdicts(event(1), event(2, READ + SECOND, link="prices", message=2)) == [HUMAN, HUMAN]


def test_two_suspicions_make_a_bot() -> None:
    soon = DELIVERED + 3 * SECOND
    two = event(1, soon), event(2, soon + SECOND, link="prices", ip_hash="bb", agent_hash="f1")
    assert verdicts(*two) == [BOT, BOT]


def test_three_people_of_one_company_at_once_are_suspect() -> None:
    company_clicks = [
        event(n, READ + n * 4 * SECOND, message=n, lead=n, company_hash="acme", link=None) for n in (1, 2, 3)
    ]
    assert verdicts(*company_clicks) == [SUSPECT] * 3
    assert verdicts(*company_clicks[:2]) == [HUMAN] * 2
    assert verdicts(*(replace(one, company_hash="") for one in company_clicks)) == [HUMAN] * 3
    assert verdicts(*(replace(one, lead=1) for one in company_clicks)) == [HUMAN] * 3
    slow = [replace(one, at=READ + number * 6 * SECOND) for number, one in enumerate(company_clicks)]
    assert verdicts(*slow) == [HUMAN] * 3


def test_after_a_bot_the_same_ip_does_not_count_for_a_quarter_of_an_hour() -> None:
    bot = event(1, honeypot=True)
    same_place = event(2, READ + 15 * MINUTE, agent_hash="f1")
    same_program = event(3, READ + 15 * MINUTE, ip_hash="bb")
    other = event(4, READ + MINUTE, ip_hash="bb", agent_hash="f1")
    assert verdicts(bot, same_place, same_program, other) == [BOT, BOT, SUSPECT, HUMAN]
    assert verdicts(bot, replace(same_place, at=READ + 15 * MINUTE + SECOND)) == [BOT, HUMAN]
    assert verdicts(bot, replace(same_place, message=2)) == [BOT, HUMAN]
    assert verdicts(bot, replace(same_place, at=READ - SECOND)) == [BOT, HUMAN]


def test_an_event_that_only_follows_a_bot_does_not_extend_the_window() -> None:
    bot = event(1, honeypot=True)
    after = [event(n, READ + n * 8 * MINUTE) for n in (1, 2)]
    assert verdicts(bot, replace(after[0], id=2), replace(after[1], id=3)) == [BOT, BOT, HUMAN]


def test_unknown_ips_and_user_agents_are_not_equal() -> None:
    nameless = {"ip_hash": "", "agent_hash": ""}
    assert verdicts(event(1, honeypot=True, **nameless), event(2, READ + MINUTE, **nameless)) == [BOT, HUMAN]


def test_an_open_is_classified_by_how_it_came_and_never_by_links() -> None:
    proxy = event(1, kind=OPENED, link=None, agent_type=AgentType.PROXY)
    human = event(2, READ + 20 * MINUTE, kind=OPENED, link=None)
    assert verdicts(proxy, human) == [BOT, HUMAN]
    assert verdicts(event(1), event(2, READ, kind=OPENED, link="pixel")) == [HUMAN, HUMAN]


def test_the_key_changes_with_the_rules_and_not_with_the_grace_period() -> None:
    assert ClickThresholds(grace_period=MINUTE).key == RULES.key
    others = {
        ClickThresholds(min_time_after_delivery=SECOND).key,
        ClickThresholds(links=3).key,
        ClickThresholds(links_within=SECOND).key,
        ClickThresholds(leads=2).key,
        ClickThresholds(leads_within=SECOND).key,
        ClickThresholds(bot_window=MINUTE).key,
    }
    assert len(others - {RULES.key}) == 6


events = st.lists(
    st.builds(
        event,
        at=st.integers(0, 60 * 20).map(lambda tick: START + tick * timedelta(milliseconds=700)),
        kind=st.sampled_from([CLICKED, CLICKED, CLICKED, OPENED]),
        message=st.integers(1, 3),
        link=st.sampled_from(["guide", "prices", "demo"]),
        ip_hash=st.sampled_from(["", "aa", "bb"]),
        agent_hash=st.sampled_from(["", "f0", "f1"]),
        company_hash=st.sampled_from(["", "acme"]),
        honeypot=st.sampled_from([False, False, False, True]),
    ),
    max_size=12,
).map(lambda listed: [replace(one, id=number, lead=one.message) for number, one in enumerate(listed)])


def _has_rapid_clicks(one: TrackedEvent, known: list[TrackedEvent]) -> bool:
    """Return by definition: some span of two seconds holds the click and the required number of links."""
    clicks = [two for two in known if two.kind is CLICKED and two.message == one.message]
    return one.kind is CLICKED and any(
        begin.at <= one.at <= begin.at + RULES.links_within
        and len({two.link for two in clicks if begin.at <= two.at <= begin.at + RULES.links_within}) >= RULES.links
        for begin in clicks
    )


def _is_company_burst(one: TrackedEvent, known: list[TrackedEvent]) -> bool:
    clicks = [two for two in known if two.kind is CLICKED and two.company_hash and two.company_hash == one.company_hash]
    return one.kind is CLICKED and any(
        begin.at <= one.at <= begin.at + RULES.leads_within
        and len({two.lead for two in clicks if begin.at <= two.at <= begin.at + RULES.leads_within}) >= RULES.leads
        for begin in clicks
    )


@law
@given(events)
def test_windows_slide_as_they_are_defined(known: list[TrackedEvent]) -> None:
    classified = classify(known, RULES)
    for one in known:
        assert ("links within" in classified[one.id].reason) is _has_rapid_clicks(one, known)
        assert ("of one company" in classified[one.id].reason) is _is_company_burst(one, known)


@law
@given(events, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_no_verdict(known: list[TrackedEvent], chance: Any) -> None:
    shuffled = list(known)
    chance.shuffle(shuffled)
    assert classify(shuffled, RULES) == classify(known, RULES)


@law
@given(events)
def test_suspects_and_bots_have_a_reason_and_humans_have_none(known: list[TrackedEvent]) -> None:
    for verdict, reason in classify(known, RULES).values():
        assert (verdict is HUMAN) is (reason == "")


@law
@given(events, st.integers(0, 11))
def test_one_more_event_makes_no_verdict_more_human(known: list[TrackedEvent], left_out: int) -> None:
    order = [HUMAN, SUSPECT, BOT]
    fewer = classify([one for one in known if one.id != left_out], RULES)
    more = classify(known, RULES)
    for id_, classification in fewer.items():
        assert order.index(more[id_].verdict) >= order.index(classification.verdict)
