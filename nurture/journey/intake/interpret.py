"""Interpret a row of a lead file: fields, signals and custody."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Final, NamedTuple

from nurture.domain.lead import Closing, Custodian, FieldValue, Queue
from nurture.domain.plain_text import index_key
from nurture.domain.signals import SignalKind
from nurture.formats.lead_row import STORED_FIELDS, LeadRow
from nurture.formats.status_mapping import LeadStatus
from nurture.journey.leads.transitions import QUEUE_REVIEW_INTERVAL

IdentityKey = tuple[str, str]
"""Identity of a lead in another system: (source, external id)."""

OWNER_FOLLOW_UP_AFTER: Final = timedelta(days=14)
"""When the follow-up of a lead that was imported with its owner is due."""

_stored_values = attrgetter(*STORED_FIELDS)
_all_values = attrgetter(*(one.name for one in fields(LeadRow) if one.name != "line"))
_WON: Final = frozenset({LeadStatus.WON, LeadStatus.CUSTOMER})
_LOST: Final = frozenset({LeadStatus.LOST, LeadStatus.UNQUALIFIED})
_MAX_OWNER_LENGTH: Final = 200  # characters


class CustodyDecision(NamedTuple):
    """The custodian of a lead, its next action and the reason."""

    kind: str
    ref: str
    next_action: str
    due_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class RowSignal:
    """A signal in a row; *key* is unique among the lead's signals of this kind and the same at every import."""

    kind: SignalKind
    occurred_at: datetime
    key: str
    value: str | None = None


def identity_key(row: LeadRow) -> IdentityKey | None:
    """Return the identity of the row in the source system; None if it has only an address.

    A row with neither id nor address is identified by its whole content.
    """
    if row.external_id:
        return normalize_key(row.source, row.external_id)
    return None if row.email else (row.source, f"row {_digest(repr(_all_values(row)))}")


def normalize_key(source: str, external_id: str) -> IdentityKey:
    """Return the identity of a lead in another system as it is stored."""
    return index_key(source), index_key(external_id)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def stated_at(row: LeadRow) -> datetime | None:
    """Return when the lead stated the answers of the row."""
    return row.registered_at or row.created_at


def first_contact_at(row: LeadRow, now: datetime) -> datetime:
    """Return the earliest date of the row, *now* if it has none."""
    return min(at for at in (row.created_at, row.registered_at, now) if at is not None)


def merge_fields(row: LeadRow, current: dict[str, FieldValue], now: datetime) -> dict[str, FieldValue]:
    """Return *current* updated with the fields of the row; an empty cell removes nothing."""
    merged: dict[str, FieldValue] = {**current, **row.custom}
    for name, value in zip(STORED_FIELDS, _stored_values(row), strict=True):
        if value is not None:
            merged[name] = value.value if name == "status" else value
    if row.timeframe is not None:
        same = current.get("purchase_timeframe") == row.purchase_timeframe
        # An undated answer counts from the import that first had it, not from each later import.
        if stated_at(row) is not None or not same or "purchase_timeframe_days" not in current:
            days = _timeframe_days(row, stated_at(row) or now)
            if days is not None:
                merged["purchase_timeframe_days"] = days
    return merged


def _timeframe_days(row: LeadRow, at: datetime) -> int | None:
    if row.timeframe is None:
        return None
    if row.timeframe.on is not None:
        return (row.timeframe.on - at.date()).days
    return row.timeframe.within_days


def is_won(row: LeadRow) -> bool:
    """Return whether the row marks the lead as a customer."""
    return bool(row.customer) or row.status in _WON


def was_won(lead_fields: dict[str, FieldValue]) -> bool:
    """Return whether these fields mark the lead as a customer."""
    return bool(lead_fields.get("customer")) or lead_fields.get("status") in _WON


def custody_after_update(row: LeadRow, previous_fields: dict[str, FieldValue], now: datetime) -> CustodyDecision | None:
    """Return the new custody of a known lead if its changed status ends marketing, else None."""
    if is_won(row):
        return None if was_won(previous_fields) else closed_custody(Closing.WON, "became a customer")
    if row.status is None or row.status.value == previous_fields.get("status"):
        return None
    if row.status in _LOST:
        return closed_custody(Closing.LOST, f"status changed to {row.status}")
    return _custody_of_owner(row, now)


