"""Verify and read the webhooks of Postmark: one event each. Any field may be missing or have another type.

Postmark signs nothing: HTTP basic authentication proves that a webhook comes from it.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from nurture.domain.delivery.delivery_status import DeliveryEventType
from nurture.mail.providers.events import (
    SUPPRESSION_REASONS,
    EventReader,
    InvalidEventBatch,
    ProviderEvent,
    digest,
    find_smtp_status,
    id_field,
    parse_iso_time,
    parse_json,
    text_field,
)
from nurture.mail.providers.postmark.payload import join_message_id
from nurture.mail.providers.spec import HeaderValues
from nurture.mail.refusal import Refusal, judge_refusal

_EVENT_TYPES: Final[Mapping[str, DeliveryEventType]] = {
    "Delivery": DeliveryEventType.DELIVERED,
    "SpamComplaint": DeliveryEventType.COMPLAINED,
    "Open": DeliveryEventType.OPENED,
    "Click": DeliveryEventType.CLICKED,
}
_BOUNCE_TYPES: Final[Mapping[str, DeliveryEventType]] = {
    "HardBounce": DeliveryEventType.BOUNCED,
    "BadEmailAddress": DeliveryEventType.BOUNCED,
    "SpamComplaint": DeliveryEventType.COMPLAINED,
    "Unsubscribe": DeliveryEventType.UNSUBSCRIBED,
    "Transient": DeliveryEventType.DEFERRED,
    "DnsError": DeliveryEventType.DEFERRED,
    **dict.fromkeys(
        ("SoftBounce", "Blocked", "SpamNotification", "VirusNotification", "DMARCPolicy"), DeliveryEventType.BLOCKED
    ),
    **dict.fromkeys(
        ("ManuallyDeactivated", "Unconfirmed", "SMTPApiError", "TemplateRenderingFailed"), DeliveryEventType.DROPPED
    ),
    **dict.fromkeys(("AutoResponder", "AddressChange", "ChallengeVerification"), DeliveryEventType.PROCESSED),
}
"""The types of bounces; others, such as Unknown, say nothing of the email."""

_SUPPRESSION_TYPES: Final[Mapping[str, DeliveryEventType]] = {
    "HardBounce": DeliveryEventType.BOUNCED,
    "SpamComplaint": DeliveryEventType.COMPLAINED,
    "ManualSuppression": DeliveryEventType.UNSUBSCRIBED,  # by the recipient, or by a person at Postmark's pages
}
_TIMES: Final = ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")

_MAX_LENGTH: Final = 1_000


def count_events(body: bytes) -> int:
    """Return 1. Raises InvalidEventBatch whenever `read_events` would."""
    _parse_object(body)
    return 1


def read_events(body: bytes) -> list[ProviderEvent]:
    """Return the event in *body*. Raises InvalidEventBatch."""
    return [_parse_event(_parse_object(body), sha256(body).hexdigest())]


READER: Final = EventReader(count_events, read_events)


def _parse_object(body: bytes) -> dict[str, Any]:
    item = parse_json(body)
    if not isinstance(item, dict):
        raise InvalidEventBatch("it is not an event")
    return item


def _parse_event(item: Mapping[str, Any], fallback_key: str) -> ProviderEvent:
    record_type = text_field(item, "RecordType")[:60]
    detail = text_field(item, "SuppressionReason" if record_type == "SubscriptionChange" else "Type")[:60]
    event_type = _event_type(item, record_type, detail)
    is_ambiguous = False
    if record_type == "Bounce" and event_type is DeliveryEventType.BOUNCED:
        refusal = judge_refusal("", text_field(item, "Details"))
        is_ambiguous = refusal is Refusal.AMBIGUOUS
        event_type = DeliveryEventType.BLOCKED if is_ambiguous or refusal is Refusal.BLOCKED else event_type
    message_id = join_message_id(_object_field(item, "Metadata"))
    installation_id, _, ref = message_id.partition(":")
    return ProviderEvent(
        event_type,
        f"{record_type} {detail}" if detail and detail != record_type else record_type,
        next((at for name in _TIMES if (at := parse_iso_time(item.get(name))) is not None), None),
        natural_key=digest([event_type.value, *_identity(item, event_type)], fallback_key),
        event_key=_event_key(item, record_type, fallback_key),
        event_id=id_field(item, "ID") or id_field(item, "MessageID"),
        installation_id=installation_id,
        ref=ref,
        provider_message_id=text_field(item, "MessageID")[:200] or None,
        reason=_describe_reason(item, detail, event_type),
        suppression_reason=SUPPRESSION_REASONS.get(event_type),
        email=text_field(item, "Email") or text_field(item, "Recipient"),
        ip=text_field(_object_field(item, "Geo"), "IP"),
        user_agent=text_field(item, "UserAgent") if isinstance(item.get("UserAgent"), str) else None,
        url=text_field(item, "OriginalLink"),
        is_ambiguous=is_ambiguous,
    )


def _object_field(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = item.get(name)
    return value if isinstance(value, dict) else {}


def _event_type(item: Mapping[str, Any], record_type: str, detail: str) -> DeliveryEventType:
    if record_type == "Bounce":
        return _BOUNCE_TYPES.get(detail, DeliveryEventType.UNKNOWN)
    if record_type == "SubscriptionChange":
        if item.get("SuppressSending") is False:
            return DeliveryEventType.GROUP_RESUBSCRIBED
        return _SUPPRESSION_TYPES.get(detail, DeliveryEventType.UNKNOWN)
    return _EVENT_TYPES.get(record_type, DeliveryEventType.UNKNOWN)


def _identity(item: Mapping[str, Any], event_type: DeliveryEventType) -> list[Any]:
    """Return what two copies of an event have in common."""
    if event_type is DeliveryEventType.UNKNOWN:
        return [item]
    names = ("RecordType", "MessageID", "Email", "Recipient", "OriginalLink", *_TIMES)
    return [item.get(name) for name in names]


def _event_key(item: Mapping[str, Any], record_type: str, fallback_key: str) -> str | None:
    """Return the id of a bounce or complaint; other events have none."""
    id_ = item.get("ID")
    return digest([record_type, id_], fallback_key) if isinstance(id_, int) and id_ > 0 else None


def _describe_reason(item: Mapping[str, Any], detail: str, event_type: DeliveryEventType) -> str:
    """Return status code and type: a server's full text often names the person."""
    known = detail if detail in _BOUNCE_TYPES or detail in _SUPPRESSION_TYPES else ""
    status = find_smtp_status("", text_field(item, "Details")) if event_type is not DeliveryEventType.DELIVERED else ""
    return ", ".join(filter(None, (status, known)))


class AuthenticatedBody:
    """A body whose headers proved the sender: nothing in it is checked."""

    def update(self, chunk: bytes) -> None:
        """Ignore the body."""

    def is_valid(self) -> bool:
        """Return True."""
        return True


class BasicAuthVerifier:
    """The valid credentials, each USER:PASSWORD: one, or two while they are changed."""

    def __init__(self, credentials: Sequence[str]) -> None:
        self._digests = [sha256(one.encode()).digest() for one in credentials]

    def begin(self, header_values: HeaderValues, now: datetime) -> AuthenticatedBody | None:  # noqa: ARG002
        """Return the check of the body that follows; None without exactly one header with valid credentials."""
        values = header_values("Authorization")
        if len(values) != 1 or len(values[0]) > _MAX_LENGTH:
            return None
        scheme, _, encoded = values[0].partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            given = sha256(b64decode(encoded.encode("ascii"), validate=True)).digest()
        except (binascii.Error, UnicodeEncodeError):
            return None
        # Digests have one length, and every one is compared: the time tells nothing of the secret.
        matches = [compare_digest(given, known) for known in self._digests]
        return AuthenticatedBody() if any(matches) else None
