"""The context that every stage gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from nurture.db.engine import Database
from nurture.db.transaction import Transaction
from nurture.definitions.holidays import public_holidays
from nurture.domain.planning.calendar import Holidays
from nurture.outbox.lease_queue import BEAT_INTERVAL
from nurture.runtime.lazy_fields import Deferred, DeferredField, StampedCache
from nurture.runtime.published import PublishedDefinitions
from nurture.runtime.retention import Retention

if TYPE_CHECKING:
    from nurture.crm.base import Crm
    from nurture.mail.inbound.imap import Inbox
    from nurture.mail.inbound.reader import MailReader
    from nurture.mail.providers.base import Provider
    from nurture.mail.providers.events import EventReader
    from nurture.mail.rendering.link_tracking import LinkTracking
    from nurture.runtime.message_kinds import MessageKind


def _shared_reader() -> MailReader:
    from nurture.mail.inbound.reader import shared_reader  # noqa: PLC0415 - for inbound mail only

    return shared_reader()


def _event_readers() -> Mapping[str, EventReader]:
    from nurture.mail.providers import registry  # noqa: PLC0415 - for webhooks only

    return registry.event_readers()


Erasure = Callable[[Transaction, Sequence[int], datetime], None]
"""What a stage does in the transaction that erases these leads, before they are closed."""


def _no_erasures() -> NoReturn:
    raise RuntimeError("no erasures are registered: nothing is erased, because a stage would keep data of the lead")


@dataclass
class AppContext:
    """Database, published definitions, provider, CRM and notifiers; built by `nurture.app`.

    *base_url*: public URL of our pages, "" if none are served. *installation_id*: distinguishes our email from
    another installation's. *batch_size*: leads per sweep transaction. *beat_interval*: time between heartbeats.
    *track_clicks*: rewrite links in email to our redirect; *honeypot*: add a link that no reader sees. *spool*:
    folder for signals that arrive while the database is busy. *templates*: folder of definitions. *reply_domain*:
    domain of `reply+TOKEN@` addresses, "" if replies are not routed to us; *inbox*: mailbox to read them from.
    *retention*: how long data is kept. *notifiers*: by name; None sends notices through *provider*, as on a virtual
    clock. *message_kinds*: what can be sent, by name. *erasures*: what stages do about erased leads. *mail_reader*:
    parses inbound email in a separate process.

    What reaches outside is given as a value, or as a `Deferred` that builds it when it is first used.
    """

    database: Database
    provider: DeferredField[Provider] = DeferredField()
    base_url: str = ""
    installation_id: str = ""
    batch_size: int = 2_000
    beat_interval: timedelta = BEAT_INTERVAL
    definitions: PublishedDefinitions = field(default_factory=PublishedDefinitions)
    account_index: StampedCache[Any] = field(default_factory=StampedCache)
    holidays: Holidays = public_holidays
    track_clicks: bool = True
    honeypot: bool = True
    spool: Path = Path("spool")
    templates: Path = Path("templates")
    reply_domain: str = ""
    retention: Retention = field(default_factory=Retention)
    inbox: DeferredField[Inbox | None] = DeferredField(None)
    crm: DeferredField[Crm | None] = DeferredField(None)
    notifiers: DeferredField[Mapping[str, Provider] | None] = DeferredField(None)
    message_kinds: DeferredField[Mapping[str, MessageKind]] = DeferredField(Deferred(dict))
    erasures: DeferredField[Sequence[Erasure]] = DeferredField(Deferred(_no_erasures))
    mail_reader: DeferredField[MailReader] = DeferredField(Deferred(_shared_reader))
    event_readers: DeferredField[Mapping[str, EventReader]] = DeferredField(Deferred(_event_readers))

    def notifier(self, target: str) -> Provider:
        """Return the notifier *target*, or one that delivers nothing if it is not in the settings."""
        if self.notifiers is None:
            return self.provider
        known = self.notifiers.get(target)
        if known is not None:
            return known
        from nurture.mail.notifiers.unconfigured import UnconfiguredNotifier  # noqa: PLC0415 - where notices are sent

        return UnconfiguredNotifier(target)

    def open_all(self) -> None:
        """Build now what is deferred."""
        _ = (self.provider, self.inbox, self.crm, self.notifiers)

    @property
    def tracking(self) -> LinkTracking | None:
        """Return how links in email are rewritten; None if clicks are not tracked or no pages are served."""
        if not self.base_url or not self.track_clicks:
            return None
        from nurture.mail.rendering.link_tracking import LinkTracking  # noqa: PLC0415 - where emails are composed

        return LinkTracking(self.base_url, honeypot=self.honeypot)
