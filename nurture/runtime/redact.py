"""Say what failed without the lead's own words: journal and outbox keep ids, never personal facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nurture.errors import NurtureError

SHORTEST: Final = 3
"""Shorter facts are parts of ordinary words; taking them out would only garble the text."""


def unnamed(error: Exception, facts: Mapping[str, Any], *others: str | None) -> str:
    """Return what *error* says, with every fact of the lead and each of *others* left out."""
    told = str(error) if isinstance(error, NurtureError) else f"{type(error).__name__}: {error}"
    known = [str(fact) for fact in facts.values() if isinstance(fact, str)]
    known += [other for other in others if other]
    for secret in sorted(known, key=len, reverse=True):
        for written in {secret, repr(secret)[1:-1]}:
            if len(written) >= SHORTEST:
                told = told.replace(written, "…")
    return told
