"""Map the status and consent texts of other systems to ours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final

from nurture.formats.rejected_rows import InvalidCell
from nurture.formats.tables import read_words


class LeadStatus(StrEnum):
    """The status of a lead in the system that exported it."""

    OPEN = "open"
    WORKING = "working"  # a rep is on it
    CUSTOMER = "customer"
    WON = "won"
    LOST = "lost"
    UNQUALIFIED = "unqualified"
    NURTURE = "nurture"


class ConsentBasis(StrEnum):
    """The legal basis on which a lead may be mailed."""

    CONSENT = "consent"
    LEGITIMATE_INTEREST = "legitimate_interest"
    CONTRACT = "contract"


_RESTRICTIVENESS: Final = (
    LeadStatus.CUSTOMER,
    LeadStatus.WON,
    LeadStatus.UNQUALIFIED,
    LeadStatus.LOST,
    LeadStatus.WORKING,
    LeadStatus.NURTURE,
    LeadStatus.OPEN,
)


@lru_cache(maxsize=1024)
def map_status(text: str) -> LeadStatus | None:
    """Return the status that *text* means; None for an unknown text."""
    found = read_words("status").get(_normalize(text))
    return None if found is None else LeadStatus(found)


def most_restrictive(statuses: Iterable[LeadStatus]) -> LeadStatus | None:
    """Return the status that restricts mail most, for rows with several status columns; None without any."""
    return min(statuses, key=_RESTRICTIVENESS.index, default=None)


@lru_cache(maxsize=1024)
def map_consent_basis(text: str) -> ConsentBasis | None:
    """Return the basis that *text* names, None if it denies consent. Raises ValueError for an unknown text."""
    plain = _normalize(text)
    if plain.startswith(("i agree", "i consent", "yes ")):  # the label of a checked box
        return ConsentBasis.CONSENT
    found = read_words("consent").get(plain) if plain else ""
    if found is None:
        raise InvalidCell(
            f"consent {text[:60]!r} is not recognized", f"write {', '.join(ConsentBasis)}, or empty the cell"
        )
    return ConsentBasis(found) if found else None


def _normalize(text: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.sub(r"[\W_]+", " ", spaced).strip().casefold()
