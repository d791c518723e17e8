"""The port for everything that sales keeps its leads in: five verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Stage(StrEnum):
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
    """What a CRM is told of a lead. *known_as* is its id in this CRM, "" where it did not come from there."""

    email: str = ""
    first_name: str = ""
    last_name: str = ""
    company: str = ""
    title: str = ""
    phone: str = ""
    country: str = ""
    known_as: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One lead as the CRM is to hold it: a record known by *key*, and how its newest hand-off stands.

    *handoff* is the key of the hand-off. *owner* is the address of the rep who accepted; "" leaves the
    owner alone. *offered_to* is the name of the rep who was asked, *why* is why now, in words for sales.
    """

    key: str
    handoff: str
    stage: Stage
    at: datetime
    person: Person
    owner: str = ""
    offered_to: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as the CRM holds it. *handoff* and *stage* are our own fields, the rest is sales' work.

    *status* is the CRM's own word. *closing* is "won" or "lost" where the CRM itself says so, beyond words.
    *owner* is an address, "" for nobody; *touched_at* the first touch by a person, as far as it is logged.
    """

    key: str
    crm_id: str
    changed_at: datetime
    handoff: str = ""
    stage: str = ""
    status: str = ""
    owner: str = ""
    touched_at: datetime | None = None
    closing: str = ""
    closed_at: datetime | None = None
    amount: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """The CRM holds the record, under *crm_id*. *note* says what it did not take, "" for nothing."""

    crm_id: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class NotWritten:
    """Nothing changed there; try again, not before *retry_at* (UTC). *stops*: nothing else goes either."""

    why: str
    retry_at: datetime | None = None
    stops: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The CRM will not take this record until a person has mended something."""

    why: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nobody knows whether it went: look it up before anything else."""

    why: str


Receipt = Written | NotWritten | Refused | Unclear


@dataclass(frozen=True, slots=True)
class Page:
    """Changes in the order in which they happened. *cursor* is where the next page begins.

    *faults* are lines of a file that could not be read, each with its remedy.
    """

    seen: Sequence[Seen]
    cursor: str
    more: bool = False
    faults: Sequence[str] = ()


class CrmDown(Exception):
    """The CRM cannot be asked now. Its text says why, without secrets and without people's data."""

    def __init__(self, why: str, retry_at: datetime | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.retry_at = retry_at


class Crm(Protocol):
    """Keeps sales' leads. A record written again under its key is the same record, on every backend."""

    @property
    def name(self) -> str:
        """Name the backend as settings show it."""
        ...

    @property
    def at_once(self) -> int:
        """Say how many records one `put` should bring."""
        ...

    def look_up(self, keys: Sequence[str]) -> Mapping[str, Seen]:
        """Return the records of *keys* that there are. Raises CrmDown."""
        ...

    def put(self, records: Sequence[Record], now: datetime) -> Sequence[Receipt]:
        """Create or update each of *records*; one receipt each, in order. Never raises for the network.

        Whoever has no record under its key is looked for first: by its id in this CRM, then by its address.
        """
        ...

    def changes(self, cursor: str, limit: int, now: datetime) -> Page:
        """Return at most *limit* records changed since *cursor* ("": from the beginning). Raises CrmDown.

        Asking again from the same cursor tells the same again, and nothing is left out.
        """
        ...

    def check(self, now: datetime) -> Sequence[str]:
        """Return what is missing for this to work, each with its remedy. Raises CrmDown."""
        ...

    def close(self) -> None:
        """Give connections back. Closing twice is allowed."""
        ...
