"""Turn errors of HTTP connections into receipts."""

from __future__ import annotations

import aiohttp

from nurture.mail.providers.base import NotSent, Unknown


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
