"""The flat program of a track: step indexes, split arms, pauses of rounds."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.program import FINALLY, Email, Repeat, Split, choose_arm
from tests.domain.builders import DAY, Mail, Note, Offer, Round, program, track

law = settings(max_examples=150, deadline=None, derandomize=True)
halves = Split("ab", (("a", 1, 10), ("b", 1, 20)))


def test_several_emails_of_one_step_rotate_by_visit() -> None:
    email = Email("tip", ("one", "two", "three"), Delay())
    assert [email.email(visit) for visit in range(1, 6)] == ["one", "two", "three", "one", "two"]


def test_an_arm_is_always_the_same_for_the_same_lead() -> None:
    assert len({choose_arm(halves, "warm", 7) for _ in range(5)}) == 1
    # Not stored, so the hash must never change: these values were computed when the code was written.
    assert "".join(choose_arm(halves, "warm", lead)[0] for lead in range(1, 25)) == "bbaabababaababaaabbbbaab"


def test_two_splits_and_two_tracks_divide_leads_independently() -> None:
    other = Split("cd", halves.arms)
    pairs = Counter((choose_arm(halves, "warm", lead)[0], choose_arm(other, "warm", lead)[0]) for lead in range(2000))
    assert len(pairs) == 4
    assert min(pairs.values()) > 400
    pairs = Counter((choose_arm(halves, "warm", lead)[0], choose_arm(halves, "cold", lead)[0]) for lead in range(2000))
    assert min(pairs.values()) > 400


@pytest.mark.parametrize("weights", [(1, 1), (9, 1), (1, 2, 3), (100,), (0, 5)])
def test_arms_are_filled_near_their_weights(weights: tuple[int, ...]) -> None:
    split = Split("ab", tuple((f"arm{number}", weight, number) for number, weight in enumerate(weights)))
    drawn = Counter(choose_arm(split, "warm", lead)[1] for lead in range(4000))
    for number, weight in enumerate(weights):
        assert drawn[number] == pytest.approx(4000 * weight / sum(weights), abs=130)


def test_pauses_grow_in_whole_days_up_to_the_maximum() -> None:
    repeat = Repeat("r", 14, 1.5, 60, None, 1, 2)
    assert [repeat.pause(rounds).days for rounds in range(1, 7)] == [14, 21, 31, 47, 60, 60]


def test_a_pause_below_a_day_is_in_hours_and_never_nothing() -> None:
    assert Repeat("r", 0.5, 1, 60, None, 1, 2).pause(1) == Delay(hours=12)
    assert Repeat("r", 0.0, 1, 60, None, 1, 2).pause(1) == Delay(hours=1)
    assert Repeat("r", 1, 0.1, 60, None, 1, 2).pause(5000) == Delay(hours=1)


@law
@given(st.floats(0.01, 400), st.floats(1, 1e6), st.floats(1, 999_999_998), st.integers(1, 10**6))
def test_pauses_never_shrink_and_never_overflow(every: float, growing: float, at_most: float, rounds: int) -> None:
    repeat = Repeat("r", every, growing, at_most, None, 1, 2)
    first, second = (repeat.pause(done) for done in (rounds, rounds + 1))
    lengths = [timedelta(days=one.days, hours=one.hours) for one in (first, second)]
    assert lengths[0] <= lengths[1] <= max(at_most, 1 / 24) * DAY


def test_a_lead_enters_at_the_first_step() -> None:
    assert track(Mail(step="hello")).first_step == "hello"
    assert track().first_step == FINALLY


def test_after_the_last_step_of_a_round_comes_the_next_round() -> None:
    of = track(Round((Mail(step="tip"), Offer())), Note("x", 1))
    behind_the_offer = of.index["s2"] + 1
    assert of.resolve(behind_the_offer, 4) == ("s0", 5)


def test_a_removed_step_is_found_where_it_moved() -> None:
    of = track(Mail(step="new"), moved_steps={"old": "older", "older": "new"})
    assert of.index_of("new") == of.index_of("old") == 0
    assert of.index_of("unknown") is None


def test_a_cycle_of_moves_has_no_destination() -> None:
    assert track(moved_steps={"a": "b", "b": "a"}).index_of("a") is None


def test_the_first_email_of_a_program_is_where_its_index_says() -> None:
    of = program(Email("a", ("a",), Delay()), Email("b", ("b",), Delay()))
    assert [of.instructions[of.index[step]].step for step in ("a", "b")] == ["a", "b"]  # type: ignore[union-attr]
