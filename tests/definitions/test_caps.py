"""Test `cap:` in defaults.yaml, track.yaml and email steps."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nurture.definitions.read_all import load
from nurture.domain.planning.frequency_cap import FrequencyCap
from nurture.domain.planning.program import Email, Program
from tests.definitions.build import DEFAULTS, bundle, problems, program, step_problems, steps

DAY = timedelta(days=1)
GENERAL = FrequencyCap(2, 7 * DAY)
TOPICS = DEFAULTS.replace("7 days}", "7 days, topics: {'Web  Seminars': {touches: 1, per: 5 days}}}")
ONE = "- email: 01-one"


def of(tail: str, text: str = ONE, defaults: str = DEFAULTS) -> Program:
    return load(bundle(steps(text, tail), ("01-one",), defaults=defaults)).tracks["hello"].program(1)


def test_a_track_has_the_general_cap_that_of_its_topic_and_its_own() -> None:
    found = of("topic: web seminars\ncap: {touches: 3, per: 10 days}\n", defaults=TOPICS)
    topic, own = FrequencyCap(1, 5 * DAY, topic="web seminars"), FrequencyCap(3, 10 * DAY, track="hello")
    assert found.caps == (GENERAL, topic, own)
    assert found.caps_of("01-one") == found.caps
    assert of("", defaults=DEFAULTS).caps == (GENERAL,)


def test_an_exempt_track_keeps_only_its_own_cap_and_an_exempt_step_none() -> None:
    both = of("cap: {touches: 3, per: 10 days, exempt: a course that was booked}\n")
    assert both.caps_of("01-one") == (FrequencyCap(3, 10 * DAY, track="hello"),)
    assert of("cap: {exempt: booked}\n").caps_of("01-one") == ()
    step = program(f"{ONE}\n  cap: {{exempt: they asked for it}}\n- email: 02-two", "01-one", "02-two")
    assert (step.caps_of("01-one"), step.caps_of("02-two")) == ((), (GENERAL,))


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        ("cap: exempt\n", "`cap: exempt` gives no reason. Write for example `cap: {exempt: they asked"),
        ("cap: none\n", "`cap: none` is not a cap. Write for example `cap: {exempt:"),
        ("cap: {exempt: ''}\n", "it is empty"),
        ("cap: {touches: 0, per: 1 day}\n", "touches"),
        ("cap: {touches: 1}\n", "`per` is missing in `cap`"),
        ("cap: {touches: 1, per: 3 lunches}\n", "`3 lunches` is not a duration"),
        ("spread: 45 days\n", "`spread`: `45 days` is over 30 days. Write for example `spread: 3 days`"),
        ("spread: a while\n", "`a while` is not a duration"),
        ("per_hour: 0\n", "per_hour"),
        ("cap: {touches: 1, per: 1 day, exept: x}\n", "Did you mean"),
    ],
)
def test_a_mistake_in_a_cap_is_named_with_its_remedy(tail: str, words: str) -> None:
    found = step_problems(ONE, "01-one", tail=tail)
    assert any(words in problem for problem in found), found


def test_a_track_and_a_step_may_be_spread_and_a_track_has_a_ceiling() -> None:
    found = of("spread: 3 days\nper_hour: 50\n", f"{ONE}\n  spread: 1 week")
    email = found.instructions[0]
    assert (found.spread, found.per_hour, isinstance(email, Email) and email.spread) == (3 * DAY, 50, 7 * DAY)


def test_a_step_takes_no_cap_but_an_exemption() -> None:
    found = step_problems(f"{ONE}\n  cap: {{touches: 1, per: 1 day}}", "01-one")
    assert any("unknown key `touches`" in problem for problem in found), found


def test_a_cap_of_a_topic_that_no_track_has_is_reported() -> None:
    found = problems(bundle(steps(ONE, "topic: Web Seminar\n"), ("01-one",), defaults=TOPICS))
    assert any("no track has the topic `web seminars`. Did you mean `Web Seminar`?" in one for one in found), found
    wrong = TOPICS.replace("touches: 1, per: 5 days", "touches: 1")
    assert any("`per` is missing in the cap of `Web  Seminars`" in one for one in problems(bundle(defaults=wrong)))


TRIAL = """
- {email: a, after: at once}
- {email: b, after: 3 days}
- {email: c, after: 3 days}
- {email: d, after: 4 days}
- {email: e, after: 2 days}
"""


def cap_warnings(text: str, *emails: str, tail: str = "") -> list[str]:
    return [one for one in step_problems(text, *emails, tail=tail) if "the cap of" in one]


def test_emails_that_their_own_delays_bring_too_soon_for_a_cap_are_a_warning_that_names_them() -> None:
    (found,) = cap_warnings(TRIAL, *"abcde")
    assert "the cap of 2 emails in 7 days moves `c`, `e` to a later day: the delays of the track are shorter" in found
    assert "write `cap: {exempt: REASON}`" in found
    daily = "- {repeat: {every: 1 day, steps: [{email: a}]}}"
    assert len(cap_warnings(daily, "a")) == 1


WAIT = "- {wait_for: {did: clicked}, up_to: 8 days, then: continue, otherwise: continue}"


@pytest.mark.parametrize(
    "text",
    [
        "- {email: a}\n- {email: b, after: 3 days}\n- {email: c, after: 4 days}",
        "- {email: a}\n- {email: b}\n- {email: c, cap: {exempt: promised}}",
        f"- {{email: a}}\n- {{email: b}}\n{WAIT}\n- {{email: c}}",
        "- {email: a}\n- {email: b}\n- {hand_off: they asked}\n- {email: c}",
    ],
)
def test_delays_that_fit_the_cap_or_may_fit_it_are_no_warning(text: str) -> None:
    assert cap_warnings(text, *"abc") == []
