"""The log of opt-outs and opt-ins: it only grows, by address and not by lead."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, String, Table, select
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.suppression_journal import ERASED as ERASE
from nurture.db.suppression_journal import Line
from nurture.db.tables import core
from nurture.db.types import UtcDateTime
from nurture.domain.address import ERASED
from nurture.domain.consent.suppression import Act, Logged, Scope, Source, Standing, source_named, stands
from nurture.domain.signals import SignalKind
from nurture.journey.leads.changeset import insert_rows

address: Table = core.Address.__table__  # type: ignore[attr-defined]
custody: Table = core.Custody.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
signal: Table = core.Signal.__table__  # type: ignore[attr-defined]
suppression: Table = core.Suppression.__table__  # type: ignore[attr-defined]

_PAGE: Final = 2_000  # rows in memory while the whole log is read


class Entry(NamedTuple):
    """One entry of the log as it is written."""

    address_id: int
    act: str
    scope: str
    ref: str
    source: str
    evidence: str | None
    recorded_at: datetime


_ID, _TEXT, _TIME = BigInteger(), String(), UtcDateTime()
_ENTRY: Final[Mapping[str, TypeEngine[Any]]] = dict(
    zip(Entry._fields, (_ID, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT, _TIME), strict=True)
)
_ADDRESS: Final[Mapping[str, TypeEngine[Any]]] = {"id": _ID, "email": _TEXT, "normal": _TEXT}
_CHOSEN: Final[Mapping[str, TypeEngine[Any]]] = {"id": _ID}
_LOGGED: Final = (
    suppression.c.act,
    suppression.c.scope,
    suppression.c.ref,
    suppression.c.source,
    suppression.c.recorded_at,
)


def append(database: Database, connection: Connection, entries: Sequence[Entry]) -> None:
    """Write entries, here and in the suppression journal; opt-outs come through `journey.suppress` only."""
    insert_rows(database, connection, suppression, _ENTRY, entries)
    machine = database.machine
    if machine is None or not entries:
        return
    chosen = database.ids("chosen", sorted({entry.address_id for entry in entries}))
    wanted = select(address.c.id, address.c.normal).join(chosen, chosen.c.id == address.c.id)
    marks = {
        row[0]: row[1] if row[1].startswith(ERASED) else machine.mark(row[1])
        for row in connection.execute(wanted)
    }
    lines = [
        Line(marks[one.address_id], one.act, one.scope, one.ref, one.source, one.recorded_at)
        for one in entries
    ]
    database.at_commit(connection, machine.before_optouts, lines)


def note_erased(database: Database, connection: Connection, normal: str, now: datetime) -> None:
    """Note in the suppression journal that whoever has this address was erased."""
    machine = database.machine
    if machine is not None:
        line = Line(machine.mark(normal), ERASE, Scope.GLOBAL.value, "", Source.ADMIN.value, now)
        database.at_commit(connection, machine.before_optouts, [line])


def addresses(connection: Connection) -> Iterator[tuple[int, str]]:
    """Yield (id, normal spelling) of every address; memory stays flat."""
    wanted = select(address.c.id, address.c.normal).execution_options(yield_per=_PAGE)
    for row in connection.execute(wanted):
        yield row[0], row[1]


def add_marks(database: Database, connection: Connection, marks: Sequence[str]) -> dict[str, int]:
    """Write down addresses of which only a keyed hash is known; return their ids by it.

    Whoever brings such an address in finds what stands against it.
    """
    ids = database.reserve_ids(connection, "address", len(marks))
    rows = [(id_, "", mark) for id_, mark in zip(ids, marks, strict=True)]
    insert_rows(database, connection, address, _ADDRESS, rows)
    return dict(zip(marks, ids, strict=True))


def logs(database: Database, connection: Connection, address_ids: Collection[int]) -> dict[int, list[Logged]]:
    """Return the log of each address that has one."""
    if not address_ids:
        return {}
    wanted = database.kept(logs, lambda: _of_chosen(database))
    values = {"payload": database.payload(_CHOSEN, [(id_,) for id_ in address_ids])}
    found: dict[int, list[Logged]] = defaultdict(list)
    for address_id, *logged in connection.execute(wanted, values).all():
        found[address_id].append(_logged(*logged))
    return found


def _of_chosen(database: Database) -> Select[Any]:
    chosen = database.rows_to_come("chosen", _CHOSEN)
    wanted = select(suppression.c.address_id, *_LOGGED).join(chosen, chosen.c.id == suppression.c.address_id)
    return wanted.order_by(suppression.c.id)


def _logged(act: str, scope: str, ref: str, source: str, at: datetime) -> Logged:
    return Logged(Act(act), Scope(scope), ref, source_named(source), at)


def standing(
    database: Database, connection: Connection, address_ids: Collection[int]
) -> dict[int, tuple[Standing, ...]]:
    """Return what stands against each address that may not get all mail."""
    found = {address_id: stands(log) for address_id, log in logs(database, connection, address_ids).items()}
    return {address_id: what for address_id, what in found.items() if what}


def effective_suppressions(
    database: Database, connection: Connection, address_ids: Sequence[int]
) -> list[tuple[int, str, str, str]]:
    """Return (address id, scope, ref, source) of every opt-out that no newer opt-in lifts."""
    return [
        (address_id, one.scope.value, one.ref, one.source.value)
        for address_id, what in standing(database, connection, address_ids).items()
        for one in what
    ]


def everything(connection: Connection, normal: str | None = None) -> Iterator[tuple[str, list[Logged]]]:
    """Yield every normalised address that has a log, in order, with its log; memory stays flat."""
    wanted = select(address.c.normal, *_LOGGED).join(suppression, suppression.c.address_id == address.c.id)
    if normal is not None:
        wanted = wanted.where(address.c.normal == normal)
    else:
        wanted = wanted.where(address.c.email != "")  # an erased address has no name to list
    by_bytes: ColumnElement[str] = address.c.normal
    if connection.dialect.name == "postgresql":
        by_bytes = by_bytes.collate("C")  # the same order on both databases
    rows = connection.execution_options(yield_per=_PAGE).execute(wanted.order_by(by_bytes, suppression.c.id))
    for found, logged in groupby(rows, key=lambda row: str(row[0])):
        yield found, [_logged(*row[1:]) for row in logged]


def find(connection: Connection, normal: str) -> tuple[int, int | None] | None:
    """Return the id of a normalised address and of its lead; None for an address that was never seen."""
    wanted = (
        select(address.c.id, lead.c.id)
        .outerjoin(lead, lead.c.address_id == address.c.id)
        .where(address.c.normal == normal)
    )
    row = connection.execute(wanted).one_or_none()
    return (row[0], row[1]) if row is not None else None


def hold_leads(database: Database, connection: Connection, address_ids: Collection[int]) -> dict[int, int]:
    """Hold the leads of these addresses before anything is written of these; return them by address."""
    chosen = database.ids("chosen", list(address_ids))
    wanted = (
        select(lead.c.address_id, custody.c.lead_id)
        .join(custody, custody.c.lead_id == lead.c.id)
        .join(chosen, chosen.c.id == lead.c.address_id)
        .order_by(custody.c.lead_id)
    )
    if database.skips_locked:
        wanted = wanted.with_for_update(of=custody)
    return {row[0]: row[1] for row in connection.execute(wanted)}


def addresses_of(database: Database, connection: Connection, lead_ids: Collection[int]) -> dict[int, int]:
    """Return the address of each of these leads that has one."""
    chosen = database.ids("chosen", sorted(set(lead_ids)))
    wanted = select(lead.c.id, lead.c.address_id).join(chosen, chosen.c.id == lead.c.id)
    found = connection.execute(wanted.where(lead.c.address_id.is_not(None)))
    return {row.id: row.address_id for row in found}


def refused_without_address(
    database: Database, connection: Connection, lead_ids: Collection[int]
) -> set[int]:
    """Return those of the leads that said no while no address of theirs was known."""
    if not lead_ids:
        return set()
    chosen = database.ids("chosen", sorted(lead_ids))
    said_no = (SignalKind.UNSUBSCRIBED.value, SignalKind.COMPLAINED.value)
    wanted = (
        select(signal.c.lead_id)
        .join(chosen, chosen.c.id == signal.c.lead_id)
        .where(signal.c.kind.in_(said_no))
        .distinct()
    )
    return set(connection.execute(wanted).scalars())


def refs(connection: Connection, scope: Scope) -> list[str]:
    """Return every topic or track that the log names."""
    wanted = select(suppression.c.ref).where(suppression.c.scope == scope.value).distinct()
    return sorted(connection.execute(wanted).scalars())
