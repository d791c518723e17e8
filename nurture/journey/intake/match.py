"""Match the rows of one batch with each other and with known leads; return the new state of each lead.

Nothing here reads or writes the database.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, Self

from nurture.domain.consent.suppression import ActiveSuppression, LiftKey, SuppressionScope, SuppressionSource, lift_key
from nurture.domain.lead import Closing, Custodian, FieldValue, Queue
from nurture.domain.scoring import bant
from nurture.domain.signals import SignalKind
from nurture.formats.lead_row import LeadRow
from nurture.journey.consent.suppression import OptOut
from nurture.journey.intake import interpret
from nurture.journey.intake.interpret import CustodyDecision, IdentityKey, RowSignal

PlannedNote = tuple[str, str, str | None, str | None, str | None]
"""A journal entry of a lead that may have no id yet: event, reason, custody from, custody to, ref."""


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


class KnownLeads(NamedTuple):
    """What the database knows of the people in a batch.

    *addresses* are ids by email, *identities* lead ids, *suppressions* by address id. *opted_out* are leads that
    opted out while they had no known address.
    """

    addresses: Mapping[str, int]
    identities: Mapping[IdentityKey, int]
    leads: Sequence[ExistingLead]
    suppressions: Mapping[int, Sequence[ActiveSuppression]]
    opted_out: Collection[int]


class Origin(NamedTuple):
    """Where rows come from, and when. *held_at* is when the webinar took place, if the file says so."""

    file: str
    now: datetime
    held_at: datetime | None = None


@dataclass(slots=True, eq=False)
class LeadPlan:
    """A lead after the rows of a batch. *row* is the row that created it, None for a known lead.

    *candidates* are the leads that an ambiguous row may mean. *opted_out* without known address.
    """

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
    opted_out: bool = False
    candidates: tuple[LeadPlan, ...] = ()
    keys: list[IdentityKey] = field(default_factory=list)
    notes: list[PlannedNote] = field(default_factory=list)
    signals: list[tuple[RowSignal, str, bool]] = field(default_factory=list)

    @classmethod
    def from_existing(cls, lead: ExistingLead, *, opted_out: bool) -> Self:
        """Return the plan of a known lead, without changes."""
        custody = CustodyDecision(lead.kind, lead.ref, "", None, "")
        return cls(*lead[2:7], custody, lead.since, lead.address_id, None, lead, lead.lead_id, opted_out=opted_out)

    @property
    def has_moved(self) -> bool:
        """Return whether a known lead changes its custodian."""
        return self.existing is not None and self.custody[:2] != (self.existing.kind, self.existing.ref)


class Match(NamedTuple):
    """The result: all leads, known ones first. *verdicts* count rows: new, updated, unchanged.

    *ambiguous* are the new leads that stand for rows that match two leads.
    """

    plans: list[LeadPlan]
    opt_outs: list[OptOut]
    ambiguous: dict[IdentityKey, LeadPlan]
    verdicts: Counter[str]


def match_rows(rows: Sequence[LeadRow], keys: Sequence[IdentityKey | None], known: KnownLeads, origin: Origin) -> Match:
    """Merge *rows*, in order, into the leads that they mean by their identity keys or addresses."""
    matcher = _Matcher(known, origin)
    verdicts = Counter(matcher.merge(row, key) for row, key in zip(rows, keys, strict=True))
    return Match(matcher.plans, matcher.opt_outs, matcher.ambiguous, verdicts)


class _Matcher:
    """The leads while rows are merged. A bounce has a suppression of its own, beside the opt-outs of the lead."""

    def __init__(self, known: KnownLeads, origin: Origin) -> None:
        self.plans = [LeadPlan.from_existing(one, opted_out=one.lead_id in known.opted_out) for one in known.leads]
        self.opt_outs: list[OptOut] = []
        self.ambiguous: dict[IdentityKey, LeadPlan] = {}
        self._origin, self._now = origin, origin.now
        self._addresses = known.addresses
        by_id = {lead.id: lead for lead in self.plans}
        self._by_key = {key: by_id[lead_id] for key, lead_id in known.identities.items()}
        self._by_address = {lead.address_id: lead for lead in self.plans if lead.address_id is not None}
        self._suppressions: dict[int, dict[LiftKey, OptOut | ActiveSuppression]] = defaultdict(dict)
        for address_id, suppressions in known.suppressions.items():
            self._suppressions[address_id] = {lift_key(one.scope, one.ref, one.source): one for one in suppressions}

    def merge(self, row: LeadRow, key: IdentityKey | None) -> str:
        """Merge a row into its lead; return whether that is new, updated or unchanged."""
        address_id = self._addresses[row.email] if row.email else None
        by_key = self._by_key.get(key) if key is not None else None
        by_address = self._by_address.get(address_id) if address_id is not None else None
        if key and by_key is not None and by_address is not None and by_key is not by_address:
            return self._plan_ambiguous(row, key, by_key, by_address)
        lead = by_key or by_address
        if lead is not None:
            return "updated" if self._update(lead, row, key, address_id) else "unchanged"
        self._create(row, key, address_id)
        return "new"

    def _create(self, row: LeadRow, key: IdentityKey | None, address_id: int | None) -> None:
        if address_id is not None and interpret.opts_out(row):
            self._add_opt_out(OptOut(address_id, SuppressionSource.IMPORT))
        custody = interpret.initial_custody(row, suppressed=self._is_suppressed(address_id), now=self._now)
        lead = self._plan_new(row, custody, address_id)
        if key is not None:
            self._add_key(lead, key)
        if address_id is not None:
            self._by_address[address_id] = lead
        elif interpret.opts_out(row):
            self._opt_out(lead, row)
        self._add_signals(lead, row)

    def _plan_new(self, row: LeadRow, custody: CustodyDecision, address_id: int | None) -> LeadPlan:
        lead = LeadPlan(
            interpret.merge_fields(row, {}, self._now),
            row.zone or "",
            row.country or "",
            row.consent_basis.value if row.consent_basis is not None else None,
            interpret.first_contact_at(row, self._now),
            custody,
            self._now,
            address_id,
            row,
        )
        self.plans.append(lead)
        self._add_note(lead, row, "imported", custody.reason, None)
        return lead

    def _add_key(self, lead: LeadPlan, key: IdentityKey) -> None:
        lead.keys.append(key)
        self._by_key[key] = lead

    def _update(self, lead: LeadPlan, row: LeadRow, key: IdentityKey | None, address_id: int | None) -> bool:
        """Update a lead from a row, except its consent basis; return whether anything changed."""
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
        if custody is not None and _may_move(lead, custody):
            self._move(lead, custody, row)
        self._add_signals(lead, row)
        return bool(changes)

    def _merge_fields(self, lead: LeadPlan, row: LeadRow) -> list[str]:
        fields = bant.drop_stale_details(lead.fields, interpret.merge_fields(row, lead.fields, self._now))
        zone, country = row.zone or lead.zone, row.country or lead.country
        first = min(lead.first_contact_at, interpret.first_contact_at(row, self._now))
        changes = [name for name, value in fields.items() if name not in lead.fields or lead.fields[name] != value]
        if (zone, country, first) != (lead.zone, lead.country, lead.first_contact_at):
            changes.append("location or first contact")
        lead.fields, lead.zone, lead.country, lead.first_contact_at = fields, zone, country, first
        return changes

    def _change_address(self, lead: LeadPlan, address_id: int, row: LeadRow) -> None:
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

    def _opt_out(self, lead: LeadPlan, row: LeadRow) -> bool:
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
        self.opt_outs.append(opt_out)
        return True

    def _is_suppressed(self, address_id: int | None) -> bool:
        return address_id is not None and any(
            one.scope is SuppressionScope.GLOBAL for one in self._suppressions[address_id].values()
        )

    def _move(self, lead: LeadPlan, custody: CustodyDecision, row: LeadRow) -> None:
        previous_kind = lead.custody.kind
        lead.custody, lead.since, lead.changed = custody, self._now, True
        event = "closed" if custody.kind == Custodian.CLOSED else "moved"
        self._add_note(lead, row, event, custody.reason, previous_kind)

    def _add_note(self, lead: LeadPlan, row: LeadRow, event: str, reason: str, previous_kind: str | None) -> None:
        kind, ref = (None, None) if event == "updated" else lead.custody[:2]
        lead.notes.append((event, f"line {row.line} of {self._origin.file}: {reason}"[:500], previous_kind, kind, ref))

    def _add_signals(self, lead: LeadPlan, row: LeadRow) -> None:
        asked_before = lead.existing is None or lead.existing.fields.get("demo_requested")
        for signal in interpret.extract_signals(row, self._now, self._origin.held_at):
            if signal.kind is SignalKind.REQUESTED_DEMO and not asked_before:
                signal = replace(signal, occurred_at=self._now)  # noqa: PLW2901 - the row's date is older than the request
            # Signals from before the lead was closed have no effect: they must not reopen it.
            already_answered = lead.custody.kind == Custodian.CLOSED and signal.occurred_at <= lead.since
            lead.signals.append((signal, row.source, already_answered))

    def _plan_ambiguous(self, row: LeadRow, key: IdentityKey, by_key: LeadPlan, by_address: LeadPlan) -> str:
        if interpret.opts_out(row):
            # One of the two opted out, and it is unknown which: suppress both.
            for one in (by_key, by_address):
                one.changed |= self._opt_out(one, row)
        ambiguous_key = (f"ambiguous {key[0]}", f"{key[1]} {by_address.address_id}")
        if ambiguous_key in self.ambiguous:
            return "unchanged"
        lead = self._plan_new(row, interpret.ambiguous_custody(self._now), None)
        lead.fields |= {"email": row.email, "external_id": row.external_id}
        lead.candidates = (by_key, by_address)
        lead.keys.append(ambiguous_key)
        self.ambiguous[ambiguous_key] = lead
        return "new"


def _may_move(lead: LeadPlan, custody: CustodyDecision) -> bool:
    """Return whether the file may move the lead: to won from any custodian, otherwise only from marketing."""
    if custody.ref == Closing.WON:
        return lead.custody[:2] != (Custodian.CLOSED, Closing.WON)
    return lead.custody.kind in (Custodian.INTAKE, Custodian.TRACK, Custodian.QUEUE)
