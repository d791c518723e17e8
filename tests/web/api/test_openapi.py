"""The API conforms to its OpenAPI document for any input."""

from __future__ import annotations

import json
import re
import warnings
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator, validators

from nurture.domain.lead import Closing
from nurture.domain.plain_text import replace_control_characters
from nurture.domain.signals import SignalKind
from nurture.journey.intake.api import tokens
from nurture.journey.intake.api.tokens import TokenScope
from nurture.web.routes import ACCESS, DOCS, LEADS, OPENAPI, ApiRoute
from tests.web.world import NOW, World

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports use deprecated features
    import schemathesis
    from schemathesis import Case, GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
a_few = settings(
    max_examples=40,
    phases=[Phase.generate],  # shrinking takes minutes
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


# What the document says of an item, in the words of an error.
SCHEMA_REASON = re.compile(
    r"(?:(no such field|is not text|characters long|not a (whole )?number|is below [\d,]+|is over [\d,]+|be an object|"
    r"object or a list|custom fields|needs (lead|kind|closing|occurred_at|happened_at))|^Unknown .*)\.$",
    re.DOTALL,
)

# A whole number is written without a decimal point; JSON Schema would take 1.0 for one.
_WHOLE = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, given: type(given) is int)
_Validator = validators.extend(Draft202012Validator, type_checker=_WHOLE)


@pytest.fixture
def document(sqlite_world: World) -> dict[str, Any]:
    found: dict[str, Any] = sqlite_world.client.get(OPENAPI).json()
    return found


def test_every_route_for_programs_is_described_and_nothing_else(document: dict[str, Any]) -> None:
    assert set(document["paths"]) == {path for path, policy in ACCESS.items() if isinstance(policy, ApiRoute)}
    for path, methods in document["paths"].items():
        policy = ACCESS[path]
        assert isinstance(policy, ApiRoute)
        assert {method.upper() for method in methods} == policy.methods
        assert methods["post"]["security"] == [{"token": [policy.scope.value]}]


def test_the_description_is_a_valid_openapi_document(document: dict[str, Any]) -> None:
    schemathesis.openapi.from_dict(document).validate()
    references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert references <= set(document["components"]["schemas"])


def test_the_description_is_public_and_loads_no_other_resource(sqlite_world: World, document: dict[str, Any]) -> None:
    page = sqlite_world.client.get(DOCS)
    assert page.status_code == 200
    assert not re.search(r"<script|<img|<link|\bsrc=|https?://", page.text)
    for path in document["paths"]:
        assert path in page.text
    for name in ("SignalItem", "LeadItem", "OutcomeItem"):
        for field in document["components"]["schemas"][name]["properties"]:
            assert f"<code>{field}</code>" in page.text
    for name in (*SignalKind, *Closing):
        assert name in page.text


def test_the_example_of_each_route_is_accepted(sqlite_world: World, document: dict[str, Any]) -> None:
    token = tokens.create_token(sqlite_world.ctx, "program", list(TokenScope), NOW)
    paths = [path for path in sorted(document["paths"]) if path != LEADS]
    at = datetime.fromisoformat(
        document["components"]["schemas"]["SignalItem"]["properties"]["occurred_at"]["examples"][0]
    )
    sqlite_world.clock.advance_to(at)
    for path in (LEADS, *paths):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        answer = sqlite_world.client.post(path, json=body, headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (202, 1, [])


@pytest.mark.parametrize("place", [0, 1, 2], ids=["signals", "leads", "outcomes"])
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_api_accepts_what_its_description_allows_and_nothing_else(
    sqlite_world: World, document: dict[str, Any], place: int, mode: GenerationMode
) -> None:
    token = tokens.create_token(sqlite_world.ctx, "program", list(TokenScope), NOW)
    operation = list(schemathesis.openapi.from_dict(document).get_all_operations())[place].ok()
    model = f"{operation.path.rpartition('/')[2].title().removesuffix('s')}Item"
    schema = _Validator({"$ref": f"#/components/schemas/{model}", "components": document["components"]})
    statuses: list[int] = []
    items = {True: 0, False: 0}

    @a_few
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Case) -> None:
        answer = _answer(sqlite_world, token, case)
        statuses.append(answer.status_code)
        case.validate_response(answer, checks=CHECKS)
        if mode is GenerationMode.POSITIVE:
            assert answer.status_code in (202, 409)  # the same key may come with another body
        if answer.status_code == 202:
            reasons = {one["index"]: one["reason"] for one in answer.json()["rejected"]}
            for index, item in enumerate(case.body[operation.path.rpartition("/")[2]]):
                valid = schema.is_valid(_cleaned(item))
                items[valid] += 1
                assert not valid or not SCHEMA_REASON.search(reasons.get(index, "")), (item, reasons[index])
                assert valid or index in reasons, item

    answered()
    assert 202 in statuses
    assert items[mode is GenerationMode.POSITIVE]


def _cleaned(item: Any) -> Any:
    """Return an item as it is read: without control characters, outer spaces and fields that count as absent."""
    if isinstance(item, str):
        return replace_control_characters(item).strip()
    if not isinstance(item, dict):
        return item
    cleaned = {name: _cleaned(value) for name, value in item.items()}
    return {name: value for name, value in cleaned.items() if value not in (None, "")}


def _answer(world: World, token: str, case: Case) -> Any:
    keys = {name: text for name, text in (case.headers or {}).items() if name.lower() == "idempotency-key"}
    all_headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    body = json.dumps(case.body if isinstance(case.body, dict | list | str | int | float) else None)
    headers = {**all_headers, **{name: text.encode("utf-8", "replace") for name, text in keys.items()}}
    return world.client.request(case.method, case.path, content=body, headers=headers)
