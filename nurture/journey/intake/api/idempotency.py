"""Idempotency keys: a repeated request gets the response of the first."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from nurture.journey.intake.api import queries
from nurture.runtime.context import AppContext

RETENTION: Final = timedelta(hours=48)
HEADER: Final = "Idempotency-Key"
KEY: Final = re.compile("[!-~]{1,255}")
"""The pattern of a key."""


class KeyedRequest(NamedTuple):
    """A request with an idempotency key."""

    token_id: int
    path: str
    key: str
    body: bytes


class KeyedResponse(NamedTuple):
    """An HTTP status and body. *replayed*: it is the stored response of an earlier request."""

    status: int
    body: str
    replayed: bool = False


class KeyReused(Exception):
    """The idempotency key was used before with another body."""


def respond_once(
    ctx: AppContext, request: KeyedRequest, now: datetime, handle: Callable[[], KeyedResponse]
) -> KeyedResponse:
    """Return the response of *handle*, or the stored one if the same request came before.

    *handle* must be idempotent: it runs again after a crash or for concurrent requests. Raises KeyReused.
    """
    key = sha256(f"{request.path}\n{request.key}".encode()).hexdigest()
    digest = sha256(request.body).hexdigest()
    delete_expired(ctx, now)
    with ctx.database.write() as tx:
        stored = queries.reserve_request(tx, request.token_id, key, digest, now)
    if stored.digest != digest:
        raise KeyReused
    if stored.status is not None and stored.response is not None:
        return KeyedResponse(stored.status, stored.response, replayed=True)
    response = handle()
    with ctx.database.write() as tx:
        first = queries.store_response(tx, request.token_id, key, response.status, response.body)
    if first is None or first.status is None or first.response in (None, response.body):
        return response
    return KeyedResponse(first.status, first.response or "", replayed=True)  # a concurrent request was faster


def delete_expired(ctx: AppContext, now: datetime) -> None:
    """Delete responses past their retention, because they may quote posted data; write nothing if there are none."""
    before = now - RETENTION
    with ctx.database.read() as tx:
        any_expired = queries.has_requests_before(tx, before)
    if any_expired:
        with ctx.database.write() as tx:
            queries.delete_requests_before(tx, before)
