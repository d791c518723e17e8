"""The door for answers: SendGrid's Inbound Parse posts each mail here."""

from __future__ import annotations

import tempfile
from hashlib import sha256
from typing import IO, Final

import anyio
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from nurture.journey import replies
from nurture.mail.sendgrid_signature import SIGNATURE, TIMESTAMP

from .access import MOST_MAIL, Site, TheSite
from .mailform import NoForm, mail_of, read_form

IN_MEMORY: Final = 256 * 1024
"""Bytes of a mail; what is larger waits on disk until it is read."""

MOST_SECONDS: Final = 60.0
"""How long a mail may take to come in."""


async def sendgrid_inbound(request: Request, site: TheSite) -> Response:
    """Take one mail that SendGrid signed, raw or taken apart. It had its effects when this says 200.

    SendGrid brings it again for three days after 4xx and 5xx; each mail counts once.
    """
    if not site.inbound_keys:
        why = "NURTURE_SENDGRID_INBOUND_KEY is not set: nothing was stored"
        return _refused(503, why, {"Retry-After": "300"})
    signatures, times = request.headers.getlist(SIGNATURE), request.headers.getlist(TIMESTAMP)
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as body:
        digest = sha256(times[0].encode("latin-1") if times else b"")
        size = 0
        try:
            with anyio.fail_after(MOST_SECONDS):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > MOST_MAIL:
                        return _refused(413, "the mail is larger than 30 MB", {"Connection": "close"})
                    digest.update(chunk)
                    body.write(chunk)
        except TimeoutError:
            return _refused(408, "the mail took too long", {"Connection": "close"})
        except ClientDisconnect:
            return _refused(400, "the mail breaks off")
        if not site.inbound_keys.signed_digest(signatures, times, digest.digest()):
            return _refused(401, "the signature is missing or wrong: nothing was stored")
        kind = request.headers.get("content-type", "")
        limiter: anyio.CapacityLimiter = request.app.state.reading
        return await anyio.to_thread.run_sync(_take, site, body, kind, limiter=limiter)


def _take(site: Site, body: IO[bytes], content_type: str) -> Response:
    try:
        mail = mail_of(read_form(body, content_type))
    except NoForm as error:
        return _refused(400, f"{error}: nothing was stored")
    taken = replies.take(site.house, [mail], site.clock.now())
    return JSONResponse({"mails": taken.mails, "ours": taken.ours, "new": taken.new})


def _refused(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"refused": why}, status, headers)
