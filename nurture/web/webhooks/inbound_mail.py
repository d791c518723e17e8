"""The door for answers: SendGrid's Inbound Parse posts each mail here."""

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
from nurture.journey.engagement.replies import Taken
from nurture.mail.providers.sendgrid.inbound_form import NoForm, read_form
from nurture.mail.providers.sendgrid.signature import SIGNATURE, TIMESTAMP
from nurture.web.auth import MOST_MAIL, Site, TheSite

IN_MEMORY: Final = 256 * 1024
"""Bytes of a mail; what is larger waits on disk until it is read."""

MOST_SECONDS: Final = 60.0
"""How long a mail may take to come in."""


_NOT_SIGNED: Final = "the signature is missing or wrong: nothing was stored"

MOST_ON_DISK: Final = 20 * MOST_MAIL
"""Bytes of all mails that are coming in, or are read, at one time."""


_MOST_BATCHES: Final = 2
"""Batches of waiting mails that are read before a request is answered."""

_log: Final = logging.getLogger(__name__)


class Room:
    """How much of a place is left for what strangers send, before it is known who they are."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextmanager
    def shared(self) -> Iterator[Callable[[int], bool]]:
        """Yield what takes room for so many bytes, and says whether there was as much; give all back then."""
        taken = 0

        def take(size: int) -> bool:
            nonlocal taken
            taken += size
            self._left -= size
            return self._left >= 0

        try:
            yield take
        finally:
            self._left += taken


async def sendgrid_inbound(request: Request, site: TheSite) -> Response:
    """Take one mail that SendGrid signed, raw or taken apart: it is stored and then read when this says 200.

    A process of its own reads it. What could not be read is tried again by the next sweep. SendGrid brings a
    mail again for three days after 4xx and 5xx; each mail counts once.
    """
    if not site.inbound_keys:
        why = "NURTURE_SENDGRID_INBOUND_KEY is not set: nothing was stored"
        return _refused(503, why, {"Retry-After": "300"})
    signatures, times = request.headers.getlist(SIGNATURE), request.headers.getlist(TIMESTAMP)
    if not site.inbound_keys.may_have_signed(signatures, times, site.clock.now()):
        return _refused(401, _NOT_SIGNED, {"Connection": "close"})
    room: Room = request.app.state.room
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as body, room.shared() as take:
        digest = sha256(times[0].encode("latin-1"))

        def keep(chunk: bytes) -> None:
            digest.update(chunk)
            body.write(chunk)

        refusal = await _received(request, keep, take)
        if refusal is not None:
            return refusal
        if not site.inbound_keys.signed_digest(signatures, times, digest.digest()):
            return _refused(401, _NOT_SIGNED)
        kind = request.headers.get("content-type", "")
        limiter: anyio.CapacityLimiter = request.app.state.reading
        return await anyio.to_thread.run_sync(_take, site, body, kind, limiter=limiter)


async def _received(
    request: Request, keep: Callable[[bytes], None], take: Callable[[int], bool]
) -> Response | None:
    """Hand what comes in to *keep*, piece by piece; return why it is not taken, None once all is there."""
    size = 0
    try:
        with anyio.fail_after(MOST_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MOST_MAIL:
                    return _refused(413, "the mail is larger than 30 MB", {"Connection": "close"})
                if not take(len(chunk)):
                    later = {"Connection": "close", "Retry-After": "60"}
                    return _refused(503, "too many mails come in at once: nothing was stored", later)
                keep(chunk)
    except TimeoutError:
        return _refused(408, "the mail took too long", {"Connection": "close"})
    except ClientDisconnect:
        return _refused(400, "the mail breaks off")
    return None


def _take(site: Site, body: IO[bytes], content_type: str) -> Response:
    try:
        stored = replies.receive(site.house, "sendgrid", [read_form(body, content_type)], site.clock.now())
    except NoForm as error:
        return _refused(400, f"{error}: nothing was stored")
    except InboxFull as error:
        return _refused(503, str(error), {"Retry-After": "300"})
    taken = Taken()
    try:
        if stored:
            taken = replies.read_waiting(site.house, site.clock.now(), _MOST_BATCHES)
    except (NurtureError, DBAPIError) as error:
        # The type alone: a database's error repeats the values of its statement.
        _log.warning("mail_left_to_the_sweep", extra={"error": type(error).__name__})
    return JSONResponse({"mails": 1, "ours": taken.ours, "new": taken.new})


def _refused(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"refused": why}, status, headers)
