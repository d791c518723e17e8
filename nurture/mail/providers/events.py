"""Provider events, independent of the provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from nurture.domain.delivery.delivery_status import DeliveryEventType


class InvalidEventBatch(ValueError):
    """The body is not a batch of events. The message says why, without quoting the body."""


class SuppressionReason(StrEnum):
    """Why an address is suppressed."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """One event. Events with the same *event_key* or *natural_key* are duplicates.

    *event_name* is the provider's name for it. *at* is None if the time is missing or implausible.
    *installation_id* and *ref* identify the message as sent, "" if it was not sent by nurture. *email*, *ip*,
    *user_agent* and *url* are personal data: they may be compared and flagged, not stored.
    """

    event_type: DeliveryEventType
    event_name: str
    at: datetime | None
    natural_key: str
    event_key: str | None = None
    installation_id: str = ""
    ref: str = ""
    provider_message_id: str | None = None
    reason: str = ""
    suppression_reason: SuppressionReason | None = None
    email: str = ""
    ip: str = ""
    user_agent: str | None = None
    url: str = ""
    is_machine_open: bool = False


class EventReader(NamedTuple):
    """How the event batches of one provider are read. Both functions raise InvalidEventBatch for the same bodies."""

    count: Callable[[bytes], int]
    read: Callable[[bytes], list[ProviderEvent]]
