"""Records of single leads: fields, ids and history."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from nurture.db.row_values import row_columns
from nurture.db.tables.consent import suppression
from nurture.db.tables.delivery import message
from nurture.db.tables.leads import address, custody, identity, journal, lead
from nurture.db.tables.outcomes import outcome
from nurture.db.tables.signals import signal
from nurture.db.tables.tracks import IS_ACTIVE, enrollment
from nurture.db.transaction import Transaction
from nurture.domain.consent.statements import describe_statement
from nurture.domain.scoring import scoring
from nurture.domain.scoring.scoring import Points
from nurture.journey.leads.consent_queries import load_statements
from nurture.journey.leads.snapshot import stored_engagement

MAX_NEAR_MATCHES: Final = 1_000
_NAME_FIELDS: Final = ("last_name", "first_name")
_MESSAGE_EVENTS: Final = {"accepted": "sent"}
"""What is shown of a message in a state that other events have, too: a rep accepts a lead."""


class LeadRecord(NamedTuple):
    """A lead with its address and custody; the columns from *kind* on are None if it has no custody."""

    id: int
    fields: dict[str, Any]
    source: str
    readiness: str
    address_id: int | None
    email: str | None
    consent_basis: str | None
    zone: str
    engagement: float
    engagement_2: float | None
    engagement_3: float | None
    engagement_4: float | None
    engagement_at: datetime | None
    points_key: str | None
    decides_on: date | None
    decides_stated_at: datetime | None
    call_on: date | None
    paused_until: datetime | None
    touch_interval_days: int | None
    first_contact_at: datetime
    kind: str | None
    ref: str | None
    since: datetime | None
    next_action: str | None
    due_at: datetime | None

    def score_at(self, points: Points, now: datetime) -> float:
        """Return the lead's score at *now*, to one decimal place, from the stored sums."""
        sums = self.engagement, self.engagement_2, self.engagement_3, self.engagement_4
        stored = stored_engagement(sums, self.engagement_at, self.points_key)
        return round(scoring.engagement_value_at(stored, points, max(now, self.engagement_at or now)), 1)


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event of a lead's history, or one that is planned.

    *kind* is the table from which it comes: journal, message, signal, outcome, suppression or consent; *record_id* is
    the id there of a message. *is_move*: the lead got another custodian.
    """

    at: datetime
    stage: str
    event: str
    reason: str
    ref: str
    kind: str = "journal"
    record_id: int | None = None
    is_move: bool = False


def _select_records() -> Select[Any]:
    return (
        select(*row_columns(LeadRecord, lead, address, custody))
        .select_from(lead)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .outerjoin(custody, custody.c.lead_id == lead.c.id)
    )


def find_lead_record(tx: Transaction, lead_id: int) -> LeadRecord | None:
    """Return the lead with this id, None if there is none."""
    row = tx.execute(_select_records().where(lead.c.id == lead_id)).one_or_none()
    return LeadRecord._make(row) if row is not None else None


def load_lead_records(tx: Transaction, lead_ids: Collection[int]) -> dict[int, LeadRecord]:
    """Return these leads by id."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    rows = tx.execute(_select_records().join(chosen, chosen.c.id == lead.c.id))
    return {row[0]: LeadRecord._make(row) for row in rows}


def _select_with_step() -> Select[Any]:
    is_active = and_(enrollment.c.lead_id == lead.c.id, IS_ACTIVE)
    return _select_records().add_columns(func.coalesce(enrollment.c.step, "")).outerjoin(enrollment, is_active)


def load_list_rows(tx: Transaction, lead_ids: Sequence[int]) -> list[tuple[LeadRecord, str]]:
    """Return these leads in this order, each with its step, "" without any."""
    chosen = tx.ids("chosen", lead_ids)
    rows = tx.execute(_select_with_step().join(chosen, chosen.c.id == lead.c.id))
    found = {row[0]: (LeadRecord._make(row[:-1]), row[-1]) for row in rows}
    return [found[lead_id] for lead_id in lead_ids if lead_id in found]


LIST_ORDERS: Final = ("due", "name", "company", "newest")


def list_leads(
    tx: Transaction,
    *,
    custodian: str | None = None,
    track: str | None = None,
    source: str | None = None,
    queue: str | None = None,
    words: Sequence[str] = (),
    order: str = "due",
    offset: int = 0,
    limit: int,
) -> list[tuple[LeadRecord, str]]:
    """Return leads whose name, company or address contains all *words*, each with its step, "" without any.

    By *order*, one of LIST_ORDERS: the ones that are due first at the top, and closed ones last.
    """
    name, company = ([lead.c.fields[key].as_string() for key in keys] for keys in (_NAME_FIELDS, ("company",)))
    orders: dict[str, list[ColumnElement[Any]]] = {
        "due": [custody.c.due_at.asc().nulls_last()],
        "name": [func.lower(func.coalesce(one, "")) for one in name],
        "company": [func.lower(func.coalesce(one, "")) for one in (*company, *name)],
        "newest": [lead.c.id.desc()],
    }
    statement = _select_with_step().order_by(*orders[order], lead.c.id).offset(offset).limit(limit)
    for word in words:
        shown = (*name, *company, address.c.email)
        statement = statement.where(or_(*(one.icontains(word, autoescape=True) for one in shown)))
    if custodian is not None:
        statement = statement.where(custody.c.kind == custodian)
    if track is not None:
        statement = statement.where(custody.c.kind == "track", custody.c.ref == track)
    if queue is not None:
        statement = statement.where(custody.c.kind == "queue", custody.c.ref == queue)
    if source is not None:
        statement = statement.where(lead.c.source == source)
    return [(LeadRecord._make(row[:-1]), row[-1]) for row in tx.execute(statement)]


