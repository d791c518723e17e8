from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flows.child_processes import require_auth, reserve_port
from nurture.errors import Misconfigured
from tests.flows.prefect_api import any_port


class _Api(BaseHTTPRequestHandler):
    """Answers with the status in its path."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_answers_without_a_secret_is_not_used(api: str) -> None:
    require_auth(f"{api}/401")
    for status in (200, 403, 404):
        with pytest.raises(Misconfigured, match=f"open: without a secret it answers {status}, not 401"):
            require_auth(f"{api}/{status}")


def test_two_that_start_together_choose_different_ports_before_either_listens() -> None:
    wanted = any_port()
    first, reservation = reserve_port(wanted)
    second, other = reserve_port(wanted)
    with reservation, other:
        assert first == wanted
        assert second > first
    again, reservation = reserve_port(wanted)
    reservation.close()
    assert again == wanted
