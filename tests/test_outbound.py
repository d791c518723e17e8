"""Outgoing connections: only to addresses in the settings, never to a redirect target."""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest
from pydantic import SecretStr

from nurture.crm.base import CrmUnavailable
from nurture.crm.hubspot.crm import HubSpotCrm
from nurture.crm.salesforce.crm import SalesforceCrm
from nurture.domain.delivery.receipts import Accepted
from nurture.mail.notifiers.apprise_notifier import AppriseNotifier
from nurture.operations.check_external import probe
from tests.doubles.sendgrid import KEY
from tests.mail.providers.sendgrid.sending import EMAIL, NOW, opened

ROOT = Path(__file__).parents[1]
CLIENTS: Final = frozenset(
    {"aiohttp", "urllib.request", "requests", "http.client", "smtplib", "imaplib", "apprise", "hubspot"}
    | {"authlib", "simple_salesforce", "httpx", "urllib3", "ftplib", "poplib", "xmlrpc", "telnetlib", "socket"}
)
CALLS: Final = {
    "nurture/console/access/oidc.py": "NURTURE_CONSOLE_OIDC_ISSUER, and what its discovery document names",
    "nurture/crm/hubspot/crm.py": "NURTURE_HUBSPOT_URL",
    "nurture/crm/salesforce/crm.py": "NURTURE_SALESFORCE_URL",
    "nurture/mail/notifiers/apprise_notifier.py": "NURTURE_NOTIFY",
    "nurture/mail/inbound/imap.py": "NURTURE_IMAP_URL",
    "nurture/mail/oauth.py": "`token_url` in the file that NURTURE_SMTP_OAUTH or NURTURE_IMAP_OAUTH names",
    "nurture/mail/providers/http_errors.py": "reads the errors of the next",
    "nurture/mail/providers/http_client.py": "the URL in the settings of a provider, by the system's proxy",
    "nurture/mail/providers/smtp/commands.py": "reads the answers of the next",
    "nurture/mail/providers/smtp/connection.py": "NURTURE_SMTP_URL",
    "nurture/operations/check_external.py": "the doctor: NURTURE_BASE_URL, NURTURE_SENDGRID_URL, the Prefect API",
    "nurture/mail/inbound/reader.py": "a pair of sockets to its own child",
    "nurture/operations/certificate.py": "NURTURE_BASE_URL",
    "nurture/web/background.py": "asks for the name of this machine",
    "nurture/web/server.py": "listens",
    "flows/child_processes.py": "the Prefect server and the pages on loopback",
}
"""Each file that can open a connection, and its target."""


def test_only_these_files_can_open_a_connection() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("nurture", "flows")
        for path in (ROOT / folder).rglob("*.py")
        if any(_is_client(name) for name in _imported(path))
    }
    assert found == set(CALLS)


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_client(name: str) -> bool:
    return any(name == client or name.startswith(f"{client}.") for client in CLIENTS)


@contextmanager
def redirecting_server(*, token: bool) -> Iterator[tuple[int, list[str]]]:
    """Run a server that redirects every request to itself; yield its port and the requests.

    *token*: it first returns Salesforce's token.
    """
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self.path)
            given = token and self.path.endswith("/token")
            body = b'{"access_token": "t", "token_type": "Bearer", "instance_url": "x"}' if given else b""
            self.send_response(200 if given else 307)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self.answer
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()


def _sendgrid(port: int) -> None:
    with opened(f"http://127.0.0.1:{port}") as provider:
        assert not any(isinstance(one, Accepted) for one in provider.send([EMAIL], NOW))


def _salesforce(port: int) -> None:
    crm = SalesforceCrm(f"http://127.0.0.1:{port}", "key", SecretStr("secret"))
    with pytest.raises(CrmUnavailable):
        crm.look_up(["abc-lead-7"])
    crm.close()


def _hubspot(port: int) -> None:
    crm = HubSpotCrm(SecretStr(KEY), url=f"http://127.0.0.1:{port}")
    with pytest.raises(CrmUnavailable):
        crm.look_up(["abc-lead-7"])
    crm.close()


def _chat(port: int) -> None:
    (receipt,) = AppriseNotifier("slack-sales", SecretStr(f"json://127.0.0.1:{port}/?rto=1")).send([EMAIL], NOW)
    assert not isinstance(receipt, Accepted)


def _doctor(port: int) -> None:
    assert probe(f"http://127.0.0.1:{port}/healthz").status == 307


@pytest.mark.parametrize("token", [False, True])
@pytest.mark.parametrize("call", [_sendgrid, _salesforce, _hubspot, _chat, _doctor])
def test_no_redirect_sends_our_keys_elsewhere(call: Callable[[int], None], token: bool) -> None:
    with redirecting_server(token=token) as (port, asked):
        call(port)
    assert asked
    assert "/elsewhere" not in asked
