"""Describe the API. FastAPI writes the OpenAPI document from the routes, pydantic from the models that parse bodies."""

from collections.abc import Callable
from inspect import getdoc
from typing import Any, Final, Literal, NamedTuple

from fastapi import FastAPI
from pydantic import TypeAdapter, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from nurture.formats.lead_item import LeadItem
from nurture.journey.intake.api import idempotency
from nurture.journey.intake.api.batches import BatchResult, ItemError
from nurture.journey.intake.api.items import (
    MAX_ITEMS,
    Batch,
    LeadBatch,
    OutcomeBatch,
    OutcomeItem,
    SignalBatch,
    SignalItem,
)
from nurture.journey.intake.api.tokens import Caller, TokenScope
from nurture.web import errors, routes
from nurture.web.site import Site

DESCRIPTION: Final = (
    "Send leads, signals and outcomes to nurture. `nurture admin tokens create NAME --scope SCOPE` creates a token;"
    " send it as `Authorization: Bearer TOKEN`. A field that is null or blank counts as absent."
)

_COMPONENTS: Final = "#/components/schemas/{model}"
_MODELS: Final = (SignalBatch, SignalItem, LeadBatch, LeadItem, OutcomeBatch, OutcomeItem, errors.Problem)
_KEY: Final = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": f"^{idempotency.KEY.pattern}$"},
    "description": (
        "The same key with the same body gets the same response for"
        f" {idempotency.RETENTION.total_seconds() / 3600:.0f} hours."
    ),
}
_ERRORS: Final = {
    400: "Invalid JSON, or an invalid Idempotency-Key.",
    401: "No token, or an invalid one.",
    403: f"The token lacks the scope. Scopes: {', '.join(TokenScope)}.",
    408: "The body did not arrive in time.",
    409: "This Idempotency-Key was used before, with a different body.",
    413: f"A body over {routes.MAX_BATCH_BYTES:,} bytes.",
    415: "Not application/json.",
    422: f"Not a valid batch, or more than {MAX_ITEMS:,} items.",
    429: "Too many requests or items, or too much data at once. Retry after the time in Retry-After.",
    503: "The database is not available. Retry later.",
}


class _Schemas(GenerateJsonSchema):
    """Schemas without null and without titles."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return super().default_schema(schema) if schema.get("default") else self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


class BatchRoute(NamedTuple):
    """A route that takes batches of *model*, which *write* stores. Its docstring is the description of the route.

    *counts* are the counts of the result.
    """

    summary: str
    model: type[Batch]
    counts: tuple[str, ...]
    write: Callable[[Site, Caller, Any], BatchResult]


def describe(path: str, route: BatchRoute) -> dict[str, Any]:
    """Return the arguments of `add_api_route` that describe a route."""
    policy, model = routes.ACCESS[path], route.model
    assert isinstance(policy, routes.ApiRoute)
    result: dict[str, Any] = dict.fromkeys(("received", "accepted", *route.counts), int)
    result |= {"rejected": list[ItemError], "notes": (list[str], [])}
    problem = {"content": {errors.MEDIA_TYPE: {"schema": {"$ref": _COMPONENTS.format(model="Problem")}}}}
    body = {
        "schema": {"$ref": _COMPONENTS.format(model=model.__name__)},
        "example": {field.alias or name: (field.examples or [""])[0] for name, field in model.model_fields.items()},
    }
    return {
        "summary": route.summary,
        "description": getdoc(route.write),
        "status_code": 202,
        "response_model": create_model(f"{model.__name__}Result", **result),
        "response_description": "Valid items were stored. Rejected items are listed with reason and remedy.",
        "responses": {status: {"description": text, **problem} for status, text in _ERRORS.items()},
        "openapi_extra": {
            "security": [{"token": [policy.scope]}],
            "parameters": [_KEY],
            "requestBody": {"required": True, "content": {"application/json": body}},
        },
    }


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of *app*."""
    document = app.openapi()
    components = document["components"]
    if "securitySchemes" not in components:  # written last: another thread may read the document meanwhile
        adapters: list[tuple[Any, Literal["validation"], TypeAdapter[Any]]]
        adapters = [(model, "validation", TypeAdapter(model)) for model in _MODELS]
        _, schemas = TypeAdapter.json_schemas(adapters, ref_template=_COMPONENTS, schema_generator=_Schemas)
        components["schemas"] |= schemas["$defs"]
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return document
