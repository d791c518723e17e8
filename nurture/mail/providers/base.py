"""The interface of email providers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nurture.domain.delivery.receipts import Receipt
    from nurture.mail.rendering.render import ComposedEmail


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


@runtime_checkable
class BatchProvider(Protocol):
    """A provider whose `send` sends emails of one `ComposedEmail.shared_form` in one request."""

    @property
    def max_batch(self) -> int:
        """Return how many emails share a request at most."""
        ...


class SuppressedAddress(NamedTuple):
    """An address that the provider suppresses. *at* is UTC, or None if the provider does not report it.

    The source is "provider" if the person used a page of the provider, or somebody its list.
    """

    email: str
    source: Literal["bounce", "complaint", "provider"]
    at: datetime | None


@runtime_checkable
class SuppressionListProvider(Protocol):
    """A provider that keeps its own suppression list."""

    def list_suppressions(self) -> list[SuppressedAddress]:
        """Return the whole list. Raises Misconfigured, naming what is missing, if it cannot be read."""
        ...
