"""Record consent statements, and show the history of an address."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.consent.permission import MailPermission, basis_in_force, may_mail
from nurture.domain.consent.statements import ConsentStatement, adds_to, describe_statement, grant, withdrawal
from nurture.domain.consent.suppression import ActiveSuppression
from nurture.domain.lead import Custodian, Queue
from nurture.errors import InvalidState
from nurture.formats.status_mapping import ConsentBasis
from nurture.journey.consent.evidence import validate_evidence
from nurture.journey.leads import consent_queries, signal_queries, snapshot, suppression_queries
from nurture.journey.leads.changeset import Changes
from nurture.journey.leads.custody import CustodyUpdate, JournalEntry
from nurture.runtime.context import AppContext

SOURCE: Final = "admin"
"""The source of statements that a person records by hand."""

_FREED_QUEUES: Final = frozenset({Queue.NO_CONSENT_BASIS, Queue.SUPPRESSED})


@dataclass(frozen=True, slots=True)
class ConsentHistory:
    """Every statement about the address of a lead, oldest record first, and what follows from it."""

    lead: int
    statements: Sequence[ConsentStatement]
    suppressions: Sequence[ActiveSuppression]
    permission: MailPermission


def load_history(ctx: AppContext, lead_id: int, now: datetime) -> ConsentHistory:
    """Return the consent history of a lead. Raises InvalidState if it has no address."""
    with ctx.database.read() as tx:
        address_id = _find_address(tx, lead_id)
        statements = consent_queries.load_statements(tx, [address_id]).get(address_id, ())
        suppressions = suppression_queries.load_suppressions(tx, [address_id]).get(address_id, ())
    return ConsentHistory(lead_id, statements, suppressions, may_mail(statements, suppressions, None, now))


def grant_consent(
    ctx: AppContext, lead_id: int, basis: str, evidence: str, now: datetime, *, stated_at: datetime | None = None
) -> bool:
    """Record why a lead may be mailed; return whether that is new.

    *stated_at* (UTC) is when it was said, now by default. Raises InvalidState for an unknown basis, weak evidence, a
    date in the future, or a lead without address.
    """
    name = basis.strip().lower().replace(" ", "_")
    if name not in set(ConsentBasis):
        raise InvalidState(f"{basis!r} is no basis. Write {', '.join(ConsentBasis)}.")
    given = grant(name, SOURCE, _check_time(stated_at, now), now, evidence=validate_evidence(evidence))
    return _record_for_lead(ctx, lead_id, given, now)


def withdraw_consent(
    ctx: AppContext, lead_id: int, now: datetime, *, evidence: str = "", stated_at: datetime | None = None
) -> bool:
    """Record that a lead refuses mail; return whether that is new. Arguments and errors as in `grant_consent`."""
    checked = validate_evidence(evidence) if evidence else ""
    return _record_for_lead(ctx, lead_id, withdrawal(SOURCE, _check_time(stated_at, now), now, evidence=checked), now)


def _check_time(stated_at: datetime | None, now: datetime) -> datetime:
    if stated_at is not None and stated_at > now:
        raise InvalidState(f"{stated_at:%Y-%m-%d %H:%M} is in the future. Write when it was said.")
    return stated_at or now


def _record_for_lead(ctx: AppContext, lead_id: int, statement: ConsentStatement, now: datetime) -> bool:
    with ctx.database.write() as tx:
        acquire(tx, Lock.INTAKE)
        return bool(record(tx, [(_find_address(tx, lead_id), statement)], now))


def _find_address(tx: Transaction, lead_id: int) -> int:
    address_id = suppression_queries.load_address_ids(tx, [lead_id]).get(lead_id)
    if address_id is None:
        raise InvalidState(f"Lead {lead_id} has no email address, and consent belongs to an address. Import one first.")
    return address_id


def record(
    tx: Transaction, statements: Sequence[tuple[int, ConsentStatement]], now: datetime
) -> list[tuple[int, ConsentStatement]]:
    """Append those of (address id, statement) that are new, and return them, in a constant number of statements.

    The journal of each lead gets a line. A lead that waits only for consent is classified again; another becomes due.
    """
    addresses = {address_id for address_id, _ in statements}
    if not addresses:
        return []
    leads = suppression_queries.lock_leads_by_address(tx, addresses)
    known = {id_: list(history) for id_, history in consent_queries.load_statements(tx, addresses).items()}
    new: dict[int, list[ConsentStatement]] = {}
    for address_id, one in statements:
        history = known.setdefault(address_id, [])
        if adds_to(history, one):
            history.append(one)
            new.setdefault(address_id, []).append(one)
    added = [(address_id, one) for address_id, found in new.items() for one in found]
    consent_queries.append_statements(tx, added)
    consent_queries.note_basis(tx, [(id_, basis_in_force(known[id_], now)) for id_ in new], now)
    suppressions = suppression_queries.load_suppressions(tx, new)
    permissions = {id_: may_mail(known[id_], suppressions.get(id_, ()), None, now) for id_ in new}
    _update_leads(tx, {leads[id_]: (permissions[id_], new[id_]) for id_ in new if id_ in leads}, now)
    return added


def add_withdrawals(
    tx: Transaction, withdrawn: Sequence[tuple[int, str, datetime, str]], now: datetime, evidence: str
) -> int:
    """Record those withdrawals (address id, topic, time, source) that are not known; return how many these were."""
    known = consent_queries.load_statements(tx, {address_id for address_id, *_ in withdrawn})
    restored = [(id_, withdrawal(source, at, now, topic, evidence=evidence)) for id_, topic, at, source in withdrawn]
    logged = {(id_, each.target, each.at) for id_, found in known.items() for each in found if each.basis is None}
    unknown = [(id_, one) for id_, one in restored if (id_, one.target, one.at) not in logged]
    return len(record(tx, unknown, now))


def _update_leads(
    tx: Transaction, changed: dict[int, tuple[MailPermission, list[ConsentStatement]]], now: datetime
) -> None:
    changes, due = Changes(), []
    for row in snapshot.load_rows(tx, changed) if changed else ():
        permission, statements = changed[row.lead_id]
        freed = permission.allowed and row.kind == Custodian.QUEUE and row.ref in _FREED_QUEUES
        kinds = (row.kind, Custodian.INTAKE.value) if freed else (None, None)
        if freed:
            update = CustodyUpdate(row.lead_id, row.version, Custodian.INTAKE, "return", now, "classify", now)
            changes.custody_updates.append(update)
        else:
            due.append(row.lead_id)
        for one in statements:
            entry = JournalEntry(row.lead_id, now, "consent", one.event, describe_statement(one))
            changes.journal_entries.append(entry._replace(custody_from=kinds[0], custody_to=kinds[1]))
    changes.write(tx, now)
    signal_queries.make_due(tx, due, now)
