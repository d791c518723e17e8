"""The port for everything that carries email away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from nurture.mail.rendering.render import ComposedEmail


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has it, under *provider_message_id*."""

    provider_message_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider will never take this email."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """It provably did not go; try again, not before *retry_at* (UTC) where given.

    *blocks_all* says that nothing else goes until then either: a rate limit, a refused key, a provider that
    is down. *blocks_sender* says it of this sender's mail alone: an address that nobody has verified.
    """

    reason: str
    retry_at: datetime | None = None
    blocks_all: bool = False
    blocks_sender: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows whether it went: never send it again blindly."""

    reason: str


Receipt = Accepted | Rejected | NotSent | Unknown


class Provider(Protocol):
    """Carries emails away. Emails of one ref are one email, wherever the backend can tell."""

    @property
    def name(self) -> str:
        """Name the backend as settings and receipts show it."""
        ...

    @property
    def max_concurrency(self) -> int:
        """Say how many emails it carries at one time; of more, some would wait after the last look."""
        ...

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Hand *batch* over at *now* (aware); one receipt each, in order. A bad email stops no other.

        It never waits for a rate limit, and never raises for what one email or the network does.
        """
        ...

    def check(self, email: ComposedEmail, now: datetime) -> None:
        """Prove that *email* could go, without sending it. Raises Misconfigured, naming the setting."""
        ...

    def close(self) -> None:
        """Give connections back. Closing twice is allowed."""
        ...


class SuppressedAddress(NamedTuple):
    """An address that the provider will not mail, why, and since when (UTC); None where it does not say."""

    email: str
    source: Literal["bounce", "complaint", "page"]
    at: datetime | None


@runtime_checkable
class SuppressionListProvider(Protocol):
    """A provider that keeps a list of its own of who is not mailed."""

    def list_suppressions(self) -> list[SuppressedAddress]:
        """Return the whole list. Raises Misconfigured, naming what is missing, where it cannot be read."""
        ...
