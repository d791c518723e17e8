"""Read batches of SendGrid's Event Webhook. Any field may be missing or have another type."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from nurture.domain.delivery.delivery_status import DeliveryEventType
from nurture.mail.providers.events import (
    SUPPRESSION_REASONS,
    EventReader,
    InvalidEventBatch,
    ProviderEvent,
    SuppressionReason,
    digest,
    find_smtp_status,
    id_field,
    parse_json,
    text_field,
)
from nurture.mail.providers.sendgrid.payload import MESSAGE_ARG
from nurture.mail.refusal import Refusal, judge_refusal

_EVENT_TYPES: Final[Mapping[str, DeliveryEventType]] = {
    "processed": DeliveryEventType.PROCESSED,
    "deferred": DeliveryEventType.DEFERRED,
    "delivered": DeliveryEventType.DELIVERED,
    "dropped": DeliveryEventType.DROPPED,
    "bounce": DeliveryEventType.BOUNCED,
    "blocked": DeliveryEventType.BLOCKED,
    "spamreport": DeliveryEventType.COMPLAINED,
    "open": DeliveryEventType.OPENED,
    "click": DeliveryEventType.CLICKED,
    "unsubscribe": DeliveryEventType.UNSUBSCRIBED,
    "group_unsubscribe": DeliveryEventType.GROUP_UNSUBSCRIBED,
    "group_resubscribe": DeliveryEventType.GROUP_RESUBSCRIBED,
}
_DROP_SUPPRESSION_REASONS: Final[Mapping[str, SuppressionReason]] = {
    "bounced address": SuppressionReason.BOUNCE,
    "spam reporting address": SuppressionReason.COMPLAINT,
    "unsubscribed address": SuppressionReason.UNSUBSCRIBE,
}
"""The drop reasons that concern the address; the others concern the email or the account."""

_DROP_REASONS: Final = frozenset(
    (*_DROP_SUPPRESSION_REASONS, "invalid", "recipient list over package quota", "spam content")
)
_BLOCK_CLASSIFICATIONS: Final = ("content", "reputation", "frequency")
"""How the classifications of bounces begin that do not concern the address."""

_CLASSIFICATION: Final = re.compile(r"[A-Za-z][A-Za-z /-]{0,59}")
_IDENTITY_FIELDS: Final = ("timestamp", "type", "url", "attempt", "asm_group_id", "ip", "useragent")
_MESSAGE_FIELDS: Final = ("sg_message_id", "smtp-id", "email")
_MIN_TIMESTAMP, _MAX_TIMESTAMP = 946_684_800, 4_102_444_800  # the years 2000 and 2100, in seconds
_MAX_EVENTS: Final = 20_000  # SendGrid's limit is 768 KB per batch, about 3,000 events


def count_events(body: bytes) -> int:
    """Return the number of events in a batch. Raises InvalidEventBatch whenever `read_events` would."""
    return len(_parse_batch(body))


def read_events(body: bytes) -> list[ProviderEvent]:
    """Return one event per item of a batch, in order. Raises InvalidEventBatch."""
    fallback_key = sha256(body).hexdigest()
    return [_parse_event(item, f"{fallback_key} {index}") for index, item in enumerate(_parse_batch(body))]


def _parse_batch(body: bytes) -> list[Any]:
    events = parse_json(body)
    if not isinstance(events, list):
        raise InvalidEventBatch("it is not a list of events")
    if len(events) > _MAX_EVENTS:
        raise InvalidEventBatch(f"it has more than {_MAX_EVENTS} events")
    return events


def _parse_event(item: Any, fallback_key: str) -> ProviderEvent:
    """Read one event. *fallback_key* identifies an event that has no usable key of its own."""
    if not isinstance(item, dict):
        return ProviderEvent(
            DeliveryEventType.UNKNOWN, "", None, natural_key=digest(["no object", fallback_key], fallback_key)
        )
    event_name = text_field(item, "event").strip().lower()[:60]
    event_type, is_ambiguous = _event_type(item, event_name)
    message_arg = text_field(item, MESSAGE_ARG)
    installation_id, _, ref = message_arg.partition(":")
    drop_reason = text_field(item, "reason").strip().lower() if event_type is DeliveryEventType.DROPPED else ""
    return ProviderEvent(
        event_type,
        event_name,
        _parse_timestamp(item.get("timestamp")),
        natural_key=_natural_key(item, event_type, event_name, message_arg, fallback_key),
        event_key=_event_key(item, f"{event_name} {event_type.value}", fallback_key),
        event_id=id_field(item, "sg_event_id"),
        installation_id=installation_id,
        ref=ref,
        provider_message_id=text_field(item, "sg_message_id")[:200] or None,
        reason=_describe_reason(item, drop_reason),
        suppression_reason=SUPPRESSION_REASONS.get(event_type) or _DROP_SUPPRESSION_REASONS.get(drop_reason),
        email=text_field(item, "email"),
        ip=text_field(item, "ip"),
        user_agent=text_field(item, "useragent") if isinstance(item.get("useragent"), str) else None,
        url=text_field(item, "url"),
        is_ambiguous=is_ambiguous,
        is_machine_open=str(item.get("sg_machine_open")).lower() in ("true", "1"),
    )


def _event_type(item: Mapping[str, Any], event_name: str) -> tuple[DeliveryEventType, bool]:
    """Return the event type, and whether it is ambiguous. A bounce without a type is permanent unless it is 4.x.x."""
    event_type = _EVENT_TYPES.get(event_name, DeliveryEventType.UNKNOWN)
    if event_type is not DeliveryEventType.BOUNCED:
        return event_type, False
    bounce_type, status = text_field(item, "type").strip().lower(), text_field(item, "status").strip()
    is_temporary = not bounce_type and status.startswith("4")
    if bounce_type == "blocked" or is_temporary or _classification(item).lower().startswith(_BLOCK_CLASSIFICATIONS):
        return DeliveryEventType.BLOCKED, False
    refusal = judge_refusal(status, text_field(item, "reason"))
    is_blocked = refusal in (Refusal.BLOCKED, Refusal.AMBIGUOUS)
    return DeliveryEventType.BLOCKED if is_blocked else event_type, refusal is Refusal.AMBIGUOUS


def _classification(item: Mapping[str, Any]) -> str:
    found = _CLASSIFICATION.fullmatch(text_field(item, "bounce_classification").strip())
    return found[0] if found else ""


def _parse_timestamp(value: Any) -> datetime | None:
    """Read seconds since 1970. Some senders of test events write text or milliseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    if seconds >= _MIN_TIMESTAMP * 1_000:
        seconds /= 1_000
    return datetime.fromtimestamp(seconds, UTC) if _MIN_TIMESTAMP <= seconds < _MAX_TIMESTAMP else None


