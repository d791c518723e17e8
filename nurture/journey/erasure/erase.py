"""Erase a person: of a lead, only ids, times and names from definitions remain.

The address is replaced by a keyed hash, so that it is still suppressed if it is imported again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.db.vacuum import vacuum
from nurture.domain.address import erasure_hash
from nurture.domain.consent.suppression import SuppressionSource
from nurture.domain.lead import Closing, Custodian
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.crm_sync.push import lead_key
from nurture.journey.engagement import inbound_mail_queries, provider_events, replies
from nurture.journey.erasure import personal_data, queries
from nurture.journey.erasure.personal_data import find_person
from nurture.journey.leads import snapshot, suppression_queries
from nurture.journey.leads.custody import lock_leads
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


def erase_person(ctx: AppContext, identifier: str, now: datetime, *, folders: Collection[Path] = ()) -> ErasureResult:
    """Erase the lead, or the address without a lead, with this *identifier*. This cannot be undone.

    The lead is closed permanently, and its address suppressed until it opts in again. Pending events and replies are
    applied first, because they may concern other leads. *folders* are searched for files that contain the person.
    Raises NotFound.
    """
    provider_events.apply_pending(ctx, now)
    replies.process_pending(ctx, now)
    person = find_person(ctx, identifier)
    with ctx.database.read() as tx:
        mentioned = queries.find_mentions(tx, person.spellings) if person.spellings else {}
    with ctx.database.write() as tx:
        for lock in (Lock.INTAKE, Lock.SIGNALS):  # an import or a verdict may write the lead
            acquire(tx, lock)
        ambiguous_leads = queries.find_ambiguous(tx, [person.lead or 0], [person.normal])
        leads = sorted({*ambiguous_leads, *([person.lead] if person.lead is not None else [])})
        lock_leads(tx, leads)
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
    systems = [*personal_data.list_systems(ctx, sent, records), *_scrub_copies(ctx)]
    search_terms = {*person.spellings, *(lead_key(ctx, lead_id) for lead_id in leads)}
    files = personal_data.find_files(folders, sent, search_terms, _database_files(ctx.database))
    return ErasureResult(person.lead, person.address is not None, rows, ambiguous_leads, files, systems)


def _scrub_copies(ctx: AppContext) -> list[str]:
    """Overwrite freed space of the database; return where copies of the data may remain."""
    database = ctx.database
    copies = [f"backups and exports of {database.name} from before this erasure"]
    if not database.is_sqlite:
        return [*copies, "PostgreSQL: dead rows until VACUUM, the write-ahead log and replicas for longer"]
    if not vacuum(database):
        copies.append(
            f"free pages of {database.name}: stop all processes that use it and run `nurture leads erase` again"
        )
    return copies


def _database_files(database: Database) -> set[Path]:
    """Return the files of the database itself, from which the person is already erased."""
    path = database.url.database
    return {Path(f"{path}{suffix}").resolve() for suffix in ("", "-wal", "-shm")} if path else set()


def _close_leads(ctx: AppContext, tx: Transaction, lead_ids: Sequence[int], now: datetime) -> None:
    """Close leads and cancel their unsent messages, after each stage did what it has to."""
    transitions = LeadTransitions(ctx.definitions.current(tx), now, "manual")
    rows = snapshot.load_rows(tx, lead_ids)
    for erase_leads in ctx.erasures:
        erase_leads(tx, lead_ids, now)
    for lead in snapshot.load_snapshots(ctx, tx, transitions.definitions, rows, now):
        if lead.view.custodian is Custodian.CLOSED:
            transitions.add_journal_entry(lead, "erased", _REASON, None)
        else:
            transitions.close(lead, Closing.DISCARDED, _REASON, outcome_reason=_REASON, event="erased", for_good=True)
    transitions.changes.write(tx, now)
