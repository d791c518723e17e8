"""Match one batch of rows with known leads, and insert or update them. No lead is inserted twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Self

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import ActiveSuppression, LiftKey, SuppressionScope, SuppressionSource, lift_key
from nurture.domain.lead import Closing, Custodian, FieldValue, Queue
from nurture.domain.plain_text import index_key
from nurture.domain.scoring import bant
from nurture.domain.signals import SignalKind
from nurture.formats.lead_row import LeadRow
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.intake import interpret, queries
from nurture.journey.intake.interpret import CustodyDecision, RowSignal
from nurture.journey.intake.queries import (
    ExistingLead,
    IdentityKey,
    ImportedSignal,
    IntakeChanges,
    IntakeEntry,
    LeadUpdate,
    NewCustody,
    NewLead,
)
from nurture.journey.leads import address_queries, suppression_queries
from nurture.journey.leads.changeset import NewOutcome, TouchCancellation
from nurture.journey.leads.custody import CustodyUpdate

SOURCE: Final = "import"
"""The source of outcomes that an import records."""

PendingNote = tuple[str, str, str | None, str | None, str | None]
"""A journal entry of a lead that may have no id yet: event, reason, custody from, custody to, ref."""

AddressSuppressions = dict[LiftKey, OptOut | ActiveSuppression]
"""The suppressions of an address. A bounce has a key of its own, beside opt-outs of the lead."""


@dataclass(slots=True, eq=False)
class LeadDraft:
    """A lead while its rows are merged. *row* is the row that created it, None for a known lead."""

    fields: dict[str, FieldValue]
    zone: str
    country: str
    consent_basis: str | None
    first_contact_at: datetime
    custody: CustodyDecision
    since: datetime
    address_id: int | None = None
    row: LeadRow | None = None
    existing: ExistingLead | None = None
    id: int = 0
    changed: bool = False
    candidates: tuple[LeadDraft, ...] = ()
    keys: list[IdentityKey] = field(default_factory=list)
    notes: list[PendingNote] = field(default_factory=list)
    signals: list[tuple[RowSignal, str, bool]] = field(default_factory=list)
    opted_out: bool = False
    """The lead opted out while it had no known address."""

    @classmethod
    def from_existing(cls, existing: ExistingLead) -> Self:
        """Return the draft of a known lead."""
        custody = CustodyDecision(existing.kind, existing.ref, "", None, "")
        return cls(
            existing.fields,
            existing.zone,
            existing.country,
            existing.consent_basis,
            existing.first_contact_at,
            custody,
            existing.since,
            existing.address_id,
            existing=existing,
            id=existing.lead_id,
        )


class LeadUpsert:
    """Merges the rows of one batch into leads, then writes them."""

    def __init__(self, tx: Transaction, file: str, now: datetime, held_at: datetime | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.by_custodian: Counter[tuple[str, str]] = Counter()
        self._tx = tx
        self._file = file
        self._now = now
        self._held_at = held_at
        self._changes = IntakeChanges()
        self._addresses: dict[str, int] = {}
        self._by_key: dict[IdentityKey, LeadDraft] = {}
        self._by_address: dict[int, LeadDraft] = {}
        self._suppressions: dict[int, AddressSuppressions] = defaultdict(dict)
        self._opt_outs: list[OptOut] = []
        self._drafts: list[LeadDraft] = []
        self._ambiguous: dict[IdentityKey, LeadDraft] = {}

    def add_rows(self, rows: Sequence[LeadRow]) -> None:
        """Insert or update the leads of *rows*, in order, in the open transaction."""
        keys = [interpret.identity_key(row) for row in rows]
        self._load_existing(rows, keys)
        for row, key in zip(rows, keys, strict=True):
            self.counts[self._process_row(row, key)] += 1
        self._drop_queued_ambiguous()
        self._write()

    def _load_existing(self, rows: Sequence[LeadRow], keys: Sequence[IdentityKey | None]) -> None:
        tx = self._tx
        acquire(tx, Lock.INTAKE)
        emails = list(dict.fromkeys(row.email for row in rows if row.email))
        found = address_queries.get_or_create_addresses(tx, emails, restore_erased=True)
        identities = queries.find_identities(tx, list(dict.fromkeys(key for key in keys if key)))
        lead_ids = {lead_id for _, lead_id in found.values() if lead_id is not None} | set(identities.values())
        leads = {one.lead_id: LeadDraft.from_existing(one) for one in queries.lock_existing(tx, lead_ids)}
        self._drafts += leads.values()
        self._addresses = {email: address_id for email, (address_id, _) in found.items()}
        self._by_key = {key: leads[lead_id] for key, lead_id in identities.items()}
        self._by_address = {lead.address_id: lead for lead in leads.values() if lead.address_id is not None}
        address_ids = set(self._addresses.values()) | set(self._by_address)
        for address_id, suppressions in suppression_queries.load_suppressions(tx, address_ids).items():
            self._suppressions[address_id] = {lift_key(one.scope, one.ref, one.source): one for one in suppressions}
        without_address = [lead.id for lead in leads.values() if lead.address_id is None]
        for lead_id in suppression_queries.find_opted_out_without_address(tx, without_address):
            leads[lead_id].opted_out = True

    def _process_row(self, row: LeadRow, key: IdentityKey | None) -> str:
        address_id = self._addresses[row.email] if row.email else None
        by_key = self._by_key.get(key) if key is not None else None
        by_address = self._by_address.get(address_id) if address_id is not None else None
        if by_key is not None and by_address is not None and by_key is not by_address:
            return self._queue_ambiguous(row, by_key, by_address, address_id)
        lead = by_key or by_address
        if lead is not None:
            return "updated" if self._update_draft(lead, row, key, address_id) else "unchanged"
        self._create(row, key, address_id)
        return "new"

    def _create(self, row: LeadRow, key: IdentityKey | None, address_id: int | None) -> None:
        if address_id is not None and interpret.opts_out(row):
            self._add_opt_out(OptOut(address_id, SuppressionSource.IMPORT))
        custody = interpret.initial_custody(row, suppressed=self._is_suppressed(address_id), now=self._now)
        lead = self._new_draft(row, custody, address_id)
        if key is not None:
            self._add_key(lead, key)
        if address_id is not None:
            self._by_address[address_id] = lead
        elif interpret.opts_out(row):
            self._opt_out(lead, row)
        self._add_signals(lead, row)

    def _new_draft(self, row: LeadRow, custody: CustodyDecision, address_id: int | None) -> LeadDraft:
        lead = LeadDraft(
            interpret.merge_fields(row, {}, self._now),
            row.zone or "",
            row.country or "",
            row.consent_basis.value if row.consent_basis is not None else None,
            interpret.first_contact_at(row, self._now),
            custody,
            self._now,
            address_id,
            row=row,
        )
        self._drafts.append(lead)
        self._add_note(lead, row, "imported", custody.reason, None)
        return lead

    def _add_key(self, lead: LeadDraft, key: IdentityKey) -> None:
        lead.keys.append(key)
        self._by_key[key] = lead

    def _update_draft(self, lead: LeadDraft, row: LeadRow, key: IdentityKey | None, address_id: int | None) -> bool:
        """Update a known lead from a row, except its consent basis; return whether anything changed."""
        previous = lead.fields
        changes = self._merge_fields(lead, row)
        if key is not None and key not in self._by_key:
            self._add_key(lead, key)
            changes.append("id")
        if address_id is not None and address_id != lead.address_id:
            self._change_address(lead, address_id, row)
            changes.append("address")
        if interpret.opts_out(row) and self._opt_out(lead, row):
            changes.append("opt-out")
        if changes:
            lead.changed = True
            self._add_note(lead, row, "updated", f"new: {', '.join(changes)}", None)
        custody = interpret.custody_after_update(row, previous, self._now)
        if custody is not None and self._may_move(lead, custody):
            self._move(lead, custody, row)
        self._add_signals(lead, row)
        return bool(changes)

    @staticmethod
    def _may_move(lead: LeadDraft, custody: CustodyDecision) -> bool:
        """Return whether the file may move the lead: to won from any custodian, otherwise only from marketing."""
        if custody.ref == Closing.WON:
            return lead.custody[:2] != (Custodian.CLOSED, Closing.WON)
        return lead.custody.kind in (Custodian.INTAKE, Custodian.TRACK, Custodian.QUEUE)

    def _merge_fields(self, lead: LeadDraft, row: LeadRow) -> list[str]:
        fields = bant.drop_stale_details(lead.fields, interpret.merge_fields(row, lead.fields, self._now))
        zone, country = row.zone or lead.zone, row.country or lead.country
        first = min(lead.first_contact_at, interpret.first_contact_at(row, self._now))
        changes = [name for name, value in fields.items() if name not in lead.fields or lead.fields[name] != value]
        if (zone, country, first) != (lead.zone, lead.country, lead.first_contact_at):
            changes.append("location or first contact")
        lead.fields, lead.zone, lead.country, lead.first_contact_at = fields, zone, country, first
        return changes

    def _change_address(self, lead: LeadDraft, address_id: int, row: LeadRow) -> None:
        old = lead.address_id
        lead.address_id = address_id
        self._by_address[address_id] = lead
        if old is not None:
            del self._by_address[old]
            # Opt-outs belong to the person and move to the new address; a bounce belongs to the old mailbox.
            for one in list(self._suppressions[old].values()):
                if one.source is not SuppressionSource.BOUNCE:
                    self._add_opt_out(OptOut(address_id, one.source, one.scope, one.ref))
        elif lead.opted_out:
            self._add_opt_out(OptOut(address_id, SuppressionSource.IMPORT))
        if lead.custody[:2] == (Custodian.QUEUE, Queue.NO_ADDRESS):
            suppressed = self._is_suppressed(address_id) or interpret.opts_out(row)
            custody = interpret.unowned_custody(
                suppressed=suppressed, has_address=True, has_basis=lead.consent_basis is not None, now=self._now
            )
            self._move(lead, custody, row)

    def _opt_out(self, lead: LeadDraft, row: LeadRow) -> bool:
        """Suppress mail to a lead that opted out, now or once it has an address; return whether that is new."""
        if lead.address_id is not None:
            return self._add_opt_out(OptOut(lead.address_id, SuppressionSource.IMPORT))
        if lead.opted_out:
            return False
        lead.opted_out = True
        lead.signals.append((RowSignal(SignalKind.UNSUBSCRIBED, self._now, "without address"), row.source, True))
        return True

    def _add_opt_out(self, opt_out: OptOut) -> bool:
        key = lift_key(opt_out.scope, opt_out.ref, opt_out.source)
        if key in self._suppressions[opt_out.address_id]:
            return False
        self._suppressions[opt_out.address_id][key] = opt_out
        self._opt_outs.append(opt_out)
        return True

    def _is_suppressed(self, address_id: int | None) -> bool:
        return address_id is not None and any(
            one.scope is SuppressionScope.GLOBAL for one in self._suppressions[address_id].values()
        )

    def _move(self, lead: LeadDraft, custody: CustodyDecision, row: LeadRow) -> None:
        previous_kind = lead.custody.kind
        lead.custody, lead.since, lead.changed = custody, self._now, True
        self._add_note(
            lead, row, "closed" if custody.kind == Custodian.CLOSED else "moved", custody.reason, previous_kind
        )

    def _add_note(self, lead: LeadDraft, row: LeadRow, event: str, reason: str, previous_kind: str | None) -> None:
        changes_custody = event != "updated"
        kind, ref = (lead.custody.kind, lead.custody.ref) if changes_custody else (None, None)
        lead.notes.append((event, f"line {row.line} of {self._file}: {reason}"[:500], previous_kind, kind, ref))

    def _add_signals(self, lead: LeadDraft, row: LeadRow) -> None:
        asked_before = lead.existing is None or lead.existing.fields.get("demo_requested")
        for signal in interpret.extract_signals(row, self._now, self._held_at):
            if signal.kind is SignalKind.REQUESTED_DEMO and not asked_before:
                signal = replace(signal, occurred_at=self._now)  # noqa: PLW2901 - the row's date is older than the request
            # Signals from before the lead was closed have no effect: they must not reopen it.
            already_answered = lead.custody.kind == Custodian.CLOSED and signal.occurred_at <= lead.since
            lead.signals.append((signal, row.source, already_answered))

    def _queue_ambiguous(self, row: LeadRow, by_key: LeadDraft, by_address: LeadDraft, address_id: int | None) -> str:
        if interpret.opts_out(row):
            # One of the two opted out, and it is unknown which: suppress both.
            for one in (by_key, by_address):
                one.changed |= self._opt_out(one, row)
        key = interpret.identity_key(row)
        assert key is not None
        ambiguous_key = (f"ambiguous {key[0]}", f"{key[1]} {address_id}")
        if ambiguous_key in self._ambiguous:
            return "unchanged"
        custody = interpret.ambiguous_custody(self._now)
        lead = self._new_draft(row, custody, None)
        lead.fields |= {"email": row.email, "external_id": row.external_id}
        lead.candidates = (by_key, by_address)
        lead.keys.append(ambiguous_key)
        self._ambiguous[ambiguous_key] = lead
        return "new"

    def _drop_queued_ambiguous(self) -> None:
        """Drop ambiguous rows that are already in the queue."""
        queued = queries.find_identities(self._tx, list(self._ambiguous))
        for key in queued:
            self._drafts.remove(self._ambiguous[key])
        self.counts["new"] -= len(queued)
        self.counts["unchanged"] += len(queued)

    def _write(self) -> None:
        new = [lead for lead in self._drafts if lead.existing is None]
        ids = self._tx.reserve_ids("lead", len(new))
        for lead, lead_id in zip(new, ids, strict=True):
            lead.id = lead_id
        for lead in new:
            if lead.candidates:
                lead.fields["candidates"] = " ".join(str(one.id) for one in lead.candidates)
            self._write_new(lead)
        for lead in self._drafts:
            if lead.existing is not None and lead.changed:
                self._write_update(lead, lead.existing)
            self._write_details(lead)
        self.counts["signals"] += self._changes.write(self._tx, self._now)
        suppression.opt_out(self._tx, self._opt_outs, self._now)

    def _write_new(self, lead: LeadDraft) -> None:
        row, custody, now = lead.row, lead.custody, self._now
        assert row is not None
        source = (row.consent_source or row.source) if lead.consent_basis is not None else None
        self._changes.leads.append(
            NewLead(
                lead.id,
                lead.address_id,
                row.source,
                lead.fields,
                lead.zone,
                lead.country,
                lead.consent_basis,
                source,
                row.consent_at if lead.consent_basis is not None else None,
                0.0,
                "",
                lead.first_contact_at,
                now,
                now,
            )
        )
        self._changes.custody.append(
            NewCustody(lead.id, custody.kind, custody.ref, now, custody.next_action, custody.due_at, 1)
        )
        self.by_custodian[str(custody.kind), str(custody.ref)] += 1
        if custody.kind == Custodian.CLOSED:
            self._add_outcome(lead)

    def _write_update(self, lead: LeadDraft, existing: ExistingLead) -> None:
        changes, custody = self._changes, lead.custody
        changes.lead_updates.append(
            LeadUpdate(lead.id, lead.address_id, lead.fields, lead.zone, lead.country, lead.first_contact_at)
        )
        if existing.address_id not in (None, lead.address_id):
            changes.address_changes.append(lead.id)
        if custody[:2] == (existing.kind, existing.ref):
            if custody.kind == Custodian.TRACK:
                changes.due_now.append(lead.id)
            return
        changes.changes.custody_updates.append(
            CustodyUpdate(
                lead.id, existing.version, custody.kind, custody.ref, self._now, custody.next_action, custody.due_at
            )
        )
        if custody.kind in (Custodian.CLOSED, Custodian.REP):
            reason = custody.ref if custody.kind == Custodian.CLOSED else "accepted"
            changes.withdrawn.append((lead.id, reason))
            changes.changes.cancellations.append(TouchCancellation(lead.id, "left_track"))
        if custody.kind == Custodian.CLOSED:
            self._add_outcome(lead)

    def _add_outcome(self, lead: LeadDraft) -> None:
        self._changes.changes.new_outcomes.append(
            NewOutcome(lead.id, lead.custody.ref, self._now, None, lead.custody.reason, SOURCE, self._now)
        )

    def _write_details(self, lead: LeadDraft) -> None:
        self._changes.identities += [(*key, lead.id) for key in lead.keys]
        for note in lead.notes:
            self._changes.journal_entries.append(IntakeEntry(lead.id, self._now, "intake", *note))
        for signal, source, already_answered in lead.signals:
            self._changes.signals.append(
                ImportedSignal(
                    lead.id,
                    signal.kind,
                    signal.occurred_at,
                    self._now,
                    index_key(f"import {source} {lead.id} {signal.kind} {signal.key}"),
                    "human",
                    "",
                    signal.value,
                    source,
                    self._now if already_answered else None,
                )
            )
