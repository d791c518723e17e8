"""Read the batches of SendGrid's Event Webhook. Every field may be missing, or be something else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import orjson

from nurture.domain.delivery.delivery_status import Told
from nurture.mail.providers.events import MailEvent, Refusal, Unreadable
from nurture.mail.providers.sendgrid.payload import MESSAGE_ARG

_TOLD: Final[Mapping[str, Told]] = {
    "processed": Told.PROCESSED,
    "deferred": Told.DEFERRED,
    "delivered": Told.DELIVERED,
    "dropped": Told.DROPPED,
    "bounce": Told.BOUNCED,
    "blocked": Told.BLOCKED,
    "spamreport": Told.COMPLAINED,
    "open": Told.OPENED,
    "click": Told.CLICKED,
    "unsubscribe": Told.UNSUBSCRIBED,
    "group_unsubscribe": Told.GROUP_UNSUBSCRIBED,
    "group_resubscribe": Told.GROUP_RESUBSCRIBED,
}
_REFUSALS: Final[Mapping[Told, Refusal]] = {
    Told.BOUNCED: Refusal.BOUNCE,
    Told.COMPLAINED: Refusal.COMPLAINT,
    Told.UNSUBSCRIBED: Refusal.UNSUBSCRIBE,
    Told.GROUP_UNSUBSCRIBED: Refusal.UNSUBSCRIBE,
}
_DROPPED_FOR: Final[Mapping[str, Refusal]] = {
    "bounced address": Refusal.BOUNCE,
    "spam reporting address": Refusal.COMPLAINT,
    "unsubscribed address": Refusal.UNSUBSCRIBE,
}
"""SendGrid's reasons that are a fact about the address; others are about the mail or the account."""

_DROP_REASONS: Final = frozenset(
    (*_DROPPED_FOR, "invalid", "recipient list over package quota", "spam content")
)
_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_CODE: Final = re.compile(r"[45]\d\d\b")
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z /-]{0,59}")
_MAKES_ONE: Final = ("timestamp", "type", "url", "attempt", "asm_group_id", "ip", "useragent")
_ITS_MAIL: Final = ("sg_message_id", "smtp-id", "email")
_EARLIEST, _LATEST = 946_684_800, 4_102_444_800  # the years 2000 and 2100, in seconds
_LONGEST: Final = 1_000
_MOST_EVENTS: Final = 20_000  # SendGrid's batches end at 768 KB, which is some 3,000


def count(body: bytes) -> int:
    """Return how many events a batch has. Raises Unreadable; what it lets pass, `read` reads."""
    return len(_listed(body))


def read(body: bytes) -> list[MailEvent]:
    """Return the events of a batch in order, as many as it has. Raises Unreadable."""
    digest = sha256(body).hexdigest()
    return [_event(one, f"{digest} {number}") for number, one in enumerate(_listed(body))]


def _listed(body: bytes) -> list[Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        found = _leniently(body)
    if not isinstance(found, list):
        raise Unreadable("it is no list of events")
    if len(found) > _MOST_EVENTS:
        raise Unreadable(f"it has more than {_MOST_EVENTS} events")
    return found


def _leniently(body: bytes) -> Any:
    """Read what is JSON but for half characters and numbers that are none: one event must not cost others."""
    try:
        told = json.loads(body.decode(), parse_constant=_no_number, parse_float=_number)
        return orjson.loads(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is no JSON, or nested too deep") from error


def _no_number(_: str) -> None:
    return None


def _number(text: str) -> float | None:
    found = float(text)
    return found if math.isfinite(found) else None


def _event(one: Any, place: str) -> MailEvent:
    """Read one event; *place* tells it from all others that say as little of themselves."""
    if not isinstance(one, dict):
        return MailEvent(Told.UNKNOWN, "", None, natural_key=_digest(["no object", place], place))
    named = _text(one, "event").strip().lower()[:60]
    told = _told(one, named)
    arg = _text(one, MESSAGE_ARG)
    origin, _, ref = arg.partition(":")
    dropped_for = _text(one, "reason").strip().lower() if told is Told.DROPPED else ""
    return MailEvent(
        told,
        named,
        _moment(one.get("timestamp")),
        natural_key=_natural_key(one, told, named, arg, place),
        event_key=_event_key(one, f"{named} {told.value}", place),
        origin=origin,
        ref=ref,
        provider_message=_text(one, "sg_message_id")[:200] or None,
        reason=_reason(one, dropped_for),
        refusal=_REFUSALS.get(told) or _DROPPED_FOR.get(dropped_for),
        email=_text(one, "email"),
        ip=_text(one, "ip"),
        agent=_text(one, "useragent") if isinstance(one.get("useragent"), str) else None,
        url=_text(one, "url"),
        machine=str(one.get("sg_machine_open")).lower() in ("true", "1"),
    )


def _text(one: Mapping[str, Any], name: str) -> str:
    value = one.get(name)
    return value[:_LONGEST] if isinstance(value, str) else ""


def _told(one: Mapping[str, Any], named: str) -> Told:
    """Return what the event tells. A bounce without a type is one of its address, unless it may pass."""
    told = _TOLD.get(named, Told.UNKNOWN)
    if told is not Told.BOUNCED:
        return told
    kind = _text(one, "type").strip().lower()
    passing = not kind and _text(one, "status").strip().startswith("4")
    return Told.BLOCKED if kind == "blocked" or passing else Told.BOUNCED


def _moment(value: Any) -> datetime | None:
    """Read seconds since 1970; some senders of test events write text, or milliseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    if seconds >= _EARLIEST * 1_000:
        seconds /= 1_000
    return datetime.fromtimestamp(seconds, UTC) if _EARLIEST <= seconds < _LATEST else None


def _reason(one: Mapping[str, Any], dropped_for: str) -> str:
    """Say why in codes and classes: what servers write in full often names the person."""
    said = _text(one, "reason") or _text(one, "response")
    status = _STATUS.search(_text(one, "status")) or _STATUS.search(said) or _CODE.match(said.strip())
    classed = _PLAIN.fullmatch(_text(one, "bounce_classification").strip())
    parts = (
        status[0] if status else "",
        classed[0] if classed else "",
        dropped_for if dropped_for in _DROP_REASONS else "",
    )
    return ", ".join(part for part in parts if part)


def _event_key(one: Mapping[str, Any], kind: str, place: str) -> str | None:
    """Return SendGrid's own id, with the kind: its documented examples share one id among all kinds."""
    id_ = one.get("sg_event_id")
    return _digest([kind, id_], place) if isinstance(id_, str) and id_ else None


def _natural_key(one: Mapping[str, Any], told: Told, named: str, arg: str, place: str) -> str:
    if told is Told.UNKNOWN:
        rest = {name: value for name, value in one.items() if name != "sg_event_id"}
        return _digest([named, rest], place)
    mail = [arg] if arg else [one.get(name) for name in _ITS_MAIL]
    return _digest([named, mail, *(one.get(name) for name in _MAKES_ONE)], place)


def _digest(parts: Sequence[Any], place: str) -> str:
    """Return 128 bits of a hash: events hold addresses, their keys do not."""
    try:
        written = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # nested deeper than it writes: alike only with itself
        written = place.encode()
    return sha256(written).hexdigest()[:32]
