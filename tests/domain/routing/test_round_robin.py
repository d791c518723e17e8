"""The next rep of a pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations_with_replacement

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.policy.team import Pool, Rep, RotationMethod
from nurture.domain.routing.round_robin import (
    RepAvailability,
    RotationCandidates,
    next_by_quota,
    next_rep,
    rotation_key,
)


def farthest_from_ideal(weights: Mapping[str, int], turns: int) -> Fraction:
    """Return the largest distance of a rep from their share of the leads so far."""
    total, counts, worst = sum(weights.values()), Counter[str](), Fraction(0)
    for turn in range(1, turns + 1):
        counts[next_by_quota(weights, counts)] += 1
        worst = max(worst, *(abs(counts[rep] - Fraction(turn * weight, total)) for rep, weight in weights.items()))
    return worst


def test_shares_stay_within_one_of_the_ideal_for_all_small_weights_at_any_prefix() -> None:
    for size, heaviest in ((2, 12), (3, 8), (4, 5), (5, 4)):
        for weights in combinations_with_replacement(range(1, heaviest + 1), size):
            # Heaviest first and last: order breaks ties.
            for ordered in (weights, weights[::-1]):
                named = {f"r{position}": weight for position, weight in enumerate(ordered)}
                assert farthest_from_ideal(named, sum(weights)) < 1, ordered


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 1_000), min_size=1, max_size=12), st.integers(1, 300))
def test_shares_stay_within_one_of_the_ideal_for_any_weights(weights: list[int], turns: int) -> None:
    assert farthest_from_ideal({f"r{position}": weight for position, weight in enumerate(weights)}, turns) < 1


def _candidates(
    rotation: RotationMethod, with_capacity: tuple[str, ...], availability: Mapping[str, RepAvailability]
) -> RotationCandidates:
    reps = {
        name: Rep(name, name.title(), f"{name}@example.com", 5, weight=weight)
        for name, weight in (("ada", 3), ("ben", 1), ("cleo", 1))
    }
    return RotationCandidates(Pool("all", tuple(reps), rotation), reps, tuple(reps), with_capacity, availability)


def test_round_robin_picks_the_rep_whose_last_lead_is_oldest() -> None:
    availability = {
        "ada": RepAvailability(last_offer=8),
        "ben": RepAvailability(last_offer=7),
        "cleo": RepAvailability(last_offer=9),
    }
    assert next_rep(_candidates(RotationMethod.ROUND_ROBIN, ("ada", "ben", "cleo"), availability), {}).rep == "ben"


def test_least_loaded_picks_the_rep_with_fewest_open_leads_then_fewest_today() -> None:
    availability = {
        "ada": RepAvailability(open_leads=4, offers_today=1),
        "ben": RepAvailability(open_leads=2, offers_today=2),
        "cleo": RepAvailability(open_leads=2, offers_today=1, last_offer=9),
    }
    assert next_rep(_candidates(RotationMethod.LEAST_LOADED, ("ada", "ben", "cleo"), availability), {}).rep == "cleo"


def test_a_pick_without_all_reps_free_is_not_counted_and_goes_by_todays_offers() -> None:
    everybody = ("ada", "ben", "cleo")
    key = rotation_key("all", {"ada": 3, "ben": 1, "cleo": 1})
    counted = next_rep(_candidates(RotationMethod.WEIGHTED, everybody, {}), {key: {"ada": 2}})
    assert (counted.rep, counted.rotation_key) == ("ben", key)
    availability = {"ben": RepAvailability(offers_today=2), "cleo": RepAvailability(offers_today=1)}
    kept_out = next_rep(_candidates(RotationMethod.WEIGHTED, ("ben", "cleo"), availability), {key: {"cleo": 9}})
    assert (kept_out.rep, kept_out.rotation_key) == ("cleo", "")


def test_other_reps_or_other_weights_are_counted_separately() -> None:
    keys = {
        rotation_key("all", {"ada": 3, "ben": 1}),
        rotation_key("all", {"ada": 2, "ben": 1}),
        rotation_key("all", {"ada": 3}),
        rotation_key("dach", {"ada": 3, "ben": 1}),
    }
    assert len(keys) == 4
