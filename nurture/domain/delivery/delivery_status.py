"""What became of a message, from what its provider tells of it: in any order, late, and any number of times.

A fate only rises: `merge` takes the later of two by one total order, so copies and order cannot matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple


class Told(StrEnum):
    """Everything that a provider can tell of a message."""

    PROCESSED = "processed"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    DROPPED = "dropped"  # taken over, and never sent
    BLOCKED = "blocked"  # turned away, but not for its address
    BOUNCED = "bounced"  # the address does not exist
    COMPLAINED = "complained"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"
    GROUP_UNSUBSCRIBED = "group_unsubscribed"
    GROUP_RESUBSCRIBED = "group_resubscribed"
    UNKNOWN = "unknown"


STATES: Final[Mapping[Told, str]] = {
    # Whatever is told of a message proves that the provider took it.
    Told.PROCESSED: "accepted",
    Told.DEFERRED: "accepted",
    Told.OPENED: "accepted",
    Told.CLICKED: "accepted",
    Told.UNSUBSCRIBED: "accepted",
    Told.GROUP_UNSUBSCRIBED: "accepted",
    Told.GROUP_RESUBSCRIBED: "accepted",
    Told.DELIVERED: "delivered",
    Told.BLOCKED: "dropped",
    Told.DROPPED: "dropped",
    Told.BOUNCED: "bounced",
    Told.COMPLAINED: "complained",
}
"""The message's state that each implies; what we do not know implies none."""

_RANKS: Final[Mapping[str, int]] = {
    state: rank for rank, state in enumerate(("accepted", "delivered", "dropped", "bounced", "complained"), 1)
}
"""From the least to the most severe; states before the provider took it have none of these ranks."""


@dataclass(frozen=True, slots=True)
class News:
    """One thing that the provider tells. *reason* explains a failure, without a person in it."""

    told: Told
    at: datetime
    reason: str = ""


class Fate(NamedTuple):
    """What is known of a message: its state since when, when the provider took it, why it failed."""

    state: str
    state_at: datetime
    accepted_at: datetime | None
    reason: str | None


def merge(fate: Fate, news: News) -> Fate:
    """Return what is known after *news*. Commutative, associative and idempotent over news.

    Of two alike the earlier counts. What was planned, in doubt or rejected is settled by any news of it: the
    provider knows better what it did.
    """
    state = STATES.get(news.told)
    if state is None:
        return fate
    rank, before = _RANKS[state], _RANKS.get(fate.state, 0)
    told = Fate(state, news.at, news.at, _reason(news))
    taken = min(fate.accepted_at, news.at) if fate.accepted_at is not None else news.at
    if (rank, _since(told), told.reason or "") > (before, _since(fate), fate.reason or ""):
        return told._replace(accepted_at=taken)
    return fate._replace(accepted_at=taken)


def is_settled(state: str) -> bool:
    """Whether the provider is known to have taken a message in *state*."""
    return state in _RANKS


def _since(fate: Fate) -> float:
    return -fate.state_at.timestamp()


def _reason(news: News) -> str | None:
    if news.told not in (Told.DROPPED, Told.BLOCKED, Told.BOUNCED):
        return None
    return f"{news.told.value}: {news.reason}" if news.reason else news.told.value
