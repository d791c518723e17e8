"""The Postmark double refuses what the real API refuses, with its error codes."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import orjson
import pytest

from tests.doubles.postmark import TOKEN, PostmarkDouble, refusals

GOOD: dict[str, Any] = {
    "From": '"Mara" <mara@example.com>',
    "To": "ann@example.org",
    "Subject": "Hello",
    "TextBody": "Hi",
    "MessageStream": "broadcast",
}
HEADERS = {"X-Postmark-Server-Token": TOKEN, "Accept": "application/json", "Content-Type": "application/json"}


@pytest.fixture
def double() -> Iterator[PostmarkDouble]:
    with PostmarkDouble() as double:
        yield double


def post(double: PostmarkDouble, path: str, body: Any, headers: dict[str, str] = HEADERS) -> tuple[int, Any]:
    connection = HTTPConnection(double.url.removeprefix("http://"), timeout=10)
    connection.request("POST", path, body if isinstance(body, bytes) else orjson.dumps(body), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, orjson.loads(content) if content.startswith((b"{", b"[")) else content


def test_a_good_message_is_accepted_alone_and_in_a_batch(double: PostmarkDouble) -> None:
    status, one = post(double, "/email", GOOD)
    assert (status, one["ErrorCode"], one["To"]) == (200, 0, "ann@example.org")
    status, many = post(double, "/email/batch", [GOOD, {**GOOD, "To": "nobody"}])
    assert (status, [result["ErrorCode"] for result in many]) == (200, [0, 300])
    assert "MessageID" not in many[1]
    assert len(double.sent) == 2


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"X-Postmark-Server-Token": None}, 401, 10),
        ({"X-Postmark-Server-Token": "wrong"}, 401, 10),
        ({"Content-Type": "text/plain"}, 422, 409),
        ({"Accept": None}, 422, 409),
    ],
)
def test_wrong_headers_are_refused(double: PostmarkDouble, change: dict[str, Any], status: int, code: int) -> None:
    headers = {name: value for name, value in {**HEADERS, **change}.items() if value is not None}
    answered, body = post(double, "/email", GOOD, headers)
    assert (answered, body["ErrorCode"]) == (status, code)
    assert double.sent == []


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/email", b"{", 402),
        ("/email", [GOOD], 403),
        ("/email/batch", GOOD, 403),
        ("/email/batch", [GOOD] * 501, 410),
        ("/email", {**GOOD, "Body": "unknown field"}, 403),
    ],
)
def test_a_malformed_request_is_refused_as_a_whole(double: PostmarkDouble, path: str, body: Any, code: int) -> None:
    answered, error = post(double, path, body)
    assert (answered, error["ErrorCode"]) == (422, code)
    assert double.sent == []


def test_a_request_that_is_too_large_or_goes_elsewhere_is_refused(double: PostmarkDouble) -> None:
    assert post(double, "/email", {**GOOD, "TextBody": "x" * 10_000_000})[0] == 413
    assert post(double, "/v3/mail/send", GOOD)[0] == 404


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"To": ""}, 300),
        ({"To": "ann"}, 300),
        ({"To": "zoë@example.org"}, 300),
        ({"To": "a b@example.org"}, 300),
        ({"To": ", ".join(f"n{n}@example.org" for n in range(51))}, 300),
        ({"From": "nobody"}, 300),
        ({"From": "ann@example.net"}, 400),
        ({"From": "ann@unconfirmed.example"}, 401),
        ({"TextBody": ""}, 300),
        ({"Subject": "x" * 2_001}, 300),
        ({"Tag": "x" * 1_001}, 300),
        ({"Metadata": {"x" * 21: ""}}, 300),
        ({"Metadata": {"x": "y" * 81}}, 300),
        ({"Metadata": {f"x{n}": "" for n in range(11)}}, 300),
        ({"Headers": [{"Name": "X", "Value": "a\nb"}]}, 300),
        ({"TrackLinks": "Some"}, 300),
        ({"MessageStream": "elsewhere"}, 1235),
        ({"MessageStream": "inbound"}, 1236),
        ({"To": "gone@example.org"}, 406),
    ],
)
def test_a_message_that_breaks_a_rule_is_refused(change: dict[str, Any], code: int) -> None:
    double = PostmarkDouble()
    double.senders = {"example.com", "unconfirmed.example"}
    double.unconfirmed = {"unconfirmed.example"}
    double.inactive = {"gone@example.org": "HardBounce"}
    assert refusals(double, [{**GOOD, **change}, GOOD]) == [code, 0]


def test_an_account_without_credits_or_leave_refuses_all() -> None:
    double = PostmarkDouble()
    double.credits = 1
    assert refusals(double, [GOOD, GOOD]) == [0, 405]
    double.account_error = 413
    assert refusals(double, [GOOD]) == [413]
