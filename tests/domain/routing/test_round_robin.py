"""Whose turn it is in a pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations_with_replacement

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.policy.team import Pool, Rep, Turn
from nurture.domain.routing.round_robin import Circle, Standing, next_by_quota, turn_key, whose_turn


def farthest_from_ideal(weights: Mapping[str, int], turns: int) -> Fraction:
    """How far anybody is ever from their share of the leads so far."""
    total, given_, worst = sum(weights.values()), Counter[str](), Fraction(0)
    for turn in range(1, turns + 1):
        given_[next_by_quota(weights, given_)] += 1
        worst = max(
            worst, *(abs(given_[rep] - Fraction(turn * weight, total)) for rep, weight in weights.items())
        )
    return worst


def test_shares_stay_within_one_of_the_ideal_for_all_small_weights_at_any_prefix() -> None:
    for size, heaviest in ((2, 12), (3, 8), (4, 5), (5, 4)):
        for weights in combinations_with_replacement(range(1, heaviest + 1), size):
            # Heaviest first and last: order settles ties.
            for told in (weights, weights[::-1]):
                named = {f"r{place}": weight for place, weight in enumerate(told)}
                assert farthest_from_ideal(named, sum(weights)) < 1, told


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 1_000), min_size=1, max_size=12), st.integers(1, 300))
def test_shares_stay_within_one_of_the_ideal_for_any_weights(weights: list[int], turns: int) -> None:
    assert farthest_from_ideal({f"r{place}": weight for place, weight in enumerate(weights)}, turns) < 1


def _circle(by: Turn, free: tuple[str, ...], team: Mapping[str, Standing]) -> Circle:
    reps = {
        name: Rep(name, name.title(), f"{name}@example.com", 5, weight=weight)
        for name, weight in (("ada", 3), ("ben", 1), ("cleo", 1))
    }
    return Circle(Pool("all", tuple(reps), by), reps, tuple(reps), free, team)


def test_round_robin_serves_who_was_served_longest_ago() -> None:
    team = {"ada": Standing(newest=8), "ben": Standing(newest=7), "cleo": Standing(newest=9)}
    assert whose_turn(_circle(Turn.ROUND_ROBIN, ("ada", "ben", "cleo"), team), {}).rep == "ben"


def test_least_loaded_serves_who_has_least_in_hand_then_least_today() -> None:
    team = {
        "ada": Standing(in_hand=4, today=1),
        "ben": Standing(in_hand=2, today=2),
        "cleo": Standing(in_hand=2, today=1, newest=9),
    }
    assert whose_turn(_circle(Turn.LEAST_LOADED, ("ada", "ben", "cleo"), team), {}).rep == "cleo"


def test_a_turn_that_is_not_open_to_all_is_not_counted_and_goes_by_what_each_has_today() -> None:
    everybody = ("ada", "ben", "cleo")
    key = turn_key("all", {"ada": 3, "ben": 1, "cleo": 1})
    counted = whose_turn(_circle(Turn.WEIGHTED, everybody, {}), {key: {"ada": 2}})
    assert (counted.rep, counted.key) == ("ben", key)
    team = {"ben": Standing(today=2), "cleo": Standing(today=1)}
    kept_out = whose_turn(_circle(Turn.WEIGHTED, ("ben", "cleo"), team), {key: {"cleo": 9}})
    assert (kept_out.rep, kept_out.key) == ("cleo", "")


def test_other_people_or_other_weights_are_counted_apart() -> None:
    keys = {
        turn_key("all", {"ada": 3, "ben": 1}),
        turn_key("all", {"ada": 2, "ben": 1}),
        turn_key("all", {"ada": 3}),
        turn_key("dach", {"ada": 3, "ben": 1}),
    }
    assert len(keys) == 4
