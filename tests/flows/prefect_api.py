"""Ask a Prefect server, and wait for what other processes do."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Callable
from typing import Any


def ask(url: str, path: str, **body: Any) -> Any:
    """POST *body* to the API below *url*; return its answer."""
    request = urllib.request.Request(
        f"{url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def until(holds: Callable[[], Any], seconds: float) -> Any:
    """Return the first true answer of *holds*; fail after *seconds*. Other processes need real time."""
    ends = time.monotonic() + seconds
    while not (answer := holds()):
        assert time.monotonic() < ends, f"it did not happen within {seconds} s"
        time.sleep(0.2)
    return answer


def any_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
