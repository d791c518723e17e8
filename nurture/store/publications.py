"""Published versions of tracks and of the policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Table, func, insert, select

from nurture.store import tables

publication: Table = tables.Publication.__table__  # type: ignore[attr-defined]


class Published(NamedTuple):
    """Which version it is; *kind* is track or policy."""

    id: int
    kind: str
    name: str
    version: int
    digest: str


def newest(connection: Connection) -> list[Published]:
    """Return the newest version of every track and of the policy."""
    return [Published._make(row) for row in connection.execute(_newest())]


@cache
def _newest() -> Select[Any]:
    """Return the statement; made once, because every batch asks and making it costs more than running it."""
    last = (
        select(publication.c.kind, publication.c.name, func.max(publication.c.version).label("version"))
        .group_by(publication.c.kind, publication.c.name)
        .subquery()
    )
    wanted = select(
        publication.c.id, publication.c.kind, publication.c.name, publication.c.version, publication.c.digest
    ).join(
        last,
        (last.c.kind == publication.c.kind)
        & (last.c.name == publication.c.name)
        & (last.c.version == publication.c.version),
    )
    return wanted.order_by(publication.c.id)


def find(connection: Connection, kind: str, name: str, version: int) -> Published | None:
    """Return one version, None if it was never published."""
    wanted = select(
        publication.c.id, publication.c.kind, publication.c.name, publication.c.version, publication.c.digest
    ).where(publication.c.kind == kind, publication.c.name == name, publication.c.version == version)
    row = connection.execute(wanted).one_or_none()
    return Published._make(row) if row is not None else None


def sources(connection: Connection, publication_id: int) -> Mapping[str, str]:
    """Return the files of one version: path under templates/ -> text."""
    found: Mapping[str, str] = connection.execute(
        select(publication.c.sources).where(publication.c.id == publication_id)
    ).scalar_one()
    return found


def add(
    connection: Connection, rows: Sequence[tuple[str, str, int, str, Mapping[str, str]]], now: datetime
) -> None:
    """Publish (kind, name, version, digest, sources) rows."""
    if rows:
        names = ("kind", "name", "version", "digest", "sources")
        connection.execute(
            insert(publication), [dict(zip(names, row, strict=True)) | {"published_at": now} for row in rows]
        )
