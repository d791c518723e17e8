"""What sales' own words for a lead mean here: a word that nobody has told us means nothing, never a guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Meant(StrEnum):
    """What a status in the CRM says of a lead that sales was handed."""

    OPEN = "open"  # nobody has been in touch yet
    FOLLOWED_UP = "followed up"
    WON = "won"
    LOST = "lost"
    RECYCLED = "recycled"  # sales gives it back


@dataclass(frozen=True, slots=True)
class Meaning:
    """A status's meaning; *reason* is the policy's reject reason by which a recycled lead goes back."""

    meant: Meant
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CrmWords:
    """What each status means, by its text without regard to case and spaces."""

    meanings: Mapping[str, Meaning] = field(default_factory=dict)

    def meaning(self, status: str) -> Meaning | None:
        """Return what *status* means, None for a word that stands nowhere."""
        return self.meanings.get(plain(status))


def plain(status: str) -> str:
    """Return *status* as it is compared."""
    return " ".join(status.split()).casefold()
