"""The interface of email providers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nurture.mail.rendering.render import ComposedEmail


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider accepted the email as *provider_message_id*."""

    provider_message_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider refused the email permanently."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """The email was certainly not sent and may be retried, not before *retry_at* (UTC) if set.

    *blocks_all*: no other email can be sent until then (rate limit, refused key, provider down).
    *blocks_sender*: no other email from this sender can be sent (unverified address).
    """

    reason: str
    retry_at: datetime | None = None
    blocks_all: bool = False
    blocks_sender: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The email may or may not have been sent. Do not resend it automatically."""

    reason: str


Receipt = Accepted | Rejected | NotSent | Unknown


class Provider(Protocol):
    """An email provider. Emails with the same ref are delivered once if the backend can detect duplicates."""

    @property
    def name(self) -> str:
        """Return the name of the provider, as in settings and receipts."""
        ...

    @property
    def max_concurrency(self) -> int:
        """Return how many emails the provider sends in parallel.

        Callers pass no more at once: the rest would wait after the final send checks.
        """
        ...

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Send *batch* at *now* (aware); return one receipt per email, in order.

        Does not wait for a rate limit. Faults of an email or of the network become receipts, not exceptions.
        """
        ...

    def check(self, email: ComposedEmail, now: datetime) -> None:
        """Verify that *email* could be sent, without sending it. Raises Misconfigured, naming the setting."""
        ...

    def close(self) -> None:
        """Close connections. May be called twice."""
        ...


class SuppressedAddress(NamedTuple):
    """An address that the provider suppresses. *at* is UTC, or None if the provider does not report it."""

    email: str
    source: Literal["bounce", "complaint", "page"]
    at: datetime | None


@runtime_checkable
class SuppressionListProvider(Protocol):
    """A provider that keeps its own suppression list."""

    def list_suppressions(self) -> list[SuppressedAddress]:
        """Return the whole list. Raises Misconfigured, naming what is missing, if it cannot be read."""
        ...
