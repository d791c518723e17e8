"""API tokens: named, scoped, shown once, revocable."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from secrets import token_urlsafe
from typing import Final, NamedTuple

from nurture.errors import InvalidState, NotFound, suggest
from nurture.journey.intake.api import queries
from nurture.journey.intake.api.queries import TokenRecord
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import digest

PREFIX: Final = "nrt_"
"""The prefix of every token, by which secret scanners recognize it."""

_TOKEN_BYTES: Final = 24
_MAX_LENGTH: Final = 200
_NAME_PATTERN: Final = re.compile(r"\w[\w .-]{0,63}")


class TokenScope(StrEnum):
    """What a token permits."""

    SIGNALS = "signals:write"
    LEADS = "leads:write"
    OUTCOMES = "outcomes:write"
    SUPPRESSIONS = "suppressions:write"


class Caller(NamedTuple):
    """The caller that a valid token authenticates."""

    token_id: int
    name: str
    scopes: frozenset[str]


class TokenInfo(NamedTuple):
    """The public data of a token.

    *last_used_on* is a day in UTC; *rate_limited_at* is when it last exceeded its rate limit.
    """

    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_on: date | None
    revoked_at: datetime | None
    rate_limited_at: datetime | None


def create_token(ctx: AppContext, name: str, scopes: Sequence[str], now: datetime) -> str:
    """Create a token and return it. Only its hash is stored, so it cannot be shown again. Raises InvalidState."""
    if not _NAME_PATTERN.fullmatch(name):
        raise InvalidState(
            f"{name[:80]!r} is not a valid token name. Use letters, digits, dots and dashes, as in website."
        )
    known = [one.value for one in TokenScope]
    unknown = [scope for scope in scopes if scope not in known]
    if unknown or not scopes:
        what = f"There is no scope {unknown[0]!r}." if unknown else "A token needs at least one scope."
        raise InvalidState(f"{what} Choose from {', '.join(known)}.")
    token = PREFIX + token_urlsafe(_TOKEN_BYTES)
    with ctx.database.write() as tx:
        scope_text = " ".join(sorted(set(scopes)))
        if not queries.add_token(tx, name, digest(token), scope_text, now):
            raise InvalidState(
                f"A token {name!r} exists already. Choose another name, or run: nurture admin tokens revoke {name}"
            )
    return token


def list_tokens(ctx: AppContext) -> list[TokenInfo]:
    """Return every token, valid or revoked, oldest first."""
    with ctx.database.read() as tx:
        return [_token_info(token) for token in queries.list_tokens(tx)]


def revoke_token(ctx: AppContext, name: str, now: datetime) -> None:
    """Revoke a token at once. Raises NotFound."""
    with ctx.database.write() as tx:
        if queries.revoke_token(tx, name, now):
            return
        known = [token.name for token in queries.list_tokens(tx) if token.revoked_at is None]
    hint = suggest(name, known, "`nurture admin tokens list` lists them.")
    raise NotFound(f"There is no valid token {name!r}.", hint)


def authenticate(ctx: AppContext, token: str, now: datetime) -> Caller | None:
    """Return the caller of *token*, None if it is unknown or revoked; record the day of use."""
    if not token.startswith(PREFIX) or len(token) > _MAX_LENGTH:
        return None
    with ctx.database.read() as tx:
        # Looked up by hash, so that timing reveals nothing about valid tokens.
        record = queries.find_valid_token(tx, digest(token))
    if record is None:
        return None
    if record.last_used_on is None or record.last_used_on < now.date():
        with ctx.database.write() as tx:
            queries.record_use(tx, record.id, now.date())
    return Caller(record.id, record.name, frozenset(record.scopes.split()))


def record_rate_limit(ctx: AppContext, token_id: int, now: datetime) -> None:
    """Record that a token exceeded its hourly rate limit; `nurture doctor` warns about it."""
    with ctx.database.write() as tx:
        queries.record_rate_limit(tx, token_id, now)


def _token_info(token: TokenRecord) -> TokenInfo:
    scopes = tuple(token.scopes.split())
    return TokenInfo(token.name, scopes, token.created_at, token.last_used_on, token.revoked_at, token.rate_limited_at)
