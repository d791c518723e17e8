"""What SendGrid's answers and the network's errors prove about an email."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp
import orjson

from nurture.mail.providers.base import Accepted, InDoubt, NotSent, Receipt, Rejected

KEY: Final = "NURTURE_SENDGRID_KEY"
URL: Final = "NURTURE_SENDGRID_URL"
_SENDER: Final = "`sender.email` in templates/defaults.yaml, or in the track's own track.yaml"
_ADDRESS: Final = re.compile(r"(?<![^\s<>\[\]()\"'])[^\s<>\[\]()\"'@]++@[^\s<>\[\]()\"']++")
_PLACE: Final = re.compile(r"\.\d++")
_LONGEST: Final = 200
_MOST_ERRORS: Final = 3
_FIELDS: Final = {
    "personalizations.to": "the recipient",
    "personalizations.to.email": "the recipient's address",
    "personalizations.to.name": "the recipient's name",
    "personalizations.headers": "the headers",
    "from": _SENDER,
    "from.email": _SENDER,
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
_NOT_HEARD: Final = frozenset({408, 421, 425})


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; *body* is b"" where it was not needed or never came."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Said:
    """One error as SendGrid words it, without addresses; *field* is a path such as `from.email`, or ""."""

    message: str
    field: str

    @property
    def about(self) -> str:
        """Name the field in a marketer's words."""
        return _FIELDS.get(self.field, f"`{self.field}`")

    def __str__(self) -> str:
        return f'"{self.message}"' + (f" about {self.about}" if self.field else "")


def judge(answer: Answer, ref: str, opens: datetime | None, *, sandbox: bool) -> Receipt:
    """Say what *answer* proves. *opens* is when a rate limit ends."""
    status = answer.status
    if status == 202 or (status == 200 and sandbox):
        return Accepted(answer.headers.get("X-Message-Id") or ref)
    said = read_errors(answer.body)
    match status:
        case 400 | 413 | 415:
            return _refused(status, said)
        case 401:
            return NotSent(f"SendGrid refuses the key (401){_quoted(said)}. {_key_advice(said)}", stops=True)
        case 403:
            mine = _is_about_the_sender(said)
            why = f"SendGrid forbids this (403){_quoted(said)}. {_advice(said)}"
            return NotSent(why, stops=not mine, sender=mine)
        case 404 | 405:
            return NotSent(f"this is not where SendGrid takes mail ({status}). Check {URL}.", stops=True)
        case 429:
            return NotSent(
                "SendGrid takes no more for now (429): its rate limit is reached", opens, stops=True
            )
        case 503 if said:  # in SendGrid's own words; a gateway's 503 may come after the email was taken
            return NotSent(f"SendGrid is not available (503){_quoted(said)}")
        case _:
            return _unusual(status, said)


def _refused(status: int, said: list[Said]) -> Receipt:
    if said and all(one.about.startswith("NURTURE_") for one in said):  # no email would pass: spare them all
        return NotSent(f"SendGrid refuses a setting ({status}){_quoted(said)}. Correct it.", stops=True)
    if status == 413:
        return Rejected("SendGrid refused it: it is too large (413)")
    return Rejected(f"SendGrid refused it ({status}){_quoted(said)}")


def _unusual(status: int, said: list[Said]) -> Receipt:
    if status in _REDIRECTS:
        return NotSent(f"the address answers that SendGrid is elsewhere ({status}). Check {URL}.", stops=True)
    if status in _NOT_HEARD:
        return NotSent(f"SendGrid did not hear the request out ({status})")
    if 400 <= status < 500:  # refused for certain; for ever only where SendGrid itself judged the email
        return (
            Rejected(f"SendGrid refused it ({status}){_quoted(said)}")
            if said
            else NotSent(f"something before SendGrid refused it ({status}). Check {URL} and any proxy.")
        )
    return InDoubt(f"the answer was {status}{_quoted(said)}: SendGrid may have taken the email before")


def _key_advice(said: list[Said]) -> str:
    if any("credit" in one.message.lower() for one in said):
        return f"The account of {KEY} has used up what its plan includes: raise the plan, or wait."
    return f"Set {KEY} to a key that is valid."


def _is_about_the_sender(said: list[Said]) -> bool:
    return any(one.field.startswith("from") or "sender" in one.message.lower() for one in said)


def _advice(said: list[Said]) -> str:
    if _is_about_the_sender(said):
        return f"Verify the sender's address or domain with SendGrid, or change {_SENDER}."
    return (
        f"Give the key in {KEY} the permission Mail Send; or it is the sender: verify its domain with "
        f"SendGrid, or change {_SENDER}."
    )


def _quoted(said: list[Said]) -> str:
    return ": " + "; ".join(str(one) for one in said[:_MOST_ERRORS]) if said else ""


def read_errors(body: bytes) -> list[Said]:
    """Read SendGrid's own errors; none from HTML, or from whatever else a gateway says."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    errors = told.get("errors") if isinstance(told, dict) else None
    found = [_said(one) for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    return [one for one in found if one.message]


def _said(error: dict[str, Any]) -> Said:
    message, field = (str(error.get(name) or "") for name in ("message", "field"))
    message = " ".join(_ADDRESS.sub("(an address)", message).split()).rstrip(".").replace('"', "'")
    return Said(message[:_LONGEST], _PLACE.sub("", field)[:_LONGEST])


def not_sent(error: Exception, host: str) -> NotSent:
    """Explain *error*, which came before anything left for *host*."""
    where = f"Check {URL} and the network."
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "") or "it is not valid"
            return NotSent(
                f"the certificate of {host} cannot be trusted: {why}. Check {URL}, the certificates of "
                "this machine, and any proxy that opens TLS.",
                stops=True,
            )
        case aiohttp.ClientConnectorDNSError():
            return NotSent(f"the name {host} cannot be found. {where}")
        case aiohttp.ClientHttpProxyError():
            return NotSent(f"the proxy refused to connect ({error.status}). Check HTTPS_PROXY.", stops=True)
        case aiohttp.ClientProxyConnectionError():
            return NotSent("the proxy cannot be reached. Check HTTPS_PROXY.")
        case aiohttp.ClientConnectorSSLError():
            return NotSent(f"{host} and this machine cannot agree on TLS. {where}")
        case ValueError():  # the address of Mail Send has been read before: what is left is the proxy's
            return NotSent("the proxy's address cannot be used. Check HTTPS_PROXY.", stops=True)
        case TimeoutError():
            return NotSent(f"no connection to {host} came about in time. {where}")
        case aiohttp.ClientConnectorError():
            why = error.os_error.strerror or type(error.os_error).__name__
            return NotSent(f"no connection to {host} came about: {why}. {where}")
        case _:
            return NotSent(f"the connection to {host} closed before anything went out")


def in_doubt(error: Exception) -> InDoubt:
    """Explain *error*, which came after the email may have left."""
    match error:
        case TimeoutError():
            why = "no answer came in time"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            why = "the answer could not be read"
        case OSError() | aiohttp.ClientConnectionError():
            why = "the connection broke before an answer came"
        case _:
            why = f"the call ended with {type(error).__name__}"
    return InDoubt(f"{why}: SendGrid may have taken the email")
