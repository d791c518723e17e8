"""Which rep gets a lead."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.policy.team import Rep
from nurture.domain.routing.routing import Load, choose

law = settings(max_examples=150, deadline=None, derandomize=True)


def rep(name: str, capacity: int = 5) -> Rep:
    return Rep(name, name.title(), f"{name}@example.com", capacity)


POOL = (rep("ada"), rep("ben"), rep("cleo"))


def test_the_rep_served_longest_ago_is_next_and_the_reason_says_so() -> None:
    chosen = choose(POOL, {"ada": Load(1, 8), "ben": Load(2, 7), "cleo": Load(1, 9)})
    assert chosen is not None
    assert chosen.rep.id == "ben"
    assert chosen.reason == "round robin: it is Ben's turn, 2 of 5 today"


def test_a_new_rep_comes_first_and_the_order_of_the_pool_settles_ties() -> None:
    assert choose(POOL, {"ada": Load(1, 3)}).rep.id == "ben"  # type: ignore[union-attr]
    assert choose(POOL, {}).rep.id == "ada"  # type: ignore[union-attr]


def test_a_rep_at_capacity_is_passed_over_even_if_it_is_their_turn() -> None:
    chosen = choose(POOL, {"ada": Load(5, 1), "ben": Load(0, 2), "cleo": Load(0, 3)})
    assert chosen is not None
    assert chosen.rep.id == "ben"


def test_a_rep_who_had_the_lead_before_is_passed_over() -> None:
    chosen = choose(POOL, {}, without={"ada"})
    assert chosen is not None
    assert chosen.rep.id == "ben"
    assert "1 who had it before passed over" in chosen.reason


def test_nobody_is_chosen_if_nobody_has_capacity() -> None:
    assert choose(POOL, {name: Load(5, 1) for name in ("ada", "ben")}, without=["cleo"]) is None
    assert choose((), {}) is None
    assert choose((rep("ada", 0),), {}) is None


@law
@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.integers(0, 40))
def test_a_day_fills_the_pool_evenly_and_nobody_above_capacity(capacities: list[int], leads: int) -> None:
    pool = [rep(f"rep{number}", capacity) for number, capacity in enumerate(capacities)]
    loads: dict[str, Load] = {}
    for number in range(1, leads + 1):
        chosen = choose(pool, loads)
        if chosen is None:
            break
        before = loads.get(chosen.rep.id, Load())
        loads[chosen.rep.id] = Load(before.today + 1, number)
    given_to = Counter({name: load.today for name, load in loads.items()})
    assert given_to.total() == min(leads, sum(capacities))
    assert all(given_to[one.id] <= one.capacity for one in pool)
    with_room = [given_to[one.id] for one in pool if given_to[one.id] < one.capacity]
    assert not with_room or max(given_to.values(), default=0) - min(with_room) <= 1