def load_history(tx: Transaction, lead_id: int, address_id: int | None) -> list[HistoryEvent]:
    """Return the history of a lead, oldest first, in six statements."""
    consent = _consent_events(tx, address_id) if address_id is not None else []
    stated = {(one.at, one.stage, one.event) for one in consent}
    found = [
        # The statement of a journal entry about consent has its evidence, too.
        *(one for one in _journal_events(tx, lead_id) if (one.at, one.stage, one.event) not in stated),
        *_message_events(tx, lead_id),
        *_signal_events(tx, lead_id),
        *_outcome_events(tx, lead_id),
        *(_suppression_events(tx, address_id) if address_id is not None else []),
        *consent,
    ]
    return sorted(found, key=lambda line: line.at)


def _journal_events(tx: Transaction, lead_id: int) -> list[HistoryEvent]:
    ref = func.coalesce(journal.c.ref, journal.c.step, "")
    statement = select(
        journal.c.at, journal.c.stage, journal.c.event, journal.c.reason, ref, journal.c.custody_to.is_not(None)
    )
    rows = tx.execute(statement.where(journal.c.lead_id == lead_id).order_by(journal.c.id))
    return [HistoryEvent(at, stage, event, reason, of, is_move=moves) for at, stage, event, reason, of, moves in rows]


def _message_events(tx: Transaction, lead_id: int) -> list[HistoryEvent]:
    found = tx.execute(select(message).where(message.c.lead_id == lead_id).order_by(message.c.id)).all()
    events = []
    for row in found:
        label = f"{row.email} of {row.track}, version {row.track_version}" if row.track else f"{row.email}"
        to = f" to {row.rep}" if row.rep else ""
        reason = f": {row.reason}" if row.reason else ""
        at = row.send_at if row.state == "planned" else row.accepted_at or row.state_at
        event = _MESSAGE_EVENTS.get(row.state, row.state)
        events.append(HistoryEvent(at, row.kind, event, f"{label}{to}{reason}", row.send_key, "message", row.id))
    return events


def _signal_events(tx: Transaction, lead_id: int) -> list[HistoryEvent]:
    found = tx.execute(
        select(signal).where(signal.c.lead_id == lead_id).order_by(signal.c.occurred_at, signal.c.id)
    ).all()
    events = []
    for row in found:
        value = f": {row.value}" if row.value else ""
        verdict_note = "" if row.verdict == "human" else f" ({row.verdict}: {row.verdict_reason or 'not a person'})"
        pending_note = "" if row.applied_at is not None else ", not applied yet"
        where = ", ".join(part for part in (row.track, row.step, row.link) if part)
        description = f"{row.kind}{value}{verdict_note}, from {row.source}{pending_note}"
        events.append(HistoryEvent(row.occurred_at, "signal", row.kind, description, where, "signal"))
    return events


def _outcome_events(tx: Transaction, lead_id: int) -> list[HistoryEvent]:
    found = tx.execute(select(outcome).where(outcome.c.lead_id == lead_id).order_by(outcome.c.id))
    return [
        HistoryEvent(
            row.happened_at,
            "outcome",
            row.closing,
            f"reported by {row.source} on {row.recorded_at:%Y-%m-%d}" + (f": {row.reason}" if row.reason else ""),
            f"{row.amount:,.2f}" if row.amount is not None else "",
            "outcome",
        )
        for row in found
    ]


def _suppression_events(tx: Transaction, address_id: int) -> list[HistoryEvent]:
    statement = select(suppression).where(suppression.c.address_id == address_id).order_by(suppression.c.id)
    events = []
    for row in tx.execute(statement):
        evidence = f": {row.evidence}" if row.evidence else ""
        description = f"{row.scope}, by {row.source}{evidence}"
        events.append(HistoryEvent(row.recorded_at, "suppression", row.action, description, row.ref, "suppression"))
    return events


def _consent_events(tx: Transaction, address_id: int) -> list[HistoryEvent]:
    events = []
    for one in load_statements(tx, [address_id]).get(address_id, ()):
        description = describe_statement(one) + (f": {one.evidence}" if one.evidence else "")
        events.append(HistoryEvent(one.recorded_at, "consent", one.event, description, one.ref, "consent"))
    return events


def has_address(tx: Transaction, normal: str) -> bool:
    """Return whether this normalized address exists."""
    return tx.execute(select(address.c.id).where(address.c.normalized == normal)).first() is not None


def addresses_with_prefix(tx: Transaction, prefix: str) -> Sequence[str]:
    """Return normalized addresses of leads that start with *prefix*."""
    statement = (
        select(address.c.normalized)
        .join(lead, lead.c.address_id == address.c.id)
        .where(address.c.normalized.startswith(prefix, autoescape=True))
    )
    return tx.execute(statement.limit(MAX_NEAR_MATCHES)).scalars().all()


def external_ids_with_prefix(tx: Transaction, prefix: str) -> Sequence[str]:
    """Return external ids that start with *prefix*."""
    statement = select(identity.c.external_id).where(identity.c.external_id.startswith(prefix, autoescape=True))
    return tx.execute(statement.limit(MAX_NEAR_MATCHES)).scalars().all()
