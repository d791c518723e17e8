"""Find email addresses, and create those that are missing."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import ColumnElement, String, literal_column, select

from nurture.db import clock_row
from nurture.db.tables.leads import address, lead
from nurture.db.transaction import Transaction
from nurture.domain.address import erasure_hash

_TEXT: Final = String()
_IS_ERASED: Final[ColumnElement[bool]] = literal_column("email = ''")  # as in the index of erased addresses


def get_or_create_addresses(
    tx: Transaction, normals: Collection[str], *, restore_erased: bool = False, created: set[int] | None = None
) -> dict[str, tuple[int, int | None]]:
    """Return (address id, lead id) of each normalized address, creating those that are missing.

    An erased address is found by its hash. It gets its spelling back only with *restore_erased* (a new lead uses it);
    its suppressions apply either way. The ids of those that are new are added to *created*: nothing is known of them.
    """
    found = _find_addresses(tx, normals)
    missing = [normal for normal in normals if normal not in found]
    erased = find_erased(tx, missing)
    if restore_erased:
        spelled = [(id_, normal, normal) for normal, id_ in erased.items()]
        tx.update_by_id(address, ("email", "normalized"), spelled)
    found |= {normal: (id_, None) for normal, id_ in erased.items()}
    missing = [normal for normal in missing if normal not in erased]
    if missing:
        ids = tx.reserve_ids("address", len(missing))
        fresh = [(id_, normal, normal) for id_, normal in zip(ids, missing, strict=True)]
        if tx.insert(address, ("id", "email", "normalized"), fresh, ignore_conflicts=True) < len(fresh):
            return found | _find_addresses(tx, normals)
        found |= {normal: (id_, None) for id_, normal, _ in fresh}
        if created is not None:
            created.update(ids)
    return found


def find_erased(tx: Transaction, normals: Collection[str]) -> dict[str, int]:
    """Return the ids of the given addresses that were erased, by normalized address."""
    if not normals or tx.execute(select(address.c.id).where(_IS_ERASED).limit(1)).scalar() is None:
        return {}  # to hash each address takes a twentieth of an import
    salt = clock_row.read_salt(tx)
    by_hash = {erasure_hash(normal, salt): normal for normal in normals}
    requested = tx.rows("requested", {"erasure_hash": _TEXT}, [(each,) for each in by_hash])
    statement = select(address.c.normalized, address.c.id).join(
        requested, requested.c.erasure_hash == address.c.normalized
    )
    return {by_hash[hashed]: id_ for hashed, id_ in tx.execute(statement)}


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
