"""Match the rows of one batch with each other and with known leads; return the new state of each lead.

Nothing here reads or writes the database.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

from nurture.domain.consent.permission import MailPermission, basis_in_force, may_mail
from nurture.domain.consent.statements import ConsentStatement, active_withdrawals, adds_to
from nurture.domain.consent.suppression import ActiveSuppression, LiftKey, SuppressionSource, lift_key
from nurture.domain.lead import Custodian, FieldValue, Queue, Resting
from nurture.domain.scoring import bant
from nurture.domain.signals import SignalKind
from nurture.formats.lead_row import LeadRow
from nurture.journey.consent.suppression import OptOut
from nurture.journey.intake import interpret
from nurture.journey.intake.fold import count_verdicts, fold_rows
from nurture.journey.intake.interpret import CustodyDecision, IdentityKey, Origin, RowSignal, normalize_key
from nurture.journey.ownership.match.names import fold_letters

_EVIDENCE: Final = ConsentStatement._fields.index("evidence")
_CONSENT_QUEUES: Final = frozenset({Queue.NO_ADDRESS, Queue.NO_CONSENT_BASIS, Queue.SUPPRESSED})
"""Queues of leads that wait only for an address or for consent."""

PlannedNote = tuple[str, str, str | None, str | None, str | None]
"""A journal entry of a lead that may have no id yet: event, reason, custody from, custody to, ref."""

ADDRESS_EVENT: Final = "address"
"""The journal entry of an address that a lead had, or that an ambiguous row has; its ref is the address id."""


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
    customer_since: datetime | None
    signals_since: datetime | None
    restated_fields: list[str] | None


class KnownLeads(NamedTuple):
    """What the database knows of the people in a batch.

    *addresses* are ids by email, *identities* lead ids, *suppressions* and consent *statements* by address id.
    *opted_out* are leads that opted out while they had no known address.
    """

    addresses: Mapping[str, int]
    identities: Mapping[IdentityKey, int]
    leads: Sequence[ExistingLead]
    suppressions: Mapping[int, Sequence[ActiveSuppression]]
    statements: Mapping[int, Sequence[ConsentStatement]]
    opted_out: Collection[int]


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
    def is_customer(self) -> bool:
        """Return whether the lead is a customer, from before or by the file."""
        was_one = self.existing is not None and self.existing.customer_since is not None
        return was_one or self.custody[:2] == (Custodian.RESTING, Resting.CUSTOMER)

    @property
    def has_moved(self) -> bool:
        """Return whether a known lead changes its custodian."""
        return self.existing is not None and self.custody[:2] != (self.existing.kind, self.existing.ref)


class Match(NamedTuple):
    """The result: all leads, known ones first. *verdicts* count rows: new, updated, unchanged.

    *ambiguous* are the new leads that stand for rows that match two leads. *statements* are new, by address id.
    *consent* counts known leads that may be mailed now ("granted") or no longer ("withdrawn"), people of whom the
    file says yes while a no stands ("overruled"), and those who have to confirm it ("requested").
    """

    plans: list[LeadPlan]
    opt_outs: list[OptOut]
    ambiguous: dict[IdentityKey, LeadPlan]
    verdicts: Counter[str]
    statements: list[tuple[int, ConsentStatement]]
    consent: Counter[str]


def match_rows(rows: Sequence[LeadRow], known: KnownLeads, origin: Origin) -> Match:
    """Merge *rows*, in order, into the leads that they mean by their identity keys or addresses."""
    matcher = _Matcher(known, origin)
    for row in matcher.fold_known(rows):
        matcher.merge(row)
    found = matcher.verdicts, matcher.new_statements, matcher.consent
    return Match(matcher.plans, matcher.opt_outs, matcher.ambiguous, *found)


class _Matcher:
    """The leads while rows are merged. A bounce has a suppression of its own, beside the opt-outs of the lead."""

    def __init__(self, known: KnownLeads, origin: Origin) -> None:
        self.plans = [LeadPlan.from_existing(one, opted_out=one.lead_id in known.opted_out) for one in known.leads]
        self.opt_outs: list[OptOut] = []
        self.ambiguous: dict[IdentityKey, LeadPlan] = {}
        self.new_statements: list[tuple[int, ConsentStatement]] = []
        self.verdicts: Counter[str] = Counter()
        self.consent: Counter[str] = Counter()
        self._permissions: dict[tuple[Any, ...], MailPermission] = {}
        self._ambiguous_custody = interpret.ambiguous_custody(origin.now)
        self._statements = defaultdict(list, {id_: list(each) for id_, each in known.statements.items()})
        self._origin, self._now = origin, origin.now
        self._addresses = known.addresses
        by_id = {lead.id: lead for lead in self.plans}
        self._by_key = {key: by_id[lead_id] for key, lead_id in known.identities.items()}
        self._by_address = {lead.address_id: lead for lead in self.plans if lead.address_id is not None}
        self._suppressions: dict[int, dict[LiftKey, OptOut | ActiveSuppression]] = defaultdict(dict)
        for address_id, suppressions in known.suppressions.items():
            self._suppressions[address_id] = {lift_key(one.scope, one.ref, one.source): one for one in suppressions}

    def fold_known(self, rows: Sequence[LeadRow]) -> Sequence[LeadRow]:
        """Fold the rows that mean one known lead, one by its id and another by its address: else they take turns."""
        if all(row.email for row in rows):
            return rows  # rows with one address are folded already
        groups: dict[int, list[LeadRow]] = defaultdict(list)
        for position, row in enumerate(rows):
            address_id = self._addresses[row.email] if row.email else None
            by_address = self._by_address.get(address_id) if address_id is not None else None
            lead, *others = {self._by_key.get(key, by_address) for key in interpret.identity_keys(row)} or {by_address}
            is_other = others or lead is None or address_id not in (None, lead.address_id)
            is_certain = not is_other and lead is not None and not _is_ambiguous(lead, row, by_address, address_id)
            groups[lead.id if lead is not None and is_certain else -position].append(row)
        return [fold_rows([part for row in group for part in row.parts or (row,)]) for group in groups.values()]

    def merge(self, row: LeadRow) -> None:
        """Merge a row into its lead, and count which rows of the file are new, updated or unchanged."""
        address_id = self._addresses[row.email] if row.email else None
        by_address = self._by_address.get(address_id) if address_id is not None else None
        keys = interpret.identity_keys(row)
        known = [(key, lead) for key in keys if (lead := self._by_key.get(key)) is not None]
        for key, lead in known:
            if _is_ambiguous(lead, row, by_address, address_id):
                if row.parts:
                    self._merge_apart(row.parts, key)
                else:
                    self.verdicts[self._plan_ambiguous(row, key, address_id, lead, by_address)] += 1
                return
        lead = known[0][1] if known else by_address
        if lead is None:
            self._create(row, keys, address_id)
            verdict = "new"
        else:
            verdict = "updated" if self._update(lead, row, keys, address_id) else "unchanged"
        if row.parts:
            self.verdicts.update(count_verdicts(row, verdict))
        else:
            self.verdicts[verdict] += 1

    def _merge_apart(self, rows: Sequence[LeadRow], key: IdentityKey) -> None:
        """Merge the rows of one person with the ambiguous id *key* one by one, after the others."""
        clear = [row for row in rows if interpret.identity_key(row) != key]
        if clear:
            self.merge(fold_rows(clear))
        for row in rows:
            if interpret.identity_key(row) == key:
                self.merge(row)

    def _create(self, row: LeadRow, keys: Sequence[IdentityKey], address_id: int | None) -> None:
        lead = self._plan_new(row, address_id)
        permission = self._record_consent(lead, row)[1]
        lead.custody = self._with_rep(interpret.initial_custody(row, permission, self._now))
        self._add_note(lead, row, "imported", lead.custody.reason, None)
        for key in keys:
            self._add_key(lead, key)
        if address_id is not None:
            self._by_address[address_id] = lead
        self._add_signals(lead, row)

    def _with_rep(self, custody: CustodyDecision) -> CustodyDecision:
        """Return the custody with the id of the rep whom the file names by another label."""
        known = self._origin.reps.get(custody.ref.casefold()) if custody.kind == Custodian.REP else None
        return custody if known is None else custody._replace(ref=known)

    def _plan_new(self, row: LeadRow, address_id: int | None) -> LeadPlan:
        lead = LeadPlan(
            interpret.merge_fields(row, {}, self._now),
            row.zone or "",
            row.country or "",
            None,
            interpret.first_contact_at(row, self._now),
            self._ambiguous_custody,
            self._now,
            address_id,
            row,
        )
        self.plans.append(lead)
        return lead

    def _add_key(self, lead: LeadPlan, key: IdentityKey) -> None:
        lead.keys.append(key)
        self._by_key[key] = lead

    def _update(self, lead: LeadPlan, row: LeadRow, keys: Sequence[IdentityKey], address_id: int | None) -> bool:
        """Update a lead from a row; return whether anything changed."""
        previous = lead.fields
        changes = self._merge_fields(lead, row)
        for key in keys:
            if key not in self._by_key:
                self._add_key(lead, key)
                changes.append("id")
        moved = address_id is not None and address_id != lead.address_id
        if address_id is not None and moved:
            self._change_address(lead, address_id, row)
            changes.append("address")
        consent, permission = self._record_consent(lead, row)
        changes += [consent] if consent else []
        if changes:
            lead.changed = True
            self._add_note(lead, row, "updated", f"new: {', '.join(changes)}", None)
        if moved or consent:
            self._place_by_permission(lead, permission, row)
        custody = interpret.custody_after_update(row, previous, self._now)
        if custody is not None and _may_move(lead, custody):
            self._move(lead, self._with_rep(custody), row)
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
        """Change the address. What the person refused moves along; consent and bounces belong to the old address."""
        old = lead.address_id
        lead.address_id = address_id
        self._by_address[address_id] = lead
        if old is not None:
            del self._by_address[old]
            self._note_address(lead, row, old)
            for one in list(self._suppressions[old].values()):
                if one.source is not SuppressionSource.BOUNCE:
                    self._add_opt_out(OptOut(address_id, one.source, one.scope, one.ref))
            for refused in active_withdrawals(self._statements[old]):
                self._carry_withdrawal(address_id, refused)
        elif lead.opted_out:
            self._add_opt_out(OptOut(address_id, SuppressionSource.IMPORT))
        self._note_basis(lead)

    def _carry_withdrawal(self, address_id: int, refused: ConsentStatement) -> None:
        active = active_withdrawals(self._statements[address_id])
        if not any(one.target == refused.target and one.at >= refused.at for one in active):
            evidence = "said about the earlier address of the lead"
            carried = refused._replace(stated_at=refused.at, recorded_at=self._now, evidence=evidence, wording="")
            self._add_statement(address_id, carried)

    def _record_consent(self, lead: LeadPlan, row: LeadRow) -> tuple[str, MailPermission]:
        """Record what the row says about mail to the lead; return what is new, "" if nothing is, and the result."""
        if lead.address_id is None:
            return self._opt_out_without_address(lead, row), self._permission(lead)
        before = None if lead.row is row else self._permission(lead)
        new, suppressed = self._record_statements(lead.address_id, row)
        after = self._note_basis(lead)
        if after.refusal is not None and any(part.consent_basis is not None for part in row.parts or (row,)):
            self.consent["overruled"] += 1
        if before is not None and before.allowed != after.allowed:
            self.consent["granted" if after.allowed else "withdrawn"] += 1
        if after.requested_at is not None and any(one.event == "requested" for one in new):
            self.consent["requested"] += 1
        refused = suppressed or any(one.basis is None for one in new)
        return "opt-out" if refused else "consent" if new else "", after

    def _record_statements(self, address_id: int, row: LeadRow) -> tuple[list[ConsentStatement], bool]:
        """Record what the row says; return the statements that are new, and whether a suppression is."""
        said = interpret.consent_statements(row, self._origin)
        sources = interpret.opt_out_sources(row)
        suppressed = [self._add_opt_out(OptOut(address_id, source)) for source in sources] if sources else ()
        return [one for one in said if self._add_statement(address_id, one)], any(suppressed)

    def _add_statement(self, address_id: int, statement: ConsentStatement) -> bool:
        known = self._statements[address_id]
        if known and not adds_to(known, statement):
            return False
        known.append(statement)
        self.new_statements.append((address_id, statement))
        return True

    def _note_basis(self, lead: LeadPlan) -> MailPermission:
        """Note the basis in force, which a suppression does not change; return whether the lead may be mailed."""
        permission, address_id = self._permission(lead), lead.address_id or 0
        suppressed = self._suppressions.get(address_id)
        lead.consent_basis = (
            basis_in_force(self._statements[address_id], self._now) if suppressed else permission.basis or None
        )
        return permission

    def _permission(self, lead: LeadPlan) -> MailPermission:
        """Return whether the lead may be mailed at all."""
        address_id = lead.address_id
        if address_id is None:
            return interpret.OPTED_OUT if lead.opted_out else interpret.WITHOUT_ADDRESS
        statements, refused = self._statements[address_id], self._suppressions.get(address_id, {})
        # Most rows of a file say the same: each combination of statements, without their evidence, is decided once.
        said: tuple[Any, ...] = tuple([one[:_EVIDENCE] for one in statements])
        if refused:
            said += tuple([(one.scope, one.ref, one.source) for one in refused.values()])
        found = self._permissions.get(said)
        if found is None:
            at = self._now
            suppressions = [ActiveSuppression(each.scope, each.ref, each.source, at, at) for each in refused.values()]
            found = self._permissions[said] = may_mail(statements, suppressions, None, at)
        return found

    def _place_by_permission(self, lead: LeadPlan, permission: MailPermission, row: LeadRow) -> None:
        """Move a lead that waits for classification, or only for an address or consent, to where it belongs now."""
        waits = lead.custody.kind == Custodian.QUEUE and lead.custody.ref in _CONSENT_QUEUES
        if not waits and lead.custody.kind != Custodian.INTAKE:
            return
        has_address = lead.address_id is not None
        custody = interpret.unowned_custody(permission, has_address=has_address, now=self._now)
        both_intake = custody.kind == lead.custody.kind == Custodian.INTAKE
        if custody[:2] != lead.custody[:2] and not both_intake:
            self._move(lead, custody, row)

    def _opt_out_without_address(self, lead: LeadPlan, row: LeadRow) -> str:
        """Remember that the lead refuses mail, for when it has an address; a bounce is about an address."""
        refuses = row.unclear_opt_out or interpret.opts_out(replace(row, undeliverable=None))
        if lead.opted_out or not refuses:
            return ""
        lead.opted_out = True
        lead.signals.append((RowSignal(SignalKind.UNSUBSCRIBED, self._now, "without address"), row.source, True))
        return "opt-out"

    def _add_opt_out(self, opt_out: OptOut) -> bool:
        key = lift_key(opt_out.scope, opt_out.ref, opt_out.source)
        if key in self._suppressions[opt_out.address_id]:
            return False
        self._suppressions[opt_out.address_id][key] = opt_out
        self.opt_outs.append(opt_out)
        return True

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
                signal = signal._replace(occurred_at=self._now)  # noqa: PLW2901 - the row's date is older than the request
            # Signals from before the lead was closed have no effect: they must not reopen it.
            has_ended = lead.custody.kind in (Custodian.CLOSED, Custodian.RESTING)
            already_answered = has_ended and signal.occurred_at <= lead.since
            lead.signals.append((signal, row.source, already_answered))

    def _plan_ambiguous(
        self, row: LeadRow, key: IdentityKey, address_id: int | None, by_key: LeadPlan, by_address: LeadPlan | None
    ) -> str:
        # What the row refuses counts for everyone that it may mean; what it allows, for nobody.
        refusals = replace(row, consent_basis=None)
        for one in filter(None, (by_key, by_address)):
            one.changed |= bool(self._record_consent(one, refusals)[0])
        if address_id is not None:
            self._record_statements(address_id, refusals)
        other = address_id if address_id is not None else fold_letters(f"{row.first_name} {row.last_name}")
        ambiguous_key = normalize_key(f"ambiguous {key[0]}", f"{key[1]} {other}")
        if ambiguous_key in self.ambiguous:
            return "unchanged"
        lead = self._plan_new(row, None)
        self._add_note(lead, row, "imported", lead.custody.reason, None)
        lead.fields |= {"email": row.email, "external_id": row.external_id}
        lead.candidates = tuple(filter(None, (by_key, by_address)))
        lead.keys.append(ambiguous_key)
        if address_id is not None:
            self._note_address(lead, row, address_id)
        self.ambiguous[ambiguous_key] = lead
        return "new"

    def _note_address(self, lead: LeadPlan, row: LeadRow, address_id: int) -> None:
        """Record an address that is known of the lead and is not its own, so that the audit finds who had it."""
        reason = f"line {row.line} of {self._origin.file}: its address is not in use"
        lead.notes.append((ADDRESS_EVENT, reason, None, None, str(address_id)))


def _is_ambiguous(by_key: LeadPlan, row: LeadRow, by_address: LeadPlan | None, address_id: int | None) -> bool:
    """Return whether the id of a row means one person, and its address or name another one."""
    if by_address is not None:
        return by_address is not by_key
    same_address = address_id is None or by_key.address_id is None
    if row.shares_id and by_key.address_id != address_id:
        return True  # who has the id in this file has another address
    return interpret.names_other_person(row, by_key.fields, same_address=same_address)


def _may_move(lead: LeadPlan, custody: CustodyDecision) -> bool:
    """Return whether the file may move the lead: it becomes a customer from any custodian, else only from marketing."""
    marketing = (Custodian.INTAKE, Custodian.TRACK, Custodian.QUEUE)
    return not lead.is_customer and (custody.kind == Custodian.RESTING or lead.custody.kind in marketing)
