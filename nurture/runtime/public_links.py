"""Public links: an opaque token of 128 random bits that does one thing for one lead."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from secrets import token_bytes, token_urlsafe
from typing import Final, NamedTuple

from sqlalchemy import Connection

from nurture.db.engine import Database
from nurture.runtime import token_queries
from nurture.runtime.token_queries import TokenRecord

UNSUBSCRIBE: Final = "unsubscribe"
PREFERENCES: Final = "preferences"
ACCEPT: Final = "accept"
REJECT: Final = "reject"
REASSIGN: Final = "reassign"
CALL_BACK_LATER: Final = "call_back_later"
CLICK: Final = "click"
OPEN: Final = "open"
QUESTION: Final = "question"

REPLY: Final = "reply"
"""What is mailed back to, not clicked: it has no page."""

PATHS: Final = {
    UNSUBSCRIBE: "u",
    PREFERENCES: "p",
    ACCEPT: "a",
    REJECT: "r",
    REASSIGN: "g",
    CALL_BACK_LATER: "l",
    CLICK: "c",
    OPEN: "o",
    QUESTION: "f",
}
"""Where each purpose lives under the base URL."""


class LinkSpec(NamedTuple):
    """What a link is to do.

    All links of a mail that a lead may click share one token of that purpose, and end in their number. It is
    not the token to unsubscribe: whoever sees a click pass by, as a proxy or a site's log does, must not be
    able to take the lead off the list. Tokens are random and not signed, so there is no key to lose or to
    rotate: old links work for as long as their row is kept, and die with it.
    """

    purpose: str
    lead_id: int
    message_id: int | None = None
    offer_id: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A token, not stored in clear anywhere; *url* is what goes into the mail."""

    token: str
    spec: LinkSpec

    @property
    def digest(self) -> str:
        """Return what the database keeps of the token."""
        return digest(self.token)

    def url(self, base_url: str) -> str:
        """Return the link under *base_url*."""
        return f"{base_url.rstrip('/')}/{PATHS[self.spec.purpose]}/{self.token}"


def digest(token: str) -> str:
    """Return the SHA-256 of a token, in hex."""
    return sha256(token.encode()).hexdigest()


def make_link(spec: LinkSpec) -> Link:
    """Make a fresh link."""
    return Link(_make_mail_token() if spec.purpose == REPLY else token_urlsafe(16), spec)


def _make_mail_token() -> str:
    """Return a token that survives mail servers: they may write what stands before the @ in lower case."""
    return b32encode(token_bytes(16)).decode().rstrip("=").lower()


def store_links(database: Database, connection: Connection, links: Sequence[Link], now: datetime) -> None:
    """Store the links' digests, so that they work once mailed."""
    token_queries.insert_tokens(database, connection, [(link.digest, *link.spec, now) for link in links])


def find_token(connection: Connection, token: str, purpose: str) -> TokenRecord | None:
    """Return what *token* stands for; None for a token of another purpose as for one that nobody made."""
    found = token_queries.find_token(connection, digest(token))
    return found if found is not None and found.purpose == purpose else None
