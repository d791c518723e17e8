"""The API for other programs: batches of signals, leads and outcomes, and a description of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Final

import anyio
import orjson
from anyio import to_thread
from fastapi import Depends, Request
from starlette.responses import Response

from nurture.journey.intake.api import batches, idempotency, outcome_batches
from nurture.journey.intake.api.batches import MOST, Taken
from nurture.journey.intake.api.idempotency import LONGEST_KEY, Answer, OtherBody
from nurture.journey.intake.api.tokens import Scope
from nurture.web.api.openapi import SOURCES, document
from nurture.web.auth import TheCaller, TheSite
from nurture.web.errors import Problem

AT_ONCE: Final = 4
"""Batches of leads that are worked on at the same time; others wait. More only wait for the database."""

SIGNALS_AT_ONCE: Final = 32
"""Batches of signals at the same time: those that wait for the database are then taken together."""

KEY: Final = "Idempotency-Key"
_JSON: Final = "application/json"
_LINE: Final = orjson.OPT_APPEND_NEWLINE

Work = Callable[[list[Any], Mapping[str, Any]], Taken]


async def body_of(request: Request, _caller: TheCaller) -> bytes:
    """Return the body of a request whose caller is known. Raises Problem for what is not JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _JSON or request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(
            415,
            "Not JSON",
            "The body must be JSON, not packed.",
            f"Send the header `Content-Type: {_JSON}` and no Content-Encoding.",
        )
    return await request.body()


TheBody = Annotated[bytes, Depends(body_of)]


async def post_signals(request: Request, site: TheSite, caller: TheCaller, body: TheBody) -> Response:
    """Take a batch of signals."""

    def work(items: list[Any], _batch: Mapping[str, Any]) -> Taken:
        return site.taking.post(items, site.ceilings.permit(caller, Scope.SIGNALS, site.clock.now()))

    return await _answered(request, site, caller, body, "signals", work)


async def post_leads(request: Request, site: TheSite, caller: TheCaller, body: TheBody) -> Response:
    """Take a batch of leads."""

    def work(items: list[Any], batch: Mapping[str, Any]) -> Taken:
        source = batch.get("source", batches.SOURCE)
        now = site.clock.now()
        permit = site.ceilings.permit(caller, Scope.LEADS, now)
        return batches.post_leads(site.house, source, items, caller.name, now, permit)

    return await _answered(request, site, caller, body, "leads", work)


async def post_outcomes(request: Request, site: TheSite, caller: TheCaller, body: TheBody) -> Response:
    """Take a batch of outcomes."""

    def work(items: list[Any], _batch: Mapping[str, Any]) -> Taken:
        return outcome_batches.post_outcomes(site.house, items, site.clock.now())

    return await _answered(request, site, caller, body, "outcomes", work)


def show_document() -> Response:
    """Show the description of the API."""
    return Response(_document(), media_type=_JSON)


def show_docs(site: TheSite) -> Response:
    """Show the description of the API to people; it needs nothing from elsewhere."""
    return site.look.page("api.html", api=document())


@cache
def _document() -> bytes:
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | _LINE)


async def _answered(
    request: Request, site: TheSite, caller: TheCaller, body: bytes, name: str, work: Work
) -> Response:
    keys = request.headers.getlist(KEY)
    if len(keys) > 1 or any(not 0 < len(key) <= LONGEST_KEY for key in keys):
        raise Problem(
            400,
            "Not a key",
            f"{KEY} must come once, with 1 to {LONGEST_KEY} characters.",
            "Send a fresh random UUID with each new batch, and the same one when you repeat it.",
        )

    def answer() -> Answer:
        batch = _batch(body, name)

        def once() -> Answer:
            site.ceilings.take(caller, len(batch[name]), site.clock.now())
            return Answer(202, orjson.dumps(_told(work(batch[name], batch)), option=_LINE).decode())

        if not keys:
            return once()
        asked = idempotency.Request(caller.token_id, request.url.path, keys[0], body)
        return idempotency.answer(site.house, asked, site.clock.now(), once)

    limiter: anyio.CapacityLimiter = request.app.state.working["signals" if name == "signals" else "others"]
    try:
        done = await to_thread.run_sync(answer, limiter=limiter)
    except OtherBody:
        raise Problem(
            409,
            "Another body",
            f"This {KEY} came before, with another body.",
            "Send the same bytes to repeat a batch, and a fresh key with a new one.",
        ) from None
    headers = {"Idempotency-Replayed": "true"} if done.again else None
    return Response(done.body, done.status, headers, _JSON)


def _told(taken: Taken) -> dict[str, Any]:
    return {
        "received": taken.received,
        "accepted": taken.accepted,
        **taken.counts,
        "rejected": taken.rejected,
    }


def _batch(body: bytes, name: str) -> dict[str, Any]:
    """Return the batch that *body* holds, its items in the list *name*. Raises Problem."""
    try:
        batch = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        detail = f"The body is not JSON: see line {error.lineno}, column {error.colno}."
        raise Problem(400, "Not JSON", detail, "Send JSON in UTF-8; /api/docs has examples.") from None
    write = f'Send {{"{name}": [...]}}, with 1 to {MOST:,} {name}.'
    known = {name} if name != "leads" else {name, "source"}
    if not isinstance(batch, dict) or not isinstance(batch.get(name), list) or not batch[name]:
        raise Problem(422, "Not a batch", f"The body holds no list of {name}.", write)
    if len(batch[name]) > MOST:
        detail = f"The batch holds {len(batch[name]):,} {name}; {MOST:,} are the most."
        raise Problem(422, "Too many", detail, f"Send batches of {MOST:,} or fewer.")
    if unknown := sorted(batch.keys() - known):
        raise Problem(422, "Not a batch", f"A batch has no field {unknown[0][:80]!r}.", write)
    source = batch.get("source", batches.SOURCE)
    if not isinstance(source, str) or not SOURCES.fullmatch(source):
        detail = "The source must be a short name of letters, digits, dots and dashes."
        raise Problem(422, "Not a source", detail, "Name the system whose ids the leads carry, such as crm.")
    return batch
