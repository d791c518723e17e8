"""Build the OpenAPI 3.1 document of the API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.formats import lead_item
from nurture.formats.lead_row import DATE_FIELDS
from nurture.formats.row_plan import MAX_CUSTOM
from nurture.journey.intake.api import batches, idempotency, outcome_batches
from nurture.journey.intake.api.tokens import TokenScope
from nurture.web import auth, errors

SOURCE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]{0,63}")
"""The pattern of a source name."""

_SCALAR_TYPES: Final = ["string", "number", "boolean", "null"]

_FIELD_DESCRIPTIONS: Final = {
    "external_id": "The lead's id in the system that `source` names.",
    "consent_basis": "Why the lead may be mailed: consent, contract, legitimate interest, ...",
    "consent_at": "When consent was given.",
    "opted_out": "The lead must not be mailed. Only the lead can lift this, by a new opt-in.",
    "demo_requested": "The lead asked for a demo.",
    "registered_at": "When the lead registered for a webinar or a trade fair.",
    "purchase_timeframe": "When the lead wants to buy, as text: within 3 months, Q3, 2027-03-31.",
    "owner": "The rep who owns the lead.",
    "zone": "The lead's time zone, such as Europe/Berlin.",
}

_EXAMPLE_SIGNALS: Final = {
    "signals": [
        {
            "lead": {"email": "ana@example.com"},
            "kind": "visited",
            "link": "/pricing",
            "occurred_at": "2026-11-20T09:30:00Z",
        },
        {
            "lead": {"external_id": "c1", "source": "crm"},
            "kind": "deciding",
            "value": "2027-03-31",
            "occurred_at": "2026-11-20T10:00:00+01:00",
            "id": "evt-0001",
        },
    ]
}
_EXAMPLE_OUTCOMES: Final = {
    "outcomes": [
        {
            "lead": {"email": "ana@example.com"},
            "closing": "won",
            "amount": 12500.0,
            "happened_at": "2026-11-20T09:30:00Z",
            "id": "deal-77",
        },
        {
            "lead": {"external_id": "c1", "source": "crm"},
            "closing": "lost",
            "reason": "chose another product",
            "happened_at": "2026-11-20T10:00:00+01:00",
        },
    ]
}
_EXAMPLE_LEADS: Final = {
    "source": "crm",
    "leads": [
        {
            "external_id": "c1",
            "email": "ana@example.com",
            "first_name": "Ana",
            "company": "Souza Foods",
            "country": "BR",
            "consent_basis": "consent",
            "custom": {"plan": "trial"},
        }
    ],
}


@cache
def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nurture",
            "version": version("nurture"),
            "description": (
                "Send leads, signals and outcomes to nurture. `nurture admin tokens create NAME --scope SCOPE` "
                "creates a token; send it as `Authorization: Bearer TOKEN`."
            ),
        },
        "paths": {
            auth.SIGNALS: {"post": _signals_path()},
            auth.LEADS: {"post": _leads_path()},
            auth.OUTCOMES: {"post": _outcomes_path()},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Signal": _signal_schema(),
                "Lead": _lead_schema(),
                "Outcome": _outcome_schema(),
                "Rejected": _rejected_schema(),
                "Problem": _problem_schema(),
            },
        },
    }


def _signals_path() -> dict[str, Any]:
    batch = {
        "type": "object",
        "required": ["signals"],
        "additionalProperties": False,
        "properties": {"signals": _array_of("Signal")},
    }
    return {
        "operationId": "postSignals",
        "summary": "Post signals: what leads did",
        "description": (
            "Page visits, forms, product usage, changes in the CRM. Each signal counts once, however often it is"
            " sent: by its `id`, or else by lead, kind, second, email, link and value. nurture reacts to it at once."
        ),
        **_operation(TokenScope.SIGNALS, batch, _EXAMPLE_SIGNALS, ("new", "known")),
    }


def _leads_path() -> dict[str, Any]:
    batch = {
        "type": "object",
        "required": ["leads"],
        "additionalProperties": False,
        "properties": {
            "source": {
                "type": "string",
                "pattern": f"^{SOURCE_NAME.pattern}$",
                "default": batches.SOURCE,
                "description": "The system that the leads' ids come from.",
            },
            "leads": _array_of("Lead"),
        },
    }
    return {
        "operationId": "postLeads",
        "summary": "Create or update leads",
        "description": (
            "Works like `nurture import`: a lead that is known by id or address is updated, an empty field "
            "deletes nothing, and a lead that opted out is not mailed again."
        ),
        **_operation(TokenScope.LEADS, batch, _EXAMPLE_LEADS, ("new", "updated", "unchanged")),
    }


def _outcomes_path() -> dict[str, Any]:
    batch = {
        "type": "object",
        "required": ["outcomes"],
        "additionalProperties": False,
        "properties": {"outcomes": _array_of("Outcome")},
    }
    return {
        "operationId": "postOutcomes",
        "summary": "Post outcomes: how leads ended",
        "description": (
            "Won with an amount, lost with a reason. The lead is closed whatever its custody; an outcome that"
            " contradicts an earlier one is kept for a person to resolve. Each counts once: by its `id`, or else by"
            " lead, closing, time, amount and reason."
        ),
        **_operation(TokenScope.OUTCOMES, batch, _EXAMPLE_OUTCOMES, outcome_batches.COUNTS),
    }


def _outcome_schema() -> dict[str, Any]:
    max_lengths = outcome_batches.FIELDS
    return {
        "type": "object",
        "required": ["lead", "closing", "happened_at"],
        "additionalProperties": False,
        "properties": {
            "lead": {"oneOf": _lead_references(), "description": "The lead; it must exist."},
            "closing": {"type": "string", "enum": [closing.value for closing in Closing]},
            "happened_at": {
                "type": "string",
                "format": "date-time",
                "description": (f"With its zone; not in the future, and not older than {batches.MAX_AGE.days} days."),
            },
            "amount": {
                "type": ["number", "null"],
                "minimum": 0,
                "maximum": outcome_batches.MAX_AMOUNT,
                "description": "The value of a won deal; only for won leads.",
            },
            "reason": _text_schema(max_lengths["reason"], "Why the lead ended; required for lost and discarded."),
            "id": _text_schema(max_lengths["id"], "Your id of this outcome: sent again, it counts once."),
        },
    }


def _operation(
    scope: TokenScope, batch: dict[str, Any], example: dict[str, Any], counts: tuple[str, ...]
) -> dict[str, Any]:
    hours = int(idempotency.RETENTION.total_seconds() // 3600)
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": idempotency.MAX_KEY_LENGTH,
            "pattern": "^[A-Za-z0-9_.-]+$",
        },
        "description": f"The same key with the same body gets the same response for {hours} hours.",
    }
    return {
        "security": [{"token": [scope.value]}],
        "parameters": [key],
        "requestBody": {"required": True, "content": {"application/json": {"schema": batch, "example": example}}},
        "responses": {
            "202": {
                "description": "Valid items were stored. Rejected items are listed with reason and remedy.",
                "content": {"application/json": {"schema": _batch_result_schema(counts)}},
            },
            **{status: _error_response(description) for status, description in _ERROR_RESPONSES.items()},
        },
    }


_ERROR_RESPONSES: Final = {
    "400": "Invalid JSON, or an invalid Idempotency-Key.",
    "401": "No token, or an invalid one.",
    "403": f"The token lacks the scope. Scopes: {', '.join(TokenScope)}.",
    "408": "The body did not arrive in time.",
    "409": "This Idempotency-Key was used before, with a different body.",
    "413": f"A body over {auth.MAX_BATCH_BYTES:,} bytes.",
    "415": "Not application/json.",
    "422": f"Not a valid batch, or more than {batches.MAX_ITEMS:,} items.",
    "429": "Too many requests or items, or too much data at once. Retry after the time in Retry-After.",
    "503": "The database is not available. Retry later.",
}


def _error_response(description: str) -> dict[str, Any]:
    return {"description": description, "content": {errors.MEDIA_TYPE: {"schema": _ref("Problem")}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _array_of(name: str) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "maxItems": batches.MAX_ITEMS, "items": _ref(name)}


def _batch_result_schema(counts: tuple[str, ...]) -> dict[str, Any]:
    numbers = {name: {"type": "integer", "minimum": 0} for name in ("received", "accepted", *counts)}
    return {
        "type": "object",
        "required": [*numbers, "rejected"],
        "additionalProperties": False,
        "properties": {**numbers, "rejected": {"type": "array", "items": _ref("Rejected")}},
    }


def _signal_schema() -> dict[str, Any]:
    max_lengths = batches.SIGNAL_FIELDS
    return {
        "type": "object",
        "required": ["lead", "kind", "occurred_at"],
        "additionalProperties": False,
        "properties": {
            "lead": {"oneOf": _lead_references(), "description": "The lead; it must exist."},
            "kind": {"type": "string", "enum": [kind.value for kind in SignalKind]},
            "occurred_at": {
                "type": "string",
                "format": "date-time",
                "description": (f"With its zone; not in the future, and not older than {batches.MAX_AGE.days} days."),
            },
            "value": _text_schema(max_lengths["value"], "The value; for `deciding` the date, such as 2027-03-31."),
            "email": _text_schema(max_lengths["email"], "The email (step) that the lead reacted to, such as 01-hello."),
            "link": _text_schema(max_lengths["link"], "The page, link or product feature. Conditions can test it."),
            "id": _text_schema(max_lengths["id"], "Your id of this event: sent again, it counts once."),
        },
    }


def _lead_references() -> list[dict[str, Any]]:
    max_lengths = batches.LEAD_REF_FIELDS
    by_id = {"id": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}}
    by_email = {"email": {"type": "string", "minLength": 1, "maxLength": max_lengths["email"], "pattern": r"\S"}}
    by_key = {
        "external_id": {"type": "string", "minLength": 1, "maxLength": max_lengths["external_id"], "pattern": r"\S"},
        "source": {"type": "string", "minLength": 1, "maxLength": max_lengths["source"], "pattern": r"\S"},
    }
    return [
        {"type": "object", "required": [*properties], "additionalProperties": False, "properties": properties}
        for properties in (by_id, by_email, by_key)
    ]


def _text_schema(max_length: int, description: str) -> dict[str, Any]:
    return {"type": ["string", "null"], "maxLength": max_length, "description": description}


def _lead_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": ["email"]}, {"required": ["external_id"]}],
        "properties": {
            **{name: _field_schema(name) for name in lead_item.FIELD_NAMES},
            lead_item.CUSTOM: {
                "type": ["object", "null"],
                "maxProperties": MAX_CUSTOM,
                "additionalProperties": {"type": _SCALAR_TYPES, "maxLength": lead_item.MAX_VALUE_LENGTH},
                "description": "Custom fields; rules and emails can use them.",
            },
        },
    }


def _field_schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _SCALAR_TYPES, "maxLength": lead_item.MAX_VALUE_LENGTH}
    if name in DATE_FIELDS:
        schema = {"type": ["string", "null"], "format": "date-time"}
    if name in ("email", "external_id"):
        schema = {"type": ["string", "null"], "maxLength": lead_item.MAX_VALUE_LENGTH}
    return {**schema, **({"description": _FIELD_DESCRIPTIONS[name]} if name in _FIELD_DESCRIPTIONS else {})}


def _rejected_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["index", "field", "reason", "remedy"],
        "additionalProperties": False,
        "properties": {
            "index": {"type": "integer", "minimum": 0, "description": "The position of the item in the batch, from 0."},
            "field": {"type": "string", "description": "The field; empty if no single field is wrong."},
            "reason": {"type": "string"},
            "remedy": {"type": "string"},
        },
    }


def _problem_schema() -> Mapping[str, Any]:
    text_fields = {name: {"type": "string"} for name in ("type", "title", "detail", "remedy")}
    return {
        "type": "object",
        "required": [*text_fields, "status"],
        "properties": {**text_fields, "status": {"type": "integer"}},
    }
