"""Find known leads and write new ones, in a constant number of statements per batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, String, select, update

from nurture.db.row_values import column_types
from nurture.db.tables import handoff as handoff_tables
from nurture.db.tables import leads as lead_tables
from nurture.db.tables import signals as signal_tables
from nurture.db.tables import tracks as track_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.domain.lead import FieldValue
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.leads import signal_queries
from nurture.journey.leads.changeset import Changes
from nurture.journey.leads.lock_queries import lock_leads
from nurture.outbox import crm_records

custody = table(lead_tables.Custody)
enrollment = table(track_tables.Enrollment)
identity = table(lead_tables.Identity)
journal = table(lead_tables.Journal)
lead = table(lead_tables.Lead)
offer = table(handoff_tables.Offer)
signal = table(signal_tables.Signal)

IdentityKey = tuple[str, str]
"""Identity of a lead in another system: (source, external id)."""


class ExistingLead(NamedTuple):
    """A known lead with the columns that intake compares with a row."""

    lead_id: int
    address_id: int | None
    fields: dict[str, FieldValue]
    zone: str
    country: str
    consent_basis: str | None
    first_contact_at: datetime
    kind: str
    ref: str
    since: datetime
    version: int


class NewLead(NamedTuple):
    """A lead to insert."""

    id: int
    address_id: int | None
    source: str
    fields: Mapping[str, FieldValue]
    zone: str
    country: str
    consent_basis: str | None
    consent_source: str | None
    consent_at: datetime | None
    engagement: float
    readiness: str
    first_contact_at: datetime
    created_at: datetime
    updated_at: datetime


class NewCustody(NamedTuple):
    """The custody of a new lead."""

    lead_id: int
    kind: str
    ref: str
    since: datetime
    next_action: str
    due_at: datetime | None
    version: int


class LeadUpdate(NamedTuple):
    """The new values of a known lead."""

    lead_id: int
    address_id: int | None
    fields: Mapping[str, FieldValue]
    zone: str
    country: str
    first_contact_at: datetime


class ImportedSignal(NamedTuple):
    """A signal from a file; *applied_at* is set for history that must have no effect any more."""

    lead_id: int
    kind: str
    occurred_at: datetime
    recorded_at: datetime
    natural_key: str
    verdict: str
    verdict_reason: str
    value: str | None
    source: str
    applied_at: datetime | None


class IntakeEntry(NamedTuple):
    """One entry of the journal."""

    lead_id: int
    at: datetime
    stage: str
    event: str
    reason: str
    custody_from: str | None
    custody_to: str | None
    ref: str | None


@dataclass(slots=True)
class IntakeChanges:
    """The changes of one batch of rows."""

    leads: list[NewLead] = field(default_factory=list)
    custody: list[NewCustody] = field(default_factory=list)
    identities: list[tuple[str, str, int]] = field(default_factory=list)
    lead_updates: list[LeadUpdate] = field(default_factory=list)
    address_changes: list[int] = field(default_factory=list)
    signals: list[ImportedSignal] = field(default_factory=list)
    withdrawn: list[tuple[int, str]] = field(default_factory=list)
    due_now: list[int] = field(default_factory=list)
    journal_entries: list[IntakeEntry] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)

    def write(self, tx: Transaction, now: datetime) -> int:
        """Write all changes; return how many signals were new."""
        if self.address_changes:
            # Two leads may swap addresses: clear the old ones before setting the new ones.
            readdressed = tx.ids("readdressed", self.address_changes)
            tx.execute(update(lead).where(lead.c.id == readdressed.c.id).values(address_id=None))
        _update_leads(tx, self.lead_updates, now)
        tx.insert(lead, NewLead._fields, self.leads)
        tx.insert(identity, ("source", "external_id", "lead_id"), self.identities)
        tx.insert(custody, NewCustody._fields, self.custody)
        _withdraw(tx, self.withdrawn, now)
        self.changes.write(tx, now)
        tx.insert(journal, IntakeEntry._fields, self.journal_entries)
        if self.due_now:
            signal_queries.make_due(tx, self.due_now, now)
        signals = sorted(self.signals, key=lambda one: one.natural_key)
        return tx.insert(signal, ImportedSignal._fields, signals, unique_columns=["natural_key"])


def find_identities(tx: Transaction, keys: Collection[IdentityKey]) -> dict[IdentityKey, int]:
    """Return the lead ids of the known identities."""
    if not keys:
        return {}
    requested = tx.rows("requested", column_types(identity, ("source", "external_id")), list(keys))
    same = (identity.c.source == requested.c.source) & (identity.c.external_id == requested.c.external_id)
    statement = select(identity.c.source, identity.c.external_id, identity.c.lead_id).join(requested, same)
    return {(source, external_id): lead_id for source, external_id, lead_id in tx.execute(statement)}


def lock_existing(tx: Transaction, lead_ids: Collection[int]) -> list[ExistingLead]:
    """Lock and return these leads."""
    if not lead_ids:
        return []
    lock_leads(tx, lead_ids)
    chosen = tx.ids("chosen", sorted(lead_ids))
    statement = (
        select(
            lead.c.id,
            lead.c.address_id,
            lead.c.fields,
            lead.c.zone,
            lead.c.country,
            lead.c.consent_basis,
            lead.c.first_contact_at,
            custody.c.kind,
            custody.c.ref,
            custody.c.since,
            custody.c.version,
        )
        .join(chosen, chosen.c.id == lead.c.id)
        .join(custody, custody.c.lead_id == lead.c.id)
        .order_by(lead.c.id)
    )
    return [ExistingLead._make(row) for row in tx.execute(statement)]


def _update_leads(tx: Transaction, rows: Sequence[LeadUpdate], now: datetime) -> None:
    if not rows:
        return
    new = tx.rows("new", column_types(lead, LeadUpdate._fields, lead_id="id"), rows)
    tx.execute(
        update(lead)
        .where(lead.c.id == new.c.lead_id)
        .values(
            address_id=new.c.address_id,
            fields=new.c.fields,
            zone=new.c.zone,
            country=new.c.country,
            first_contact_at=new.c.first_contact_at,
            updated_at=now,
        )
    )


def _withdraw(tx: Transaction, leads: Sequence[tuple[int, str]], now: datetime) -> None:
    """End the enrollments and withdraw the open offers of leads that an import closes or gives to a rep.

    *leads* are ids, each with the reason: how the lead ended, or that a rep has it. Offers that a rep accepted
    count as closed, which frees the rep's capacity.
    """
    if not leads:
        return
    chosen = tx.rows("chosen", {"id": BigInteger(), "reason": String()}, leads)
    tx.execute(
        update(enrollment)
        .where(enrollment.c.lead_id == chosen.c.id, enrollment.c.ended_at.is_(None))
        .values(ended_at=now, end_reason=chosen.c.reason)
    )
    withdrawn = tx.execute(
        update(offer)
        .where(offer.c.lead_id == chosen.c.id, offer.c.state == "offered")
        .values(state="withdrawn", answered_at=now, reason=chosen.c.reason)
        .returning(offer.c.id)
    ).scalars()
    crm_records.set_target_states(tx, [(id_, "withdrawn") for id_ in withdrawn.all()], now)
    handoff_queries.record_follow_ups(tx, [(id_, "closed") for id_, _ in leads], now)