def _custody_of_owner(row: LeadRow, now: datetime) -> CustodyDecision | None:
    if not row.owner or row.status is not LeadStatus.WORKING or row.deleted:
        return None
    due = now + OWNER_FOLLOW_UP_AFTER
    return CustodyDecision(
        Custodian.REP, row.owner[:_MAX_OWNER_LENGTH], "follow up", due, "a rep already works this lead"
    )


def opts_out(row: LeadRow) -> bool:
    """Return whether the address of the row must not be mailed."""
    return bool(row.opted_out or row.deleted)


def extract_signals(row: LeadRow, now: datetime, held_at: datetime | None = None) -> list[RowSignal]:
    """Return the signals of the row, none later than *now*.

    *held_at* is when the webinar took place, if the file says so.
    """
    known_at = stated_at(row)
    day = known_at.date().isoformat() if known_at is not None else "undated"
    at = min(known_at or now, now)
    signals = []
    if row.registered_at is not None:
        signals.append(RowSignal(SignalKind.REGISTERED, at, day))
    if row.attended:
        attended_at = min(held_at, now) if held_at is not None else at
        signals.append(RowSignal(SignalKind.ATTENDED, attended_at, held_at.date().isoformat() if held_at else day))
    if row.demo_requested:
        signals.append(RowSignal(SignalKind.REQUESTED_DEMO, at, day))
    decides_on = _decision_date(row, known_at or now)
    if decides_on is not None and row.timeframe is not None:
        is_dated = known_at is not None or row.timeframe.on is not None
        key = decides_on.isoformat() if is_dated else f"+{row.timeframe.within_days}"
        signals.append(RowSignal(SignalKind.DECIDING, at, f"{day} {key}", decides_on.isoformat()))
    return signals


def _decision_date(row: LeadRow, at: datetime) -> date | None:
    days = _timeframe_days(row, at)
    try:
        return None if days is None else (at.astimezone(UTC) + timedelta(days=days)).date()
    except OverflowError:
        return None


def initial_custody(row: LeadRow, *, suppressed: bool, now: datetime) -> CustodyDecision:
    """Return the custody of a new lead. Only leads in intake can be mailed later."""
    owned = _custody_of_owner(row, now)
    if owned is not None:
        return owned
    if is_won(row):
        return closed_custody(Closing.WON, "already a customer")
    if row.status in _LOST:
        return closed_custody(Closing.LOST, f"status is {row.status}")
    return unowned_custody(
        suppressed=suppressed or opts_out(row),
        has_address=row.email is not None,
        has_basis=row.consent_basis is not None,
        now=now,
    )


def unowned_custody(*, suppressed: bool, has_address: bool, has_basis: bool, now: datetime) -> CustodyDecision:
    """Return the custody of a lead without owner: intake, or the queue for the reason why it cannot be mailed."""
    if suppressed:
        return _queue_custody(Queue.SUPPRESSED, "opted out, deleted or undeliverable", now)
    if not has_address:
        return _queue_custody(Queue.NO_ADDRESS, "no email address is known", now)
    if not has_basis:
        return _queue_custody(Queue.NO_CONSENT_BASIS, "no consent or other legal basis is recorded", now)
    return CustodyDecision(Custodian.INTAKE, "import", "classify", now, "may be mailed")


def ambiguous_custody(now: datetime) -> CustodyDecision:
    """Return the custody of a row that matches two known leads."""
    return _queue_custody(Queue.AMBIGUOUS, "its id and its address match different leads", now)


def closed_custody(closing: Closing, reason: str) -> CustodyDecision:
    """Return the custody of a closed lead."""
    return CustodyDecision(Custodian.CLOSED, closing, "", None, reason)


def _queue_custody(queue: Queue, reason: str, now: datetime) -> CustodyDecision:
    return CustodyDecision(Custodian.QUEUE, queue, f"review: {reason}", now + QUEUE_REVIEW_INTERVAL, reason)
