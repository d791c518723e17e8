"""Read the fields of provider events, any of which may be missing or have another type."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import orjson

from nurture.mail.providers.events import InvalidEventBatch

_ENHANCED_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_SMTP_CODE: Final = re.compile(r"[45]\d\d\b")
_MAX_TEXT: Final = 1_000


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


def find_smtp_status(status: str, reply: str) -> str:
    """Return the code in *status* or in the server's *reply*, whose full text often names the person; else ""."""
    found = _ENHANCED_STATUS.search(status) or _ENHANCED_STATUS.search(reply) or _SMTP_CODE.match(reply.strip())
    return found[0] if found else ""


def digest(parts: Sequence[Any], fallback_key: str) -> str:
    """Return 128 bits of a hash, so that a key contains no address."""
    try:
        encoded = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # nested deeper than orjson writes: unique to this event
        encoded = fallback_key.encode()
    return sha256(encoded).hexdigest()[:32]
