"""Answer a request that comes again as it was answered first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from nurture.journey.intake.api import queries
from nurture.runtime.context import AppContext

RETENTION: Final = timedelta(hours=48)
MAX_KEY_LENGTH: Final = 255


class KeyedRequest(NamedTuple):
    """What came: who sent it where, under which key, and every byte of it."""

    token_id: int
    path: str
    key: str
    body: bytes


class KeyedResponse(NamedTuple):
    """A status of HTTP and a body. *replayed*: it was given before."""

    status: int
    body: str
    replayed: bool = False


class KeyReused(Exception):
    """A key came before, with another body."""


def respond_once(
    ctx: AppContext, request: KeyedRequest, now: datetime, handle: Callable[[], KeyedResponse]
) -> KeyedResponse:
    """Return what *handle* answers, or what it answered when the same request came before.

    *handle* may run twice, if it was broken off or two come at once: it must do no harm then. Raises
    KeyReused.
    """
    key = sha256(f"{request.path}\n{request.key}".encode()).hexdigest()
    digest = sha256(request.body).hexdigest()
    delete_expired(ctx, now)
    with ctx.database.write() as connection:
        stored = queries.reserve_request(ctx.database, connection, request.token_id, key, digest, now)
    if stored.digest != digest:
        raise KeyReused
    if stored.status is not None and stored.response is not None:
        return KeyedResponse(stored.status, stored.response, replayed=True)
    response = handle()
    with ctx.database.write() as connection:
        first = queries.store_response(connection, request.token_id, key, response.status, response.body)
    if first is None or first.status is None or first.response in (None, response.body):
        return response
    return KeyedResponse(first.status, first.response or "", replayed=True)  # another was faster with the same


def delete_expired(ctx: AppContext, now: datetime) -> None:
    """Forget answers whose time is over: they may quote what was sent. Without any this writes nothing."""
    before = now - RETENTION
    with ctx.database.read() as connection:
        any_expired = queries.has_requests_before(connection, before)
    if any_expired:
        with ctx.database.write() as connection:
            queries.delete_requests_before(connection, before)
