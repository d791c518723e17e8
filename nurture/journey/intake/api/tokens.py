"""Tokens of programs that call the API: named, scoped, shown once, ended when you like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from difflib import get_close_matches
from enum import StrEnum
from secrets import token_urlsafe
from typing import Final, NamedTuple

from nurture.errors import InvalidState, NotFound
from nurture.journey.intake.api import queries
from nurture.journey.intake.api.queries import TokenRecord
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import digest

PREFIX: Final = "nrt_"
"""How our tokens begin, so that scanners for secrets know them."""

_TOKEN_BYTES: Final = 24
_MAX_LENGTH: Final = 200
_NAME_PATTERN: Final = re.compile(r"\w[\w .-]{0,63}")


class TokenScope(StrEnum):
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


class TokenInfo(NamedTuple):
    """What may be told of a token.

    *last_used_on* is a day in UTC; *rate_limited_at*: when it last posted too much.
    """

    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_on: date | None
    revoked_at: datetime | None
    rate_limited_at: datetime | None


def create_token(ctx: AppContext, name: str, scopes: Sequence[str], now: datetime) -> str:
    """Make a token and return it; it is not kept and cannot be shown again. Raises InvalidState."""
    if not _NAME_PATTERN.fullmatch(name):
        raise InvalidState(f"{name[:80]!r} is no name for a token. Use letters, digits, dots and dashes: website.")
    known = [one.value for one in TokenScope]
    unknown = [scope for scope in scopes if scope not in known]
    if unknown or not scopes:
        what = f"There is no scope {unknown[0]!r}." if unknown else "A token without a scope opens nothing."
        raise InvalidState(f"{what} Choose from {', '.join(known)}.")
    token = PREFIX + token_urlsafe(_TOKEN_BYTES)
    with ctx.database.write() as connection:
        scope_text = " ".join(sorted(set(scopes)))
        if not queries.add_token(ctx.database, connection, name, digest(token), scope_text, now):
            raise InvalidState(
                f"There is a token {name!r}. Choose another name, or end it: nurture admin tokens revoke {name}"
            )
    return token


def list_tokens(ctx: AppContext) -> list[TokenInfo]:
    """Return every token, valid and revoked, the oldest first."""
    with ctx.database.read() as connection:
        return [_token_info(token) for token in queries.list_tokens(connection)]


def revoke_token(ctx: AppContext, name: str, now: datetime) -> None:
    """End a token at once. Raises NotFound."""
    with ctx.database.write() as connection:
        if queries.revoke_token(connection, name, now):
            return
        known = [token.name for token in queries.list_tokens(connection) if token.revoked_at is None]
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "`nurture admin tokens list` shows them."
    raise NotFound(f"There is no valid token {name!r}. {hint}")


def authenticate(ctx: AppContext, token: str, now: datetime) -> Caller | None:
    """Return who brings *token*, None if nobody made it or it was revoked. The day of use is noted."""
    if not token.startswith(PREFIX) or len(token) > _MAX_LENGTH:
        return None
    with ctx.database.read() as connection:
        # Found by its hash: how long that takes tells nothing about tokens.
        record = queries.find_valid_token(connection, digest(token))
    if record is None:
        return None
    if record.last_used_on is None or record.last_used_on < now.date():
        with ctx.database.write() as connection:
            queries.record_use(connection, record.id, now.date())
    return Caller(record.id, record.name, frozenset(record.scopes.split()))


def record_rate_limit(ctx: AppContext, token_id: int, now: datetime) -> None:
    """Note that a token reached a ceiling of its hour: `nurture doctor` warns of that."""
    with ctx.database.write() as connection:
        queries.record_rate_limit(connection, token_id, now)


def _token_info(token: TokenRecord) -> TokenInfo:
    scopes = tuple(token.scopes.split())
    return TokenInfo(token.name, scopes, token.created_at, token.last_used_on, token.revoked_at, token.rate_limited_at)
