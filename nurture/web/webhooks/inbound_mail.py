"""The endpoint for answers: SendGrid's Inbound Parse posts each mail here."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import IO, Final

import anyio
from fastapi import Request
from sqlalchemy.exc import DBAPIError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from nurture.errors import NurtureError
from nurture.journey.engagement import replies
from nurture.journey.engagement.inbound_mail import InboxFull
from nurture.journey.engagement.replies import ReplyResult
from nurture.mail.providers.sendgrid.inbound_form import InvalidForm, read_form
from nurture.mail.providers.sendgrid.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER
from nurture.web.auth import MAX_MAIL_BYTES, Site, SiteDep

MAX_IN_MEMORY: Final = 256 * 1024
"""Bytes of a mail; what is larger waits on disk until it is read."""

MAX_SECONDS: Final = 60.0
"""How long a mail may take to come in."""


_NOT_SIGNED: Final = "the signature is missing or wrong: nothing was stored"

MAX_ON_DISK: Final = 20 * MAX_MAIL_BYTES
"""Bytes of all mails that are coming in, or are read, at one time."""


_MAX_BATCHES: Final = 2
"""Batches of waiting mails that are read before a request is answered."""

_log: Final = logging.getLogger(__name__)


class DiskBudget:
    """How much of a place is left for what strangers send, before it is known who they are."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], bool]]:
        """Yield what takes room for so many bytes, and says whether there was as much; give all back then."""
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


async def sendgrid_inbound(request: Request, site: SiteDep) -> Response:
    """Take one mail that SendGrid signed, raw or taken apart: it is stored and then read when this says 200.

    A process of its own reads it. What could not be read is tried again by the next sweep. SendGrid brings a
    mail again for three days after 4xx and 5xx; each mail counts once.
    """
    if not site.inbound_keys:
        reason = "NURTURE_SENDGRID_INBOUND_KEY is not set: nothing was stored"
        return _error(503, reason, {"Retry-After": "300"})
    signatures, times = request.headers.getlist(SIGNATURE_HEADER), request.headers.getlist(TIMESTAMP_HEADER)
    if not site.inbound_keys.is_plausible(signatures, times, site.clock.now()):
        return _error(401, _NOT_SIGNED, {"Connection": "close"})
    disk_budget: DiskBudget = request.app.state.inbound_disk_budget
    with tempfile.SpooledTemporaryFile(MAX_IN_MEMORY) as body, disk_budget.reserve() as reserve:
        digest = sha256(times[0].encode("latin-1"))

        def write(chunk: bytes) -> None:
            digest.update(chunk)
            body.write(chunk)

        refusal = await _receive_body(request, write, reserve)
        if refusal is not None:
            return refusal
        if not site.inbound_keys.verify_digest(signatures, times, digest.digest()):
            return _error(401, _NOT_SIGNED)
        content_type = request.headers.get("content-type", "")
        limiter: anyio.CapacityLimiter = request.app.state.mail_limiter
        return await anyio.to_thread.run_sync(_store_and_read, site, body, content_type, limiter=limiter)


async def _receive_body(
    request: Request, write: Callable[[bytes], None], reserve: Callable[[int], bool]
) -> Response | None:
    """Hand what comes in to *write*, piece by piece; return why it is not taken, None once all is there."""
    size = 0
    try:
        with anyio.fail_after(MAX_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_MAIL_BYTES:
                    return _error(413, "the mail is larger than 30 MB", {"Connection": "close"})
                if not reserve(len(chunk)):
                    headers = {"Connection": "close", "Retry-After": "60"}
                    return _error(503, "too many mails come in at once: nothing was stored", headers)
                write(chunk)
    except TimeoutError:
        return _error(408, "the mail took too long", {"Connection": "close"})
    except ClientDisconnect:
        return _error(400, "the mail breaks off")
    return None


def _store_and_read(site: Site, body: IO[bytes], content_type: str) -> Response:
    try:
        stored = replies.receive(site.ctx, "sendgrid", [read_form(body, content_type)], site.clock.now())
    except InvalidForm as error:
        return _error(400, f"{error}: nothing was stored")
    except InboxFull as error:
        return _error(503, str(error), {"Retry-After": "300"})
    result = ReplyResult()
    try:
        if stored:
            result = replies.process_pending(site.ctx, site.clock.now(), _MAX_BATCHES)
    except (NurtureError, DBAPIError) as error:
        # The type alone: a database's error repeats the values of its statement.
        _log.warning("inbound_mail_deferred", extra={"error": type(error).__name__})
    return JSONResponse({"mails": 1, "matched": result.matched, "new": result.new})


def _error(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": reason}, status, headers)
