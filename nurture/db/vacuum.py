"""Rewrite an SQLite file without the pages and copies of deleted rows."""

from sqlite3 import OperationalError
from typing import Final

from sqlalchemy import text

from nurture.db.engine import BUSY_TIMEOUT_MS, Database

_VACUUM_BUSY_TIMEOUT_MS: Final = 2_000


def vacuum(database: Database) -> bool:
    """Remove copies of deleted rows from the SQLite file and its write-ahead log; return whether that succeeded.

    Page splits leave copies of moved rows although `secure_delete` is on (measured: 1 in 100 rows), so the file is
    rewritten. That fails if other connections block it or the disk is full.
    """
    if not database.is_sqlite:
        return False
    tx = database.engine.raw_connection()
    cursor = tx.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout = {_VACUUM_BUSY_TIMEOUT_MS}")
        cursor.execute("VACUUM")
        (busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except OperationalError:
        return False
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        tx.close()
    return not busy


def find_free_bytes(database: Database) -> int:
    """Return how many bytes of an SQLite file are unused; new rows take them up. 0 on PostgreSQL."""
    if not database.is_sqlite:
        return 0
    with database.read() as tx:
        pages: int = tx.execute(text("PRAGMA freelist_count")).scalar_one()
        size: int = tx.execute(text("PRAGMA page_size")).scalar_one()
    return pages * size
