"""What one row of a lead file says: facts for the rules, signals, and where a new lead belongs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Final, NamedTuple

from nurture.domain.lead import Closing, Custodian, Fact, Queue
from nurture.domain.plain_text import index_key
from nurture.domain.signals import SignalKind
from nurture.formats.lead_row import LeadRow
from nurture.formats.status_words import Status
from nurture.journey.intake.queries import Key
from nurture.journey.leads.transitions import LOOK_AGAIN_AFTER

FOLLOW_UP_AFTER: Final = timedelta(days=14)
"""When somebody asks about a lead that came in as a rep's own."""

_PLAIN: Final = (
    "first_name",
    "last_name",
    "title",
    "company",
    "website",
    "industry",
    "employees",
    "phone",
    "country",
    "region",
    "city",
    "postcode",
    "owner",
    "status",
    "customer",
    "lead_source",
    "landing_page",
    "purchase_timeframe",
    "budget",
    "authority",
    "need",
    "attended",
    "minutes_attended",
    "questions",
    "polls",
    "interest",
    "demo_requested",
)
_plain = attrgetter(*_PLAIN)
_everything = attrgetter(*(one.name for one in fields(LeadRow) if one.name != "line"))
_WON: Final = frozenset({Status.WON, Status.CUSTOMER})
_LOST: Final = frozenset({Status.LOST, Status.UNQUALIFIED})
_LONGEST_OWNER: Final = 200  # characters


class Place(NamedTuple):
    """Who keeps a lead, what happens next, and why."""

    kind: str
    ref: str
    next_action: str
    due_at: datetime | None
    because: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A signal in a row; *key* tells it from the lead's others, and is the same at every import."""

    kind: SignalKind
    occurred_at: datetime
    key: str
    value: str | None = None


def key_of(row: LeadRow) -> Key | None:
    """Return the name by which the file's system knows the lead; None if only its address tells.

    A row with neither id nor address is known by its whole content.
    """
    if row.external_id:
        return key_named(row.source, row.external_id)
    return None if row.email else (row.source, f"row {_digest(repr(_everything(row)))}")


def key_named(source: str, external_id: str) -> Key:
    """Return the name of a lead in another system as it is kept."""
    return index_key(source), index_key(external_id)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def said_at(row: LeadRow) -> datetime | None:
    """Return when the lead said what the row says."""
    return row.registered_at or row.created_at


def first_contact(row: LeadRow, now: datetime) -> datetime:
    """Return the row's earliest moment, *now* if it has none."""
    return min(moment for moment in (row.created_at, row.registered_at, now) if moment is not None)


def facts_of(row: LeadRow, known: dict[str, Fact], now: datetime) -> dict[str, Fact]:
    """Return *known* with everything that the row says over it; an empty cell takes nothing away."""
    told: dict[str, Fact] = {**known, **row.custom}
    for name, value in zip(_PLAIN, _plain(row), strict=True):
        if value is not None:
            told[name] = value.value if name == "status" else value
    if row.timeframe is not None:
        same = known.get("purchase_timeframe") == row.purchase_timeframe
        # Without a date, the answer counts from when it was first seen, not from each import again.
        if said_at(row) is not None or not same or "purchase_timeframe_days" not in known:
            days = _days(row, said_at(row) or now)
            if days is not None:
                told["purchase_timeframe_days"] = days
    return told


def _days(row: LeadRow, said: datetime) -> int | None:
    if row.timeframe is None:
        return None
    if row.timeframe.on is not None:
        return (row.timeframe.on - said.date()).days
    return row.timeframe.within_days


def is_won(row: LeadRow) -> bool:
    """Say whether the row calls the lead a customer."""
    return bool(row.customer) or row.status in _WON


def was_won(facts: dict[str, Fact]) -> bool:
    """Say whether these facts call the lead a customer."""
    return bool(facts.get("customer")) or facts.get("status") in _WON


