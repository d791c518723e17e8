"""What a mail provider tells of mail that it took, in our words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nurture.domain.delivery.delivery_status import DeliveryEventType


class InvalidEventBatch(ValueError):
    """The body is no batch of events. The message says why, and holds nothing of it."""


class SuppressionReason(StrEnum):
    """Why an address gets no more mail."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """One event. It is the same as another that shares its *event_key* or its *natural_key*.

    *event_name* is the provider's own word for it. *at* is None where it told no time that can be.
    *installation_id* and *ref* name the message as we did when we sent it, "" where it is not ours. *email*,
    *ip*, *user_agent* and *url* are personal data: they may be compared and marked, not kept.
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
