"""Turn Postmark's responses into receipts, and its suppression list into addresses.

The list is read after a restore: a restored database may lack recent entries.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.errors import Misconfigured
from nurture.mail.providers.base import SuppressedAddress
from nurture.mail.providers.events import parse_iso_time
from nurture.mail.providers.http_client import HttpResponse
from nurture.mail.providers.http_errors import receipt_for_other_status, redact_message

TOKEN_VARIABLE: Final = "NURTURE_POSTMARK_TOKEN"  # noqa: S105 - a name
STREAM_VARIABLE: Final = "NURTURE_POSTMARK_STREAM"
URL_VARIABLE: Final = "NURTURE_POSTMARK_URL"
PAUSE: Final = timedelta(minutes=1)
"""How long to wait after a rate limit or maintenance: Postmark does not say."""

_BAD_TOKEN: Final = 10
_MAINTENANCE: Final = 100
_INVALID_EMAIL: Final = 300
_SENDER_CODES: Final = frozenset({400, 401})
"""No sender signature, or one that is not confirmed."""

_ACCOUNT_CODES: Final = frozenset({405, 412, 413})
"""The account has no credits, waits for approval, or may not send."""

_INACTIVE_RECIPIENT: Final = 406
_RATE_LIMIT: Final = 429


def receipts_for_response(response: HttpResponse, refs: Sequence[str], now: datetime) -> list[Receipt]:
    """Return a receipt for each of *refs*, in order: the messages of one request, which was answered at *now*."""
    parsed = response.json()
    if response.status == 200:
        results = parsed if isinstance(parsed, list) else [parsed]
        if len(results) == len(refs) and all(isinstance(one, dict) for one in results):
            return [_receipt_for_result(one, ref, now) for one, ref in zip(results, refs, strict=True)]
        return [Unknown("the response could not be read: Postmark may have accepted the email")] * len(refs)
    receipt = _receipt_for_status(response.status, parsed if isinstance(parsed, dict) else {}, now)
    if isinstance(receipt, Rejected) and len(refs) > 1:  # a fault of the request, and not of every email in it
        receipt = NotSent(f"Postmark refused the whole batch: {receipt.reason}")
    return [receipt] * len(refs)


def _receipt_for_status(status: int, error: dict[str, Any], now: datetime) -> Receipt:
    match status:
        case 401:
            return _refused_token()
        case 404 | 405:
            return NotSent(f"the URL is not Postmark's Email API ({status}). Check {URL_VARIABLE}.", blocks_all=True)
        case 413:
            return Rejected("Postmark refused it: it is too large (413)")
        case 429:
            return _paused("Postmark's rate limit is reached (429)", now)
        case 503 if error.get("ErrorCode") == _MAINTENANCE:  # a gateway's 503 may come after Postmark accepted it
            return _paused("Postmark is down for maintenance (503)", now)
        case 422 if "ErrorCode" in error:
            return _receipt_for_result(error, "", now)
        case _:
            return receipt_for_other_status(status, "Postmark", URL_VARIABLE, _quote(error))


def _receipt_for_result(result: dict[str, Any], ref: str, now: datetime) -> Receipt:
    """Return the receipt of one message by its error code."""
    code, message = result.get("ErrorCode", 0), str(result.get("Message") or "")
    about_stream = "stream" in message.lower()
    match code:
        case 0:
            return Accepted(str(result.get("MessageID") or ref))
        case _ if code == _BAD_TOKEN:
            return _refused_token()
        case _ if code in (_MAINTENANCE, _RATE_LIMIT):
            return _paused(f"Postmark takes no email now ({code})", now)
        case _ if code in _SENDER_CODES or (code == _INVALID_EMAIL and "'from'" in message.lower()):
            return NotSent(
                f"Postmark refuses the sender ({code}){_quote(result)}. Verify its address or domain under Sender "
                "Signatures, or change `sender.email` in templates/defaults.yaml, or in the track's own track.yaml.",
                blocks_sender=True,
            )
        case _ if code in _ACCOUNT_CODES:
            reason = f"Postmark lets this account not send ({code}){_quote(result)}. Ask Postmark, or upgrade the plan."
            return NotSent(reason, blocks_all=True)
        case _ if about_stream:
            reason = f"Postmark refuses the message stream ({code}){_quote(result)}. Correct {STREAM_VARIABLE}."
            return NotSent(reason, blocks_all=True)
        case _ if code == _INACTIVE_RECIPIENT:
            return Rejected("Postmark has suppressed the address after a bounce, a complaint or an opt-out (406)")
        case _:
            return Rejected(f"Postmark refused it ({code}){_quote(result)}")


def _refused_token() -> NotSent:
    return NotSent(
        f"Postmark refuses the token. Set {TOKEN_VARIABLE} to the token of a server, from its API Tokens.",
        blocks_all=True,
    )


def _paused(reason: str, now: datetime) -> NotSent:
    return NotSent(reason, now + PAUSE, blocks_all=True)


def _quote(error: dict[str, Any]) -> str:
    message = redact_message(str(error.get("Message") or ""))
    return f': "{message}"' if message else ""


_SOURCES: Final[Mapping[str, Literal["bounce", "complaint", "provider"]]] = {
    "HardBounce": "bounce",
    "SpamComplaint": "complaint",
    "ManualSuppression": "provider",
}


def parse_suppressions(dump: Mapping[str, Any]) -> list[SuppressedAddress]:
    """Return the entries of a suppression dump. Raises Misconfigured if it is none."""
    entries = dump.get("Suppressions")
    if not isinstance(entries, list):
        raise Misconfigured("Postmark's suppression list cannot be read: the response has none.")
    return [entry for one in entries if (entry := _parse_entry(one)) is not None]


def _parse_entry(entry: object) -> SuppressedAddress | None:
    match entry:
        case {"EmailAddress": str(email), "SuppressionReason": str(reason), "CreatedAt": at}:
            return SuppressedAddress(email, _SOURCES.get(reason, "provider"), parse_iso_time(at))
        case {"EmailAddress": str(email)}:
            return SuppressedAddress(email, "provider", None)
        case _:
            return None
