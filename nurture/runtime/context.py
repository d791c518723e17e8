"""What the use cases need from outside, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nurture.crm.base import Crm
from nurture.db.engine import Database
from nurture.definitions.holidays import public_holidays
from nurture.domain.planning.calendar import Holidays
from nurture.mail.inbound.imap import Inbox
from nurture.mail.inbound.reader import MailReader, shared_reader
from nurture.mail.notifiers.unconfigured import UnconfiguredNotifier
from nurture.mail.providers.base import Provider
from nurture.mail.rendering.link_tracking import LinkTracking
from nurture.runtime.published import PublishedDefinitions
from nurture.runtime.stamped_cache import StampedCache


@dataclass
class AppContext:
    """The database, the published rules, the mail provider; built by `nurture.app`.

    *base_url* is where our own pages are reached, "" when nothing serves them. *installation_id* tells this
    installation's mail from that of another one. *batch_size* is how many leads
    a sweep takes at once. *track_clicks* is whether links in mail come to us first, *honeypot* whether there
    is also one that no reader sees. *spool* is a folder for what is heard while the database is busy.
    *reply_domain* is where mail to reply+... comes back to us, "" if nowhere; *inbox* is a mailbox where it
    may lie. *crm* is where sales keeps its leads, None if nowhere that we know. *notifiers* carry notices to
    the places where reps look, by their names; None has them go the way of mail, as where time is virtual
    nobody is told of anything. *mail_reader* reads strangers' mail, in a process of its own.
    """

    database: Database
    provider: Provider
    base_url: str = ""
    installation_id: str = ""
    batch_size: int = 2_000
    definitions: PublishedDefinitions = field(default_factory=PublishedDefinitions)
    account_index: StampedCache[Any] = field(default_factory=StampedCache)
    holidays: Holidays = public_holidays
    track_clicks: bool = True
    honeypot: bool = True
    spool: Path = Path("spool")
    reply_domain: str = ""
    inbox: Inbox | None = None
    crm: Crm | None = None
    notifiers: Mapping[str, Provider] | None = None
    mail_reader: MailReader = field(default_factory=shared_reader)

    def notifier(self, target: str) -> Provider:
        """Return what carries notices to *target*; for a name that the settings do not know, nothing does."""
        if self.notifiers is None:
            return self.provider
        return self.notifiers.get(target) or UnconfiguredNotifier(target)

    @property
    def tracking(self) -> LinkTracking | None:
        """Return how links in mail are rewritten, None where nothing would answer them."""
        if not self.base_url or not self.track_clicks:
            return None
        return LinkTracking(self.base_url, honeypot=self.honeypot)
