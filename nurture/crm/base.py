"""The port for everything that sales keeps its leads in: five verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class HandoffStatus(StrEnum):
    """How far a hand-off is, in our own field of the CRM."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    REASSIGNED = "reassigned"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class Person:
    """What a CRM gets of a lead. *crm_id* is its id in this CRM, "" where it did not come from there."""

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
    """One lead as the CRM is to hold it: a record known by *key*, and how its newest hand-off stands.

    *owner* is the address of the rep who accepted; "" leaves the owner alone. *offered_to* is the name of
    the rep who was asked, *reason* is why now, in words for sales.
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
    """A record as the CRM holds it. *handoff_key*, *handoff_status*: our own fields; the rest is sales' work.

    *crm_status* is the CRM's own word. *closing* is "won" or "lost" where the CRM itself says so.
    *owner* is an address, "" for nobody; *touched_at* the first touch by a person, as far as it is logged.
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


@dataclass(frozen=True, slots=True)
class Accepted:
    """The CRM holds the record, under *crm_id*. *note* says what it did not take, "" for nothing."""

    crm_id: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing changed there; try again, not before *retry_at* (UTC). *blocks_all*: nothing else is sent."""

    reason: str
    retry_at: datetime | None = None
    blocks_all: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """The CRM will not take this record until a person has mended something."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows whether it went: look it up before anything else."""

    reason: str


Receipt = Accepted | NotSent | Rejected | Unknown


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in the order in which they happened. *cursor* is where the next page begins.

    *problems* are lines of a file that could not be read, each with its remedy.
    """

    records: Sequence[RemoteRecord]
    cursor: str
    has_more: bool = False
    problems: Sequence[str] = ()


class CrmUnavailable(Exception):
    """The CRM cannot be asked now. Its text says why, without secrets and without people's data."""

    def __init__(self, reason: str, retry_at: datetime | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_at = retry_at


class Crm(Protocol):
    """Keeps sales' leads. A record written again under its key is the same record, on every backend."""

    @property
    def name(self) -> str:
        """Name the backend as settings show it."""
        ...

    @property
    def batch_size(self) -> int:
        """Say how many records one `upsert` should bring."""
        ...

    def look_up(self, keys: Sequence[str]) -> Mapping[str, RemoteRecord]:
        """Return the records of *keys* that there are. Raises CrmUnavailable."""
        ...

    def upsert(self, records: Sequence[HandoffRecord], now: datetime) -> Sequence[Receipt]:
        """Create or update each of *records*; one receipt each, in order. Never raises for the network.

        Whoever has no record under its key is looked for first: by its id in this CRM, then by its address.
        """
        ...

    def fetch_changes(self, cursor: str, limit: int, now: datetime) -> ChangePage:
        """Return at most *limit* records changed since *cursor* ("": from the beginning).

        Raises CrmUnavailable. The same cursor returns the same again, and nothing is left out.
        """
        ...

    def check(self, now: datetime) -> Sequence[str]:
        """Return what is missing for this to work, each with its remedy. Raises CrmUnavailable."""
        ...

    def close(self) -> None:
        """Give connections back. Closing twice is allowed."""
        ...
