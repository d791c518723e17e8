"""Find known leads and write new ones, in a constant number of statements per batch."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, String, func, select, update

from nurture.db import lead_counts, rollups
from nurture.db.rollups import AppliedSignal, count_applied
from nurture.db.row_values import column_types, row_columns
from nurture.db.tables.handoff import offer
from nurture.db.tables.intake import created_leads
from nurture.db.tables.leads import address, custody, identity, journal, lead
from nurture.db.tables.signals import signal as signals
from nurture.db.tables.tracks import enrollment
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.domain.plain_text import index_key
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.intake.interpret import IdentityKey
from nurture.journey.intake.match import ExistingLead, LeadPlan
from nurture.journey.leads.custody import JournalEntry, count_entries, lock_leads
from nurture.journey.leads.signal_queries import find_existing_keys
from nurture.outbox import crm_records

_NEW_LEAD: Final = (
    "id", "address_id", "source", "fields", "zone", "country", "consent_basis",
    "engagement", "readiness", "first_contact_at", "created_at", "updated_at",
)  # fmt: skip
_NEW_CUSTODY: Final = ("lead_id", "kind", "ref", "since", "next_action", "due_at", "version")
# Fewer columns than `JournalEntry` and `NewSignal` have: with all of them an import takes 5 % longer.
_JOURNAL_ENTRY: Final = ("lead_id", "at", "stage", "event", "reason", "custody_from", "custody_to", "ref")
_SIGNAL: Final = (
    "natural_key", "lead_id", "kind", "occurred_at", "recorded_at", "verdict", "verdict_reason", "value", "source",
    "applied_at",
)  # fmt: skip
_LEAD_UPDATE: Final = (
    "id",
    "address_id",
    "fields",
    "zone",
    "country",
    "consent_basis",
    "first_contact_at",
    "restated_fields",
)


def find_identities(tx: Transaction, keys: Collection[IdentityKey]) -> dict[IdentityKey, int]:
    """Return the lead ids of the known identities."""
    if not keys:
        return {}
    requested = tx.rows("requested", column_types(identity, ("source", "external_id")), list(keys))
    same = (identity.c.source == requested.c.source) & (identity.c.external_id == requested.c.external_id)
    statement = select(identity.c.source, identity.c.external_id, identity.c.lead_id).join(requested, same)
    return {(source, external_id): lead_id for source, external_id, lead_id in tx.execute(statement)}


def newest_lead_id(tx: Transaction) -> int:
    """Return the id of the newest lead, 0 without any."""
    return int(tx.execute(select(func.max(lead.c.id))).scalar() or 0)


def count_custody_after(tx: Transaction, lead_id: int) -> Counter[str]:
    """Return the number of leads with a higher id than *lead_id* by custodian and its name."""
    statement = (
        select(custody.c.kind, custody.c.ref, func.count())
        .where(custody.c.lead_id > lead_id)
        .group_by(custody.c.kind, custody.c.ref)
    )
    return Counter({f"{kind} {ref}": count for kind, ref, count in tx.execute(statement)})


class ClosedLead(NamedTuple):
    """A lead that the policy closed when it was classified, and why."""

    lead_id: int
    fields: dict[str, Any]
    email: str | None
    reason: str


def load_closed_by_policy(tx: Transaction, at: datetime) -> list[ClosedLead]:
    """Return the leads that were closed when they were classified at *at*."""
    statement = (
        select(lead.c.id, lead.c.fields, address.c.email, journal.c.reason)
        .join(journal, journal.c.lead_id == lead.c.id)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .where(journal.c.at == at, journal.c.custody_to == Custodian.CLOSED.value, journal.c.event == "classified")
        .order_by(lead.c.id)
    )
    return [ClosedLead._make(row) for row in tx.execute(statement)]


def lock_existing(tx: Transaction, lead_ids: Collection[int]) -> list[ExistingLead]:
    """Lock and return these leads."""
    if not lead_ids:
        return []
    lock_leads(tx, lead_ids)
    chosen = tx.ids("chosen", sorted(lead_ids))
    statement = (
        select(*row_columns(ExistingLead, lead, custody, lead_id=lead.c.id))
        .join(chosen, chosen.c.id == lead.c.id)
        .join(custody, custody.c.lead_id == lead.c.id)
        .order_by(lead.c.id)
    )
    return [ExistingLead._make(row) for row in tx.execute(statement)]


def insert_leads(tx: Transaction, leads: Sequence[LeadPlan], now: datetime) -> None:
    """Insert new leads with their custody."""
    rows = []
    for one in leads:
        assert one.row is not None
        where = one.fields, one.zone, one.country, one.consent_basis
        rows.append((one.id, one.address_id, one.row.source, *where, 0.0, "", one.first_contact_at, now, now))
    tx.insert(lead, _NEW_LEAD, rows)
    custodies = [(one.id, *one.custody[:2], now, *one.custody[2:4], 1) for one in leads]
    tx.insert(custody, _NEW_CUSTODY, custodies)
    counted = (
        (one.first_contact_at, one.row.source, "", one.custody.kind, one.custody.ref) for one in leads if one.row
    )
    lead_counts.count_new(tx, counted)
    created = Counter(one.row.source for one in leads if one.row is not None)
    tx.insert(created_leads, ("source", "count"), sorted(created.items()), adds=True)


def insert_identities(tx: Transaction, leads: Sequence[LeadPlan]) -> None:
    """Insert the new identities of leads."""
    rows = [(*key, one.id, bool(one.candidates)) for one in leads for key in one.keys]
    tx.insert(identity, ("source", "external_id", "lead_id", "is_ambiguous"), rows)


def insert_journal(tx: Transaction, leads: Sequence[LeadPlan], now: datetime) -> None:
    """Insert the journal entries of leads."""
    rows = [(one.id, now, "intake", *note) for one in leads for note in one.notes]
    sources = {one.id: one.row.source for one in leads if one.row is not None and one.existing is None}
    # Only a lead that moves ends a stay, and most only come in.
    moved = {row[0] for row in rows if row[5] is not None}
    rollups.count_entries(tx, [(*row[:2], None, None, None, row[3]) for row in rows if row[0] not in moved], sources)
    entries = [
        JournalEntry(id_, at, stage, event, reason, custody_from=source, custody_to=target)
        for id_, at, stage, event, reason, source, target, _ in rows
        if id_ in moved
    ]
    count_entries(tx, entries, sources)
    tx.insert(journal, _JOURNAL_ENTRY, rows)


def insert_signals(tx: Transaction, leads: Sequence[LeadPlan], now: datetime) -> int:
    """Insert the signals of leads in the order of their natural keys, each once; return how many were new.

    History that must have no effect any more counts as applied.
    """
    rows = [
        (
            index_key(f"import {source} {one.id} {signal.kind} {signal.key}"),
            *(one.id, signal.kind, signal.occurred_at, now, "human", "", signal.value, source),
            now if already_answered else None,
        )
        for one in leads
        for signal, source, already_answered in one.signals
    ]
    rows.sort(key=itemgetter(0))
    _count_applied_signals(tx, rows, now)
    return tx.insert(signals, _SIGNAL, rows, unique_columns=["natural_key"])


def _count_applied_signals(tx: Transaction, rows: Sequence[tuple[Any, ...]], now: datetime) -> None:
    """Count those of *rows*, in the order of `_SIGNAL`, that will be inserted as applied."""
    if all(row[-1] is None for row in rows):
        return
    first = {row[0]: row for row in reversed(rows)}
    applied = {key: row for key, row in first.items() if row[-1] is not None}
    known = find_existing_keys(tx, sorted(applied))
    new = [dict(zip(_SIGNAL, row, strict=True)) for key, row in applied.items() if key not in known]
    count_applied(tx, [AppliedSignal(*(one[name] for name in AppliedSignal._fields)) for one in new], {}, now)


def update_leads(tx: Transaction, leads: Sequence[LeadPlan], now: datetime) -> None:
    """Update known leads, except their custody."""
    if not leads:
        return
    readdressed = [one.id for one in leads if one.existing and one.existing.address_id not in (None, one.address_id)]
    if readdressed:
        # Two leads may swap addresses: clear the old ones before setting the new ones.
        chosen = tx.ids("readdressed", readdressed)
        tx.execute(update(lead).where(lead.c.id == chosen.c.id).values(address_id=None))
    redated = {
        one.id: one.first_contact_at
        for one in leads
        if one.existing and one.existing.first_contact_at != one.first_contact_at
    }
    before = lead_counts.load_counted(tx, redated)
    lead_counts.count_changes(tx, [(old, old._replace(first_contact_at=redated[id_])) for id_, old in before.items()])
    rows = [(*attrgetter(*_LEAD_UPDATE[:-1])(one), _restated_fields(one)) for one in leads]
    new = tx.rows("new", column_types(lead, _LEAD_UPDATE), rows)
    values = {name: new.c[name] for name in _LEAD_UPDATE[1:]}
    tx.execute(update(lead).where(lead.c.id == new.c.id).values(**values, updated_at=now))


def _restated_fields(plan: LeadPlan) -> list[str] | None:
    """Return the fields that files have changed since a rep answered the lead, None if none did."""
    known = plan.existing
    if known is None or known.signals_since is None:
        return None
    changed = {name for name, value in plan.fields.items() if known.fields.get(name) != value}
    return sorted({*(known.restated_fields or ()), *changed}) or None


def withdraw(tx: Transaction, leads: Sequence[tuple[int, str]], now: datetime) -> None:
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
