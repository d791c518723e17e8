from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from nurture.domain.delivery.receipts import Accepted, NotSent, Rejected, Unknown
from nurture.mail.providers.http_client import HttpResponse
from nurture.mail.providers.sendgrid.responses import receipt_for_response

OPENS = datetime(2026, 3, 4, 9, 31, tzinfo=UTC)
NGINX = b"<html><head><title>413 Request Entity Too Large</title></head></html>"


def receipt_for(status: int, body: bytes = b"", *, sandbox: bool = False, **headers: str) -> Any:
    return receipt_for_response(HttpResponse(status, headers, body), "touch:17:intro:1", OPENS, sandbox=sandbox)


def errors(message: str, field: str | None = None) -> bytes:
    return orjson.dumps({"errors": [{"message": message, "field": field, "help": None}]})


def test_202_is_accepted_with_the_providers_id_or_the_ref() -> None:
    assert receipt_for(202, **{"X-Message-Id": "abc"}) == Accepted("abc")
    assert receipt_for(202) == Accepted("touch:17:intro:1")


def test_200_is_accepted_in_sandbox_mode_only() -> None:
    assert receipt_for(200, sandbox=True) == Accepted("touch:17:intro:1")
    assert isinstance(receipt_for(200), Unknown)


def test_a_refusal_quotes_the_error_and_names_the_field() -> None:
    body = errors("Does not contain a valid address.", "personalizations.0.to.0.email")
    assert receipt_for(400, body) == Rejected(
        'SendGrid refused it (400): "Does not contain a valid address" about the recipient\'s address'
    )


def test_a_refusal_contains_no_address() -> None:
    body = errors("We found the first duplicate instance of [Aoife@Example.org] in the field.", "personalizations")
    assert "aoife" not in receipt_for(400, body).reason.lower()


@pytest.mark.parametrize(("status", "body"), [(413, NGINX), (413, b""), (400, b"\xff"), (415, b"{"), (400, b"[]")])
def test_a_refusal_with_an_unreadable_body_is_rejected(status: int, body: bytes) -> None:
    receipt = receipt_for(status, body)
    assert isinstance(receipt, Rejected)
    assert str(status) in receipt.reason


@pytest.mark.parametrize(
    ("field", "setting"), [("asm.group_id", "NURTURE_SENDGRID_ASM_GROUP"), ("ip_pool_name", "NURTURE_SENDGRID_IP_POOL")]
)
def test_a_wrong_setting_is_named_and_rejects_no_email(field: str, setting: str) -> None:
    receipt = receipt_for(400, errors("is invalid", field))
    assert isinstance(receipt, NotSent)
    assert receipt.blocks_all
    assert setting in receipt.reason


@pytest.mark.parametrize(
    ("status", "body", "named"),
    [
        (401, errors("authorization required"), "NURTURE_SENDGRID_KEY"),
        (401, errors("Maximum credits exceeded"), "plan"),
        (403, errors("access forbidden"), "permission Mail Send"),
        (403, errors("does not match a verified Sender Identity", "from"), "templates/defaults.yaml"),
        (404, b"", "NURTURE_SENDGRID_URL"),
        (405, b"", "NURTURE_SENDGRID_URL"),
        (301, b"", "NURTURE_SENDGRID_URL"),
    ],
)
def test_an_error_that_a_person_must_correct_blocks_and_names_the_setting(status: int, body: bytes, named: str) -> None:
    receipt = receipt_for(status, body)
    assert isinstance(receipt, NotSent)
    assert receipt.blocks_all != receipt.blocks_sender
    assert receipt.blocks_sender == (b"Sender Identity" in body)
    assert named in receipt.reason


def test_a_rate_limit_has_its_reset_time() -> None:
    receipt = receipt_for(429, errors("too many requests"))
    assert (receipt.retry_at, receipt.blocks_all) == (OPENS, True)


def test_a_503_is_not_sent_from_sendgrid_and_unknown_from_a_gateway() -> None:
    assert receipt_for(503, errors("The SendGrid v3 Web API is not available.")) == NotSent(
        'SendGrid is not available (503): "The SendGrid v3 Web API is not available"'
    )
    assert isinstance(receipt_for(503, b"upstream connect error or disconnect/reset before headers"), Unknown)


@pytest.mark.parametrize("status", [500, 502, 504, 507, 599, 204, 206, 303, 304])
def test_an_inconclusive_status_is_unknown(status: int) -> None:
    receipt = receipt_for(status, errors("internal server error"))
    assert isinstance(receipt, Unknown)
    assert str(status) in receipt.reason


@pytest.mark.parametrize("status", [402, 406, 409, 410, 422, 451])
def test_another_4xx_is_permanent_only_with_sendgrids_own_errors(status: int) -> None:
    assert isinstance(receipt_for(status, errors("no")), Rejected)
    assert isinstance(receipt_for(status, NGINX), NotSent)
