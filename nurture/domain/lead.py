"""Who a lead is, and who keeps it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

MAX_TOUCH_INTERVAL_DAYS: Final = 60
"""The longest interval that a lead can ask for; who wants less mail than that pauses it, or leaves."""

FieldValue = str | int | float | bool | None
FieldValues = Mapping[str, FieldValue]


class Custodian(StrEnum):
    """Who is accountable for a lead. Every lead has exactly one."""

    INTAKE = "intake"
    TRACK = "track"
    QUEUE = "queue"
    OFFER = "offer"
    REP = "rep"
    CLOSED = "closed"


class Closing(StrEnum):
    """Why a lead is closed."""

    WON = "won"
    LOST = "lost"
    DISCARDED = "discarded"
    UNREACHABLE = "unreachable"


class Queue(StrEnum):
    """The named queues that ship; policy may name more."""

    HAND_OFF = "hand-off"  # ready, waits for a rep with room
    NO_CONSENT_BASIS = "no-consent-basis"  # nothing allows us to mail this lead
    NO_ADDRESS = "no-address"
    SUPPRESSED = "suppressed"  # opted out or undeliverable; a person may call
    AMBIGUOUS = "ambiguous"  # two known leads match
    NO_REP = "no-rep"  # ready, and every rep gave it back
    NO_TRACK = "no-track"  # not ready, and no track's audience fits


MANUAL_DECISION_QUEUES: Final = frozenset(
    {Queue.NO_REP, Queue.AMBIGUOUS, "account-ambiguous", "account-owner-unavailable"}
)
"""Queues of leads about which a person must decide before a rep can have them."""

SALES_QUEUES: Final = MANUAL_DECISION_QUEUES | {Queue.HAND_OFF}
"""Queues of leads that sales has, or about which a person must decide first."""

MISSING_FIELD_QUEUE_PREFIX: Final = "needs-"
"""Begins the names of the queues in which sales waits for a field of the lead; no field has a hyphen."""

PAUSED_BY_OUT_OF_OFFICE: Final = "out-of-office"
"""Who paused a lead whose automatic answer says that it is away."""


def is_parked(queue: str) -> bool:
    """Return whether the leads of *queue* wait for nobody in sales: a request takes them out of it."""
    is_missing_field_queue = queue.startswith(MISSING_FIELD_QUEUE_PREFIX) and "-" not in queue.removeprefix(
        MISSING_FIELD_QUEUE_PREFIX
    )
    return bool(queue) and queue not in SALES_QUEUES and not is_missing_field_queue


@dataclass(frozen=True, slots=True)
class Timeline:
    """When the lead says that it decides, and when it said so."""

    decides_on: date
    stated_at: datetime


@dataclass(frozen=True, slots=True)
class Engagement:
    """Exponentially decaying sums, one for each half-life, and the moment at which they had these values.

    *points_key* is the key of the points by which they were reckoned.
    """

    values: tuple[float, ...] = ()
    as_of: datetime | None = None
    points_key: str = ""


@dataclass(frozen=True, slots=True)
class Lead:
    """The facts that rules may ask about.

    *zone* is an IANA name or "" (the track's fallback applies). *holidays* are the public holidays of the
    lead's country, as local dates. Signals before *signals_since* was answered by a rep already. *call_on*:
    it asked to be called that day. *touch_interval*: it asked for one touch at most in so long, None for as
    often as its track allows. *paused_at* is when the pause was asked for, *paused_by* by whom.
    """

    id: int
    fields: FieldValues = field(default_factory=dict)
    zone: str = ""
    holidays: Collection[date] = frozenset()
    consent_basis: str | None = None
    engagement: Engagement = Engagement()
    timeline: Timeline | None = None
    signals_since: datetime | None = None
    paused_until: datetime | None = None
    paused_at: datetime | None = None
    paused_by: str = ""
    call_on: date | None = None
    touch_interval: timedelta | None = None


def full_name(fields: Mapping[str, object]) -> str:
    """Return the lead's full name on one line, "" if it is unknown."""
    name = f"{fields.get('first_name') or ''} {fields.get('last_name') or ''}".strip()
    return " ".join((name or str(fields.get("full_name") or "")).split())
