"""Insert or update the leads of one batch of rows. No lead is inserted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.formats.lead_row import LeadRow
from nurture.journey.consent import suppression
from nurture.journey.intake import interpret, queries
from nurture.journey.intake.interpret import IdentityKey
from nurture.journey.intake.match import KnownLeads, LeadPlan, Match, Origin, match_rows
from nurture.journey.leads import address_queries, signal_queries, suppression_queries
from nurture.journey.leads.changeset import Changes, NewOutcome, TouchCancellation
from nurture.journey.leads.custody import CustodyUpdate

SOURCE: Final = "import"
"""The source of outcomes that an import records."""


class UpsertResult(NamedTuple):
    """The result of a batch: rows by verdict (new, updated, unchanged), new leads by custody, new signals."""

    verdicts: Counter[str]
    by_custody: Counter[tuple[str, str]]
    signals: int


def upsert_leads(tx: Transaction, rows: Sequence[LeadRow], origin: Origin) -> UpsertResult:
    """Insert or update the leads of *rows*, in order, in a constant number of statements."""
    acquire(tx, Lock.INTAKE)
    keys = [interpret.identity_key(row) for row in rows]
    match = match_rows(rows, keys, _load_known(tx, rows, keys), origin)
    _drop_queued_ambiguous(tx, match)
    new = [lead for lead in match.plans if lead.existing is None]
    for lead, lead_id in zip(new, tx.reserve_ids("lead", len(new)), strict=True):
        lead.id = lead_id
    for lead in new:
        if lead.candidates:
            lead.fields["candidates"] = " ".join(str(one.id) for one in lead.candidates)
    signals = _write(tx, match, new, origin.now)
    by_custody = Counter((str(lead.custody.kind), str(lead.custody.ref)) for lead in new)
    return UpsertResult(match.verdicts, by_custody, signals)


def _load_known(tx: Transaction, rows: Sequence[LeadRow], keys: Sequence[IdentityKey | None]) -> KnownLeads:
    emails = list(dict.fromkeys(row.email for row in rows if row.email))
    found = address_queries.get_or_create_addresses(tx, emails, restore_erased=True)
    identities = queries.find_identities(tx, list(dict.fromkeys(key for key in keys if key)))
    lead_ids = {lead_id for _, lead_id in found.values() if lead_id is not None} | set(identities.values())
    leads = queries.lock_existing(tx, lead_ids)
    addresses = {email: address_id for email, (address_id, _) in found.items()}
    address_ids = set(addresses.values()) | {lead.address_id for lead in leads if lead.address_id is not None}
    suppressions = suppression_queries.load_suppressions(tx, address_ids)
    without_address = [lead.lead_id for lead in leads if lead.address_id is None]
    opted_out = suppression_queries.find_opted_out_without_address(tx, without_address)
    return KnownLeads(addresses, identities, leads, suppressions, opted_out)


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
    left = [lead for lead in moved if lead.custody.kind in (Custodian.CLOSED, Custodian.REP)]
    queries.update_leads(tx, updated, now)
    queries.insert_leads(tx, new, now)
    queries.insert_identities(tx, match.plans)
    ends = [(one.id, one.custody.ref if one.custody.kind == Custodian.CLOSED else "accepted") for one in left]
    queries.withdraw(tx, ends, now)
    Changes(
        custody_updates=[_custody_update(lead, now) for lead in moved],
        cancellations=[TouchCancellation(lead.id, "left_track") for lead in left],
        new_outcomes=[
            NewOutcome(lead.id, lead.custody.ref, now, None, lead.custody.reason, SOURCE, now)
            for lead in (*new, *moved)
            if lead.custody.kind == Custodian.CLOSED
        ],
    ).write(tx, now)
    due = [lead.id for lead in updated if not lead.has_moved and lead.custody.kind == Custodian.TRACK]
    if due:
        signal_queries.make_due(tx, due, now)
    queries.insert_journal(tx, match.plans, now)
    signals = queries.insert_signals(tx, match.plans, now)
    suppression.opt_out(tx, match.opt_outs, now)
    return signals


def _custody_update(lead: LeadPlan, now: datetime) -> CustodyUpdate:
    assert lead.existing is not None
    custody = lead.custody
    return CustodyUpdate(
        lead.id, lead.existing.version, custody.kind, custody.ref, now, custody.next_action, custody.due_at
    )
