"""Endpoints of the API: batches of signals, leads and outcomes, and the API documentation."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import anyio
import orjson
from anyio import to_thread
from fastapi import Depends, Request
from starlette.responses import Response

from nurture.formats.items import InvalidItem, read_item
from nurture.journey.intake.api import batches, idempotency
from nurture.journey.intake.api.batches import LEAD_COUNTS, SIGNAL_COUNTS, BatchResult
from nurture.journey.intake.api.idempotency import HEADER, KeyedResponse, KeyReused
from nurture.journey.intake.api.items import Batch, LeadBatch, OutcomeBatch, SignalBatch
from nurture.journey.intake.api.tokens import Caller, TokenScope
from nurture.journey.outcomes.outcomes import VERDICTS
from nurture.web import routes
from nurture.web.api.openapi import BatchRoute, openapi_document
from nurture.web.auth import CallerDep
from nurture.web.errors import WebError
from nurture.web.site import Site, SiteDep

MAX_CONCURRENT_BATCHES: Final = 4
"""Concurrent batches of leads; others queue. More would only wait for the database."""

MAX_CONCURRENT_SIGNAL_BATCHES: Final = 32
"""Concurrent batches of signals; those that wait for the database are written together."""

_JSON: Final = "application/json"
_NEWLINE: Final = orjson.OPT_APPEND_NEWLINE


async def read_json_body(request: Request, _caller: CallerDep) -> bytes:
    """Return the body of an authenticated request. Raises WebError if it is not JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _JSON or request.headers.get("content-encoding", "identity").lower() != "identity":
        raise WebError(
            415,
            "Not JSON",
            "The body must be uncompressed JSON.",
            f"Send the header `Content-Type: {_JSON}` and no Content-Encoding.",
        )
    return await request.body()


JsonBody = Annotated[bytes, Depends(read_json_body)]


def _write_signals(site: Site, caller: Caller, batch: SignalBatch) -> BatchResult:
    """Page visits, forms, product usage, changes in the CRM.

    Each signal counts once, however often it is sent: by its `id`, or else by lead, kind, second, email, link and
    value. nurture reacts to it at once.
    """
    permit = site.token_rate_limits.make_permit(caller, TokenScope.SIGNALS, site.clock.now())
    return site.signal_batcher.post(batch.items, permit)


def _write_leads(site: Site, caller: Caller, batch: LeadBatch) -> BatchResult:
    """Works like `nurture import`.

    A lead that is known by id or address is updated, an empty field deletes nothing, and a lead that opted out is
    not mailed again.
    """
    now = site.clock.now()
    permit = site.token_rate_limits.make_permit(caller, TokenScope.LEADS, now)
    return batches.post_leads(site.ctx, batch.source, batch.items, caller.name, now, permit)


def _write_outcomes(site: Site, _caller: Caller, batch: OutcomeBatch) -> BatchResult:
    """Won with an amount, lost with a reason.

    The lead is closed whatever its custody; an outcome that contradicts an earlier one is kept for a person to
    resolve. Each counts once: by its `id`, or else by lead, closing, time, amount and reason.
    """
    return batches.post_outcomes(site.ctx, batch.items, site.clock.now())


BATCHES: Final[Mapping[str, BatchRoute]] = {
    routes.SIGNALS: BatchRoute("Post signals: what leads did", SignalBatch, SIGNAL_COUNTS, _write_signals),
    routes.LEADS: BatchRoute("Create or update leads", LeadBatch, LEAD_COUNTS, _write_leads),
    routes.OUTCOMES: BatchRoute("Post outcomes: how leads ended", OutcomeBatch, VERDICTS, _write_outcomes),
}
"""The routes that take batches, by path."""


def show_openapi(request: Request) -> Response:
    """Return the OpenAPI document."""
    return Response(
        orjson.dumps(openapi_document(request.app), option=orjson.OPT_INDENT_2 | _NEWLINE), media_type=_JSON
    )


def show_docs(request: Request, site: SiteDep) -> Response:
    """Show the API documentation as a self-contained page."""
    return site.templates.response("api.html", api=openapi_document(request.app))


async def post_batch(request: Request, site: SiteDep, caller: CallerDep, body: JsonBody) -> Response:
    """Store a batch, once for each idempotency key."""
    route = BATCHES[request.url.path]
    keys = request.headers.getlist(HEADER)
    if len(keys) > 1 or not all(map(idempotency.KEY.fullmatch, keys)):
        raise WebError(
            400,
            "Invalid idempotency key",
            f"{HEADER} must be sent once, with 1 to 255 letters, digits and signs, without spaces.",
            "Send a new random UUID with each new batch, and the same one to repeat a batch.",
        )

    def respond() -> KeyedResponse:
        batch = _parse_batch(body, route.model)

        def run_batch() -> KeyedResponse:
            site.token_rate_limits.consume(caller, len(batch.items), site.clock.now())
            result = route.write(site, caller, batch)
            content: dict[str, Any] = {"received": result.received, "accepted": result.accepted, **result.counts}
            content |= {"rejected": result.rejected, **({"notes": result.notes} if result.notes else {})}
            return KeyedResponse(202, orjson.dumps(content, option=_NEWLINE).decode())

        if not keys:
            return run_batch()
        keyed_request = idempotency.KeyedRequest(caller.token_id, request.url.path, keys[0], body)
        return idempotency.respond_once(site.ctx, keyed_request, site.clock.now(), run_batch)

    name = "signals" if route.model is SignalBatch else "others"
    limiter: anyio.CapacityLimiter = request.app.state.batch_limiters[name]
    try:
        answer = await to_thread.run_sync(respond, limiter=limiter)
    except KeyReused:
        raise WebError(
            409,
            "Idempotency key reused",
            f"This {HEADER} was used before, with a different body.",
            "Send the same bytes to repeat a batch, and a new key with a new batch.",
        ) from None
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else None
    return Response(answer.body, answer.status, headers, _JSON)


def _parse_batch(body: bytes, model: type[Batch]) -> Batch:
    """Return the batch in *body*; its items are not parsed yet. Raises WebError."""
    try:
        return read_item(model, orjson.loads(body))
    except orjson.JSONDecodeError as error:
        detail = f"The body is not valid JSON: see line {error.lineno}, column {error.colno}."
        raise WebError(400, "Not JSON", detail, "Send JSON in UTF-8; /api/docs has examples.") from None
    except InvalidItem as wrong:
        detail = f"{wrong.field}: {wrong.reason}" if wrong.field else wrong.reason
        raise WebError(422, "Invalid batch", detail, wrong.remedy) from None
