"""Insert or update the leads of one batch of rows. No lead is inserted twice."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.lead import Closing, Custodian, Queue
from nurture.formats.lead_row import LeadRow
from nurture.journey.consent import statements, suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.intake import interpret, queries
from nurture.journey.intake.interpret import Origin
from nurture.journey.intake.match import KnownLeads, LeadPlan, Match, match_rows
from nurture.journey.leads import address_queries, consent_queries, signal_queries, suppression_queries
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads.changeset import Changes, NewOutcome, TouchCancellation
from nurture.journey.leads.custody import CustodyUpdate

SOURCE: Final = "import"
"""The source of outcomes that an import records."""


class UpsertResult(NamedTuple):
    """The result of a batch: rows by verdict (new, updated, unchanged), new leads by custody, new signals.

    *consent* as in `Match`. *freed* counts known leads that left a queue to be classified.
    """

    verdicts: Counter[str]
    by_custody: Counter[tuple[str, str]]
    signals: int
    consent: Counter[str]
    freed: int


def upsert_leads(tx: Transaction, rows: Sequence[LeadRow], origin: Origin) -> UpsertResult:
    """Insert or update the leads of *rows*, in order, in a constant number of statements."""
    acquire(tx, Lock.INTAKE)
    if others := [one for row in rows if row.other_addresses for one in _refusals_of_others(row)]:
        record_refusals(tx, others, origin)
    match = match_rows(rows, _load_known(tx, rows), origin)
    _drop_queued_ambiguous(tx, match)
    new = [lead for lead in match.plans if lead.existing is None]
    for lead, lead_id in zip(new, tx.reserve_ids("lead", len(new)), strict=True):
        lead.id = lead_id
    for lead in new:
        if lead.candidates:
            lead.fields["candidates"] = " ".join(str(one.id) for one in lead.candidates)
    signals = _write(tx, match, new, origin.now)
    _record_unclear_fields(tx, rows, origin.now)
    by_custody = Counter([lead.custody[:2] for lead in new])
    freed = sum(lead.has_moved and lead.custody.kind == Custodian.INTAKE for lead in match.plans)
    return UpsertResult(match.verdicts, by_custody, signals, match.consent, freed)


def record_refusals(tx: Transaction, rows: Sequence[LeadRow], origin: Origin) -> None:
    """Record what *rows* refuse, without any new lead: they were rejected for another reason.

    A row without an address is about the address of the lead that has its id.
    """
    acquire(tx, Lock.INTAKE)
    rows = [one for row in rows for one in (row, *_refusals_of_others(row))]
    _record_unclear_fields(tx, rows, origin.now)
    addresses = address_queries.get_or_create_addresses(tx, sorted({row.email for row in rows if row.email}))
    keys = {key for row in rows if not row.email for key in interpret.identity_keys(row)}
    identities = queries.find_identities(tx, sorted(keys))
    of_leads = suppression_queries.load_address_ids(tx, identities.values())
    refused = [(addresses[row.email][0], row) for row in rows if row.email]
    refused += [
        (of_leads[identities[key]], row)
        for row in rows
        for key in (interpret.identity_keys(row) if not row.email else ())
        if identities.get(key) in of_leads
    ]
    stated = [(address_id, one) for address_id, row in refused for one in interpret.consent_statements(row, origin)]
    statements.record(tx, [(address_id, one) for address_id, one in stated if one.basis is None], origin.now)
    opt_outs = [OptOut(address_id, source) for address_id, row in refused for source in interpret.opt_out_sources(row)]
    suppression.opt_out(tx, opt_outs, origin.now)


def _refusals_of_others(row: LeadRow) -> list[LeadRow]:
    """Return what a row refuses as rows for the other addresses of its person; a bounce is about one address."""
    if not row.other_addresses:
        return []
    said = [replace(part, undeliverable=None) for part in row.parts or (row,)]
    refused = [part for part in said if part.unclear_opt_out or interpret.opts_out(part)]
    emails = [email for email in row.other_addresses if email != row.email]
    return [
        replace(part, email=email, external_id=None, consent_basis=None, other_addresses=())
        for part in refused
        for email in emails
    ]


def _load_known(tx: Transaction, rows: Sequence[LeadRow]) -> KnownLeads:
    emails = list(dict.fromkeys(row.email for row in rows if row.email))
    created: set[int] = set()
    found = address_queries.get_or_create_addresses(tx, emails, restore_erased=True, created=created)
    keys = dict.fromkeys([key for row in rows for key in interpret.identity_keys(row)])
    identities = queries.find_identities(tx, list(keys))
    lead_ids = {lead_id for _, lead_id in found.values() if lead_id is not None} | set(identities.values())
    leads = queries.lock_existing(tx, lead_ids)
    addresses = {email: address_id for email, (address_id, _) in found.items()}
    address_ids = {*addresses.values(), *(lead.address_id for lead in leads if lead.address_id is not None)} - created
    suppressions = suppression_queries.load_suppressions(tx, address_ids)
    without_address = [lead.lead_id for lead in leads if lead.address_id is None]
    opted_out = suppression_queries.find_opted_out_without_address(tx, without_address)
    histories = consent_queries.load_statements(tx, address_ids)
    return KnownLeads(addresses, identities, leads, suppressions, histories, opted_out)


def _drop_queued_ambiguous(tx: Transaction, match: Match) -> None:
    """Drop ambiguous rows that are already in the queue."""
    queued = queries.find_identities(tx, list(match.ambiguous))
    for key in queued:
        match.plans.remove(match.ambiguous[key])
    match.verdicts["new"] -= len(queued)
    match.verdicts["unchanged"] += len(queued)


def _write(tx: Transaction, match: Match, new: Sequence[LeadPlan], now: datetime) -> int:
    """Write the leads; return how many signals were new."""
    updated = [lead for lead in match.plans if lead.existing is not None and lead.changed]
    moved = [lead for lead in updated if lead.has_moved]
    left = [lead for lead in moved if lead.custody.kind in (Custodian.CLOSED, Custodian.RESTING, Custodian.REP)]
    queries.update_leads(tx, updated, now)
    queries.insert_leads(tx, new, now)
    queries.insert_identities(tx, match.plans)
    ends = [(one.id, _closing(one) or "accepted") for one in left]
    queries.withdraw(tx, ends, now)
    Changes(
        custody_updates=[_custody_update(lead, now) for lead in moved],
        cancellations=[TouchCancellation(lead.id, "left_track") for lead in left],
        new_outcomes=[
            NewOutcome(lead.id, closing, now, None, lead.custody.reason, SOURCE, now)
            for lead in (*new, *moved)
            if (closing := _closing(lead)) and (closing != Closing.WON or lead.existing)  # no win on arrival
        ],
    ).write(tx, now)
    customers = [lead.id for lead in (*new, *moved) if lead.custody.kind == Custodian.RESTING]
    leads_queries.mark_customers(tx, customers, now)
    if updated:
        requested = {address_id for address_id, one in match.statements if one.event == "requested"}
        due = [one.id for one in updated if not one.has_moved and _is_due(one, requested)]
        signal_queries.make_due(tx, due, now, include_parked=True)
    queries.insert_journal(tx, match.plans, now)
    signals = queries.insert_signals(tx, match.plans, now)
    suppression.opt_out(tx, match.opt_outs, now)
    consent_queries.append_statements(tx, match.statements)
    return signals


def _closing(lead: LeadPlan) -> str:
    """Return how the sale to a lead ended, "" if it did not."""
    if lead.custody.kind == Custodian.RESTING:
        return Closing.WON
    return lead.custody.ref if lead.custody.kind == Custodian.CLOSED else ""


def _record_unclear_fields(tx: Transaction, rows: Sequence[LeadRow], now: datetime) -> None:
    parts = (part for row in rows for part in row.parts or (row,))
    fields = {(part.source, part.unclear_opt_out) for part in parts if part.unclear_opt_out}
    consent_queries.record_unclear_fields(tx, fields, now)


def _is_due(lead: LeadPlan, requested: Collection[int]) -> bool:
    """Return whether a known lead is due: if its consent has to be confirmed, or it is on a track or rests."""
    if lead.custody.ref == Queue.NO_CONSENT_BASIS:
        return lead.address_id in requested
    return lead.custody.kind in (Custodian.TRACK, Custodian.RESTING)


def _custody_update(lead: LeadPlan, now: datetime) -> CustodyUpdate:
    assert lead.existing is not None
    custody = lead.custody
    return CustodyUpdate(
        lead.id, lead.existing.version, custody.kind, custody.ref, now, custody.next_action, custody.due_at
    )
