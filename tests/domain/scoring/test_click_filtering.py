"""Who clicked: humans, suspects and bots."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.scoring.click_filtering import Agent, Thresholds, Visit, agent_of, judge
from nurture.domain.signals import SignalKind, SignalVerdict
from tests.domain.builders import START

CLICKED, OPENED = SignalKind.CLICKED, SignalKind.OPENED
HUMAN, SUSPECT, BOT = SignalVerdict.HUMAN, SignalVerdict.SUSPECT, SignalVerdict.BOT
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
RULES = Thresholds()
DELIVERED = START
READ = START + 30 * MINUTE
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

law = settings(max_examples=200, deadline=None, derandomize=True)


def visit(id_: int = 1, at: datetime = READ, **more: Any) -> Visit:
    values: dict[str, Any] = {
        "kind": CLICKED,
        "message": 1,
        "lead": 1,
        "link": "guide",
        "agent": Agent.BROWSER,
        "ip_mark": "aa",
        "agent_mark": "f0",
        "delivered_at": DELIVERED,
    }
    return Visit(id=id_, at=at, **(values | more))


def verdicts(*visits: Visit, rules: Thresholds = RULES) -> list[SignalVerdict]:
    judged = judge(visits, rules)
    return [judged[one.id].verdict for one in visits]


def because(*visits: Visit) -> str:
    return judge(visits, RULES)[visits[0].id].because


def test_a_click_in_peace_is_a_humans() -> None:
    assert judge([visit()], RULES) == {1: (HUMAN, "")}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"honeypot": True}, "followed a link that no reader sees"),
        ({"method": "HEAD"}, "asked with HEAD"),
        ({"method": "OPTIONS"}, "asked with OPTIONS"),
        ({"agent": Agent.SCANNER}, "a scanner by its user agent"),
        ({"agent": Agent.PROXY}, "a mail program's proxy by its user agent"),
        ({"machine": True}, "the provider says a machine did it"),
    ],
)
def test_one_certain_sign_makes_a_bot(how: dict[str, Any], reason: str) -> None:
    one = visit(**how)
    assert verdicts(one) == [BOT]
    assert because(one) == reason


@pytest.mark.parametrize(("seconds", "verdict"), [(-3, SUSPECT), (0, SUSPECT), (9.9, SUSPECT), (10, HUMAN)])
def test_nobody_reads_a_mail_within_ten_seconds_of_its_delivery(
    seconds: float, verdict: SignalVerdict
) -> None:
    assert verdicts(visit(at=DELIVERED + seconds * SECOND)) == [verdict]


def test_where_nobody_knows_when_the_mail_arrived_nothing_is_too_soon() -> None:
    assert verdicts(visit(at=DELIVERED, delivered_at=None)) == [HUMAN]


def test_a_second_link_within_two_seconds_makes_the_first_one_suspect_too() -> None:
    first, second = visit(1), visit(2, READ + 2 * SECOND, link="prices")
    assert verdicts(first) == [HUMAN]
    assert verdicts(first, second) == [SUSPECT, SUSPECT]
    assert because(first, second) == "2 links within 2 s"
    later = replace(second, at=READ + 2.1 * SECOND)
    assert verdicts(first, later) == [HUMAN, HUMAN]


def test_the_same_link_twice_is_an_impatient_human_and_so_are_two_mails_at_once() -> None:
    assert verdicts(visit(1), visit(2, READ + SECOND)) == [HUMAN, HUMAN]
    assert verdicts(visit(1), visit(2, READ + SECOND, link="prices", message=2)) == [HUMAN, HUMAN]


def test_two_reasons_to_suspect_make_a_bot() -> None:
    soon = DELIVERED + 3 * SECOND
    two = visit(1, soon), visit(2, soon + SECOND, link="prices", ip_mark="bb", agent_mark="f1")
    assert verdicts(*two) == [BOT, BOT]


def test_three_people_of_one_company_at_once_are_its_gateway() -> None:
    crowd = [visit(n, READ + n * 4 * SECOND, message=n, lead=n, company="acme", link=None) for n in (1, 2, 3)]
    assert verdicts(*crowd) == [SUSPECT] * 3
    assert verdicts(*crowd[:2]) == [HUMAN] * 2
    assert verdicts(*(replace(one, company="") for one in crowd)) == [HUMAN] * 3
    assert verdicts(*(replace(one, lead=1) for one in crowd)) == [HUMAN] * 3
    slow = [replace(one, at=READ + number * 6 * SECOND) for number, one in enumerate(crowd)]
    assert verdicts(*slow) == [HUMAN] * 3


def test_after_a_bot_the_same_place_is_not_believed_for_a_quarter_of_an_hour() -> None:
    bot = visit(1, honeypot=True)
    same_place = visit(2, READ + 15 * MINUTE, agent_mark="f1")
    same_program = visit(3, READ + 15 * MINUTE, ip_mark="bb")
    other = visit(4, READ + MINUTE, ip_mark="bb", agent_mark="f1")
    assert verdicts(bot, same_place, same_program, other) == [BOT, BOT, SUSPECT, HUMAN]
    assert verdicts(bot, replace(same_place, at=READ + 15 * MINUTE + SECOND)) == [BOT, HUMAN]
    assert verdicts(bot, replace(same_place, message=2)) == [BOT, HUMAN]
    assert verdicts(bot, replace(same_place, at=READ - SECOND)) == [BOT, HUMAN]


def test_who_is_not_believed_for_a_bots_sake_makes_no_further_bots() -> None:
    bot = visit(1, honeypot=True)
    after = [visit(n, READ + n * 8 * MINUTE) for n in (1, 2)]
    assert verdicts(bot, replace(after[0], id=2), replace(after[1], id=3)) == [BOT, BOT, HUMAN]


def test_places_and_programs_that_nobody_knows_are_not_the_same() -> None:
    nameless = {"ip_mark": "", "agent_mark": ""}
    assert verdicts(visit(1, honeypot=True, **nameless), visit(2, READ + MINUTE, **nameless)) == [BOT, HUMAN]


def test_an_open_is_judged_by_how_it_came_and_never_by_links() -> None:
    proxy = visit(1, kind=OPENED, link=None, agent=Agent.PROXY)
    human = visit(2, READ + 20 * MINUTE, kind=OPENED, link=None)
    assert verdicts(proxy, human) == [BOT, HUMAN]
    assert verdicts(visit(1), visit(2, READ, kind=OPENED, link="pixel")) == [HUMAN, HUMAN]


@pytest.mark.parametrize(
    ("said", "agent"),
    [
        (None, Agent.UNKNOWN),
        ("", Agent.NAMELESS),
        ("  ", Agent.NAMELESS),
        (FIREFOX, Agent.BROWSER),
        ("Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15", Agent.BROWSER),
        ("Mozilla/5.0", Agent.PROXY),
        ("Mozilla/5.0 (Windows NT 5.1) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", Agent.PROXY),
        ("YahooMailProxy; https://help.yahoo.com", Agent.PROXY),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Agent.SCANNER),
        ("Mozilla/4.0 (compatible; ms-office; MSOffice 16)", Agent.SCANNER),
        ("Microsoft Office Existence Discovery", Agent.SCANNER),
        ("BarracudaCentral Link Checker", Agent.SCANNER),
        ("Mozilla/5.0 (X11; Linux) AppleWebKit/537.36 HeadlessChrome/126.0 Safari/537.36", Agent.SCANNER),
        ("curl/8.5.0", Agent.SCANNER),
        ("python-requests/2.32", Agent.SCANNER),
        ("Something/1.0", Agent.SCANNER),
    ],
)  # fmt: skip
def test_a_user_agent_tells_what_kind_of_program_asks(said: str | None, agent: Agent) -> None:
    assert agent_of(said) is agent


def test_the_key_changes_with_the_rules_and_not_with_how_long_a_click_settles() -> None:
    assert Thresholds(settle=MINUTE).key == RULES.key
    others = {
        Thresholds(too_soon=SECOND).key,
        Thresholds(links=3).key,
        Thresholds(links_within=SECOND).key,
        Thresholds(leads=2).key,
        Thresholds(leads_within=SECOND).key,
        Thresholds(after_bot=MINUTE).key,
    }
    assert len(others - {RULES.key}) == 6


visits = st.lists(
    st.builds(
        visit,
        at=st.integers(0, 60 * 20).map(lambda tick: START + tick * timedelta(milliseconds=700)),
        kind=st.sampled_from([CLICKED, CLICKED, CLICKED, OPENED]),
        message=st.integers(1, 3),
        link=st.sampled_from(["guide", "prices", "demo"]),
        ip_mark=st.sampled_from(["", "aa", "bb"]),
        agent_mark=st.sampled_from(["", "f0", "f1"]),
        company=st.sampled_from(["", "acme"]),
        honeypot=st.sampled_from([False, False, False, True]),
    ),
    max_size=12,
).map(
    lambda listed: [replace(one, id=number, lead=one.message) for number, one in enumerate(listed)],
)


def _many_links(one: Visit, known: list[Visit]) -> bool:
    """The definition: some span of two seconds holds the click and as many different links as are asked."""
    clicks = [two for two in known if two.kind is CLICKED and two.message == one.message]
    return one.kind is CLICKED and any(
        begin.at <= one.at <= begin.at + RULES.links_within
        and len({two.link for two in clicks if begin.at <= two.at <= begin.at + RULES.links_within})
        >= RULES.links
        for begin in clicks
    )


def _crowded(one: Visit, known: list[Visit]) -> bool:
    clicks = [two for two in known if two.kind is CLICKED and two.company and two.company == one.company]
    return one.kind is CLICKED and any(
        begin.at <= one.at <= begin.at + RULES.leads_within
        and len({two.lead for two in clicks if begin.at <= two.at <= begin.at + RULES.leads_within})
        >= RULES.leads
        for begin in clicks
    )


@law
@given(visits)
def test_windows_slide_as_they_are_defined(known: list[Visit]) -> None:
    judged = judge(known, RULES)
    for one in known:
        assert ("links within" in judged[one.id].because) is _many_links(one, known)
        assert ("of one company" in judged[one.id].because) is _crowded(one, known)


@law
@given(visits, st.randoms(use_true_random=False))
def test_the_order_of_telling_changes_no_verdict(known: list[Visit], chance: Any) -> None:
    shuffled = list(known)
    chance.shuffle(shuffled)
    assert judge(shuffled, RULES) == judge(known, RULES)


@law
@given(visits)
def test_a_human_has_no_reason_against_and_everybody_else_has_one(known: list[Visit]) -> None:
    for verdict, why in judge(known, RULES).values():
        assert (verdict is HUMAN) is (why == "")


@law
@given(visits, st.integers(0, 11))
def test_one_visit_more_makes_nobody_more_human(known: list[Visit], left_out: int) -> None:
    order = [HUMAN, SUSPECT, BOT]
    fewer = judge([one for one in known if one.id != left_out], RULES)
    more = judge(known, RULES)
    for id_, judgement in fewer.items():
        assert order.index(more[id_].verdict) >= order.index(judgement.verdict)
