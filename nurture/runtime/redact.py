"""Error texts without personal data: journal and outbox keep ids, never field values."""

from collections.abc import Mapping
from typing import Any, Final

from nurture.errors import NurtureError

MIN_REDACTED_LENGTH: Final = 3
"""Shorter values are parts of ordinary words; replacing them would garble the text."""


def redact(error: Exception, fields: Mapping[str, Any], *other_values: str | None) -> str:
    """Return the text of *error* with every field value and each of *other_values* replaced by "…"."""
    message = str(error) if isinstance(error, NurtureError) else f"{type(error).__name__}: {error}"
    known = [value for value in (*fields.values(), *other_values) if isinstance(value, str)]
    for secret in sorted(known, key=len, reverse=True):
        for form in {secret, repr(secret)[1:-1]}:
            if len(form) >= MIN_REDACTED_LENGTH:
                message = message.replace(form, "…")
    return message
