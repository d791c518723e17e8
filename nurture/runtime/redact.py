"""Say what failed without the lead's own words: journal and outbox keep ids, never personal facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nurture.errors import NurtureError

MIN_REDACTED_LENGTH: Final = 3
"""Shorter facts are parts of ordinary words; taking them out would only garble the text."""


def redact(error: Exception, fields: Mapping[str, Any], *other_values: str | None) -> str:
    """Return what *error* says, with every fact of the lead and each of *other_values* left out."""
    message = str(error) if isinstance(error, NurtureError) else f"{type(error).__name__}: {error}"
    known = [str(value) for value in fields.values() if isinstance(value, str)]
    known += [other for other in other_values if other]
    for secret in sorted(known, key=len, reverse=True):
        for written in {secret, repr(secret)[1:-1]}:
            if len(written) >= MIN_REDACTED_LENGTH:
                message = message.replace(written, "…")
    return message
