# ruff: noqa: E501  (a problem is on one line, as printed)
from __future__ import annotations

from datetime import timedelta

import pytest

from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    DecidesWithin,
    FieldCondition,
    InTrack,
    Not,
    ScoreCondition,
    SignalCondition,
)
from nurture.domain.planning.program import WaitFor
from nurture.domain.signals import SignalKind
from tests.definitions.build import bundle, problems, program, step_problems, steps

WAIT = "- email: 01-one\n- wait_for: {}\n  up_to: 14 days\n  then: continue"


def asked(condition: str) -> Condition:
    wait = program(WAIT.format(condition), "01-one").instructions[1]
    assert isinstance(wait, WaitFor)
    return wait.until


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        (
            "{field: title, contains: [director, head]}",
            FieldCondition("title", Comparison.CONTAINS, ("director", "head")),
        ),
        ("{field: title, contains: head}", FieldCondition("title", Comparison.CONTAINS, "head")),
        ("{field: attended, is: yes}", FieldCondition("attended", Comparison.IS, True)),
        ("{field: attended, is: no}", FieldCondition("attended", Comparison.IS, False)),
        ("{field: attended, is: true}", FieldCondition("attended", Comparison.IS, True)),
        ('{field: answer, is: "yes"}', FieldCondition("answer", Comparison.IS, "yes")),
        ("{field: country, is: NO}", FieldCondition("country", Comparison.IS, "NO")),
        ("{field: country, in: [no, SE]}", FieldCondition("country", Comparison.IN, ("no", "SE"))),
        ("{field: country, not_in: [DE]}", FieldCondition("country", Comparison.NOT_IN, ("DE",))),
        ("{field: employees, at_least: 50}", FieldCondition("employees", Comparison.AT_LEAST, 50)),
        ("{field: employees, at_most: 9.5}", FieldCondition("employees", Comparison.AT_MOST, 9.5)),
        ("{field: company, exists: no}", FieldCondition("company", Comparison.EXISTS, False)),
        ("{field: seen, is_not: 2026-01-02}", FieldCondition("seen", Comparison.IS_NOT, "2026-01-02")),
        ("{did: replied}", SignalCondition(SignalKind.REPLIED)),
        (
            "{did: clicked, email: 01-one, link: https://example.com/p, times: 2, within: 30 days}",
            SignalCondition(SignalKind.CLICKED, "01-one", "https://example.com/p", 2, timedelta(days=30)),
        ),
        ("{score: {at_least: 40}}", ScoreCondition(at_least=40)),
        ("{score: {below: 5.5}}", ScoreCondition(below=5.5)),
        ("{timeline: {decides_within: 90 days}}", DecidesWithin(90)),
        ("{timeline: {decides_within: 36 hours}}", DecidesWithin(2)),
        ("{in_track: hello}", InTrack("hello")),
        ("{not: {did: replied}}", Not(SignalCondition(SignalKind.REPLIED))),
        (
            "{all: [{did: replied}, {did: clicked}]}",
            AllOf((SignalCondition(SignalKind.REPLIED), SignalCondition(SignalKind.CLICKED))),
        ),
        ("{any: [{did: replied}]}", AnyOf((SignalCondition(SignalKind.REPLIED),))),
        ("always", AllOf(())),
        ("nobody", AnyOf(())),
    ],
)
def test_a_condition_is_read(text: str, condition: Condition) -> None:
    assert asked(text) == condition


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{did: clikced}", "`clikced` is not a kind of signal. Did you mean `clicked`?"),
        ("{did: clicked, email: 01-two}", "email `01-two` is not sent by any step. Did you mean `01-one`?"),
        ("{did: clicked, emial: 01-one}", "unknown key `emial` in a `did` condition. Did you mean `email`?"),
        ("{did: clicked, email: }", "`email` is empty in a `did` condition. Write for example `email: 01-thanks`"),
        ("{did: clicked, times: 0}", "`times`: `0` is not greater than or equal to 1. Write for example `times: 2`"),
        ("{did: clicked, within: a while}", "`within`: `a while` is not a duration. Write for example `4 hours`, `3 days`, `2 weeks` or `1 month` (30 days)"),
        ("{feild: title, is: x}", "`feild` is not a kind of condition. Did you mean `field`?"),
        ("{field: title}", "`field: title` has no test. Write one of: is, is_not, in, not_in, contains, at_least, at_most, exists"),
        ("{field: title, is: a, contains: b}", "`field: title` has `is` and `contains`. Write one of: is, is_not, in, not_in, contains, at_least, at_most, exists"),
        ("{field: size, at_least: many}", "`at_least`: `many` is not a number. Write for example `at_least: 50`; for a date `{date: renewal_date, within: 90 days}`"),
        ("{field: country, in: DE}", "`in`: it needs a list. Write for example `in: [DE, AT]`"),
        ("{field: country, in: []}", "`in`: it needs a list. Write for example `in: [DE, AT]`"),
        ("{field: company, exists: maybe}", "`exists`: `maybe` is not yes or no. Write `exists: yes` or `exists: no`"),
        ("{field: title, is: }", "`is`: this is not one value. Write a word, a number, yes or no"),
        ("{all: []}", "`all` needs a list of conditions. Write all: and below it lines that begin with `- `"),
        ("{all: {did: replied}}", "`all` needs a list of conditions. Write all: and below it lines that begin with `- `"),
        ("{did: replied, score: {below: 3}}", "one condition has `did` and `score`. Put each on its own line under `all:` or `any:`"),
        ("{not: {did: replied}, within: 3 days}", "`within` is next to `not`. Put it into the list under `not:`, or remove it"),
        ("{score: {}}", "`score` needs one of `at_least` and `below`. Write for example `{score: {at_least: 40}}`"),
        ("{score: {at_least: 1, below: 2}}", "`score` needs one of `at_least` and `below`. Write for example `{score: {at_least: 40}}`"),
        ("{score: 40}", "`score` needs keys and values below it. Write `at_least:`, `below:` ... on indented lines"),
        ("{in_track: helo}", "there is no track `helo`. Did you mean `hello`?"),
        ("[{did: replied}]", "this is a list of conditions. Write `{all: [...]}` if all of them must hold, or `{any: [...]}`"),
        ("{}", "nothing is not a condition. Write for example `{did: clicked, email: 01-thanks}`"),
        ("soon", "`soon` is not a condition. Write for example `{did: clicked, email: 01-thanks}`"),
    ],
)  # fmt: skip
def test_an_invalid_condition_says_what_to_write(text: str, problem: str) -> None:
    found = step_problems(WAIT.format(text), "01-one")
    assert found == [f"6: {problem}"]


def test_an_email_may_be_named_by_its_file_or_by_its_step() -> None:
    text = "- email: 01-one\n  id: first\n- wait_for: {{did: clicked, email: {}}}\n  up_to: 1 day\n  then: continue"
    waits = [program(text.format(name), "01-one").instructions[1] for name in ("01-one", "first")]
    assert waits[0] == waits[1]
    assert isinstance(waits[0], WaitFor)
    assert waits[0].until == SignalCondition(SignalKind.CLICKED, "first")


def test_an_email_further_down_may_be_named() -> None:
    text = "- wait_for: {did: clicked, email: 01-one}\n  up_to: 1 day\n  then: continue\n- email: 01-one"
    assert step_problems(text, "01-one") == []


def test_an_audience_cannot_name_an_email() -> None:
    track = steps("- email: 01-one").replace("everybody", "{did: clicked, email: 01-one}")
    assert problems(bundle(track)) == [
        "tracks/hello/track.yaml:3: email `01-one` cannot be used here: an audience is evaluated before any email is sent. Remove `email:`"
    ]
