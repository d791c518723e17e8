"""The append-only log of opt-outs and opt-ins, by address and not by lead."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Select, Table, select, union

from nurture.db.row_values import Columns
from nurture.db.suppression_journal import ERASED as ERASE
from nurture.db.suppression_journal import JournalLine
from nurture.db.tables.consent import consent_statement, suppression
from nurture.db.tables.delivery import broadcast
from nurture.db.tables.intake import import_file
from nurture.db.tables.leads import address, custody, lead
from nurture.db.tables.signals import signal
from nurture.db.transaction import Transaction
from nurture.domain.address import ERASED_PREFIX
from nurture.domain.consent.suppression import (
    ActiveSuppression,
    LogAction,
    SuppressionLogEntry,
    SuppressionScope,
    SuppressionSource,
    current_suppressions,
    parse_source,
)
from nurture.domain.signals import SignalKind

_PAGE: Final = 2_000  # rows in memory while the whole log is read


class SuppressionEntry(NamedTuple):
    """An entry to append to the log."""

    address_id: int
    action: str
    scope: str
    ref: str
    source: str
    evidence: str | None
    recorded_at: datetime


_ID = BigInteger()
_CHOSEN: Final[Columns] = {"id": _ID}
_REFUSALS: Final = (suppression, consent_statement)
_LOG_COLUMNS: Final = [suppression.c[name] for name in ("action", "scope", "ref", "source", "recorded_at")]


def append_entries(tx: Transaction, entries: Sequence[SuppressionEntry]) -> None:
    """Append entries to the log and to the suppression journal. Opt-outs must go through `consent.suppression`."""
    tx.insert(suppression, SuppressionEntry._fields, entries)
    keep_in_journal(tx, entries)


def keep_in_journal(tx: Transaction, entries: Sequence[SuppressionEntry]) -> None:
    """Write *entries* to the suppression journal at commit, without their evidence."""
    machine = tx.database.machine
    if machine is None or not entries:
        return
    chosen = tx.ids("chosen", sorted({entry.address_id for entry in entries}))
    statement = select(address.c.id, address.c.normalized).join(chosen, chosen.c.id == address.c.id)
    hashes = {
        row[0]: row[1] if row[1].startswith(ERASED_PREFIX) else machine.address_hash(row[1])
        for row in tx.execute(statement)
    }
    lines = [
        JournalLine(hashes[one.address_id], one.action, one.scope, one.ref, one.source, one.recorded_at)
        for one in entries
    ]
    tx.at_commit(machine.before_suppressions, lines)


def journal_erasure(tx: Transaction, normal: str, now: datetime) -> None:
    """Record in the suppression journal that the lead with this address was erased."""
    machine = tx.database.machine
    if machine is not None:
        line = JournalLine(
            machine.address_hash(normal), ERASE, SuppressionScope.GLOBAL.value, "", SuppressionSource.ADMIN.value, now
        )
        tx.at_commit(machine.before_suppressions, [line])


def iterate_addresses(tx: Transaction) -> Iterator[tuple[int, str]]:
    """Yield (id, normalized address) of every address, in constant memory."""
    statement = select(address.c.id, address.c.normalized).execution_options(yield_per=_PAGE)
    for row in tx.execute(statement):
        yield row[0], row[1]


def add_erased_addresses(tx: Transaction, hashes: Sequence[str]) -> dict[str, int]:
    """Insert erased addresses, known only by keyed hash; return their ids by hash.

    A lead that is imported with such an address later gets its suppressions.
    """
    ids = tx.reserve_ids("address", len(hashes))
    rows = [(id_, "", address_hash) for id_, address_hash in zip(ids, hashes, strict=True)]
    tx.insert(address, ("id", "email", "normalized"), rows)
    return dict(zip(hashes, ids, strict=True))


def load_logs(tx: Transaction, address_ids: Collection[int]) -> dict[int, list[SuppressionLogEntry]]:
    """Return the log of each address that has one."""
    if not address_ids:
        return {}
    statement = tx.cached(load_logs, lambda: _logs_statement(tx))
    values = {"payload": tx.payload(_CHOSEN, [(id_,) for id_ in address_ids])}
    found: dict[int, list[SuppressionLogEntry]] = defaultdict(list)
    for address_id, *logged in tx.execute(statement, values).all():
        found[address_id].append(_log_entry(*logged))
    return found


def _logs_statement(tx: Transaction) -> Select[Any]:
    chosen = tx.rows_parameter("chosen", _CHOSEN)
    statement = select(suppression.c.address_id, *_LOG_COLUMNS).join(chosen, chosen.c.id == suppression.c.address_id)
    return statement.order_by(suppression.c.id)


def _log_entry(action: str, scope: str, ref: str, source: str, at: datetime) -> SuppressionLogEntry:
    return SuppressionLogEntry(LogAction(action), SuppressionScope(scope), ref, parse_source(source), at)


def load_suppressions(tx: Transaction, address_ids: Collection[int]) -> dict[int, tuple[ActiveSuppression, ...]]:
    """Return the active suppressions of each address that has any."""
    found = {address_id: current_suppressions(log) for address_id, log in load_logs(tx, address_ids).items()}
    return {address_id: suppressions for address_id, suppressions in found.items() if suppressions}


def list_suppressions(tx: Transaction, address_ids: Sequence[int]) -> list[tuple[int, str, str, str]]:
    """Return (address id, scope, ref, source) of every opt-out that no newer opt-in lifts."""
    return [
        (address_id, one.scope.value, one.ref, one.source.value)
        for address_id, suppressions in load_suppressions(tx, address_ids).items()
        for one in suppressions
    ]


def iterate_logs(tx: Transaction, normal: str | None = None) -> Iterator[tuple[str, list[SuppressionLogEntry]]]:
    """Yield every normalized address that has a log, in order, with its log, in constant memory."""
    for found, rows in iterate_by_address(tx, suppression, _LOG_COLUMNS, normal):
        yield found, [_log_entry(*row) for row in rows]


def iterate_by_address(
    tx: Transaction,
    target: Table,
    columns: Sequence[ColumnElement[Any]],
    normal: str | None = None,
    *where: ColumnElement[bool],
) -> Iterator[tuple[str, list[Sequence[Any]]]]:
    """Yield every normalized address with its rows in *target*, oldest first; of *normal* only, or of all."""
    statement = select(address.c.normalized, *columns).join(target, target.c.address_id == address.c.id).where(*where)
    if normal is not None:
        statement = statement.where(address.c.normalized == normal)
    else:
        statement = statement.where(address.c.email != "")  # an erased address has no name to list
    byte_order: ColumnElement[str] = address.c.normalized
    if not tx.is_sqlite:
        byte_order = byte_order.collate("C")  # the same order on both databases
    rows = tx.execute(statement.order_by(byte_order, target.c.id).execution_options(yield_per=_PAGE))
    for found, logged in groupby(rows, key=lambda row: str(row[0])):
        yield found, [row[1:] for row in logged]


def find_address(tx: Transaction, normal: str) -> tuple[int, int | None] | None:
    """Return the ids of a normalized address and of its lead; None for an unknown address."""
    statement = (
        select(address.c.id, lead.c.id)
        .outerjoin(lead, lead.c.address_id == address.c.id)
        .where(address.c.normalized == normal)
    )
    row = tx.execute(statement).one_or_none()
    return (row[0], row[1]) if row is not None else None


def lock_leads_by_address(tx: Transaction, address_ids: Collection[int]) -> dict[int, int]:
    """Lock the leads of these addresses, before any write to the addresses; return lead ids by address id."""
    chosen = tx.ids("chosen", list(address_ids))
    statement = (
        select(lead.c.address_id, custody.c.lead_id)
        .join(custody, custody.c.lead_id == lead.c.id)
        .join(chosen, chosen.c.id == lead.c.address_id)
        .order_by(custody.c.lead_id)
    )
    if tx.skips_locked:
        statement = statement.with_for_update(of=custody)
    return {row[0]: row[1] for row in tx.execute(statement)}


def load_address_ids(tx: Transaction, lead_ids: Collection[int]) -> dict[int, int]:
    """Return the address id of each of these leads that has one."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    statement = select(lead.c.id, lead.c.address_id).join(chosen, chosen.c.id == lead.c.id)
    found = tx.execute(statement.where(lead.c.address_id.is_not(None)))
    return {row.id: row.address_id for row in found}


