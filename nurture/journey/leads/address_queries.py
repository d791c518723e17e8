"""Find email addresses, and create those that are missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import BigInteger, String, select, update

from nurture.db import clock_row
from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.domain.address import erasure_hash

_ID, _TEXT = BigInteger(), String()


address = table(lead_tables.Address)
lead = table(lead_tables.Lead)


def get_or_create_addresses(
    tx: Transaction, normals: Collection[str], *, restore_erased: bool = False
) -> dict[str, tuple[int, int | None]]:
    """Return (address id, lead id) of each normalized address, creating those that are missing.

    An erased address is found by its hash. It gets its spelling back only with *restore_erased* (a new lead uses it);
    its suppressions apply either way.
    """
    found = _find_addresses(tx, normals)
    missing = [normal for normal in normals if normal not in found]
    erased = find_erased(tx, missing)
    if restore_erased and erased:
        _restore_erased(tx, erased)
    found |= {normal: (id_, None) for normal, id_ in erased.items()}
    missing = [normal for normal in missing if normal not in erased]
    if missing:
        ids = tx.reserve_ids("address", len(missing))
        fresh = [(id_, normal, normal) for id_, normal in zip(ids, missing, strict=True)]
        if tx.insert(address, ("id", "email", "normalized"), fresh, ignore_conflicts=True) < len(fresh):
            return found | _find_addresses(tx, normals)
        found |= {normal: (id_, None) for id_, normal, _ in fresh}
    return found


def find_erased(tx: Transaction, normals: Collection[str]) -> dict[str, int]:
    """Return the ids of the given addresses that were erased, by normalized address."""
    if not normals:
        return {}
    salt = clock_row.read_salt(tx)
    requested = tx.rows(
        "requested",
        {"normalized": _TEXT, "erasure_hash": _TEXT},
        [(normal, erasure_hash(normal, salt)) for normal in normals],
    )
    statement = select(requested.c.normalized, address.c.id).join(
        address, address.c.normalized == requested.c.erasure_hash
    )
    return {normal: id_ for normal, id_ in tx.execute(statement)}  # noqa: C416 - rows are no pairs to mypy


def _restore_erased(tx: Transaction, erased: Mapping[str, int]) -> None:
    """Restore the spelling of erased addresses."""
    restored = tx.rows("restored", {"id": _ID, "normalized": _TEXT}, [(id_, normal) for normal, id_ in erased.items()])
    statement = update(address).where(address.c.id == restored.c.id)
    tx.execute(statement.values(email=restored.c.normalized, normalized=restored.c.normalized))


def _find_addresses(tx: Transaction, normals: Collection[str]) -> dict[str, tuple[int, int | None]]:
    if not normals:
        return {}
    requested = tx.rows("requested", {"normalized": _TEXT}, [(normal,) for normal in normals])
    statement = (
        select(address.c.normalized, address.c.id, lead.c.id)
        .join(requested, requested.c.normalized == address.c.normalized)
        .outerjoin(lead, lead.c.address_id == address.c.id)
    )
    return {normal: (id_, lead_id) for normal, id_, lead_id in tx.execute(statement)}
