"""What SendGrid's answers and the network's errors prove about an email."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp
import orjson

from nurture.mail.providers.base import Accepted, NotSent, Receipt, Rejected, Unknown

KEY_VARIABLE: Final = "NURTURE_SENDGRID_KEY"
URL_VARIABLE: Final = "NURTURE_SENDGRID_URL"
_SENDER_SETTING: Final = "`sender.email` in templates/defaults.yaml, or in the track's own track.yaml"
_ADDRESS: Final = re.compile(r"(?<![^\s<>\[\]()\"'])[^\s<>\[\]()\"'@]++@[^\s<>\[\]()\"']++")
_INDEX: Final = re.compile(r"\.\d++")
_MAX_TEXT: Final = 200
_MAX_ERRORS: Final = 3
_FIELD_LABELS: Final = {
    "personalizations.to": "the recipient",
    "personalizations.to.email": "the recipient's address",
    "personalizations.to.name": "the recipient's name",
    "personalizations.headers": "the headers",
    "from": _SENDER_SETTING,
    "from.email": _SENDER_SETTING,
    "from.name": "`sender.name` in templates/defaults.yaml",
    "reply_to": "`sender.reply_to` in templates/defaults.yaml",
    "reply_to.email": "`sender.reply_to` in templates/defaults.yaml",
    "subject": "the subject",
    "content": "the body",
    "content.value": "the body",
    "categories": "the names of track and step",
    "asm": "NURTURE_SENDGRID_ASM_GROUP",
    "asm.group_id": "NURTURE_SENDGRID_ASM_GROUP",
    "ip_pool_name": "NURTURE_SENDGRID_IP_POOL",
}
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_INCOMPLETE_REQUEST_STATUSES: Final = frozenset({408, 421, 425})


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An HTTP answer; *body* is b"" where it was not needed or never came."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class ApiError:
    """One error as SendGrid words it, without addresses; *field* is a path such as `from.email`, or ""."""

    message: str
    field: str

    @property
    def field_label(self) -> str:
        """Name the field in a marketer's words."""
        return _FIELD_LABELS.get(self.field, f"`{self.field}`")

    def __str__(self) -> str:
        return f'"{self.message}"' + (f" about {self.field_label}" if self.field else "")


def receipt_for_response(response: HttpResponse, ref: str, resets_at: datetime | None, *, sandbox: bool) -> Receipt:
    """Say what *response* proves. *resets_at* is when a rate limit ends."""
    status = response.status
    if status == 202 or (status == 200 and sandbox):
        return Accepted(response.headers.get("X-Message-Id") or ref)
    errors = parse_errors(response.body)
    match status:
        case 400 | 413 | 415:
            return _receipt_for_bad_request(status, errors)
        case 401:
            return NotSent(
                f"SendGrid refuses the key (401){_format_errors(errors)}. {_key_remedy(errors)}", blocks_all=True
            )
        case 403:
            about_sender = _is_about_sender(errors)
            reason = f"SendGrid forbids this (403){_format_errors(errors)}. {_forbidden_remedy(errors)}"
            return NotSent(reason, blocks_all=not about_sender, blocks_sender=about_sender)
        case 404 | 405:
            return NotSent(f"this is not where SendGrid takes mail ({status}). Check {URL_VARIABLE}.", blocks_all=True)
        case 429:
            return NotSent(
                "SendGrid takes no more for now (429): its rate limit is reached", resets_at, blocks_all=True
            )
        case 503 if errors:  # in SendGrid's own words; a gateway's 503 may come after the email was taken
            return NotSent(f"SendGrid is not available (503){_format_errors(errors)}")
        case _:
            return _receipt_for_other_status(status, errors)


def _receipt_for_bad_request(status: int, errors: list[ApiError]) -> Receipt:
    # No email would pass: spare them all.
    if errors and all(one.field_label.startswith("NURTURE_") for one in errors):
        return NotSent(f"SendGrid refuses a setting ({status}){_format_errors(errors)}. Correct it.", blocks_all=True)
    if status == 413:
        return Rejected("SendGrid refused it: it is too large (413)")
    return Rejected(f"SendGrid refused it ({status}){_format_errors(errors)}")


