"""Turn SendGrid's responses into receipts, and read its suppression lists.

The lists are read after a restore: a restored database may lack recent entries.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected
from nurture.errors import Misconfigured
from nurture.mail.providers.base import SuppressedAddress
from nurture.mail.providers.http_client import HttpClient, HttpResponse
from nurture.mail.providers.http_errors import receipt_for_other_status, redact_message

KEY_VARIABLE: Final = "NURTURE_SENDGRID_KEY"
URL_VARIABLE: Final = "NURTURE_SENDGRID_URL"
_SENDER_SETTING: Final = "`sender.email` in templates/defaults.yaml, or in the track's own track.yaml"
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

SuppressionSource = Literal["bounce", "complaint", "provider"]

PAGE_SIZE: Final = 500

MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
"""The largest page: 500 entries with SendGrid's longest reasons are half of it."""

SUPPRESSION_PATHS: Final[Mapping[str, SuppressionSource]] = {
    "/v3/suppression/unsubscribes": "provider",
    "/v3/suppression/bounces": "bounce",
    "/v3/suppression/spam_reports": "complaint",
    "/v3/suppression/invalid_emails": "bounce",
}
"""Without blocks: SendGrid retries those addresses."""


@dataclass(frozen=True, slots=True)
class WebError:
    """One error in SendGrid's words, without addresses; *field* is a path such as `from.email`, or ""."""

    message: str
    field: str

    @property
    def field_label(self) -> str:
        """Return the field's name for a marketer, or the setting to change."""
        return _FIELD_LABELS.get(self.field, f"`{self.field}`")

    def __str__(self) -> str:
        return f'"{self.message}"' + (f" about {self.field_label}" if self.field else "")


def receipt_for_response(response: HttpResponse, ref: str, resets_at: datetime | None, *, sandbox: bool) -> Receipt:
    """Return the receipt for *response*. *resets_at* is when a rate limit ends."""
    status = response.status
    if status == 202 or (status == 200 and sandbox):
        return Accepted(response.headers.get("X-Message-Id") or ref)
    errors = parse_errors(response.json())
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
            return NotSent(f"the URL is not SendGrid's Mail Send ({status}). Check {URL_VARIABLE}.", blocks_all=True)
        case 429:
            return NotSent("SendGrid's rate limit is reached (429)", resets_at, blocks_all=True)
        case 503 if errors:  # a gateway's 503 may come after SendGrid accepted the email
            return NotSent(f"SendGrid is not available (503){_format_errors(errors)}")
        case _:
            return receipt_for_other_status(status, "SendGrid", URL_VARIABLE, _format_errors(errors))


def _receipt_for_bad_request(status: int, errors: list[WebError]) -> Receipt:
    # A wrong setting would reject every email.
    if errors and all(one.field_label.startswith("NURTURE_") for one in errors):
        return NotSent(f"SendGrid refuses a setting ({status}){_format_errors(errors)}. Correct it.", blocks_all=True)
    if status == 413:
        return Rejected("SendGrid refused it: it is too large (413)")
    return Rejected(f"SendGrid refused it ({status}){_format_errors(errors)}")


def _key_remedy(errors: list[WebError]) -> str:
    if any("credit" in one.message.lower() for one in errors):
        return f"The account of {KEY_VARIABLE} has used up its plan: upgrade the plan, or wait."
    return f"Set {KEY_VARIABLE} to a valid key."


def _is_about_sender(errors: list[WebError]) -> bool:
    return any(one.field.startswith("from") or "sender" in one.message.lower() for one in errors)


def _forbidden_remedy(errors: list[WebError]) -> str:
    if _is_about_sender(errors):
        return f"Verify the sender's address or domain with SendGrid, or change {_SENDER_SETTING}."
    return (
        f"Give the key in {KEY_VARIABLE} the permission Mail Send. If it has it, verify the sender's domain "
        f"with SendGrid, or change {_SENDER_SETTING}."
    )


def _format_errors(errors: list[WebError]) -> str:
    return ": " + "; ".join(str(one) for one in errors[:_MAX_ERRORS]) if errors else ""


def parse_errors(parsed: Any) -> list[WebError]:
    """Return SendGrid's errors in a parsed body; none for HTML or any other response of a gateway."""
    errors = parsed.get("errors") if isinstance(parsed, dict) else None
    api_errors = [_parse_error(one) for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    return [one for one in api_errors if one.message]


def _parse_error(error: dict[str, Any]) -> WebError:
    message, field = (str(error.get(name) or "") for name in ("message", "field"))
    return WebError(redact_message(message), _INDEX.sub("", field)[:_MAX_TEXT])


async def fetch_suppressions(client: HttpClient, group_id: int | None) -> list[SuppressedAddress]:
    """Return all addresses on SendGrid's lists, and in the unsubscribe group *group_id*, if one is used.

    Raises Misconfigured if a list cannot be read.
    """
    suppressed: list[SuppressedAddress] = []
    for path, source in SUPPRESSION_PATHS.items():
        page: list[Any] = [None] * PAGE_SIZE
        offset = 0
        while len(page) >= PAGE_SIZE:
            page = await _read_page(client, f"{path}?limit={PAGE_SIZE}&offset={offset}")
            suppressed += [entry for row in page if (entry := _parse_entry(row, source)) is not None]
            offset += PAGE_SIZE
    if group_id is not None:
        emails = await _read_page(client, f"/v3/asm/groups/{group_id}/suppressions")
        suppressed += [SuppressedAddress(email, "provider", None) for email in emails if isinstance(email, str)]
    return suppressed


async def _read_page(client: HttpClient, path: str) -> list[Any]:
    response = await client.get(path, MAX_PAGE_BYTES)
    name = f"SendGrid's list {path.partition('?')[0]} cannot be read"
    if isinstance(response, NotSent):
        raise Misconfigured(f"{name}: {response.reason}.")
    if response.status in (401, 403):
        raise Misconfigured(
            f"{name} ({response.status}): the key in NURTURE_SENDGRID_KEY needs the permission Suppressions, "
            "Read Access, besides Mail Send."
        )
    page = response.json() if response.status == 200 else None
    if not isinstance(page, list):
        raise Misconfigured(f"{name}: the response has status {response.status} and is not a list.")
    return page


def _parse_entry(row: object, source: SuppressionSource) -> SuppressedAddress | None:
    match row:
        case {"email": str(email), "created": int(created)} if 0 <= created < 1 << 33:
            return SuppressedAddress(email, source, datetime.fromtimestamp(created, UTC))
        case {"email": str(email)}:
            return SuppressedAddress(email, source, None)
        case _:
            return None
