"""Tokens of programs that call the API: named, scoped, shown once, ended when you like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from difflib import get_close_matches
from enum import StrEnum
from secrets import token_urlsafe
from typing import Final, NamedTuple

from nurture.errors import NotFound, Refused
from nurture.journey.intake.api import queries
from nurture.journey.intake.api.queries import Token
from nurture.runtime.context import House
from nurture.runtime.public_links import digest

MARK: Final = "nrt_"
"""How our tokens begin, so that scanners for secrets know them."""

_BYTES: Final = 24
_LONGEST: Final = 200
_NAME: Final = re.compile(r"\w[\w .-]{0,63}")


class Scope(StrEnum):
    """What a token may be good for."""

    SIGNALS = "signals:write"
    LEADS = "leads:write"
    OUTCOMES = "outcomes:write"
    SUPPRESSIONS = "suppressions:write"


class Caller(NamedTuple):
    """A program that brought a good token."""

    token_id: int
    name: str
    scopes: frozenset[str]


class Told(NamedTuple):
    """What may be told of a token. *used_on* is a day in UTC; *ceiling_at*: when it last posted too much."""

    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    used_on: date | None
    revoked_at: datetime | None
    ceiling_at: datetime | None


def create(house: House, name: str, scopes: Sequence[str], now: datetime) -> str:
    """Make a token and return it; it is not kept and cannot be shown again. Raises Refused."""
    if not _NAME.fullmatch(name):
        raise Refused(f"{name[:80]!r} is no name for a token. Use letters, digits, dots and dashes: website.")
    known = [one.value for one in Scope]
    unknown = [scope for scope in scopes if scope not in known]
    if unknown or not scopes:
        what = f"There is no scope {unknown[0]!r}." if unknown else "A token without a scope opens nothing."
        raise Refused(f"{what} Choose from {', '.join(known)}.")
    token = MARK + token_urlsafe(_BYTES)
    with house.database.write() as connection:
        kept = " ".join(sorted(set(scopes)))
        if not queries.add_token(house.database, connection, name, digest(token), kept, now):
            raise Refused(
                f"There is a token {name!r}. Choose another name, or end it: nurture admin tokens revoke"
                f" {name}"
            )
    return token


def list_tokens(house: House) -> list[Told]:
    """Return every token, valid and revoked, the oldest first."""
    with house.database.read() as connection:
        return [_told(token) for token in queries.tokens(connection)]


def revoke(house: House, name: str, now: datetime) -> None:
    """End a token at once. Raises NotFound."""
    with house.database.write() as connection:
        if queries.revoke(connection, name, now):
            return
        known = [token.name for token in queries.tokens(connection) if token.revoked_at is None]
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "`nurture admin tokens list` shows them."
    raise NotFound(f"There is no valid token {name!r}. {hint}")


def find(house: House, token: str, now: datetime) -> Caller | None:
    """Return who brings *token*, None if nobody made it or it was revoked. The day of use is noted."""
    if not token.startswith(MARK) or len(token) > _LONGEST:
        return None
    with house.database.read() as connection:
        # Found by its hash: how long that takes tells nothing about tokens.
        kept = queries.valid_token(connection, digest(token))
    if kept is None:
        return None
    if kept.used_on is None or kept.used_on < now.date():
        with house.database.write() as connection:
            queries.note_use(connection, kept.id, now.date())
    return Caller(kept.id, kept.name, frozenset(kept.scopes.split()))


def note_ceiling(house: House, token_id: int, now: datetime) -> None:
    """Note that a token reached a ceiling of its hour: `nurture doctor` warns of that."""
    with house.database.write() as connection:
        queries.note_ceiling(connection, token_id, now)


def _told(token: Token) -> Told:
    scopes = tuple(token.scopes.split())
    return Told(token.name, scopes, token.created_at, token.used_on, token.revoked_at, token.ceiling_at)
