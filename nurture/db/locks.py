"""What transactions wait for on PostgreSQL, and in which order: nobody who keeps it waits in a circle.

SQLite has one writer at a time, and needs none of this. Everybody takes what they need in this order, and
nothing of an earlier kind once they have one of a later:

1. the locks of `Lock`, in the order in which they stand there, but for SENDING;
2. leads, which means their rows of custody: all that the transaction will write about, in one statement and
   in the order of their ids (`changeset.lock_leads`). A claim that skips what others have (`SKIP
   LOCKED`) waits for nobody, and comes at any time;
3. `Lock.SENDING`;
4. everything else: rows that belong to leads which one holds (messages, offers, signals, addresses), in any
   order; rows that belong to no lead, several at once, in the order of their keys, or skipping what others
   have.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from sqlalchemy import Connection, func, select

from nurture.db.engine import Database

_FIRST: Final = 7_240_100  # any number, the same for all who share one PostgreSQL database


class Lock(IntEnum):
    """Work that one does at a time, in a whole database."""

    SCHEMA = 1
    """Upgrades the tables."""
    INTAKE = 2
    """Makes addresses, leads, accounts and their names, or erases them: two files may bring the same one."""
    EVENTS = 3
    """Applies what providers and mailboxes tell of messages."""
    OFFERS = 4
    """Gives leads to reps, by what they were given and how full they are."""
    SIGNALS = 5
    """Applies signals, and judges them."""
    SENDING = 6
    """Counts what each sender domain has sent."""


def acquire(database: Database, connection: Connection, lock: Lock) -> None:
    """Wait for *lock*, and keep it until the transaction ends."""
    if not database.is_sqlite:
        connection.execute(select(func.pg_advisory_xact_lock(_FIRST + lock)))


def use_snapshot(database: Database, connection: Connection) -> None:
    """Let all statements of this transaction see the same moment; call it before the first one."""
    if not database.is_sqlite:  # SQLite's transactions do so by themselves
        connection.execution_options(isolation_level="REPEATABLE READ")