def find_opted_out_without_address(tx: Transaction, lead_ids: Collection[int]) -> set[int]:
    """Return the leads that opted out while they had no known address."""
    if not lead_ids:
        return set()
    chosen = tx.ids("chosen", sorted(lead_ids))
    opt_out_kinds = (SignalKind.UNSUBSCRIBED.value, SignalKind.COMPLAINED.value)
    statement = (
        select(signal.c.lead_id)
        .join(chosen, chosen.c.id == signal.c.lead_id)
        .where(signal.c.kind.in_(opt_out_kinds))
        .distinct()
    )
    return set(tx.execute(statement).scalars())


class SuppressionImport(NamedTuple):
    """One import of opt-outs: its rows, and how many opt-outs it added."""

    id: int
    name: str
    rows: int
    created: int


def list_imports(tx: Transaction) -> list[SuppressionImport]:
    """Return the imports of opt-outs, the newest first."""
    columns = (import_file.c.id, import_file.c.name, import_file.c.rows, import_file.c.created)
    statement = select(*columns).where(import_file.c.kind == "suppressions").order_by(import_file.c.id.desc())
    return [SuppressionImport(*row) for row in tx.execute(statement)]


def load_opt_outs_by_evidence(tx: Transaction, evidence: str) -> list[tuple[int, SuppressionLogEntry]]:
    """Return (address id, entry) of the opt-outs that were logged with *evidence*."""
    statement = (
        select(suppression.c.address_id, *_LOG_COLUMNS)
        .where(suppression.c.evidence == evidence, suppression.c.action == LogAction.SUPPRESS.value)
        .order_by(suppression.c.id)
    )
    return [(address_id, _log_entry(*logged)) for address_id, *logged in tx.execute(statement)]


def list_broadcast_topics(tx: Transaction) -> list[str]:
    """Return the topics of all released broadcasts."""
    return sorted(tx.execute(select(broadcast.c.topic).where(broadcast.c.topic != "").distinct()).scalars())


def find_addresses_with_topics(tx: Transaction) -> set[int]:
    """Return the addresses about which somebody ever refused a topic."""
    found = (select(one.c.address_id).where(one.c.scope == SuppressionScope.TOPIC.value) for one in _REFUSALS)
    return set(tx.execute(union(*found)).scalars())


def list_refs(tx: Transaction, scope: SuppressionScope) -> list[str]:
    """Return every topic or track in the log."""
    statement = select(suppression.c.ref).where(suppression.c.scope == scope.value).distinct()
    return sorted(tx.execute(statement).scalars())
