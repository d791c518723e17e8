from __future__ import annotations

from datetime import time, timedelta

import pytest

from nurture.definitions.read_all import load
from nurture.domain.lead import Closing
from nurture.domain.planning.calendar import Delay, Window
from nurture.domain.planning.conditions import AllOf, AnyOf, SignalCondition
from nurture.domain.planning.frequency_cap import FrequencyCap
from nurture.domain.planning.program import (
    Branch,
    Email,
    End,
    HandOff,
    Jump,
    NextRound,
    Program,
    ReEntry,
    Repeat,
    Sender,
    SetField,
    Split,
    ToClosed,
    ToQueue,
    ToTrack,
    WaitFor,
)
from nurture.domain.signals import SignalKind
from tests.definitions.build import DEFAULTS, bundle, program, steps

REPLIED = SignalCondition(SignalKind.REPLIED)
OUT = ToClosed(Closing.UNREACHABLE, "hello has no more steps")


def test_a_track_of_one_email_ends_after_it() -> None:
    assert program("- email: 01-one\n  after: 3 days", "01-one").instructions == (
        Email("01-one", ("01-one",), Delay(days=3)),
        End("finally", OUT),
    )


def test_a_wait_continues_after_its_blocks() -> None:
    text = """
- wait_for: {did: replied}
  up_to: 14 days
  then:
    - hand_off: replied
  otherwise:
    - email: 01-one
- email: 02-two
"""
    assert program(text, "01-one", "02-two").instructions == (
        WaitFor("wait-first", REPLIED, Delay(days=14), 1, 3),
        HandOff("hand-off-after-wait-first", "replied"),
        Jump(5),
        Email("01-one", ("01-one",), Delay()),
        Jump(5),
        Email("02-two", ("02-two",), Delay()),
        End("finally", OUT),
    )


def test_continue_is_the_next_step() -> None:
    text = "- wait_for: {did: replied}\n  up_to: 1 day\n  then: continue\n- email: 01-one"
    wait = program(text, "01-one").instructions[0]
    assert wait == WaitFor("wait-first", REPLIED, Delay(days=1), 1, 1)


def test_a_branch_has_its_cases_in_order_and_an_otherwise() -> None:
    text = """
- branch:
    - when: {did: replied}
      then:
        - email: 01-one
    - when: always
      then: continue
  otherwise:
    - email: 02-two
"""
    assert program(text, "01-one", "02-two").instructions[:5] == (
        Branch("branch-first", ((REPLIED, 1), (AllOf(()), 5)), 3),
        Email("01-one", ("01-one",), Delay()),
        Jump(5),
        Email("02-two", ("02-two",), Delay()),
        Jump(5),
    )


def test_a_split_has_weighted_arms_and_an_arm_may_do_nothing() -> None:
    text = """
- split:
    - {arm: mail, weight: 90, steps: [{email: 01-one}]}
    - {arm: none, weight: 10, steps: continue}
"""
    assert program(text, "01-one").instructions[0] == Split("split-first", (("mail", 90, 1), ("none", 10, 3)))


def test_a_repeat_jumps_back_at_its_end_and_continues_after_its_last_round() -> None:
    text = """
- repeat:
    every: 2 weeks
    growth: 1.5
    at_most: 55 days
    times: 4
    steps:
      - email: [01-one, 02-two]
- email: 03-three
"""
    assert program(text, "01-one", "02-two", "03-three").instructions == (
        Repeat("repeat-first", 14, 1.5, 55, 4, 1, 3),
        Email("01-one", ("01-one", "02-two"), Delay()),
        NextRound(0),
        Email("03-three", ("03-three",), Delay()),
        End("finally", OUT),
    )


def test_a_repeat_without_at_most_has_the_pause_that_it_grows_to() -> None:
    text = "- repeat: {every: 10 days, growth: 2, times: 3, steps: [{email: 01-one}]}"
    repeat = program(text, "01-one").instructions[0]
    assert isinstance(repeat, Repeat)
    assert repeat.max_pause == 40


def test_set_hand_off_and_end_are_steps() -> None:
    text = """
- email: 01-one
- set: {likes_email: yes}
- hand_off: "asked us to call"
- wait_for: {did: replied}
  up_to: 3 days
  then:
    - end: true
  otherwise:
    - end: {queue: needs-a-look}
"""
    assert program(text, "01-one").instructions[1:] == (
        SetField("set-after-01-one", "likes_email", True),
        HandOff("hand-off-after-set-after-01-one", "asked us to call"),
        WaitFor("wait-after-hand-off-after-set-after-01-one", REPLIED, Delay(days=3), 4, 6),
        End("end-after-wait-after-hand-off-after-set-after-01-one", OUT),
        Jump(8),
        End("end-after-wait-after-hand-off-after-set-after-01-one-otherwise", ToQueue("needs-a-look")),
        Jump(8),
        End("finally", OUT),
    )


