"""The interface of CRMs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from nurture.domain.delivery.receipts import NotSent, Receipt


class HandoffStatus(StrEnum):
    """The state of a hand-off, in nurture's field of the CRM."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    REASSIGNED = "reassigned"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class Person:
    """The contact data of a lead for a CRM. *crm_id* is its id in this CRM, "" if it was not imported from there."""

    email: str = ""
    first_name: str = ""
    last_name: str = ""
    company: str = ""
    title: str = ""
    phone: str = ""
    country: str = ""
    crm_id: str = ""


@dataclass(frozen=True, slots=True)
class HandoffRecord:
    """The record of one lead to write to the CRM: identified by *key*, with the state of its newest hand-off.

    *owner* is the address of the rep who accepted; "" leaves the owner unchanged. *offered_to* is the name of the
    rep with the offer, *reason* is the reason of the hand-off.
    """

    key: str
    handoff_key: str
    handoff_status: HandoffStatus
    at: datetime
    person: Person
    owner: str = ""
    offered_to: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RemoteRecord:
    """A record read from the CRM. *handoff_key* and *handoff_status* are nurture's fields.

    *crm_status* is the CRM's own status, *converted* that a person made a contact of it. *closing* is "won" or "lost"
    if the CRM has closed the deal. *owner* is an address or "". *touched_at* is the first logged activity of a person.
    """

    key: str
    crm_id: str
    changed_at: datetime
    handoff_key: str = ""
    handoff_status: str = ""
    crm_status: str = ""
    owner: str = ""
    touched_at: datetime | None = None
    closing: str = ""
    closed_at: datetime | None = None
    amount: float | None = None
    reason: str = ""
    converted: bool = False
    problem: str = ""
    """Why the record cannot be used, with the remedy: all faults of a line of a file."""


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in chronological order. *cursor* is the start of the next page.

    *problems* are unreadable lines of a file, each with its remedy.
    """

    records: Sequence[RemoteRecord]
    cursor: str
    has_more: bool = False
    problems: Sequence[str] = ()


class CrmUnavailable(Exception):
    """The CRM is unavailable. *reason* contains no secrets and no personal data."""

    def __init__(self, reason: str, retry_at: datetime | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_at = retry_at

    @property
    def receipt(self) -> NotSent:
        """Return the receipt of a record that could not be sent for this reason."""
        return NotSent(self.reason, self.retry_at, blocks_all=True)


class Crm(Protocol):
    """A CRM. Writing a record again with the same key updates it, in every CRM."""

    @property
    def name(self) -> str:
        """Return the name of the CRM, as in settings."""
        ...

    @property
    def batch_size(self) -> int:
        """Return the recommended number of records per `upsert`."""
        ...

    def look_up(self, keys: Sequence[str]) -> Mapping[str, RemoteRecord]:
        """Return the existing records of *keys*. Raises CrmUnavailable."""
        ...

    def upsert(self, records: Sequence[HandoffRecord], now: datetime) -> Sequence[Receipt]:
        """Create or update *records*; return one receipt each, in order. Network errors become receipts.

        A record without its key in the CRM is searched first by its id in this CRM, then by its address.
        """
        ...

    def fetch_changes(self, cursor: str, limit: int, now: datetime) -> ChangePage:
        """Return at most *limit* records changed since *cursor* ("": from the beginning).

        Raises CrmUnavailable. A cursor can be read again, and no change is skipped.
        """
        ...

    def check(self, now: datetime) -> Sequence[str]:
        """Return what is missing in the setup of the CRM, each with its remedy. Raises CrmUnavailable."""
        ...

    def record_url(self, crm_id: str) -> str:
        """Return the page of the record with this id for a person, "" if this CRM has none."""
        ...

    def close(self) -> None:
        """Close connections. May be called twice."""
        ...
