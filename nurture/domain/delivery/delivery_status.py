"""What became of a message, from what its provider tells of it: in any order, late, and any number of times.

A fate only rises: `merge_event` takes the later of two by one total order, so copies and order cannot matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple


class DeliveryEventType(StrEnum):
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


STATE_BY_EVENT_TYPE: Final[Mapping[DeliveryEventType, str]] = {
    # Whatever is told of a message proves that the provider took it.
    DeliveryEventType.PROCESSED: "accepted",
    DeliveryEventType.DEFERRED: "accepted",
    DeliveryEventType.OPENED: "accepted",
    DeliveryEventType.CLICKED: "accepted",
    DeliveryEventType.UNSUBSCRIBED: "accepted",
    DeliveryEventType.GROUP_UNSUBSCRIBED: "accepted",
    DeliveryEventType.GROUP_RESUBSCRIBED: "accepted",
    DeliveryEventType.DELIVERED: "delivered",
    DeliveryEventType.BLOCKED: "dropped",
    DeliveryEventType.DROPPED: "dropped",
    DeliveryEventType.BOUNCED: "bounced",
    DeliveryEventType.COMPLAINED: "complained",
}
"""The message's state that each implies; what we do not know implies none."""

_RANKS: Final[Mapping[str, int]] = {
    state: rank for rank, state in enumerate(("accepted", "delivered", "dropped", "bounced", "complained"), 1)
}
"""From the least to the most severe; states before the provider took it have none of these ranks."""


@dataclass(frozen=True, slots=True)
class DeliveryEvent:
    """One thing that the provider tells. *reason* explains a failure, without a person in it."""

    event_type: DeliveryEventType
    at: datetime
    reason: str = ""


class DeliveryStatus(NamedTuple):
    """What is known of a message: its state since when, when the provider took it, why it failed."""

    state: str
    state_at: datetime
    accepted_at: datetime | None
    reason: str | None


def merge_event(status: DeliveryStatus, event: DeliveryEvent) -> DeliveryStatus:
    """Return what is known after *event*. Commutative, associative and idempotent over news.

    Of two alike the earlier counts. What was planned, in doubt or rejected is settled by any news of it: the
    provider knows better what it did.
    """
    state = STATE_BY_EVENT_TYPE.get(event.event_type)
    if state is None:
        return status
    rank, current_rank = _RANKS[state], _RANKS.get(status.state, 0)
    new_status = DeliveryStatus(state, event.at, event.at, _failure_reason(event))
    accepted_at = min(status.accepted_at, event.at) if status.accepted_at is not None else event.at
    if (rank, _recency(new_status), new_status.reason or "") > (current_rank, _recency(status), status.reason or ""):
        return new_status._replace(accepted_at=accepted_at)
    return status._replace(accepted_at=accepted_at)


def is_accepted_by_provider(state: str) -> bool:
    """Whether the provider is known to have taken a message in *state*."""
    return state in _RANKS


def _recency(status: DeliveryStatus) -> float:
    return -status.state_at.timestamp()


def _failure_reason(event: DeliveryEvent) -> str | None:
    if event.event_type not in (DeliveryEventType.DROPPED, DeliveryEventType.BLOCKED, DeliveryEventType.BOUNCED):
        return None
    return f"{event.event_type.value}: {event.reason}" if event.reason else event.event_type.value