def test_an_end_may_name_a_track_or_a_reason() -> None:
    text = "- email: 01-one\n- end: {close: lost, reason: said no}"
    assert program(text, "01-one").instructions[1] == End("end-after-01-one", ToClosed(Closing.LOST, "said no"))
    track = steps("- email: 01-one").replace("{close: unreachable}", "other")
    found = load(bundle(track), complete=False).tracks["hello"].program(1)
    assert found.instructions[-1] == End("finally", ToTrack("other"))


def test_ids_below_a_fork_do_not_depend_on_its_other_blocks() -> None:
    text = """
- wait_for: {did: replied}
  id: answer
  up_to: 3 days
  then: THEN
  otherwise:
    - set: {silent: yes}
- split:
    - {arm: a, weight: 1, steps: [{set: {arm: a}}]}
    - {arm: b, weight: 1, steps: [{set: {arm: b}}]}
- email: 01-one
"""
    short, long = (
        program(text.replace("THEN", then), "01-one") for then in ("continue", "[{set: {a: 1}}, {set: {b: 2}}]")
    )
    assert set(short.index) < set(long.index)
    assert {"set-after-answer-otherwise", "set-after-split-after-answer-a", "set-after-split-after-answer-b"} <= set(
        short.index
    )


def test_a_track_inherits_the_defaults_and_overrides_them_key_by_key() -> None:
    track = steps("- email: 01-one") + "send: {between: 22:00-06:00, grace: 12 hours}\nsender: {name: Ben}\n"
    found = load(bundle(track)).tracks["hello"].program(7)
    assert (found.track, found.version, found.goal, found.priority) == ("hello", 7, "Say hello", 0)
    assert found.window == Window(frozenset({0, 1, 2, 3, 4}), time(22), time(6), skip_holidays=True)
    assert found.grace == timedelta(hours=12)
    assert found.zone_fallback == "Europe/Berlin"
    assert found.caps == (FrequencyCap(2, timedelta(days=7)),)
    assert found.sender == Sender("Ben", "nora@example.com", "1 Example Street, Exampletown")


def test_a_track_may_send_on_any_day_and_on_holidays() -> None:
    track = steps("- email: 01-one") + "send: {days: [sat, Sunday], skip_holidays: no}\n"
    found = load(bundle(track)).tracks["hello"].program(1)
    assert found.window == Window(frozenset({5, 6}), time(9), time(17), skip_holidays=False)


def test_without_send_and_cap_the_built_in_ones_hold() -> None:
    short = DEFAULTS[: DEFAULTS.index("send:")]
    found = load(bundle(defaults=short)).tracks["hello"].program(1)
    assert found.window == Window()
    assert (found.zone_fallback, found.grace, found.caps) == (
        "UTC",
        timedelta(days=3),
        (FrequencyCap(2, timedelta(days=7)),),
    )


@pytest.mark.parametrize(("text", "days"), [("never", None), ("after 90 days", 90), ("after 1 month", 30)])
def test_re_entry_is_never_or_after_a_time(text: str, days: int | None) -> None:
    found = load(bundle(steps("- email: 01-one") + f"re_entry: {text}\n")).tracks["hello"].program(1)
    assert found.re_entry == ReEntry(days)


def test_nobody_enters_a_track_for_nobody() -> None:
    track = steps("- email: 01-one").replace("everybody", "nobody")
    assert load(bundle(track)).tracks["hello"].program(1).audience == AnyOf(())


def changed(old: str, new: str, tail: str = "") -> tuple[Program, Program]:
    return program(old, "01-one", "02-two"), program(new, "01-one", "02-two", tail=tail)


def _removed_steps(old: Program, new: Program) -> list[str]:
    return [step for step in old.index if new.index_of(step) is None]


def test_a_removed_step_is_not_found_unless_it_is_moved() -> None:
    old, new = "- email: 01-one\n- email: 02-two", "- email: 01-one\n- email: 02-two\n  id: second"
    assert _removed_steps(*changed(old, new)) == ["02-two"]
    assert _removed_steps(*changed(old, new, "moved_to: {02-two: second}")) == []
    assert _removed_steps(*changed(old, new, "moved_to: {02-two: finally}")) == []
    assert _removed_steps(*changed(old, old)) == []
