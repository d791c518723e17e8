"""Public links: an opaque token of 128 bits, for one purpose and one lead."""

from base64 import b32decode, b32encode, urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


MESSAGE_PURPOSES: Final = (UNSUBSCRIBE, PREFERENCES, REPLY, CLICK, OPEN)
"""Purposes of the links of one message to a lead, whose tokens derive from each other in this order.

The first token is random, each other one a hash of the one before it, and the message holds the hash of the last. So
one stored digest verifies all, and no token tells an earlier one: whoever sees a clicked URL, such as a proxy or a
site's log, cannot unsubscribe the lead.
"""

_PLACES: Final = {purpose: place for place, purpose in enumerate(MESSAGE_PURPOSES)}
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_TOKEN_BYTES: Final = 16
_DIGEST_BYTES: Final = 12
"""Bytes of the digest that a message holds: a guessed token fits one of ten million messages once in 2^72 requests."""


class LinkSpec(NamedTuple):
    """What a link does, and for which rows.

    All tracked links of a message share one click token and end in their number. Tokens are not signed, so there is no
    key to lose or rotate: a link works until its digest is deleted.
    """

    purpose: str
    lead_id: int
    message_id: int | None = None
    offer_id: int | None = None


class Link(NamedTuple):
    """A new token; it is stored only as its digest, or by the digest that its message has for all its links."""

    token: str
    spec: LinkSpec
    message_digest: str = ""

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
    if spec.purpose == REPLY:
        return Link(_encode(token_bytes(_TOKEN_BYTES), REPLY), spec)
    return Link(token_urlsafe(_TOKEN_BYTES), spec)


class MessageLinks(Mapping[str, Link]):
    """A link of each of MESSAGE_PURPOSES for a message, made when it is asked for.

    *digest* verifies all of them. If the message *is_repeated*, it may have been sent before, with links that go on
    working: then each has a token of its own, and *digest* is "".
    """

    def __init__(self, lead_id: int, message_id: int, *, is_repeated: bool = False) -> None:
        self._ids = lead_id, message_id
        secret = token_bytes(_TOKEN_BYTES)
        self._secrets = []
        for _ in MESSAGE_PURPOSES:
            self._secrets.append(secret)
            secret = token_bytes(_TOKEN_BYTES) if is_repeated else _next_secret(secret)
        self.digest = "" if is_repeated else _encode(secret[:_DIGEST_BYTES])

    def __getitem__(self, purpose: str) -> Link:
        return Link(self.token(purpose), LinkSpec(purpose, *self._ids), self.digest)

    def __iter__(self) -> Iterator[str]:
        return iter(MESSAGE_PURPOSES)

    def token(self, purpose: str) -> str:
        """Return the token of the link of *purpose*."""
        return _encode(self._secrets[_PLACES[purpose]], purpose)

    def url(self, purpose: str, base_url: str) -> str:
        """Return the URL of the link of *purpose* under *base_url*, without an object for the link."""
        return f"{base_url.rstrip('/')}/{PATHS[purpose]}/{self.token(purpose)}"

    def to_store(self, used: Sequence[str]) -> list[Link]:
        """Return what stores the links of the purposes *used*: all of them, or the first, whose digest verifies all."""
        return [self[purpose] for purpose in (used[:1] if self.digest else used)]

    def __len__(self) -> int:
        return len(MESSAGE_PURPOSES)


def message_digest(token: str, purpose: str) -> str | None:
    """Return the digest that the message of *token* has if it is one of *purpose*; None if it cannot be one."""
    if purpose not in MESSAGE_PURPOSES:
        return None
    try:
        secret = b32decode(f"{token.upper()}======") if purpose == REPLY else urlsafe_b64decode(f"{token}==")
    except ValueError:
        return None
    if len(secret) != _TOKEN_BYTES or _encode(secret, purpose) != token:
        return None
    for _ in MESSAGE_PURPOSES[MESSAGE_PURPOSES.index(purpose) :]:
        secret = _next_secret(secret)
    return _encode(secret[:_DIGEST_BYTES])


def token_digests(token: str, purpose: str) -> list[str]:
    """Return the digests under which *token* may be stored: its own, and that of its message."""
    return [one for one in (digest(token), message_digest(token, purpose)) if one is not None]


def _next_secret(secret: bytes) -> bytes:
    return sha256(secret).digest()[:_TOKEN_BYTES]


def _encode(secret: bytes, purpose: str = "") -> str:
    if purpose == REPLY:  # in lower case, because mail servers may lower-case the local part of an address
        return b32encode(secret).decode().rstrip("=").lower()
    return b2a_base64(secret, newline=False).rstrip(b"=").translate(_URL_SAFE).decode()


def store_links(tx: Transaction, links: Iterable[Link], now: datetime) -> None:
    """Store the digests of links, which activates them; a message holds the digest of those that derive from it."""
    link_queries.insert_tokens(tx, [(link.digest, *link.spec, now) for link in links if not link.message_digest])


def find_token(tx: Transaction, token: str, purpose: str) -> TokenRecord | None:
    """Return the record of *token*; None if it is unknown or has another purpose."""
    return link_queries.find_token(tx, token_digests(token, purpose), purpose)
