"""The email providers. A new one is a folder beside this file with a `spec.py`, and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from nurture.mail.providers.spec import InboundReceiver, ProviderSpec, WebhookVerifier
from nurture.settings_model import SettingsModel

if TYPE_CHECKING:
    from nurture.mail.providers.events import EventReader

_FOLDERS: Final = ("maildir", "postmark", "sendgrid", "smtp")

PROVIDERS: Final[Mapping[str, ProviderSpec[Any]]] = {
    folder: import_module(f"nurture.mail.providers.{folder}.spec").SPEC for folder in _FOLDERS
}
"""The providers by name, which is the name of their folder."""

DEFAULT_PROVIDER: Final = "maildir"
"""The provider of a new installation, of demos and of simulations: it mails nobody."""


@dataclass(frozen=True, slots=True)
class OpenWebhooks:
    """The webhooks whose secret is set, by provider. Any other one is closed."""

    events: Mapping[str, WebhookVerifier] = field(default_factory=dict)
    inbound: Mapping[str, InboundReceiver] = field(default_factory=dict)


def open_webhooks(settings: SettingsModel) -> OpenWebhooks:
    """Return the webhooks whose secret *settings* contain."""
    specs = PROVIDERS.values()
    events = [(spec.name, spec.events) for spec in specs if spec.events and spec.events.is_configured(settings)]
    inbound = [(spec.name, spec.inbound) for spec in specs if spec.inbound and spec.inbound.is_configured(settings)]
    return OpenWebhooks(
        {name: webhook.verifier(settings) for name, webhook in events},
        {name: InboundReceiver(webhook.verifier(settings), webhook.read) for name, webhook in inbound},
    )


def event_readers() -> Mapping[str, EventReader]:
    """Return how the events of each provider that reports them are read."""
    return {name: spec.events.reader() for name, spec in PROVIDERS.items() if spec.events is not None}
