"""Public links: an opaque token of 128 random bits, for one purpose and one lead."""

from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from secrets import token_bytes, token_urlsafe
from typing import Final, NamedTuple

from nurture.db.transaction import Transaction
from nurture.runtime import link_queries
from nurture.runtime.link_queries import TokenRecord

UNSUBSCRIBE: Final = "unsubscribe"
PREFERENCES: Final = "preferences"
ACCEPT: Final = "accept"
REJECT: Final = "reject"
REASSIGN: Final = "reassign"
CALL_BACK_LATER: Final = "call_back_later"
CLICK: Final = "click"
OPEN: Final = "open"
QUESTION: Final = "question"
CONFIRM: Final = "confirm"
QUEUES: Final = "queues"

REPLY: Final = "reply"
"""Purpose of reply addresses, which have no page. Answers and bounces of a message are sent there."""

PROBE_TOKEN: Final = "probe".ljust(26, "a")
"""The token in reply addresses of test emails; it belongs to no message."""

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
    CONFIRM: "y",
    QUEUES: "q",
}
"""Path of each purpose under the base URL."""


class LinkSpec(NamedTuple):
    """What a link does, and for which rows.

    All tracked links of a message share one click token and end in their number. It is not the unsubscribe
    token: whoever sees a clicked URL, such as a proxy or a site's log, must not be able to unsubscribe the lead.
    Tokens are random and not signed, so there is no key to lose or rotate: a link works until its row is deleted.
    """

    purpose: str
    lead_id: int
    message_id: int | None = None
    offer_id: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A new token; it is stored only as its digest."""

    token: str
    spec: LinkSpec

    @property
    def digest(self) -> str:
        """Return the digest that the database stores."""
        return digest(self.token)

    def url(self, base_url: str) -> str:
        """Return the URL under *base_url*."""
        return f"{base_url.rstrip('/')}/{PATHS[self.spec.purpose]}/{self.token}"


def digest(token: str) -> str:
    """Return the SHA-256 of a token, in hex."""
    return sha256(token.encode()).hexdigest()


def make_link(spec: LinkSpec) -> Link:
    """Return a link with a new token."""
    if spec.purpose == REPLY:  # in lower case, because mail servers may lower-case the local part of an address
        return Link(b32encode(token_bytes(16)).decode().rstrip("=").lower(), spec)
    return Link(token_urlsafe(16), spec)


def store_links(tx: Transaction, links: Sequence[Link], now: datetime) -> None:
    """Store the digests of the links, which activates them."""
    link_queries.insert_tokens(tx, [(link.digest, *link.spec, now) for link in links])


def find_token(tx: Transaction, token: str, purpose: str) -> TokenRecord | None:
    """Return the record of *token*; None if it is unknown or has another purpose."""
    found = link_queries.find_token(tx, digest(token))
    return found if found is not None and found.purpose == purpose else None
