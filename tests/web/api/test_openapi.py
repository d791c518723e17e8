"""The API conforms to its OpenAPI document for any input."""

from __future__ import annotations

import json
import re
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from nurture.journey.intake.api import tokens
from nurture.journey.intake.api.tokens import TokenScope
from nurture.web.api.openapi import openapi_document
from nurture.web.auth import ACCESS, DOCS, OPENAPI, ApiRoute
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
    max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_every_route_for_programs_is_described_and_nothing_else() -> None:
    assert set(openapi_document()["paths"]) == {path for path, policy in ACCESS.items() if isinstance(policy, ApiRoute)}
    for path, methods in openapi_document()["paths"].items():
        policy = ACCESS[path]
        assert isinstance(policy, ApiRoute)
        assert {method.upper() for method in methods} == policy.methods
        assert methods["post"]["security"] == [{"token": [policy.scope.value]}]


def test_the_description_is_public_and_loads_no_other_resource(sqlite_world: World) -> None:
    assert sqlite_world.client.get(OPENAPI).json() == openapi_document()
    page = sqlite_world.client.get(DOCS)
    assert page.status_code == 200
    assert not re.search(r"<script|<img|<link|\bsrc=|https?://", page.text)
    for path in openapi_document()["paths"]:
        assert path in page.text
    for name in ("Signal", "Lead", "Outcome"):
        for field in openapi_document()["components"]["schemas"][name]["properties"]:
            assert f"<code>{field}</code>" in page.text


@pytest.mark.parametrize("place", [0, 1, 2], ids=["signals", "leads", "outcomes"])
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_api_conforms_to_its_description_for_any_input(
    sqlite_world: World, place: int, mode: GenerationMode
) -> None:
    token = tokens.create_token(sqlite_world.ctx, "program", list(TokenScope), NOW)
    operation = list(schemathesis.openapi.from_dict(openapi_document()).get_all_operations())[place].ok()
    statuses: list[int] = []

    @a_few
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Case) -> None:
        answer = _answer(sqlite_world, token, case)
        statuses.append(answer.status_code)
        case.validate_response(answer, checks=CHECKS)
        if mode is GenerationMode.POSITIVE:
            assert answer.status_code in (202, 409)  # the same key may come with another body

    answered()
    assert 202 in statuses


def _answer(world: World, token: str, case: Case) -> Any:
    keys = {name: text for name, text in (case.headers or {}).items() if name.lower() == "idempotency-key"}
    all_headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    body = json.dumps(case.body if isinstance(case.body, dict | list | str | int | float) else None)
    headers = {**all_headers, **{name: text.encode("utf-8", "replace") for name, text in keys.items()}}
    return world.client.request(case.method, case.path, content=body, headers=headers)
