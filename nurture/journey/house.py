"""What the use cases need from outside, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from nurture.mail.provider import Provider
from nurture.rules.holidays import public_holidays
from nurture.store.database import Database
from nurture.store.views import Holidays

from .rulebook import Rulebooks


@dataclass
class House:
    """The database, the published rules, the mail provider; built by `nurture.app`.

    *base_url* is where our own pages are reached, "" when nothing serves them. *origin* tells this
    installation's mail from that of another one. *batch* is how many leads
    a sweep takes at once.
    """

    database: Database
    provider: Provider
    base_url: str = ""
    origin: str = ""
    batch: int = 2_000
    rulebooks: Rulebooks = field(default_factory=Rulebooks)
    holidays: Holidays = public_holidays
