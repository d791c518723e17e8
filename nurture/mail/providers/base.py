"""The port for everything that carries email away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from nurture.mail.rendering.render import ComposedEmail


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has it, under *provider_id*."""

    provider_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider will never take this email."""

    why: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """It provably did not go; try again, not before *retry_at* (UTC) where given.

    *stops* says that nothing else goes until then either: a rate limit, a refused key, a provider that is
    down. *sender* says it of this sender's mail alone: an address that nobody has verified.
    """

    why: str
    retry_at: datetime | None = None
    stops: bool = False
    sender: bool = False


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Nobody knows whether it went: never send it again blindly."""

    why: str


Receipt = Accepted | Rejected | NotSent | InDoubt


class Provider(Protocol):
    """Carries emails away. Emails of one ref are one email, wherever the backend can tell."""

    @property
    def name(self) -> str:
        """Name the backend as settings and receipts show it."""
        ...

    @property
    def at_once(self) -> int:
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


class OptedOut(NamedTuple):
    """An address that the provider will not mail, why, and since when (UTC); None where it does not say."""

    email: str
    source: Literal["bounce", "complaint", "page"]
    at: datetime | None


@runtime_checkable
class KeepsOptOuts(Protocol):
    """A provider that keeps a list of its own of who is not mailed."""

    def opted_out(self) -> list[OptedOut]:
        """Return the whole list. Raises Misconfigured, naming what is missing, where it cannot be read."""
        ...