def became(row: LeadRow, before: dict[str, Fact], now: datetime) -> Place | None:
    """Return where a known lead goes whose status is new and takes it from marketing, None if none does."""
    if is_won(row):
        return None if was_won(before) else closed(Closing.WON, "its file calls it a customer now")
    if row.status is None or row.status.value == before.get("status"):
        return None
    if row.status in _LOST:
        return closed(Closing.LOST, f"its status became {row.status}")
    return _worked(row, now)


def _worked(row: LeadRow, now: datetime) -> Place | None:
    if not row.owner or row.status is not Status.WORKING or row.deleted:
        return None
    due = now + FOLLOW_UP_AFTER
    return Place(Custodian.REP, row.owner[:_LONGEST_OWNER], "follow up", due, "a rep works it already")


def opts_out(row: LeadRow) -> bool:
    """Say whether the address of the row must not be mailed."""
    return bool(row.opted_out or row.deleted)


def signals_of(row: LeadRow, now: datetime, held_at: datetime | None = None) -> list[Heard]:
    """Return what the lead did, as far as the row tells; nothing is later than *now*.

    *held_at* is when the webinar was held, if the file says so.
    """
    moment = said_at(row)
    day = moment.date().isoformat() if moment is not None else "undated"
    at = min(moment or now, now)
    heard = []
    if row.registered_at is not None:
        heard.append(Heard(SignalKind.REGISTERED, at, day))
    if row.attended:
        came = min(held_at, now) if held_at is not None else at
        heard.append(Heard(SignalKind.ATTENDED, came, held_at.date().isoformat() if held_at else day))
    if row.demo_requested:
        heard.append(Heard(SignalKind.REQUESTED_DEMO, at, day))
    decides_on = _decides_on(row, moment or now)
    if decides_on is not None and row.timeframe is not None:
        fixed = moment is not None or row.timeframe.on is not None
        key = decides_on.isoformat() if fixed else f"+{row.timeframe.within_days}"
        heard.append(Heard(SignalKind.DECIDING, at, f"{day} {key}", decides_on.isoformat()))
    return heard


def _decides_on(row: LeadRow, said: datetime) -> date | None:
    days = _days(row, said)
    try:
        return None if days is None else (said.astimezone(UTC) + timedelta(days=days)).date()
    except OverflowError:
        return None


def place_of(row: LeadRow, *, suppressed: bool, now: datetime) -> Place:
    """Return who keeps a new lead. Only what goes to intake is ever mailed."""
    worked = _worked(row, now)
    if worked is not None:
        return worked
    if is_won(row):
        return closed(Closing.WON, "a customer already")
    if row.status in _LOST:
        return closed(Closing.LOST, f"its status is {row.status}")
    return waiting(
        suppressed=suppressed or opts_out(row),
        address=row.email is not None,
        basis=row.consent_basis is not None,
        now=now,
    )


def waiting(*, suppressed: bool, address: bool, basis: bool, now: datetime) -> Place:
    """Return who keeps a lead that nobody works: intake, or the queue that says why it cannot be mailed."""
    if suppressed:
        return _queue(Queue.SUPPRESSED, "opted out, deleted or undeliverable", now)
    if not address:
        return _queue(Queue.NO_ADDRESS, "no email address is known", now)
    if not basis:
        return _queue(Queue.NO_BASIS, "no consent or other legal basis is recorded", now)
    return Place(Custodian.INTAKE, "import", "classify", now, "may be mailed")


def ambiguous(now: datetime) -> Place:
    """Return the queue of a row that two known leads match."""
    return _queue(Queue.AMBIGUOUS, "its id is one lead's and its address another's", now)


def closed(closing: Closing, because: str) -> Place:
    """Return the end of a lead's way."""
    return Place(Custodian.CLOSED, closing, "", None, because)


def _queue(queue: Queue, because: str, now: datetime) -> Place:
    return Place(Custodian.QUEUE, queue, f"look at it: {because}", now + LOOK_AGAIN_AFTER, because)
