"""Requests to the SendGrid double, and a simple client that posts them."""

from __future__ import annotations

import http.client
import itertools
import json
from typing import Any, NamedTuple

from tests.doubles.sendgrid import KEY, REF, SendGridDouble

_numbers = itertools.count(1)
SEND = "/v3/mail/send"


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def fields(self) -> list[str | None]:
        return [error["field"] for error in json.loads(self.body)["errors"]]


def next_ref() -> str:
    return f"a1b2c3d4:touch:{next(_numbers)}:intro:1"


def make_mail(ref: Any = None, **changes: Any) -> dict[str, Any]:
    one = {"to": [{"email": "ada@example.com", "name": "Ada"}], "custom_args": {REF: ref or next_ref()}}
    payload = {
        "personalizations": [one],
        "from": {"email": "team@example.com", "name": "The team"},
        "subject": "Good morning",
        "content": [{"type": "text/plain", "value": "Hello"}, {"type": "text/html", "value": "<p>Hello</p>"}],
        **changes,
    }
    return {key: value for key, value in payload.items() if value is not None}


def make_personalization(**changes: Any) -> dict[str, Any]:
    """Return a payload whose only personalization has *changes*."""
    mail = make_mail()
    mail["personalizations"][0].update(changes)
    return mail


def post(
    double: SendGridDouble,
    payload: object,
    *,
    method: str = "POST",
    path: str = SEND,
    timeout: float = 10,
    **headers: str,
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", double.port, timeout=timeout)
    given = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    try:
        connection.request(method, path, raw, {name: value for name, value in given.items() if value})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()
