"""Answer a request that comes again as it was answered first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from nurture.journey.intake.api import queries
from nurture.runtime.context import House

KEPT_FOR: Final = timedelta(hours=48)
LONGEST_KEY: Final = 255


class Request(NamedTuple):
    """What came: who sent it where, under which key, and every byte of it."""

    token_id: int
    path: str
    key: str
    body: bytes


class Answer(NamedTuple):
    """A status of HTTP and a body. *again*: it was given before."""

    status: int
    body: str
    again: bool = False


class OtherBody(Exception):
    """A key came before, with another body."""


def answer(house: House, request: Request, now: datetime, work: Callable[[], Answer]) -> Answer:
    """Return what *work* answers, or what it answered when the same request came before.

    *work* may run twice, if it was broken off or two come at once: it must do no harm then. Raises OtherBody.
    """
    key = sha256(f"{request.path}\n{request.key}".encode()).hexdigest()
    digest = sha256(request.body).hexdigest()
    sweep(house, now)
    with house.database.write() as connection:
        kept = queries.reserve(house.database, connection, request.token_id, key, digest, now)
    if kept.digest != digest:
        raise OtherBody
    if kept.status is not None and kept.answer is not None:
        return Answer(kept.status, kept.answer, again=True)
    done = work()
    with house.database.write() as connection:
        first = queries.keep(connection, request.token_id, key, done.status, done.body)
    if first is None or first.status is None or first.answer in (None, done.body):
        return done
    return Answer(first.status, first.answer or "", again=True)  # another was faster with the same


def sweep(house: House, now: datetime) -> None:
    """Forget answers whose time is over: they may quote what was sent. Without any this writes nothing."""
    before = now - KEPT_FOR
    with house.database.read() as connection:
        over = queries.any_before(connection, before)
    if over:
        with house.database.write() as connection:
            queries.forget(connection, before)
