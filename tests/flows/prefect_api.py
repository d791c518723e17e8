"""Call a Prefect server, and wait for other processes."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Api:
    """The API of a Prefect server, and its secret."""

    url: str
    secret: str

    def call(
        self, method: str, path: str, body: object = None, *, secret: bool = True, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request; return status, headers (lower case) and body of the answer, also of an error."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if secret:
            sent["Authorization"] = "Basic " + b64encode(self.secret.encode()).decode()
        data = None if body is None else json.dumps(body).encode()
        sent |= {} if data is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                status, response_headers, content = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, response_headers, content = error.code, error.headers, error.read()
        return status, {name.lower(): value for name, value in response_headers.items()}, content

    def csrf(self) -> dict[str, str]:
        """Return the CSRF headers of a changing request, as a browser gets them."""
        _, _, content = self.call("GET", "/csrf-token?client=tests")
        return {"Prefect_Csrf_Client": "tests", "Prefect_Csrf_Token": json.loads(content)["token"]}


def ask(api: Api, path: str, **body: Any) -> Any:
    """POST *body* to the API; return its answer."""
    status, _, content = api.call("POST", path, body, **api.csrf())
    assert status < 400, (path, status, content)
    return json.loads(content)


def until(holds: Callable[[], Any], seconds: float) -> Any:
    """Return the first true result of *holds*; fail after *seconds* of real time."""
    ends = time.monotonic() + seconds
    while not (answer := holds()):
        assert time.monotonic() < ends, f"it did not happen within {seconds} s"
        time.sleep(0.2)
    return answer


def is_served(url: str) -> bool:
    """Return whether *url* answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def any_port() -> int:
    """Return a free loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
