"""The opaque link to a rep's own page: each brief brings a fresh one, and each ends by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Final, NamedTuple

from sqlalchemy import Connection

from nurture.errors import Misconfigured
from nurture.store import replinks

from .house import House
from .links import digest
from .presence import takes_leads
from .roster import named_rep

PATH: Final = "i"
"""Where the pages of reps live under the base URL."""

WORKS_FOR: Final = timedelta(days=30)
"""A link in an old mail opens nothing."""


class RepLink(NamedTuple):
    """A token, not stored in clear anywhere, and whose page it opens."""

    token: str
    rep: str

    def url(self, base_url: str) -> str:
        """Return the link under *base_url*."""
        return f"{base_url.rstrip('/')}/{PATH}/{self.token}"


def make(rep: str) -> RepLink:
    """Make a fresh link."""
    return RepLink(token_urlsafe(16), rep)


def keep(house: House, connection: Connection, links: Sequence[RepLink], now: datetime) -> None:
    """Store the links' digests, so that they work once mailed."""
    rows = [(digest(link.token), link.rep, now, now + WORKS_FOR) for link in links]
    if rows:
        replinks.add(house.database, connection, rows)


def create(house: House, rep: str, now: datetime) -> RepLink:
    """Make a link to the page of a rep, and keep it. Raises NotFound, or Misconfigured without a base URL."""
    with house.database.write() as connection:
        named_rep(house.rulebooks.current(connection).policy, rep)
        if not house.base_url:
            raise Misconfigured("Nothing serves pages. Set NURTURE_BASE_URL to their public address.")
        link = make(rep)
        keep(house, connection, [link], now)
    return link


def find(house: House, token: str, now: datetime) -> str | None:
    """Return whose page *token* opens; None if it opens none any more, or its rep has left."""
    with house.database.read() as connection:
        rep_id = replinks.find(connection, digest(token), now)
        if rep_id is None:
            return None
        rep = house.rulebooks.current(connection).policy.rep(rep_id)
    return rep_id if rep is not None and takes_leads(rep, now.date()) else None


def revoke(house: House, rep: str, now: datetime) -> int:
    """End every link to the page of a rep, whoever has it; return how many still worked.

    Who has left the policy can still have links. Raises NotFound for an id without either.
    """
    with house.database.write() as connection:
        ended = replinks.revoke(connection, rep, now)
        if not ended:
            named_rep(house.rulebooks.current(connection).policy, rep)
    return ended
