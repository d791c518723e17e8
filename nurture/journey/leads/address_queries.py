"""Addresses: find those that are known, create those that are missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, String, Table, select, update
from sqlalchemy.types import TypeEngine

from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.domain.address import mark_of
from nurture.journey.leads.changeset import insert_rows

_ID, _TEXT = BigInteger(), String()

_ADDRESS: Final[Mapping[str, TypeEngine[Any]]] = {"id": _ID, "email": _TEXT, "normal": _TEXT}

address: Table = core.Address.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]


def addresses(
    database: Database, connection: Connection, normals: Collection[str], *, revive: bool = False
) -> dict[str, tuple[int, int | None]]:
    """Return (address id, lead id) of each normalised address, creating those that are missing.

    An erased address is known by its mark, and stays one unless it comes in with a lead anew (*revive*): what
    stands against it holds either way.
    """
    found = _addresses(database, connection, normals)
    missing = [normal for normal in normals if normal not in found]
    erased = marked(database, connection, missing)
    if revive and erased:
        _revive(database, connection, erased)
    found |= {normal: (id_, None) for normal, id_ in erased.items()}
    missing = [normal for normal in missing if normal not in erased]
    if missing:
        ids = database.reserve_ids(connection, "address", len(missing))
        fresh = [(id_, normal, normal) for id_, normal in zip(ids, missing, strict=True)]
        if insert_rows(database, connection, address, _ADDRESS, fresh, once=True) < len(fresh):
            return found | _addresses(database, connection, normals)
        found |= {normal: (id_, None) for id_, normal, _ in fresh}
    return found


def marked(database: Database, connection: Connection, normals: Collection[str]) -> dict[str, int]:
    """Return the ids of those of the addresses that were erased."""
    if not normals:
        return {}
    salt = clock_row.salt_in(connection)
    asked = database.rows(
        "asked", {"normal": _TEXT, "mark": _TEXT}, [(normal, mark_of(normal, salt)) for normal in normals]
    )
    wanted = select(asked.c.normal, address.c.id).join(address, address.c.normal == asked.c.mark)
    return {normal: id_ for normal, id_ in connection.execute(wanted)}  # noqa: C416 - rows are no pairs to mypy


def _revive(database: Database, connection: Connection, erased: Mapping[str, int]) -> None:
    """Give erased addresses their spelling back."""
    back = database.rows(
        "back", {"id": _ID, "normal": _TEXT}, [(id_, normal) for normal, id_ in erased.items()]
    )
    known = update(address).where(address.c.id == back.c.id)
    connection.execute(known.values(email=back.c.normal, normal=back.c.normal))


def _addresses(
    database: Database, connection: Connection, normals: Collection[str]
) -> dict[str, tuple[int, int | None]]:
    if not normals:
        return {}
    asked = database.rows("asked", {"normal": _TEXT}, [(normal,) for normal in normals])
    wanted = (
        select(address.c.normal, address.c.id, lead.c.id)
        .join(asked, asked.c.normal == address.c.normal)
        .outerjoin(lead, lead.c.address_id == address.c.id)
    )
    return {normal: (id_, lead_id) for normal, id_, lead_id in connection.execute(wanted)}
