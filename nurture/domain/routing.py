"""Which rep gets a lead: the pool takes turns, nobody above capacity."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from nurture.domain.team import Rep


@dataclass(frozen=True, slots=True)
class Load:
    """What a rep was given: offers today, and the number of the newest one ever (0 for none)."""

    today: int = 0
    newest: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rep, and why."""

    rep: Rep
    because: str


def choose(pool: Sequence[Rep], loads: Mapping[str, Load], without: Collection[str] = ()) -> Chosen | None:
    """Choose the rep whose turn it is: the longest not served who has room today; None if nobody has.

    Reps in *without* (they refused this lead, or let it expire) are passed over.
    Same arguments, same rep; the pool's order settles ties.
    """
    free = [rep for rep in pool if rep.id not in without and loads.get(rep.id, Load()).today < rep.capacity]
    if not free:
        return None
    rep = min(free, key=lambda rep: loads.get(rep.id, Load()).newest)
    load = loads.get(rep.id, Load())
    refused = f", {len(without)} who had it before passed over" if without else ""
    because = f"round robin: it is {rep.name}'s turn, {load.today} of {rep.capacity} today{refused}"
    return Chosen(rep, because)
