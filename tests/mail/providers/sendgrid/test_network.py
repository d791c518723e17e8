"""Receipts of the SendGrid provider for network, certificate and proxy errors."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from nurture.domain.delivery.receipts import Accepted, NotSent
from nurture.errors import Misconfigured
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from tests.doubles.sendgrid import KEY, SendGridDouble
from tests.mail.providers.sendgrid import sending
from tests.mail.providers.sendgrid.sending import EMAIL, NOW, emails, opened, sent

server, double = sending.server, sending.double


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_a_refused_connection_is_not_sent() -> None:
    with opened(f"http://127.0.0.1:{free_port()}", max_concurrency=1) as sendgrid:
        receipts = sendgrid.send(emails(8), NOW)
    assert all(isinstance(receipt, NotSent) for receipt in receipts)
    assert [receipt.blocks_all for receipt in receipts if isinstance(receipt, NotSent)] == [False] * 5 + [True] * 3


def test_a_connection_timeout_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unanswering:  # the TLS handshake gets no reply
        url = f"https://127.0.0.1:{unanswering.getsockname()[1]}"
        with opened(url, connect_timeout=0.2) as sendgrid:
            (receipt,) = sendgrid.send([EMAIL], NOW)
    assert isinstance(receipt, NotSent)
    assert "timed out" in receipt.reason


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(tmp_path: Path, authority: trustme.CA) -> Iterator[SendGridDouble]:
    made = authority.issue_cert("127.0.0.1")
    certificate, private_key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made.private_key_pem.write_to_path(private_key)
    for blob in made.cert_chain_pems:
        blob.write_to_path(certificate, append=True)
    with SendGridDouble(tmp_path / "log", certificate=certificate, private_key=private_key) as double:
        yield double


def trusting(authority: trustme.CA) -> Any:
    import ssl

    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_a_trusted_certificate_is_accepted(secure: SendGridDouble, authority: trustme.CA) -> None:
    assert [type(one) for one in sent(secure, emails(3), ssl=trusting(authority))] == [Accepted] * 3


def test_an_untrusted_certificate_stops_before_the_key_is_sent(secure: SendGridDouble) -> None:
    for context in (None, trusting(trustme.CA())):
        (receipt,) = sent(secure, ssl=context)
        assert isinstance(receipt, NotSent)
        assert receipt.blocks_all
        assert "certificate" in receipt.reason
    assert secure.traffic().requests == 0


def test_a_server_without_tls_is_not_sent(double: SendGridDouble) -> None:
    with opened(double.url.replace("http:", "https:")) as sendgrid:
        (receipt,) = sendgrid.send([EMAIL], NOW)
    assert isinstance(receipt, NotSent)
    assert "TLS" in receipt.reason


def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2@127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "example.org")
        requests: list[bytes] = []

        def refuse() -> None:
            client, _ = proxy.accept()
            with client, client.makefile("rb") as stream:
                requests.append(b"".join(iter(stream.readline, b"\r\n")))
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        with opened("https://api.sendgrid.example") as sendgrid:
            (receipt,) = sendgrid.send([EMAIL], NOW)
        thread.join()
    assert requests[0].startswith(b"CONNECT api.sendgrid.example:443 ")
    assert b"Proxy-Authorization: Basic" in requests[0]
    assert KEY.encode() not in requests[0]
    assert receipt == NotSent("the proxy refused to connect (407). Check HTTPS_PROXY.", blocks_all=True)


@pytest.mark.parametrize("proxy", ["http://[::1", "http://127.0.0.1:99999"])
def test_an_invalid_proxy_url_is_named(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with opened("https://api.sendgrid.example") as sendgrid:
        (receipt,) = sendgrid.send([EMAIL], NOW)
    assert receipt == NotSent("the proxy's URL is invalid. Check HTTPS_PROXY.", blocks_all=True)


@pytest.mark.parametrize("url", ["", "api.sendgrid.com", "ftp://a.example", "https://a.example:99999", "https://u:p@a"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="NURTURE_SENDGRID_URL"):
        SendGridProvider(SecretStr(KEY), url=url)


def test_check_names_the_url_setting_when_the_connection_is_refused() -> None:
    with (
        opened(f"http://127.0.0.1:{free_port()}") as sendgrid,
        pytest.raises(Misconfigured, match="NURTURE_SENDGRID_URL"),
    ):
        sendgrid.check(EMAIL, NOW)
