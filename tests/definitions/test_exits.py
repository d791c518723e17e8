"""Test `until` and `exit_when` in track.yaml."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nurture.domain.lead import Closing
from nurture.domain.planning.program import ExitKind, ToClosed, ToQueue
from tests.definitions.build import EMAIL, TRACK, bundle, problems, program, step_problems

ONE = "- email: 01-one"


def exits(tail: str) -> list[tuple[ExitKind, object]]:
    return [(one.kind, one.destination) for one in program(ONE, "01-one", tail=tail).exits]


def test_a_goal_and_an_exit_go_where_finally_says_or_where_they_say() -> None:
    unreachable = ToClosed(Closing.UNREACHABLE, "hello has no more steps")
    assert exits("until: {field: title, is: paid}\n") == [(ExitKind.GOAL, unreachable)]
    assert exits("until: {when: {field: title, is: paid}, then: {close: won}}\nexit_when: {did: clicked}\n") == [
        (ExitKind.GOAL, ToClosed(Closing.WON, "until of hello")),
        (ExitKind.EXIT, unreachable),
    ]
    assert exits("exit_when: {when: {did: clicked, email: 01-one}, then: {queue: clickers}}\n") == [
        (ExitKind.EXIT, ToQueue("clickers"))
    ]
    assert exits("exit_when: {when: {did: clicked}, then: {discard: unfit, again_after: 90 days}}\n") == [
        (ExitKind.EXIT, ToClosed(Closing.DISCARDED, "unfit", timedelta(days=90)))
    ]


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        ("until: always\n", "`until` is always met: each lead would leave as soon as it enters"),
        ("until: {when: {field: title, is: paid}, then: hello}\n", "`until` leads back to this track"),
        ("until: {when: {field: title, is: paid}, then: helo}\n", "there is no track `helo`. Did you mean `hello`?"),
        ("until: {then: {close: won}}\n", "when"),
        (
            "until: {when: {field: title, is: paid}, then: {close: won, again_after: 9 days}}\n",
            "`again_after` is for a lead that is discarded, or closed but not won",
        ),
        (
            "exit_when: {when: {did: clicked}, then: {close: lost, again_after: 13 months}}\n",
            "at most 365 days. Write for example `{close: lost, again_after: 180 days}`",
        ),
        ("exit_when: {when: {did: clicked}, than: keep}\n", "than"),
        ("exit_when: {did: clicked, email: 02-two}\n", "02-two"),
        ("starts_on: 2027-03-02\nends_on: 2027-03-01\n", "the track ends before it starts"),
        ("ends_on: soon\n", "ends_on"),
        ("exit_when:\n", "nothing is not a condition"),
    ],
)
def test_a_mistake_is_named_with_its_line(tail: str, words: str) -> None:
    found = step_problems(ONE, "01-one", tail=tail)
    assert any(words in problem for problem in found), found


def test_a_goal_that_is_the_audience_is_refused() -> None:
    same = TRACK.replace("audience: everybody", "audience: {field: title, is: trial}\nuntil: {field: title, is: trial}")
    (found,) = problems(bundle(same))
    assert "`until` is the same as `audience`" in found


def _two(first: str, second: str) -> dict[str, str]:
    other = TRACK.replace("name: hello", "name: other\npriority: 2") + second
    return bundle(TRACK + first) | {"tracks/other/track.yaml": other, "tracks/other/01-one.md": EMAIL}


def test_two_tracks_that_lead_to_each_other_are_a_cycle_which_by_signals_may_be_meant() -> None:
    there = "exit_when: {when: {field: title, is: paid}, then: other}\n"
    back = "exit_when: {when: {field: company, is: Souza}, then: hello}\n"
    (found,) = problems(_two(there, back))
    assert "in a cycle from `hello` to `other` to `hello` without an email" in found
    by_signal = "exit_when: {when: {did: clicked}, then: hello}\n"
    (found,) = problems(_two(there, by_signal))
    assert "in a cycle from `hello` to `other` to `hello` and get the same emails again" in found
    assert problems(_two(there, f"{by_signal}loops: yes\n")) == []