def _describe_reason(item: Mapping[str, Any], drop_reason: str) -> str:
    """Return status code, classification and drop reason: a server's full text often names the person."""
    text = text_field(item, "reason") or text_field(item, "response")
    parts = (
        find_smtp_status(text_field(item, "status"), text),
        _classification(item),
        drop_reason if drop_reason in _DROP_REASONS else "",
    )
    return ", ".join(part for part in parts if part)


def _event_key(item: Mapping[str, Any], event_type: str, fallback_key: str) -> str | None:
    """Return SendGrid's event id and the event type: its documented examples reuse one id for all types."""
    event_id = item.get("sg_event_id")
    return digest([event_type, event_id], fallback_key) if isinstance(event_id, str) and event_id else None


def _natural_key(
    item: Mapping[str, Any], event_type: DeliveryEventType, event_name: str, message_arg: str, fallback_key: str
) -> str:
    if event_type is DeliveryEventType.UNKNOWN:
        other_fields = {name: value for name, value in item.items() if name != "sg_event_id"}
        return digest([event_name, other_fields], fallback_key)
    message_identity = [message_arg] if message_arg else [item.get(name) for name in _MESSAGE_FIELDS]
    return digest([event_name, message_identity, *(item.get(name) for name in _IDENTITY_FIELDS)], fallback_key)


READER: Final = EventReader(count_events, read_events)
