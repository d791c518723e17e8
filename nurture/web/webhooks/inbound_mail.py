"""Receive replies: the webhooks of providers post each email here."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import anyio
from fastapi import Request
from sqlalchemy.exc import DBAPIError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from nurture.errors import NurtureError
from nurture.journey.engagement import replies
from nurture.journey.engagement.inbound_mail import InboxFull
from nurture.journey.engagement.replies import ReplyResult
from nurture.mail.inbound.raw_mail import RawMail
from nurture.mail.providers.webhooks import InvalidInboundMail
from nurture.web.auth import MAX_MAIL_BYTES, Site, SiteDep
from nurture.web.webhooks.provider_events import NOT_VERIFIED

MAX_IN_MEMORY: Final = 256 * 1024
"""Bytes of an email kept in memory; a larger one is spooled to disk."""

MAX_SECONDS: Final = 60.0
"""Seconds that an email may take to arrive."""


MAX_ON_DISK: Final = 20 * MAX_MAIL_BYTES
"""Total bytes of the emails that are being received or read."""


_MAX_BATCHES: Final = 2
"""Batches of waiting emails that are read before a request is answered."""

_log: Final = logging.getLogger(__name__)


class DiskBudget:
    """The disk space left for request bodies whose signature is not verified yet."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], bool]]:
        """Yield a function that reserves bytes and returns whether they fit; release all at the end."""
        reserved = 0

        def take(size: int) -> bool:
            nonlocal reserved
            reserved += size
            self._left -= size
            return self._left >= 0

        try:
            yield take
        finally:
            self._left += reserved


async def receive_mail(request: Request, provider: str, site: SiteDep) -> Response:
    """Store and read one email that *provider* posted, raw or parsed. It is stored when this returns 200.

    A separate process parses it. An email that could not be read is tried again by the next run. Providers
    repeat an email after a 5xx; each email counts once.
    """
    receiver = site.webhooks.inbound[provider]
    check = receiver.verifier.begin(request.headers.getlist, site.clock.now())
    if check is None:
        return _error(401, NOT_VERIFIED, {"Connection": "close"})
    disk_budget: DiskBudget = request.app.state.inbound_disk_budget
    with tempfile.SpooledTemporaryFile(MAX_IN_MEMORY) as body, disk_budget.reserve() as reserve:

        def write(chunk: bytes) -> None:
            check.update(chunk)
            body.write(chunk)

        refusal = await _receive_body(request, write, reserve)
        if refusal is not None:
            return refusal
        if not check.is_valid():
            return _error(401, NOT_VERIFIED)
        content_type = request.headers.get("content-type", "")
        limiter: anyio.CapacityLimiter = request.app.state.mail_limiter
        read = partial(receiver.read, body, content_type)
        return await anyio.to_thread.run_sync(_store_and_read, site, provider, read, limiter=limiter)


async def _receive_body(
    request: Request, write: Callable[[bytes], None], reserve: Callable[[int], bool]
) -> Response | None:
    """Pass the body to *write* in chunks; return an error response, or None once the body is complete."""
    size = 0
    try:
        with anyio.fail_after(MAX_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_MAIL_BYTES:
                    return _error(413, "the email is larger than 30 MB", {"Connection": "close"})
                if not reserve(len(chunk)):
                    headers = {"Connection": "close", "Retry-After": "60"}
                    return _error(503, "too many emails are being received: nothing was stored", headers)
                write(chunk)
    except TimeoutError:
        return _error(408, "the email did not arrive in time", {"Connection": "close"})
    except ClientDisconnect:
        return _error(400, "the email is incomplete")
    return None


def _store_and_read(site: Site, provider: str, read: Callable[[], RawMail]) -> Response:
    try:
        stored = replies.receive(site.ctx, provider, [read()], site.clock.now())
    except InvalidInboundMail as error:
        return _error(400, f"{error}: nothing was stored")
    except InboxFull as error:
        return _error(503, str(error), {"Retry-After": "300"})
    result = ReplyResult()
    try:
        if stored:
            result = replies.process_pending(site.ctx, site.clock.now(), _MAX_BATCHES)
    except (NurtureError, DBAPIError) as error:
        # Log only the type: a database error's message repeats the statement's values.
        _log.warning("inbound_mail_deferred", extra={"error": type(error).__name__})
    return JSONResponse({"mails": 1, "matched": result.matched, "new": result.new})


def _error(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": reason}, status, headers)
