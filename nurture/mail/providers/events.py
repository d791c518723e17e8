"""What a mail provider tells of mail that it took, in our words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nurture.domain.delivery.delivery_status import Told


class Unreadable(ValueError):
    """The body is no batch of events. The message says why, and holds nothing of it."""


class Refusal(StrEnum):
    """Why an address gets no more mail."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"


@dataclass(frozen=True, slots=True)
class MailEvent:
    """One event. It is the same as another that shares its *event_key* or its *natural_key*.

    *named* is the provider's own word for it. *at* is None where it told no time that can be. *origin* and
    *ref* name the message as we did when we sent it, "" where it is not ours. *email*, *ip*, *agent* and
    *url* are personal data: they may be compared and marked, not kept.
    """

    told: Told
    named: str
    at: datetime | None
    natural_key: str
    event_key: str | None = None
    origin: str = ""
    ref: str = ""
    provider_message: str | None = None
    reason: str = ""
    refusal: Refusal | None = None
    email: str = ""
    ip: str = ""
    agent: str | None = None
    url: str = ""
    machine: bool = False
