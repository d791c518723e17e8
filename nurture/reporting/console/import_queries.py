"""The imports of before."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from nurture.db.tables.intake import import_file
from nurture.db.transaction import Transaction


class PastImport(NamedTuple):
    """An import of a file: what it was a list of, its system, and its counts of rows."""

    at: datetime
    name: str
    kind: str
    source: str
    rows: int
    created: int
    updated: int
    rejected: int


def load_imports(tx: Transaction, limit: int) -> list[PastImport]:
    """Return the newest imports."""
    one = import_file.c
    columns = (one.imported_at, one.name, one.kind, one.source, one.rows, one.created, one.updated, one.rejected)
    return [PastImport._make(row) for row in tx.execute(select(*columns).order_by(one.id.desc()).limit(limit))]
