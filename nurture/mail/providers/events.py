"""Provider events, independent of the provider, and their fields: any may be missing or have another type."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from nurture.domain.delivery.delivery_status import DeliveryEventType
from nurture.mail.refusal import find_enhanced_status

_SMTP_CODE: Final = re.compile(r"[45]\d\d\b")

_ID: Final = re.compile(r"[\w=.+/-]{1,100}", re.ASCII)

_MAX_TEXT: Final = 1_000


class InvalidEventBatch(ValueError):
    """The body is not a batch of events. The message says why, without quoting the body."""


class SuppressionReason(StrEnum):
    """Why an address is suppressed."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"


SUPPRESSION_REASONS: Final[Mapping[DeliveryEventType, SuppressionReason]] = {
    DeliveryEventType.BOUNCED: SuppressionReason.BOUNCE,
    DeliveryEventType.COMPLAINED: SuppressionReason.COMPLAINT,
    DeliveryEventType.UNSUBSCRIBED: SuppressionReason.UNSUBSCRIBE,
    DeliveryEventType.GROUP_UNSUBSCRIBED: SuppressionReason.UNSUBSCRIBE,
}
"""Why an event of each type suppresses the address; the other types suppress none."""


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """One event. Events with the same *event_key* or *natural_key* are duplicates.

    *event_name* is the provider's name for it, *event_id* its id, "" if it has none. *at* is None if the time is
    missing or implausible. *installation_id* and *ref* identify the message as sent, "" if it was not sent by
    nurture. *email*, *ip*, *user_agent* and *url* are personal data: they may be compared and flagged, not stored.
    *is_ambiguous*: it may be a bounce, and is one if a later email to the address is refused alike.
    """

    event_type: DeliveryEventType
    event_name: str
    at: datetime | None
    natural_key: str
    event_key: str | None = None
    event_id: str = ""
    installation_id: str = ""
    ref: str = ""
    provider_message_id: str | None = None
    reason: str = ""
    suppression_reason: SuppressionReason | None = None
    email: str = ""
    ip: str = ""
    user_agent: str | None = None
    url: str = ""
    is_machine_open: bool = False
    is_ambiguous: bool = False

    def as_bounce(self) -> "ProviderEvent":
        """Return the event as a bounce that concerns the address."""
        return replace(
            self, event_type=DeliveryEventType.BOUNCED, suppression_reason=SuppressionReason.BOUNCE, is_ambiguous=False
        )


class EventReader(NamedTuple):
    """How the event batches of one provider are read. Both functions raise InvalidEventBatch for the same bodies."""

    count: Callable[[bytes], int]
    read: Callable[[bytes], list[ProviderEvent]]


def parse_json(body: bytes) -> Any:
    """Read JSON, even with lone surrogates, NaN or infinities: one bad event must not lose its batch.

    Raises InvalidEventBatch.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        pass
    try:
        parsed = json.loads(body.decode(), parse_constant=_drop_constant, parse_float=_parse_finite)
        return orjson.loads(json.dumps(parsed, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise InvalidEventBatch("it is not JSON, or nested too deep") from error


def _drop_constant(_: str) -> None:
    return None


def _parse_finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def text_field(item: Mapping[str, Any], name: str) -> str:
    """Return a text of limited length, "" for anything else."""
    value = item.get(name)
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def parse_iso_time(value: object) -> datetime | None:
    """Read an ISO 8601 time with its offset; return it in UTC, or None for anything else and implausible years."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at.astimezone(UTC) if at is not None and at.tzinfo is not None and 2000 <= at.year < 2100 else None


def id_field(item: Mapping[str, Any], name: str) -> str:
    """Return an id of letters, digits and the signs of base64 and UUIDs, "" for anything else."""
    value = item.get(name)
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else text_field(item, name)
    return text if _ID.fullmatch(text) else ""


def find_smtp_status(status: str, reply: str) -> str:
    """Return the code that counts in *status* and the server's *reply*, whose full text often names the person."""
    code = _SMTP_CODE.match(reply.strip())
    return find_enhanced_status(status, reply) or (code[0] if code is not None else "")


def digest(parts: Sequence[Any], fallback_key: str) -> str:
    """Return 128 bits of a hash, so that a key contains no address."""
    try:
        encoded = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # nested deeper than orjson writes: unique to this event
        encoded = fallback_key.encode()
    return sha256(encoded).hexdigest()[:32]
