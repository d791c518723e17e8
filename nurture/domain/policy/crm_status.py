"""Map CRM statuses to sales statuses; an unmapped status has no meaning, never a guessed one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SalesStatus(StrEnum):
    """What a CRM status says about a lead that was handed to sales."""

    OPEN = "open"  # no contact yet
    FOLLOWED_UP = "followed up"
    IN_TALKS = "in talks"  # the rep expects a sale
    WON = "won"
    LOST = "lost"
    RECYCLED = "recycled"  # sales returned it


STAGES = (SalesStatus.FOLLOWED_UP, SalesStatus.IN_TALKS)
"""The stages of a lead that a rep works, after the first contact."""


@dataclass(frozen=True, slots=True)
class MappedStatus:
    """A status's meaning; *reason* is the policy's reject reason for a recycled lead."""

    status: SalesStatus
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CrmStatusMap:
    """The meaning of each status, by its text ignoring case and spaces."""

    statuses: Mapping[str, MappedStatus] = field(default_factory=dict)

    def map_status(self, status: str) -> MappedStatus | None:
        """Return what *status* means, None if it is not mapped."""
        return self.statuses.get(normalize_status(status))


def normalize_status(status: str) -> str:
    """Return *status* in the form in which it is compared."""
    return " ".join(status.split()).casefold()
