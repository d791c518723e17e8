"""A strict Postmark double: single and batch send, message streams, suppressions, and the events of its webhooks."""

from __future__ import annotations

import itertools
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.policy import default
from typing import Any, Final, NamedTuple

import orjson

from tests.doubles.api_server import Answer, ApiDouble, Call

TOKEN: Final = "00000000-double-token-000000000000"
CREDENTIALS: Final = "postmark:correct-horse-battery"
PATH: Final = "/webhooks/postmark/events"
_FIELDS: Final = frozenset(
    ("From", "To", "Cc", "Bcc", "ReplyTo", "Subject", "TextBody", "HtmlBody", "Tag", "Headers", "Metadata",
     "MessageStream", "TrackOpens", "TrackLinks", "Attachments")
)  # fmt: skip
_DOMAIN: Final = re.compile(r"(\.?[a-zA-Z0-9-])+")
_MAILBOX: Final = re.compile(r"[a-z0-9.!#$%&'`*+\-/=^_{}|~]+", re.IGNORECASE)
_MB: Final = 1_000_000


class Sent(NamedTuple):
    """A message that was accepted, whether or not the client got the response."""

    message: dict[str, Any]
    message_id: str


class Refusal(Exception):
    """An error of Postmark's API."""

    def __init__(self, code: int, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"ErrorCode": code, "Message": message}


