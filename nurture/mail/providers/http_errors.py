"""Turn errors of HTTP connections, and statuses that mean the same for every API, into receipts."""

import re
from typing import Final

import aiohttp

from nurture.domain.delivery.receipts import NotSent, Receipt, Rejected, Unknown

_ADDRESS: Final = re.compile(r"(?<![^\s<>\[\]()\"'])[^\s<>\[\]()\"'@]++@[^\s<>\[\]()\"']++")
_MAX_TEXT: Final = 200
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_INCOMPLETE_REQUEST_STATUSES: Final = frozenset({408, 421, 425})


def redact_message(message: str) -> str:
    """Return an API's error message on one line, shortened, and without addresses."""
    return " ".join(_ADDRESS.sub("(an address)", message).split()).rstrip(".").replace('"', "'")[:_MAX_TEXT]


def receipt_for_other_status(status: int, provider: str, url_variable: str, error: str) -> Receipt:
    """Return the receipt for a status that the provider's own rules do not cover.

    *error* begins with ": " and has the API's own words; it is "" for the response of a gateway.
    """
    if status in _REDIRECTS:
        return NotSent(f"the URL redirects to another address ({status}). Check {url_variable}.", blocks_all=True)
    if status in _INCOMPLETE_REQUEST_STATUSES:
        return NotSent(f"{provider} did not read the whole request ({status})")
    if 400 <= status < 500:  # not sent; permanent only if the response is the API's own
        return (
            Rejected(f"{provider} refused it ({status}){error}")
            if error
            else NotSent(f"a server in front of {provider} refused it ({status}). Check {url_variable} and any proxy.")
        )
    return Unknown(f"the response was {status}{error}: {provider} may have accepted the email")


def receipt_before_send(error: Exception, host: str, url_variable: str) -> NotSent:
    """Return the receipt for *error*, raised before anything was sent to *host*, which *url_variable* names."""
    where = f"Check {url_variable} and the network."
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "it is not valid"
            return NotSent(
                f"the certificate of {host} cannot be trusted: {reason}. Check {url_variable}, the "
                "certificates of this machine, and any proxy that opens TLS.",
                blocks_all=True,
            )
        case aiohttp.ClientConnectorDNSError():
            return NotSent(f"the name {host} cannot be found. {where}")
        case aiohttp.ClientHttpProxyError():
            return NotSent(f"the proxy refused to connect ({error.status}). Check HTTPS_PROXY.", blocks_all=True)
        case aiohttp.ClientProxyConnectionError():
            return NotSent("the proxy cannot be reached. Check HTTPS_PROXY.")
        case aiohttp.ClientConnectorSSLError():
            return NotSent(f"{host} and this machine cannot agree on TLS. {where}")
        case ValueError():  # the API's own URL was parsed before, so this is the proxy's
            return NotSent("the proxy's URL is invalid. Check HTTPS_PROXY.", blocks_all=True)
        case TimeoutError():
            return NotSent(f"the connection to {host} timed out. {where}")
        case aiohttp.ClientConnectorError():
            reason = error.os_error.strerror or type(error.os_error).__name__
            return NotSent(f"the connection to {host} failed: {reason}. {where}")
        case _:
            return NotSent(f"the connection to {host} closed before anything was sent")


def receipt_after_send(error: Exception, provider: str) -> Unknown:
    """Return the receipt for *error*, raised after *provider* may have received the email."""
    match error:
        case TimeoutError():
            reason = "the response timed out"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            reason = "the response could not be read"
        case OSError() | aiohttp.ClientConnectionError():
            reason = "the connection broke before the response"
        case _:
            reason = f"the call failed with {type(error).__name__}"
    return Unknown(f"{reason}: {provider} may have accepted the email")
