"""What sales' own words for a lead mean here: a word that nobody has told us means nothing, never a guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SalesStatus(StrEnum):
    """What a status in the CRM says of a lead that sales was handed."""

    OPEN = "open"  # nobody has been in touch yet
    FOLLOWED_UP = "followed up"
    WON = "won"
    LOST = "lost"
    RECYCLED = "recycled"  # sales gives it back


@dataclass(frozen=True, slots=True)
class MappedStatus:
    """A status's meaning; *reason* is the policy's reject reason by which a recycled lead goes back."""

    status: SalesStatus
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CrmStatusMap:
    """What each status means, by its text without regard to case and spaces."""

    statuses: Mapping[str, MappedStatus] = field(default_factory=dict)

    def map_status(self, status: str) -> MappedStatus | None:
        """Return what *status* means, None for a word that stands nowhere."""
        return self.statuses.get(normalize_status(status))


def normalize_status(status: str) -> str:
    """Return *status* as it is compared."""
    return " ".join(status.split()).casefold()