class PostmarkDouble(ApiDouble):
    """One server. *senders* are its confirmed domains (None: any), *inactive* the addresses that it suppresses.

    *account_error* is the error code with which it refuses every message; *credits* how many more it accepts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self.senders: set[str] | None = None
        self.unconfirmed: set[str] = set()
        self.inactive: dict[str, str] = {}
        self.streams: dict[str, str] = {"outbound": "Transactional", "broadcast": "Broadcasts", "inbound": "Inbound"}
        self.archived: set[str] = set()
        self.delivery_type = "Live"
        self.account_error = 0
        self.credits = 1_000_000
        self._token = TOKEN
        self._numbers = itertools.count(1)

    def expire(self) -> None:
        self._token = "another-one"

    def writes(self, call: Call) -> bool:
        return call.method == "POST"

    def answer(self, call: Call) -> Answer:
        try:
            return self._answer(call)
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body)

    def _answer(self, call: Call) -> Answer:
        if call.headers.get("x-postmark-server-token", "").lower() != self._token:
            raise Refusal(10, "The Server Token you provided in the X-Postmark-Server-Token header was invalid.", 401)
        if call.method == "POST":
            return self._send_all(call)
        if call.path == "/server":
            return Answer(200, {"ID": 1, "Name": "Nurture", "DeliveryType": self.delivery_type})
        found = re.fullmatch(r"/message-streams/([^/]+)(/suppressions/dump)?", call.path)
        if call.method != "GET" or found is None:
            return Answer(404, "<html>Not found</html>")
        if found[1] not in self.streams:
            raise Refusal(1226, f"The message stream for the provided 'ID' was not found: {found[1]}.")
        if found[2]:
            return Answer(200, {"Suppressions": [_suppression(*one) for one in self.inactive.items()]})
        archived = "2026-01-01T00:00:00-05:00" if found[1] in self.archived else None
        return Answer(200, {"ID": found[1], "MessageStreamType": self.streams[found[1]], "ArchivedAt": archived})

    def _send_all(self, call: Call) -> Answer:
        if call.path not in ("/email", "/email/batch"):
            return Answer(404, "<html>Not found</html>")
        if any("application/json" not in call.headers.get(name, "") for name in ("accept", "content-type")):
            raise Refusal(409, "Your HTTP request does not have the Accept and Content-Type headers application/json.")
        if int(call.headers["content-length"]) > (10 if call.path == "/email" else 50) * _MB:
            return Answer(413, "<html>Request Entity Too Large</html>")
        if isinstance(call.body, bytes):
            raise Refusal(402, "The JSON data you provided is syntactically incorrect.")
        if call.path == "/email":
            return Answer(200, self._accept(call.body))
        if not isinstance(call.body, list):
            raise Refusal(403, "The JSON data is not an array.")
        if len(call.body) > 500:
            raise Refusal(410, f"A batch may have 500 messages; this one has {len(call.body)}.")
        return Answer(200, [self.accept_in_batch(one) for one in call.body])

    def accept_in_batch(self, message: Any) -> dict[str, Any]:
        try:
            return self._accept(message)
        except Refusal as refusal:
            return refusal.body

    def _accept(self, message: Any) -> dict[str, Any]:
        if not isinstance(message, dict) or set(message) - _FIELDS:
            raise Refusal(403, "The JSON data is not compatible with what the API expects.")
        if self.account_error:
            raise Refusal(self.account_error, "This account may not send.")
        self._check_sender(message)
        recipients = _addresses(message, "To")
        if not 0 < len(recipients) <= 50:
            raise Refusal(300, "A message has 1 to 50 recipients.")
        _addresses(message, "ReplyTo")
        _check_content(message)
        stream = message.get("MessageStream", "outbound")
        if stream not in self.streams:
            raise Refusal(1235, f"The stream provided: '{stream}' does not exist on this server.")
        if self.streams[stream] == "Inbound" or stream in self.archived:
            raise Refusal(1236, "Sending is not supported on the supplied 'MessageStream'.")
        if all(one.lower() in self.inactive for one in recipients):
            raise Refusal(406, f"You tried to send to inactive recipients. Found inactive addresses: {recipients[0]}.")
        if self.credits <= 0:
            raise Refusal(405, "Not allowed to send: you ran out of credits.")
        self.credits -= 1
        message_id = f"{next(self._numbers):08d}-0000-4000-8000-000000000000"
        self.sent.append(Sent(message, message_id))
        at = "2026-03-04T09:30:00.1234567Z"
        return {"To": message["To"], "SubmittedAt": at, "MessageID": message_id, "ErrorCode": 0, "Message": "OK"}

    def _check_sender(self, message: dict[str, Any]) -> None:
        sender = _addresses(message, "From")
        if len(sender) != 1 or len(message["From"]) > 255:
            raise Refusal(300, "Invalid 'From' address.")
        domain = sender[0].rpartition("@")[2].lower()
        if self.senders is not None and domain not in self.senders:
            raise Refusal(400, f"The 'From' address {sender[0]} is not a Sender Signature on your account.")
        if domain in self.unconfirmed:
            raise Refusal(401, f"The Sender Signature of {sender[0]} is not confirmed.")


def _addresses(message: dict[str, Any], field: str) -> list[str]:
    """Return the addresses of a field. Raises Refusal for one that Postmark does not accept."""
    value = message.get(field, "")
    if not value:
        return []
    header = default.header_factory("To", value)
    for one in header.addresses:
        if not _MAILBOX.fullmatch(one.username) or not _DOMAIN.fullmatch(one.domain) or "." not in one.domain:
            raise Refusal(300, f"Invalid '{field}' address: '{value}'.")
    if header.defects:
        raise Refusal(300, f"Error parsing '{field}': '{value}'.")
    return [one.addr_spec for one in header.addresses]


def _check_content(message: dict[str, Any]) -> None:
    if not (message.get("TextBody") or message.get("HtmlBody")):
        raise Refusal(300, "Provide either email TextBody or HtmlBody or both.")
    if len(message.get("Subject", "").encode("utf-16-le")) > 2 * 2_000:
        raise Refusal(300, "The 'Subject' has more than 2000 characters.")
    if len(message.get("Tag", "")) > 1_000:
        raise Refusal(300, "The 'Tag' has more than 1000 characters.")
    if message.get("TrackLinks", "None") not in ("None", "HtmlAndText", "HtmlOnly", "TextOnly"):
        raise Refusal(300, "Invalid 'TrackLinks'.")
    if not isinstance(message.get("TrackOpens", False), bool):
        raise Refusal(403, "The JSON data is not compatible with what the API expects.")
    metadata = message.get("Metadata", {})
    if len(metadata) > 10 or not all(len(name) <= 20 and len(value) <= 80 for name, value in metadata.items()):
        raise Refusal(300, "Invalid metadata content. Names have 20 characters, values 80, and there are 10 fields.")
    for header in message.get("Headers", []):
        if set(header) != {"Name", "Value"} or re.search(r"[\x00-\x1f]", header["Name"] + header["Value"]):
            raise Refusal(300, f"Invalid header: {header}")


def _suppression(address: str, reason: str) -> dict[str, str]:
    return {
        "EmailAddress": address,
        "SuppressionReason": reason,
        "Origin": "Recipient",
        "CreatedAt": "2026-02-01T08:58:33-05:00",
    }


_TIME_FIELDS: Final = {"Delivery": "DeliveredAt", "Bounce": "BouncedAt", "SpamComplaint": "BouncedAt"} | {
    "SubscriptionChange": "ChangedAt"
}
_EVENT_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Delivery": {"Recipient": "lead@people.example", "Details": "smtp;250 2.0.0 OK"},
    "Bounce": {
        "Email": "lead@people.example",
        "Type": "HardBounce",
        "TypeCode": 1,
        "Name": "Hard bounce",
        "Description": "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
        "Details": "smtp;550 5.1.1 <lead@people.example> no Mrs Miller here",
        "From": "mara@example.com",
        "DumpAvailable": True,
        "Inactive": True,
        "CanActivate": True,
        "Subject": "Hello",
    },
    "SpamComplaint": {
        "Email": "lead@people.example",
        "Type": "SpamComplaint",
        "TypeCode": 100_001,
        "Name": "Spam complaint",
        "Details": "",
        "From": "mara@example.com",
        "Inactive": True,
        "CanActivate": False,
    },
    "Open": {"Recipient": "lead@people.example", "FirstOpen": True, "UserAgent": "Mozilla/5.0 (X11) Firefox/140"},
    "Click": {
        "Recipient": "lead@people.example",
        "OriginalLink": "https://www.example.com/guide",
        "ClickLocation": "HTML",
        "UserAgent": "Mozilla/5.0 (X11) Firefox/140",
    },
    "SubscriptionChange": {
        "Recipient": "lead@people.example",
        "Origin": "Recipient",
        "SuppressSending": True,
        "SuppressionReason": "ManualSuppression",
    },
}
"""The record types of the webhook, and the fields of each."""

RECORD_TYPES: Final = tuple(_EVENT_FIELDS)
_numbers: Final = itertools.count(4_000)


def event(record_type: str, metadata: Mapping[str, str], at: datetime, **fields: Any) -> dict[str, Any]:
    """Return an event of a message that was sent with *metadata*. Fields that are None are omitted."""
    geo = {"Geo": {"CountryISOCode": "RS", "IP": "192.0.2.9"}} if record_type in ("Open", "Click") else {}
    number = {"ID": next(_numbers)} if record_type in ("Bounce", "SpamComplaint") else {}
    made = {
        "RecordType": record_type,
        "MessageStream": "broadcast",
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "ServerID": 23,
        "Tag": "welcome/01-hello",
        "Metadata": dict(metadata),
        _TIME_FIELDS.get(record_type, "ReceivedAt"): f"{at:%Y-%m-%dT%H:%M:%S.1234567Z}",
        **geo,
        **number,
        **_EVENT_FIELDS.get(record_type, {}),
        **fields,
    }
    return {name: value for name, value in made.items() if value is not None}


def encode(one: Mapping[str, Any]) -> bytes:
    """Encode one event, as the webhook posts it."""
    return orjson.dumps(one)


def auth_headers(credentials: str = CREDENTIALS) -> dict[str, str]:
    """Return the headers of a webhook whose URL has *credentials*."""
    encoded = b64encode(credentials.encode()).decode()
    return {"Authorization": f"Basic {encoded}", "Content-Type": "application/json", "User-Agent": "Postmark"}


def refusals(double: PostmarkDouble, messages: Sequence[Any]) -> list[int]:
    """Return the error code of each message of a batch, 0 for an accepted one."""
    return [double.accept_in_batch(one)["ErrorCode"] for one in messages]
