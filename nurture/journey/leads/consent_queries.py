"""The append-only history of consent statements, by address and not by lead."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Select, String, func, select, update

from nurture.db.row_values import Columns
from nurture.db.suppression_journal import WITHDRAWN
from nurture.db.tables.consent import consent_statement, unclear_field
from nurture.db.tables.delivery import message
from nurture.db.tables.leads import address, lead
from nurture.db.transaction import Transaction
from nurture.domain.consent.permission import combine_refusals
from nurture.domain.consent.statements import ConsentStatement
from nurture.domain.consent.suppression import ActiveSuppression, LogAction, SuppressionScope
from nurture.journey.leads.suppression_queries import (
    SuppressionEntry,
    iterate_by_address,
    keep_in_journal,
    load_suppressions,
)
from nurture.outbox.messages import CONFIRMATION

_JOURNAL_SOURCE: Final = "record"  # the name of a source may be that of a person

_SCOPES: Final[Mapping[str, SuppressionScope]] = {one.value: one for one in SuppressionScope}
_CHOSEN: Final[Columns] = {"id": BigInteger()}
_COLUMNS: Final = ("address_id", *ConsentStatement._fields)
_COUNTS: Final = consent_statement.c.retracted_at.is_(None)


def load_statements(tx: Transaction, address_ids: Collection[int]) -> dict[int, tuple[ConsentStatement, ...]]:
    """Return the history of each address that has one, oldest record first, in one statement."""
    return dict(load_histories(tx, address_ids).statements)


class Histories(NamedTuple):
    """The history of each address that has one, and the sum of the ids of its statements."""

    statements: dict[int, tuple[ConsentStatement, ...]]
    id_sums: dict[int, int]

    def reload(self, tx: Transaction, address_ids: Collection[int]) -> "Histories":
        """Return the histories of some of these addresses as they are now; read them only if one has changed.

        A history gets statements with higher ids, and loses those that are retracted: then the number of its
        statements or the sum of their ids changes.
        """
        numbers = tx.cached(Histories.reload, lambda: _select(tx, func.count(), func.sum(consent_statement.c.id)))
        count, id_sum = tx.execute(numbers, {"payload": tx.payload(_CHOSEN, [(id_,) for id_ in address_ids])}).one()
        known = [id_ for id_ in address_ids if id_ in self.id_sums]
        expected = sum(len(self.statements[id_]) for id_ in known), sum(self.id_sums[id_] for id_ in known)
        return self if (count, int(id_sum or 0)) == expected else load_histories(tx, address_ids)


NO_HISTORIES: Final = Histories({}, {})


def load_histories(tx: Transaction, address_ids: Collection[int]) -> Histories:
    """Return the history of each address that has one, in one statement."""
    if not address_ids:
        return NO_HISTORIES
    columns = [consent_statement.c[name] for name in ("id", *_COLUMNS)]
    statement = tx.cached(load_histories, lambda: _select(tx, *columns).order_by(consent_statement.c.id))
    values = {"payload": tx.payload(_CHOSEN, [(id_,) for id_ in address_ids])}
    found: dict[int, list[ConsentStatement]] = defaultdict(list)
    id_sums: dict[int, int] = defaultdict(int)
    for id_, address_id, scope, *rest in tx.execute(statement, values).all():
        found[address_id].append(ConsentStatement(_SCOPES[scope], *rest))
        id_sums[address_id] += id_
    return Histories({address_id: tuple(statements) for address_id, statements in found.items()}, id_sums)


def iterate_histories(tx: Transaction, normal: str | None = None) -> Iterator[tuple[str, list[ConsentStatement]]]:
    """Yield every normalized address that has a history, in order, with its history, in constant memory."""
    columns = [consent_statement.c[name] for name in ConsentStatement._fields]
    for found, rows in iterate_by_address(tx, consent_statement, columns, normal, _COUNTS):
        yield found, [ConsentStatement(_SCOPES[scope], *rest) for scope, *rest in rows]


def _select(tx: Transaction, *columns: ColumnElement[Any]) -> Select[Any]:
    chosen = tx.rows_parameter("chosen", _CHOSEN)
    of_chosen = select(*columns).select_from(consent_statement)
    return of_chosen.join(chosen, chosen.c.id == consent_statement.c.address_id).where(_COUNTS)


def load_refusals(tx: Transaction, address_ids: Collection[int]) -> dict[int, tuple[ActiveSuppression, ...]]:
    """Return everything that is refused about each address: suppressions and withdrawals, all mail first."""
    suppressions, statements = load_suppressions(tx, address_ids), load_statements(tx, address_ids)
    return {
        address_id: combine_refusals(statements.get(address_id, ()), suppressions.get(address_id, ()))
        for address_id in suppressions.keys() | statements.keys()
    }


def find_asked_address(tx: Transaction, message_id: int | None) -> tuple[int, str] | None:
    """Return (id, email) of the address that a message asked to confirm its consent, None if it is not known."""
    asked = select(message.c.step).where(message.c.id == message_id, message.c.kind == CONFIRMATION)
    address_id = int(tx.execute(asked).scalar_one_or_none() or 0)
    email = tx.execute(select(address.c.email).where(address.c.id == address_id)).scalar_one_or_none()
    return (address_id, email) if email is not None else None


def record_unclear_fields(tx: Transaction, fields: Collection[tuple[str, str]], now: datetime) -> None:
    """Record fields (source, name) that may be opt-outs, each once."""
    rows = [(source, name, now) for source, name in sorted(fields)]
    tx.insert(unclear_field, ("source", "name", "first_seen_at"), rows, ignore_conflicts=True)


def list_unclear_fields(tx: Transaction) -> list[tuple[str, str, datetime]]:
    """Return (source, name, first seen at) of the fields that may be opt-outs and are not acknowledged."""
    columns = unclear_field.c.source, unclear_field.c.name, unclear_field.c.first_seen_at
    pending = select(*columns).where(unclear_field.c.acknowledged_at.is_(None)).order_by(*columns)
    return [(source, name, at) for source, name, at in tx.execute(pending)]


def acknowledge_unclear_fields(tx: Transaction, now: datetime) -> None:
    """Acknowledge every field that may be an opt-out: `nurture doctor` no longer shows it."""
    tx.execute(update(unclear_field).where(unclear_field.c.acknowledged_at.is_(None)).values(acknowledged_at=now))


def append_statements(tx: Transaction, statements: Sequence[tuple[int, ConsentStatement]]) -> None:
    """Append statements about email to the history of (address id, statement).

    Withdrawals are also written to the suppression journal, because a restored backup lacks the newest.
    """
    rows = [("email", address_id, str(one.scope), *one[1:]) for address_id, one in statements]
    tx.insert(consent_statement, ("channel", *_COLUMNS), rows)
    _journal(tx, WITHDRAWN, [(address_id, one) for address_id, one in statements if one.basis is None])


def _journal(tx: Transaction, action: str, statements: Sequence[tuple[int, ConsentStatement]]) -> None:
    entries = [
        SuppressionEntry(address_id, action, one.scope.value, one.ref, _JOURNAL_SOURCE, None, one.at)
        for address_id, one in statements
    ]
    keep_in_journal(tx, entries)


def retract_withdrawals(tx: Transaction, evidence: str, now: datetime) -> list[int]:
    """Retract the withdrawals that were recorded with *evidence*; return the ids of their addresses."""
    columns = [consent_statement.c[name] for name in _COLUMNS]
    of_import = consent_statement.c.evidence == evidence, consent_statement.c.basis.is_(None), _COUNTS
    rows = tx.execute(update(consent_statement).where(*of_import).values(retracted_at=now).returning(*columns)).all()
    retracted = [(row[0], ConsentStatement(_SCOPES[row[1]], *row[2:])) for row in rows]
    _journal(tx, LogAction.RETRACT.value, retracted)
    return sorted(address_id for address_id, _ in retracted)


def note_basis(tx: Transaction, bases: Sequence[tuple[int, str | None]], now: datetime) -> None:
    """Note the basis in force on the leads of (address id, basis); decisions use the statements."""
    if not bases:
        return
    new = tx.rows("new", {"address_id": BigInteger(), "basis": String()}, bases)
    changed = update(lead).where(lead.c.address_id == new.c.address_id)
    tx.execute(changed.values(consent_basis=new.c.basis, updated_at=now))
