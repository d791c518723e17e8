"""What a provider posts to us: who may post, and how an email in it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from nurture.mail.inbound.raw_mail import RawMail

HeaderValues = Callable[[str], Sequence[str]]
"""Returns the values of a header, one for each time that it occurs."""


class InvalidInboundMail(ValueError):
    """The body is not an email as the provider posts it. The message says why, without quoting the body."""


class BodyCheck(Protocol):
    """The check of a body that is arriving."""

    def update(self, chunk: bytes) -> None:
        """Take the next part of the raw body."""
        ...

    def is_valid(self) -> bool:
        """Return whether the provider sent this body. To be called once the body is complete."""
        ...


class WebhookVerifier(Protocol):
    """Decides whether a request comes from the provider."""

    def begin(self, header_values: HeaderValues, now: datetime) -> BodyCheck | None:
        """Return the check of the body that follows; None if the headers alone are refused, before it is read."""
        ...


class InboundReceiver(NamedTuple):
    """Who may post an email, and how it is read: `read(body, content_type)` raises InvalidInboundMail."""

    verifier: WebhookVerifier
    read: Callable[[IO[bytes], str], RawMail]
