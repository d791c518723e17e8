"""Read the suppression list of a message stream: a restored database may lack recent entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from nurture.errors import Misconfigured
from nurture.mail.providers.base import SuppressedAddress
from nurture.mail.providers.event_fields import parse_iso_time

_SOURCES: Final[Mapping[str, Literal["bounce", "complaint", "page"]]] = {
    "HardBounce": "bounce",
    "SpamComplaint": "complaint",
    "ManualSuppression": "page",
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
            return SuppressedAddress(email, _SOURCES.get(reason, "page"), parse_iso_time(at))
        case {"EmailAddress": str(email)}:
            return SuppressedAddress(email, "page", None)
        case _:
            return None
