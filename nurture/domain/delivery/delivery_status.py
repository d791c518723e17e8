"""Merge delivery statuses from provider events; a status never moves backward, in any order of events.

`merge_event` takes the later of two states by one total order, so duplicates and order do not matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple


class DeliveryEventType(StrEnum):
    """Every event that a provider can report of a message."""

    PROCESSED = "processed"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    DROPPED = "dropped"  # accepted, and never sent
    BLOCKED = "blocked"  # refused, but not because of its address
    BOUNCED = "bounced"  # the address does not exist
    COMPLAINED = "complained"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"
    GROUP_UNSUBSCRIBED = "group_unsubscribed"
    GROUP_RESUBSCRIBED = "group_resubscribed"
    UNKNOWN = "unknown"


STATE_BY_EVENT_TYPE: Final[Mapping[DeliveryEventType, str]] = {
    # Any event of a message proves that the provider accepted it.
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
"""The message state that each event implies; an unknown event implies none."""

REPEATED_AFTER: Final = timedelta(days=3)
"""A later refusal of this kind is proof that the address does not exist."""

_RANKS: Final[Mapping[str, int]] = {
    state: rank for rank, state in enumerate(("accepted", "delivered", "dropped", "bounced", "complained"), 1)
}
"""From the least to the most severe; states before the provider accepted the message have no rank."""


@dataclass(frozen=True, slots=True)
class DeliveryEvent:
    """One event of a provider. *reason* explains a failure, without personal data.

    *is_ambiguous*: the server may mean its address or us.
    """

    event_type: DeliveryEventType
    at: datetime
    reason: str = ""
    is_ambiguous: bool = False


class DeliveryStatus(NamedTuple):
    """What is known of a message: its state and since when, when the provider accepted it, why it failed."""

    state: str
    state_at: datetime
    accepted_at: datetime | None
    reason: str | None
    is_ambiguous: bool | None = None


def merge_event(status: DeliveryStatus, event: DeliveryEvent) -> DeliveryStatus:
    """Return the status after *event*. Commutative, associative and idempotent over events.

    Of two equal events the earlier counts. Any event resolves a message that is planned, unknown or rejected:
    the provider knows best what it did.
    """
    state = STATE_BY_EVENT_TYPE.get(event.event_type)
    if state is None:
        return status
    rank, current_rank = _RANKS[state], _RANKS.get(status.state, 0)
    reason = _failure_reason(event)
    new_status = DeliveryStatus(state, event.at, event.at, reason, (event.is_ambiguous and reason is not None) or None)
    accepted_at = min(status.accepted_at, event.at) if status.accepted_at is not None else event.at
    if (rank, _recency(new_status), new_status.reason or "") > (current_rank, _recency(status), status.reason or ""):
        return new_status._replace(accepted_at=accepted_at)
    return status._replace(accepted_at=accepted_at)


def is_accepted_by_provider(state: str) -> bool:
    """Return whether the provider is known to have accepted a message in *state*."""
    return state in _RANKS


def _recency(status: DeliveryStatus) -> float:
    return -status.state_at.timestamp()


def _failure_reason(event: DeliveryEvent) -> str | None:
    if event.event_type not in (DeliveryEventType.DROPPED, DeliveryEventType.BLOCKED, DeliveryEventType.BOUNCED):
        return None
    known = (event.reason, "the address may not exist" if event.is_ambiguous else "")
    return ": ".join(filter(None, (event.event_type.value, ", ".join(filter(None, known)))))
