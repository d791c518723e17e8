"""Erase a person: of a lead, only ids, times and names from definitions remain.

The address is replaced by a keyed hash, so that it is still suppressed if it is imported again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.address import erasure_hash, normalize_address
from nurture.domain.consent.suppression import SuppressionSource
from nurture.domain.lead import Closing, Custodian
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.crm_sync.push import lead_key
from nurture.journey.engagement import inbound_mail_queries, provider_events, replies
from nurture.journey.erasure import queries, remaining_copies
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.follow_up import CLOSED
from nurture.journey.leads import find, lock_queries, snapshot, suppression_queries
from nurture.journey.leads.transitions import LeadTransitions
from nurture.runtime.context import AppContext

_REASON: Final = "the person asked to be erased"


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """The result of an erasure. *ambiguous_leads* come from rows that matched this lead and another.

    *rows* is the number of other rows that mentioned the address. *files* and *systems* still contain the person and
    must be cleared by hand.
    """

    lead: int | None
    address: bool
    rows: int
    ambiguous_leads: Sequence[int] = ()
    files: Sequence[str] = ()
    systems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Person:
    """The person to erase, with all *spellings* of the address and the *normal* one."""

    lead: int | None
    address: int | None = None
    normal: str = ""
    spellings: frozenset[str] = frozenset()


def erase_person(ctx: AppContext, identifier: str, now: datetime, *, folders: Collection[Path] = ()) -> ErasureResult:
    """Erase the lead, or the address without a lead, with this *identifier*. This cannot be undone.

    The lead is closed permanently, and its address suppressed until it opts in again. Pending events and replies are
    applied first, because they may concern other leads. *folders* are searched for files that contain the person.
    Raises NotFound.
    """
    provider_events.apply_pending(ctx, now)
    replies.process_pending(ctx, now)
    person = _find_person(ctx, identifier)
    with ctx.database.read() as tx:
        mentioned = queries.find_mentions(tx, person.spellings) if person.spellings else {}
    with ctx.database.write() as tx:
        for lock in (Lock.INTAKE, Lock.SIGNALS):  # an import or a verdict may write the lead
            acquire(tx, lock)
        ambiguous_leads = queries.find_ambiguous(tx, [person.lead or 0], [person.normal])
        leads = sorted({*ambiguous_leads, *([person.lead] if person.lead is not None else [])})
        lock_queries.lock_leads(tx, leads)
        sent, records = (queries.list_sent_messages(tx, leads), queries.list_crm_records(tx, leads))
        if person.address is not None:
            opt_out = OptOut(person.address, SuppressionSource.ADMIN, at=now)
            suppression.opt_out(tx, [opt_out], now)
        if leads:
            _close_leads(ctx, tx, leads, now)
        for lead_id in leads:
            queries.erase_lead(tx, lead_id, now)
        rows = inbound_mail_queries.erase(tx, leads, person.spellings)
        if person.address is not None:
            suppression_queries.journal_erasure(tx, person.normal, now)
            address_hash = erasure_hash(person.normal, clock_row.read_salt(tx))
            queries.erase_address(tx, person.address, address_hash)
            rows += queries.erase_mentions(tx, mentioned, person.spellings)
    systems = [*remaining_copies.list_systems(ctx, sent, records), *_scrub_copies(ctx)]
    search_terms = {*person.spellings, *(lead_key(ctx, lead_id) for lead_id in leads)}
    files = remaining_copies.find_files(folders, sent, search_terms, _database_files(ctx.database))
    return ErasureResult(person.lead, person.address is not None, rows, ambiguous_leads, files, systems)


def _scrub_copies(ctx: AppContext) -> list[str]:
    """Overwrite freed space of the database; return where copies of the data may remain."""
    database = ctx.database
    copies = [f"backups and exports of {database.name} from before this erasure"]
    if not database.is_sqlite:
        return [*copies, "PostgreSQL: dead rows until VACUUM, the write-ahead log and replicas for longer"]
    if not queries.vacuum(database):
        copies.append(
            f"free pages of {database.name}: stop all processes that use it and run `nurture leads erase` again"
        )
    return copies


def _database_files(database: Database) -> set[Path]:
    """Return the files of the database itself, from which the person is already erased."""
    path = database.url.database
    return {Path(f"{path}{suffix}").resolve() for suffix in ("", "-wal", "-shm")} if path else set()


def _find_person(ctx: AppContext, identifier: str) -> _Person:
    normal = normalize_address(identifier)
    with ctx.database.read() as tx:
        found = suppression_queries.find_address(tx, normal) if "@" in identifier else None
    if found is not None and found[1] is None:
        return _Person(None, found[0], normal, _spellings(identifier.strip(), normal))
    lead_id = find.find_lead(ctx, identifier)
    with ctx.database.read() as tx:
        address = queries.load_address(tx, lead_id)
    if address is None:
        return _Person(lead_id)
    return _Person(lead_id, address.address_id, address.normalized, _spellings(address.email, address.normalized))


def _spellings(*written: str) -> frozenset[str]:
    """Return an address as it may occur in texts and in the query of a URL."""
    return frozenset(spelled for one in written for spelled in (one, one.replace("@", "%40")))


def _close_leads(ctx: AppContext, tx: Transaction, lead_ids: Sequence[int], now: datetime) -> None:
    """Close leads, withdraw their open offers and cancel their unsent messages."""
    transitions = LeadTransitions(ctx.definitions.current(tx), now, "manual")
    rows = snapshot.load_rows(tx, lead_ids)
    handoff_queries.withdraw_offers(tx, lead_ids, None, now)
    for lead in snapshot.load_snapshots(tx, rows, now, ctx.holidays):
        if lead.view.custodian is Custodian.CLOSED:
            transitions.add_journal_entry(lead, "erased", _REASON, None)
        else:
            transitions.close(lead, Closing.DISCARDED, _REASON, outcome_reason=_REASON, event="erased")
    written = transitions.changes.write(tx, now)
    handoff_queries.record_follow_ups(tx, [(id_, CLOSED) for id_ in sorted(written)], now)