def _receipt_for_other_status(status: int, errors: list[ApiError]) -> Receipt:
    if status in _REDIRECTS:
        return NotSent(
            f"the address answers that SendGrid is elsewhere ({status}). Check {URL_VARIABLE}.", blocks_all=True
        )
    if status in _INCOMPLETE_REQUEST_STATUSES:
        return NotSent(f"SendGrid did not hear the request out ({status})")
    if 400 <= status < 500:  # refused for certain; for ever only where SendGrid itself judged the email
        return (
            Rejected(f"SendGrid refused it ({status}){_format_errors(errors)}")
            if errors
            else NotSent(f"something before SendGrid refused it ({status}). Check {URL_VARIABLE} and any proxy.")
        )
    return Unknown(f"the answer was {status}{_format_errors(errors)}: SendGrid may have taken the email before")


def _key_remedy(errors: list[ApiError]) -> str:
    if any("credit" in one.message.lower() for one in errors):
        return f"The account of {KEY_VARIABLE} has used up what its plan includes: raise the plan, or wait."
    return f"Set {KEY_VARIABLE} to a key that is valid."


def _is_about_sender(errors: list[ApiError]) -> bool:
    return any(one.field.startswith("from") or "sender" in one.message.lower() for one in errors)


def _forbidden_remedy(errors: list[ApiError]) -> str:
    if _is_about_sender(errors):
        return f"Verify the sender's address or domain with SendGrid, or change {_SENDER_SETTING}."
    return (
        f"Give the key in {KEY_VARIABLE} the permission Mail Send; or it is the sender: verify its domain "
        f"with SendGrid, or change {_SENDER_SETTING}."
    )


def _format_errors(errors: list[ApiError]) -> str:
    return ": " + "; ".join(str(one) for one in errors[:_MAX_ERRORS]) if errors else ""


def parse_errors(body: bytes) -> list[ApiError]:
    """Read SendGrid's own errors; none from HTML, or from whatever else a gateway says."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    errors = parsed.get("errors") if isinstance(parsed, dict) else None
    api_errors = [_parse_error(one) for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    return [one for one in api_errors if one.message]


def _parse_error(error: dict[str, Any]) -> ApiError:
    message, field = (str(error.get(name) or "") for name in ("message", "field"))
    message = " ".join(_ADDRESS.sub("(an address)", message).split()).rstrip(".").replace('"', "'")
    return ApiError(message[:_MAX_TEXT], _INDEX.sub("", field)[:_MAX_TEXT])


def receipt_before_send(error: Exception, host: str) -> NotSent:
    """Explain *error*, which came before anything left for *host*."""
    where = f"Check {URL_VARIABLE} and the network."
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "it is not valid"
            return NotSent(
                f"the certificate of {host} cannot be trusted: {reason}. Check {URL_VARIABLE}, the "
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
        case ValueError():  # the address of Mail Send has been read before: what is left is the proxy's
            return NotSent("the proxy's address cannot be used. Check HTTPS_PROXY.", blocks_all=True)
        case TimeoutError():
            return NotSent(f"no connection to {host} came about in time. {where}")
        case aiohttp.ClientConnectorError():
            reason = error.os_error.strerror or type(error.os_error).__name__
            return NotSent(f"no connection to {host} came about: {reason}. {where}")
        case _:
            return NotSent(f"the connection to {host} closed before anything went out")


def receipt_after_send(error: Exception) -> Unknown:
    """Explain *error*, which came after the email may have left."""
    match error:
        case TimeoutError():
            reason = "no answer came in time"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            reason = "the answer could not be read"
        case OSError() | aiohttp.ClientConnectionError():
            reason = "the connection broke before an answer came"
        case _:
            reason = f"the call ended with {type(error).__name__}"
    return Unknown(f"{reason}: SendGrid may have taken the email")
