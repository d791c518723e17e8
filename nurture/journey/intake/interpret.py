"""Interpret a row of a lead file: fields, signals and custody."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from types import MappingProxyType
from typing import Final, NamedTuple

from nurture.domain.consent.permission import MailPermission
from nurture.domain.consent.statements import ConsentStatement, withdrawal
from nurture.domain.consent.suppression import ActiveSuppression, SuppressionScope, SuppressionSource, normalize_ref
from nurture.domain.lead import Closing, Custodian, FieldValue, Queue, Resting
from nurture.domain.plain_text import index_key
from nurture.domain.policy.queues import REVIEW_INTERVAL
from nurture.domain.signals import SignalKind
from nurture.formats.lead_row import STORED_FIELDS, LeadRow
from nurture.formats.status_mapping import ConsentBasis, LeadStatus
from nurture.journey.leads.transitions import REST_ACTIONS
from nurture.journey.ownership.match.names import fold_letters

IdentityKey = tuple[str, str]
"""Identity of a lead in another system: (source, external id)."""

OWNER_FOLLOW_UP_AFTER: Final = timedelta(days=14)
"""When the follow-up of a lead that was imported with its owner is due."""

_stored_values = attrgetter(*STORED_FIELDS)
_all_values = attrgetter(
    *(one.name for one in fields(LeadRow) if one.name not in ("line", "parts", "shares_id", "other_addresses"))
)
_WON: Final = frozenset({LeadStatus.WON, LeadStatus.CUSTOMER})
_LOST: Final = frozenset({LeadStatus.LOST, LeadStatus.UNQUALIFIED})
_MAX_OWNER_LENGTH: Final = 200  # characters
_MAX_EVIDENCE_LENGTH: Final = 300  # characters


ALL_MAIL: Final = (SuppressionScope.GLOBAL, "")
"""The target of statements about all mail."""

WITHOUT_ADDRESS: Final = MailPermission(False, "", "no email address is known")
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
OPTED_OUT: Final = MailPermission(
    False,
    "",
    "opted out while no address was known",
    ActiveSuppression(SuppressionScope.GLOBAL, "", SuppressionSource.WITHDRAWN, _LONG_AGO, _LONG_AGO),
)
"""The permission of a lead without address that opted out."""


class Origin(NamedTuple):
    """Where rows come from, and when. *held_at* is when the webinar took place, if the file says so.

    *topics* are the published topics by their normal form, *reps* ids of reps by their names, addresses and ids.
    *confirm* are the sources, in normal form, whose consent must be confirmed.
    """

    file: str
    now: datetime
    held_at: datetime | None = None
    topics: Mapping[str, str] = MappingProxyType({})
    reps: Mapping[str, str] = MappingProxyType({})
    confirm: frozenset[str] = frozenset()


class CustodyDecision(NamedTuple):
    """The custodian of a lead, its next action and the reason."""

    kind: str
    ref: str
    next_action: str
    due_at: datetime | None
    reason: str


class RowSignal(NamedTuple):
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
    return None if row.email else (row.source, f"row {_digest(row_content(row))}")


def identity_keys(row: LeadRow) -> list[IdentityKey]:
    """Return the identities of a row and of the rows that are folded into it."""
    if not row.parts:
        key = identity_key(row) if row.external_id or not row.email else None
        return [] if key is None else [key]
    return list(dict.fromkeys(key for part in row.parts if (key := identity_key(part)) is not None))


def row_content(row: LeadRow) -> str:
    """Return the whole content of a row, for comparison."""
    return repr(_all_values(row))


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
    created, registered = row.created_at, row.registered_at
    first = min(created, registered) if created and registered else created or registered
    return first if first is not None and first < now else now


def merge_fields(row: LeadRow, current: dict[str, FieldValue], now: datetime) -> dict[str, FieldValue]:
    """Return *current* updated with the fields of the row; an empty cell removes nothing."""
    stored = {name: value for name, value in zip(STORED_FIELDS, _stored_values(row), strict=True) if value is not None}
    merged: dict[str, FieldValue] = {**current, **row.custom, **stored}
    if row.status is not None:
        merged["status"] = str(row.status)
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


def names_other_person(row: LeadRow, names: Mapping[str, FieldValue | None], *, same_address: bool) -> bool:
    """Return whether a row with the id of a person names another one.

    With *same_address*, or without one, every word of the names must differ; otherwise one word, unless a name is only
    longer.
    """
    theirs = set(fold_letters(f"{row.first_name or ''} {row.last_name or ''}").split())
    known = set(fold_letters(f"{names.get('first_name') or ''} {names.get('last_name') or ''}").split())
    if not theirs or not known:
        return False
    return theirs.isdisjoint(known) if same_address else not (theirs <= known or known <= theirs)


def is_won(row: LeadRow) -> bool:
    """Return whether the row marks the lead as a customer."""
    return bool(row.customer) or row.status in _WON


def was_won(lead_fields: dict[str, FieldValue]) -> bool:
    """Return whether these fields mark the lead as a customer."""
    return bool(lead_fields.get("customer")) or lead_fields.get("status") in _WON


def custody_after_update(row: LeadRow, previous_fields: dict[str, FieldValue], now: datetime) -> CustodyDecision | None:
    """Return the new custody of a known lead if its changed status ends marketing, else None."""
    if is_won(row):
        return None if was_won(previous_fields) else customer_custody("became a customer", now)
    if row.status is None or row.status.value == previous_fields.get("status"):
        return None
    if row.status in _LOST:
        return closed_custody(Closing.LOST, f"status changed to {row.status}")
    return _custody_of_owner(row, now)


def _custody_of_owner(row: LeadRow, now: datetime) -> CustodyDecision | None:
    if row.status is not LeadStatus.WORKING or row.deleted:
        return None
    if not row.owner:
        return _queue_custody(Queue.OWNER_UNKNOWN, "a rep works this lead, and the file does not say who", now)
    due = now + OWNER_FOLLOW_UP_AFTER
    return CustodyDecision(
        Custodian.REP, row.owner[:_MAX_OWNER_LENGTH], "follow up", due, "a rep already works this lead"
    )


def opts_out(row: LeadRow) -> bool:
    """Return whether the row says that its address must not be mailed; a column that only may say so does not count."""
    flags = row.consent_withdrawn, row.opted_out, row.opted_out_topics, row.deleted
    return any(flags) or bool(opt_out_sources(row))


def consent_statements(row: LeadRow, origin: Origin) -> list[ConsentStatement]:
    """Return what the row and the rows folded into it say about email. A no to all mail wins over every yes.

    An opt-out from a topic that no track has is an opt-out from all mail.
    """
    parts = row.parts
    found = [one for part in parts for one in _row_statements(part, origin)] if parts else _row_statements(row, origin)
    refusals = [one for one in found if one.basis is None]
    return refusals if refusals and any(one.target == ALL_MAIL for one in refusals) else found


def _row_statements(row: LeadRow, origin: Origin) -> list[ConsentStatement]:
    source, now = row.source, origin.now
    said_in = f", {row.consent_source}" if row.consent_source else ""  # as evidence, because it may name a person
    where = f"line {row.line} of {origin.file}{said_in}"[:_MAX_EVIDENCE_LENGTH]
    named = row.opted_out_topics
    topics = sorted({origin.topics.get(normalize_ref(topic), "") for topic in named}) if named else ()
    refuses = row.consent_withdrawn or row.opted_out or topics or row.deleted or row.unclear_opt_out
    found = (
        []
        if not refuses
        else [
            withdrawal(source, at, now, topic, evidence=f"{where}, {why}")
            for applies, at, topic, why in (
                (row.consent_withdrawn, row.consent_at, "", "consent column"),
                (row.opted_out, row.opted_out_at, "", "opt-out column"),
                *((True, row.opted_out_at, topic, "opt-out column") for topic in topics),
                (row.deleted, None, "", "deleted there"),
                (row.unclear_opt_out, None, "", f"column {row.unclear_opt_out} looks like an opt-out: map it"),
            )
            if applies
        ]
    )
    if row.consent_basis is not None:
        confirms = origin.confirm and row.consent_basis is ConsentBasis.CONSENT
        if confirms:
            confirms = not origin.confirm.isdisjoint(map(normalize_ref, (source, row.consent_source or "")))
        said = *ALL_MAIL, str(row.consent_basis), not confirms, source
        found.append(ConsentStatement(*said, row.consent_at, now, where, row.consent_wording or ""))
    return found


def opt_out_sources(row: LeadRow) -> list[SuppressionSource]:
    """Return why mail to the address of the row is suppressed: it bounces, or the person reported spam."""
    bounces = [SuppressionSource.BOUNCE] if row.undeliverable else []
    return [*bounces, SuppressionSource.COMPLAINT] if row.complained else bounces


def extract_signals(row: LeadRow, now: datetime, held_at: datetime | None = None) -> list[RowSignal]:
    """Return the signals of the row, none later than *now*.

    *held_at* is when the webinar took place, if the file says so.
    """
    if row.parts:
        return list(dict.fromkeys(signal for part in row.parts for signal in extract_signals(part, now, held_at)))
    known_at = stated_at(row)
    day = known_at.date().isoformat() if known_at is not None else "undated"
    at = min(known_at or now, now)
    signals = []
    if row.registered_at is not None:
        signals.append(RowSignal(SignalKind.REGISTERED, at, day))
    if row.attended:
        attended_at = held_at or row.attended_at or row.event_at
        on = attended_at.date().isoformat() if attended_at is not None else day
        signals.append(RowSignal(SignalKind.ATTENDED, min(attended_at or at, now), on))
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


def initial_custody(row: LeadRow, permission: MailPermission, now: datetime) -> CustodyDecision:
    """Return the custody of a new lead. Only leads in intake can be mailed later."""
    owned = _custody_of_owner(row, now)
    if owned is not None:
        return owned
    if is_won(row):
        return customer_custody("already a customer", now)
    if row.status in _LOST:
        return closed_custody(Closing.LOST, f"status is {row.status}")
    return unowned_custody(permission, has_address=row.email is not None, now=now)


def unowned_custody(permission: MailPermission, *, has_address: bool, now: datetime) -> CustodyDecision:
    """Return the custody of a lead without owner: intake, or the queue for the reason why it cannot be mailed."""
    if permission.refusal is not None:
        return _queue_custody(Queue.SUPPRESSED, permission.reason, now)
    if not has_address:
        return _queue_custody(Queue.NO_ADDRESS, "no email address is known", now)
    if not permission.allowed:
        custody = _queue_custody(Queue.NO_CONSENT_BASIS, permission.reason, now)
        return custody if permission.requested_at is None else custody._replace(due_at=now)
    return CustodyDecision(Custodian.INTAKE, "import", "classify", now, "may be mailed")


def ambiguous_custody(now: datetime) -> CustodyDecision:
    """Return the custody of a row that matches two known leads."""
    return _queue_custody(Queue.AMBIGUOUS, "its id and its address match different leads", now)


def customer_custody(reason: str, now: datetime) -> CustodyDecision:
    """Return the custody of a customer: it rests, and the next run looks for a track for customers."""
    return CustodyDecision(Custodian.RESTING, Resting.CUSTOMER, REST_ACTIONS[Resting.CUSTOMER], now, reason)


def closed_custody(closing: Closing, reason: str) -> CustodyDecision:
    """Return the custody of a closed lead."""
    return CustodyDecision(Custodian.CLOSED, closing, "", None, reason)


def _queue_custody(queue: Queue, reason: str, now: datetime) -> CustodyDecision:
    return CustodyDecision(Custodian.QUEUE, queue, f"review: {reason}", now + REVIEW_INTERVAL, reason)
