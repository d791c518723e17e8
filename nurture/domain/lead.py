"""Define a lead, its custodian and the queues."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

MAX_TOUCH_INTERVAL_DAYS: Final = 60
"""The longest interval between touches that a lead can ask for; to get less mail it can pause or opt out."""

FieldValue = str | int | float | bool | None
FieldValues = Mapping[str, FieldValue]


def has_value(value: FieldValue) -> bool:
    """Return whether a field is known: neither None nor blank."""
    return bool(value.strip()) if isinstance(value, str) else value is not None


class Custodian(StrEnum):
    """Who is responsible for a lead. Every lead has exactly one."""

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
    """The built-in queues; the policy may name more."""

    HAND_OFF = "hand-off"  # ready, waits for a rep with capacity
    NO_CONSENT_BASIS = "no-consent-basis"  # no recorded reason why we may mail this lead
    NO_ADDRESS = "no-address"
    SUPPRESSED = "suppressed"  # opted out or undeliverable; a person may call
    AMBIGUOUS = "ambiguous"  # two known leads match
    NO_REP = "no-rep"  # ready, and no rule gives a rep, or every rep declined it
    ACCOUNT_AMBIGUOUS = "account-ambiguous"  # a person must choose the account
    ACCOUNT_OWNER_UNAVAILABLE = "account-owner-unavailable"  # of a customer: it never goes to new-business reps
    NO_TRACK = "no-track"  # not ready, and no track's audience fits


REROUTED_QUEUES: Final = (Queue.NO_REP, Queue.ACCOUNT_AMBIGUOUS, Queue.ACCOUNT_OWNER_UNAVAILABLE)
"""Queues whose leads are routed again periodically: leave ends, reps join, account matches are resolved."""

MANUAL_DECISION_QUEUES: Final = frozenset({Queue.AMBIGUOUS, *REROUTED_QUEUES})
"""Queues of leads for which a person must decide before a rep can get them."""

SALES_QUEUES: Final = MANUAL_DECISION_QUEUES | {Queue.HAND_OFF}
"""Queues of leads that are with sales, or for which a person must decide first."""

MISSING_FIELD_QUEUE_PREFIX: Final = "needs-"
"""Prefix of the queues in which leads wait for a missing field; no field name contains a hyphen."""

PAUSED_BY_OUT_OF_OFFICE: Final = "out-of-office"
"""The `paused_by` of a lead that was paused by its out-of-office reply."""


def is_parked(queue: str) -> bool:
    """Return whether leads in *queue* wait for nobody in sales, so that a request moves them out of it."""
    is_missing_field_queue = queue.startswith(MISSING_FIELD_QUEUE_PREFIX) and "-" not in queue.removeprefix(
        MISSING_FIELD_QUEUE_PREFIX
    )
    return bool(queue) and queue not in SALES_QUEUES and not is_missing_field_queue


@dataclass(frozen=True, slots=True)
class Timeline:
    """The decision date that a lead stated, and when it stated it."""

    decides_on: date
    stated_at: datetime


@dataclass(frozen=True, slots=True)
class Engagement:
    """Exponentially decaying sums, one for each half-life, and the time at which they had these values.

    *points_key* identifies the points from which they were computed.
    """

    values: tuple[float, ...] = ()
    as_of: datetime | None = None
    points_key: str = ""


@dataclass(frozen=True, slots=True)
class Lead:
    """What rules may use of a lead.

    *zone* is an IANA name or "" (the track's fallback applies). *holidays* are the public holidays of the
    lead's country, as local dates. A rep has already answered the signals before *signals_since*. *call_on*:
    the lead asked to be called on that day. *touch_interval*: it asked for at most one touch in this time, None
    for as often as its track allows. *paused_at* is when the pause was requested, *paused_by* who requested it.
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
