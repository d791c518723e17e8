"""One GET request without redirects or proxies, with a bounded body."""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_MAX_BODY_BYTES: Final = 4_096
_TIMEOUT: Final = 8.0  # seconds, for each wait


class Unreachable(Exception):
    """The URL gives no usable response; the message is the reason."""


class ProbeResponse(NamedTuple):
    """A response: status, the first bytes of the body, and the Location header."""

    status: int
    body: bytes
    location: str


def probe(url: str, timeout: float = _TIMEOUT) -> ProbeResponse:
    """Request *url*, http or https. Raises Unreachable."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: HTTPConnection
    try:
        if parts.scheme == "https":
            trusted = ssl.create_default_context()
            connection = HTTPSConnection(host, parts.port, timeout=timeout, context=trusted)
        else:
            connection = HTTPConnection(host, parts.port, timeout=timeout)
    except ValueError as error:
        raise Unreachable(f"{error}") from error
    try:
        connection.request("GET", parts.path or "/", headers={"User-Agent": "nurture-doctor"})
        answer = connection.getresponse()
        return ProbeResponse(answer.status, answer.read(_MAX_BODY_BYTES), answer.getheader("Location", ""))
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"its certificate is not trusted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Unreachable(f"TLS fails: {error.reason or error}") from error
    except socket.gaierror as error:
        raise Unreachable(f"the host name {host} cannot be resolved") from error
    except TimeoutError as error:
        raise Unreachable(f"no answer within {timeout:g} seconds") from error
    except (OSError, HTTPException, ValueError) as error:
        message = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreachable(message[0].lower() + message[1:]) from error
    finally:
        connection.close()
