"""A local chat server for apprise with configurable responses."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class ChatServer:
    """Stores messages in *received*. *answers* is a status, "hang" (until closed) or "drop"."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.answers: int | str = 200
        self._over = threading.Event()
        server_state = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server_state.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if server_state.answers == "hang":
                    server_state._over.wait(10)
                if isinstance(server_state.answers, str):
                    self.close_connection = True
                    return
                self.send_response(server_state.answers)
                if server_state.answers == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:  # a redirected notice would be lost here
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
