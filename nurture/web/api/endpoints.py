"""Endpoints of the API: batches of signals, leads and outcomes, and the API documentation."""

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
from nurture.journey.intake.api.batches import MAX_ITEMS, BatchResult
from nurture.journey.intake.api.idempotency import MAX_KEY_LENGTH, KeyedResponse, KeyReused
from nurture.journey.intake.api.tokens import TokenScope
from nurture.web.api.openapi import SOURCE_NAME, openapi_document
from nurture.web.auth import CallerDep, SiteDep
from nurture.web.errors import ApiError

MAX_CONCURRENT_BATCHES: Final = 4
"""Concurrent batches of leads; others queue. More would only wait for the database."""

MAX_CONCURRENT_SIGNAL_BATCHES: Final = 32
"""Concurrent batches of signals; those that wait for the database are written together."""

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
_JSON: Final = "application/json"
_NEWLINE: Final = orjson.OPT_APPEND_NEWLINE

BatchOperation = Callable[[list[Any], Mapping[str, Any]], BatchResult]


async def read_json_body(request: Request, _caller: CallerDep) -> bytes:
    """Return the body of an authenticated request. Raises ApiError if it is not JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _JSON or request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(
            415,
            "Not JSON",
            "The body must be uncompressed JSON.",
            f"Send the header `Content-Type: {_JSON}` and no Content-Encoding.",
        )
    return await request.body()


JsonBody = Annotated[bytes, Depends(read_json_body)]


async def post_signals(request: Request, site: SiteDep, caller: CallerDep, body: JsonBody) -> Response:
    """Store a batch of signals."""

    def write(items: list[Any], _batch: Mapping[str, Any]) -> BatchResult:
        return site.signal_batcher.post(
            items, site.token_rate_limits.make_permit(caller, TokenScope.SIGNALS, site.clock.now())
        )

    return await _post_batch(request, site, caller, body, "signals", write)


async def post_leads(request: Request, site: SiteDep, caller: CallerDep, body: JsonBody) -> Response:
    """Store a batch of leads."""

    def write(items: list[Any], batch: Mapping[str, Any]) -> BatchResult:
        source = batch.get("source", batches.SOURCE)
        now = site.clock.now()
        permit = site.token_rate_limits.make_permit(caller, TokenScope.LEADS, now)
        return batches.post_leads(site.ctx, source, items, caller.name, now, permit)

    return await _post_batch(request, site, caller, body, "leads", write)


async def post_outcomes(request: Request, site: SiteDep, caller: CallerDep, body: JsonBody) -> Response:
    """Store a batch of outcomes."""

    def write(items: list[Any], _batch: Mapping[str, Any]) -> BatchResult:
        return outcome_batches.post_outcomes(site.ctx, items, site.clock.now())

    return await _post_batch(request, site, caller, body, "outcomes", write)


def show_openapi() -> Response:
    """Return the OpenAPI document."""
    return Response(_openapi_json(), media_type=_JSON)


def show_docs(site: SiteDep) -> Response:
    """Show the API documentation as a self-contained page."""
    return site.templates.response("api.html", api=openapi_document())


@cache
def _openapi_json() -> bytes:
    return orjson.dumps(openapi_document(), option=orjson.OPT_INDENT_2 | _NEWLINE)


async def _post_batch(
    request: Request, site: SiteDep, caller: CallerDep, body: bytes, item_type: str, write: BatchOperation
) -> Response:
    keys = request.headers.getlist(IDEMPOTENCY_HEADER)
    if len(keys) > 1 or any(not 0 < len(key) <= MAX_KEY_LENGTH for key in keys):
        raise ApiError(
            400,
            "Invalid idempotency key",
            f"{IDEMPOTENCY_HEADER} must be sent once, with 1 to {MAX_KEY_LENGTH} characters.",
            "Send a new random UUID with each new batch, and the same one to repeat a batch.",
        )

    def respond() -> KeyedResponse:
        batch = _parse_batch(body, item_type)

        def run_batch() -> KeyedResponse:
            site.token_rate_limits.consume(caller, len(batch[item_type]), site.clock.now())
            return KeyedResponse(
                202, orjson.dumps(_result_to_dict(write(batch[item_type], batch)), option=_NEWLINE).decode()
            )

        if not keys:
            return run_batch()
        keyed_request = idempotency.KeyedRequest(caller.token_id, request.url.path, keys[0], body)
        return idempotency.respond_once(site.ctx, keyed_request, site.clock.now(), run_batch)

    limiter: anyio.CapacityLimiter = request.app.state.batch_limiters["signals" if item_type == "signals" else "others"]
    try:
        answer = await to_thread.run_sync(respond, limiter=limiter)
    except KeyReused:
        raise ApiError(
            409,
            "Idempotency key reused",
            f"This {IDEMPOTENCY_HEADER} was used before, with a different body.",
            "Send the same bytes to repeat a batch, and a new key with a new batch.",
        ) from None
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else None
    return Response(answer.body, answer.status, headers, _JSON)


def _result_to_dict(result: BatchResult) -> dict[str, Any]:
    return {"received": result.received, "accepted": result.accepted, **result.counts, "rejected": result.rejected}


def _parse_batch(body: bytes, item_type: str) -> dict[str, Any]:
    """Return the batch in *body*, whose items are in the list *item_type*. Raises ApiError."""
    try:
        batch = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        detail = f"The body is not valid JSON: see line {error.lineno}, column {error.colno}."
        raise ApiError(400, "Not JSON", detail, "Send JSON in UTF-8; /api/docs has examples.") from None
    remedy = f'Send {{"{item_type}": [...]}}, with 1 to {MAX_ITEMS:,} {item_type}.'
    known_fields = {item_type} if item_type != "leads" else {item_type, "source"}
    if not isinstance(batch, dict) or not isinstance(batch.get(item_type), list) or not batch[item_type]:
        raise ApiError(422, "Invalid batch", f"The body has no list of {item_type}.", remedy)
    if len(batch[item_type]) > MAX_ITEMS:
        detail = f"The batch has {len(batch[item_type]):,} {item_type}; the limit is {MAX_ITEMS:,}."
        raise ApiError(422, "Too many items", detail, f"Send batches of {MAX_ITEMS:,} or fewer.")
    if unknown := sorted(batch.keys() - known_fields):
        raise ApiError(422, "Invalid batch", f"A batch has no field {unknown[0][:80]!r}.", remedy)
    source = batch.get("source", batches.SOURCE)
    if not isinstance(source, str) or not SOURCE_NAME.fullmatch(source):
        detail = "The source must be a short name of letters, digits, dots and dashes."
        raise ApiError(422, "Invalid source", detail, "Name the system that the leads' ids come from, such as crm.")
    return batch
