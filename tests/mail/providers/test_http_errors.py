"""Errors of HTTP connections: what was certainly not sent is told apart from what may have been."""

from __future__ import annotations

import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from nurture.mail.providers.http_errors import receipt_after_send, receipt_before_send

VARIABLE = "NURTURE_EXAMPLE_URL"
KEY = ConnectionKey("api.example.com", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
CERTIFICATE = ssl.SSLCertVerificationError()
CERTIFICATE.verify_message = "certificate has expired"


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name or service not known")), "the name api.example.com"),
        (aiohttp.ClientConnectorError(KEY, OSError(111, "Connection refused")), "Connection refused"),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError()), "TLS"),
        (aiohttp.ConnectionTimeoutError(), "timed out"),
        (aiohttp.ClientProxyConnectionError(KEY, OSError(111, "Connection refused")), "HTTPS_PROXY"),
        (aiohttp.ServerDisconnectedError(), "closed before anything was sent"),
    ],
)
def test_an_error_before_sending_is_not_sent(error: Exception, named: str) -> None:
    receipt = receipt_before_send(error, "api.example.com", VARIABLE)
    assert named in receipt.reason
    assert not receipt.blocks_all


def test_an_untrusted_certificate_blocks_all() -> None:
    receipt = receipt_before_send(
        aiohttp.ClientConnectorCertificateError(KEY, CERTIFICATE), "api.example.com", VARIABLE
    )
    assert receipt.blocks_all
    assert "certificate has expired" in receipt.reason
    assert "NURTURE_EXAMPLE_URL" in receipt.reason


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "the response timed out"),
        (aiohttp.SocketTimeoutError(), "the response timed out"),
        (aiohttp.ServerDisconnectedError(), "the connection broke"),
        (aiohttp.ClientOSError(104, "Connection reset by peer"), "the connection broke"),
        (aiohttp.ClientPayloadError(), "could not be read"),
        (KeyError("x"), "failed with KeyError"),
    ],
)
def test_an_error_after_sending_is_unknown(error: Exception, text: str) -> None:
    assert text in receipt_after_send(error, "Example").reason
    assert "Example may have accepted the email" in receipt_after_send(error, "Example").reason
