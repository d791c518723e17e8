"""Define a lead, its custodian and the queues."""

from collections.abc import Collection, Mapping
from dataclasses import field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from nurture.domain.frozen import frozen

MAX_TOUCH_INTERVAL_DAYS: Final = 60
"""The longest interval between touches that a lead can ask for; to get less mail it can pause or opt out."""

FieldValue = str | int | float | bool | None
FieldValues = Mapping[str, FieldValue]

OWNER: Final = "owner"
"""The field that names the lead's rep: computed where that is known, else as it came in."""


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
    RESTING = "resting"
    CLOSED = "closed"


class Closing(StrEnum):
    """Why a lead is closed."""

    WON = "won"
    LOST = "lost"
    DISCARDED = "discarded"
    UNREACHABLE = "unreachable"


class Resting(StrEnum):
    """Why a lead rests until a date: nobody works it, and it is placed again on that date or when it asks."""

    CUSTOMER = "customer"
    NO_TRACK = "no-track"  # not ready, and no track's audience fits
    LATER = "later"  # its sale ended, and it is classified again on a date


MAX_REST: Final = timedelta(days=365)
"""The longest time after which a resting lead is looked at again."""


class Queue(StrEnum):
    """The built-in queues; the policy may name more."""

    HAND_OFF = "hand-off"  # ready, waits for a rep with capacity
    NO_CONSENT_BASIS = "no-consent-basis"  # no recorded reason why we may mail this lead
    NO_ADDRESS = "no-address"
    SUPPRESSED = "suppressed"  # opted out or undeliverable; a person may call
    OWNER_UNKNOWN = "owner-unknown"  # a rep works this lead, and the file does not say who
    AMBIGUOUS = "ambiguous"  # two known leads match
    NO_REP = "no-rep"  # ready, and no rule gives a rep, or every rep declined it
    MANAGER_DECISION = "manager-decision"  # hot or asked for contact, and no rep answered: only a person ends it
    ACCOUNT_AMBIGUOUS = "account-ambiguous"  # a person must choose the account
    ACCOUNT_OWNER_UNAVAILABLE = "account-owner-unavailable"  # of a customer: it never goes to new-business reps
    MISSING_FIELD = "missing-field"  # a routing rule requires a field that is not known; `missing_field` names it
    TRACK_MISSING = "track-missing"  # its track is not published, lacks its step, or has a fault


REROUTED_QUEUES: Final = (Queue.NO_REP, Queue.ACCOUNT_AMBIGUOUS, Queue.ACCOUNT_OWNER_UNAVAILABLE)
"""Queues whose leads are routed again periodically: leave ends, reps join, account matches are resolved."""

ROUTED_QUEUES: Final = (Queue.HAND_OFF, Queue.MISSING_FIELD, *REROUTED_QUEUES)
"""Queues between which routing moves leads to and fro: the time that a lead waits goes on."""

SALES_QUEUES: Final = frozenset({Queue.AMBIGUOUS, *ROUTED_QUEUES, Queue.MANAGER_DECISION})
"""Queues of leads that are with sales, or for which a person or an answer is awaited first."""


def describe_custody(custodian: Custodian, queue: str) -> str:
    """Return for what a lead waits that is on no track and not closed. *queue* names its queue, "" for none."""
    match custodian:
        case Custodian.OFFER:
            return "a rep has been asked, and has not answered yet"
        case Custodian.REP:
            return "a rep has it"
        case Custodian.QUEUE if queue == Queue.HAND_OFF:
            return "waits for a rep with capacity"
        case Custodian.QUEUE if queue == Queue.MISSING_FIELD:
            return "waits for a field without which no rep can be chosen"
        case Custodian.QUEUE:
            return f"waits for a person in the queue {queue}"
        case _:
            return "not classified yet; the next sweep does"


class PausedBy(StrEnum):
    """Who or what paused email to a lead; SEVERAL if one extended the pause of another."""

    OPERATOR = "operator"
    PREFERENCE_PAGE = "preference-page"
    REP = "rep"
    OUT_OF_OFFICE = "out-of-office"
    NOT_NOW = "not-now"
    SEVERAL = "several"


PAUSED_BY_REPLY: Final = (PausedBy.OUT_OF_OFFICE, PausedBy.NOT_NOW)
"""The `paused_by` of leads that their own replies paused: an absence, or "not now"."""


def is_parked(queue: str) -> bool:
    """Return whether leads in *queue* wait for nobody in sales, so that a request moves them out of it."""
    return bool(queue) and queue not in SALES_QUEUES


@frozen
class Timeline:
    """The decision date that a lead stated, and when it stated it."""

    decides_on: date
    stated_at: datetime


@frozen
class Engagement:
    """Exponentially decaying sums, one for each half-life, and the time at which they had these values.

    *points_key* identifies the points from which they were computed.
    """

    values: tuple[float, ...] = ()
    as_of: datetime | None = None
    points_key: str = ""


@frozen
class Lead:
    """What rules may use of a lead.

    *zone* is an IANA name or "" (the track's fallback applies). *holidays* are the public holidays of the
    lead's country, as local dates. A rep has already answered the signals before *signals_since*, and the fields as
    they were then, except those that a file changed since (*restated*). *call_on*:
    the lead asked to be called on that day. *touch_interval*: it asked for at most one touch in this time, None
    for as often as its track allows. *paused_at* is when the pause was requested, *paused_by* who requested it.
    *first_contact_at* is when it first came in, or the date that its source gives for that. *owner* is the name of its
    rep, "" if that is unknown, or no condition asks for it.
    """

    id: int
    fields: FieldValues = field(default_factory=dict)
    zone: str = ""
    holidays: Collection[date] = frozenset()
    engagement: Engagement = Engagement()
    timeline: Timeline | None = None
    signals_since: datetime | None = None
    restated: frozenset[str] = frozenset()
    paused_until: datetime | None = None
    paused_at: datetime | None = None
    paused_by: str = ""
    call_on: date | None = None
    touch_interval: timedelta | None = None
    first_contact_at: datetime | None = None
    is_customer: bool = False
    owner: str = ""

    @property
    def condition_fields(self) -> FieldValues:
        """Return the fields as conditions see them: `owner` names its rep, if that is known."""
        return {**self.fields, OWNER: self.owner} if self.owner else self.fields


def full_name(fields: Mapping[str, object]) -> str:
    """Return the lead's full name on one line, "" if it is unknown."""
    name = f"{fields.get('first_name') or ''} {fields.get('last_name') or ''}".strip()
    return " ".join((name or str(fields.get("full_name") or "")).split())


def name_in_list(fields: Mapping[str, object]) -> str:
    """Return the lead's full name as a list of leads shows it, also if it is unknown."""
    return full_name(fields) or "A lead without a name"
