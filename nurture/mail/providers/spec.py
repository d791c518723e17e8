"""What the rest of the program knows of an email provider before it is used.

The module `spec.py` in each provider's folder defines one `ProviderSpec`. It is imported by every command that reads
settings, so it imports the provider itself, and what that needs, only inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar

from nurture.settings_model import IntegrationSpec, SettingsModel, variable_name

if TYPE_CHECKING:
    from nurture.mail.inbound.raw_mail import RawMail
    from nurture.mail.providers.base import Provider
    from nurture.mail.providers.events import EventReader

S = TypeVar("S", bound=SettingsModel)

EVENTS_PATH: Final = "/webhooks/{provider}/events"
INBOUND_PATH: Final = "/webhooks/{provider}/inbound"

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


@dataclass(frozen=True, kw_only=True)
class Webhook(Generic[S]):
    """What a provider posts to us.

    *secret* is the setting that verifies it: without it nothing is accepted. *source* is the provider's name for it,
    such as "SendGrid's Event Webhook". *verifier*(settings) decides who posts it.
    """

    secret: str
    source: str
    verifier: Callable[[S], WebhookVerifier]

    def is_configured(self, settings: S) -> bool:
        """Return whether its secret is set."""
        return getattr(settings, self.secret) is not None

    @property
    def variable(self) -> str:
        """Return the environment variable of its secret."""
        return variable_name(self.secret)


@dataclass(frozen=True, kw_only=True)
class EventWebhook(Webhook[S]):
    """Posts delivery events in batches, which *reader* reads."""

    reader: Callable[[], EventReader]


@dataclass(frozen=True, kw_only=True)
class InboundWebhook(Webhook[S]):
    """Posts emails that arrive at our reply domain: *read*(body, content_type) raises InvalidInboundMail."""

    read: Callable[[IO[bytes], str], RawMail]


class DryRun(NamedTuple):
    """A mode of the provider in which it delivers nothing, and how to end it."""

    meaning: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class DoctorHints(Generic[S]):
    """What `nurture doctor` says of a provider that sends.

    *proof*: what a passed check proves; {senders} stands for the senders. *domain*: how a sender domain is
    verified. *bounces*: where to look for bounces that no webhook reports.
    """

    proof: str = ""
    domain: str = ""
    bounces: str = ""
    find_dry_run: Callable[[S], DryRun | None] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class ProviderSpec(IntegrationSpec[S]):
    """An email provider: its settings, how it is built, and what it posts to us.

    *name*: in NURTURE_PROVIDER, receipts and paths of webhooks. *build*(settings, durable) raises Misconfigured;
    with *durable*, accepted email must survive a power failure. Its *folder* is None if it sends. *batches*: several
    emails may share a request (see BatchProvider).
    """

    setting: ClassVar = "provider"

    build: Callable[[S, bool], Provider]
    hints: DoctorHints[S] = field(default_factory=DoctorHints)
    events: EventWebhook[S] | None = None
    inbound: InboundWebhook[S] | None = None
    batches: bool = False
