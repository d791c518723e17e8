"""The lock order on PostgreSQL, which prevents deadlocks.

SQLite has a single writer and needs none. Each transaction takes locks in this order, and never one of an
earlier kind after one of a later kind:

1. the locks of `Lock`, in the order of the enum, except SENDING and WAITING_LISTS;
2. leads, by their custody rows: all leads that the transaction writes about, in one statement and in the order
   of their ids (`custody.lock_leads`). A claim with `SKIP LOCKED` never waits and is allowed at any time;
3. `Lock.SENDING`; `Lock.WAITING_LISTS`;
4. all other rows: those of locked leads (messages, offers, signals, addresses) in any order; those of no lead
   in the order of their keys, or with `SKIP LOCKED`.
"""

from enum import IntEnum
from typing import Final

from sqlalchemy import func, select

from nurture.db.transaction import Transaction

_FIRST: Final = 7_240_100  # arbitrary; every process on one PostgreSQL database must use the same


class Lock(IntEnum):
    """Work that only one transaction of a database does at a time."""

    SCHEMA = 1
    """Upgrades of the tables."""
    INTAKE = 2
    """Creation and erasure of addresses, leads and accounts: two imports may contain the same one."""
    EVENTS = 3
    """Provider events and inbound email."""
    OFFERS = 4
    """Offers to reps, which depend on round robin and capacity."""
    SIGNALS = 5
    """Applying signals and setting their verdicts."""
    BROADCASTS = 6
    """Releases of broadcasts, and planning their messages."""
    STOPS = 7
    """Stops and starts of mail. Workers that are about to send, or decide about leads, share it: so no call begins
    after a stop is committed, and a start wakes every lead that waits for it."""
    SENDING = 8
    """Counts of email per sender domain."""
    WAITING_LISTS = 9
    """Planning the lists of what waits in queues: nobody gets two at once."""


def acquire(tx: Transaction, lock: Lock) -> None:
    """Wait for *lock*, and hold it until the transaction ends."""
    if not tx.is_sqlite:
        tx.execute(select(func.pg_advisory_xact_lock(_FIRST + lock)))


def acquire_shared(tx: Transaction, lock: Lock) -> None:
    """Wait until nobody holds *lock* alone, and share it until the transaction ends."""
    if not tx.is_sqlite:
        tx.execute(select(func.pg_advisory_xact_lock_shared(_FIRST + lock)))


def use_snapshot(tx: Transaction) -> None:
    """Let all statements of this transaction see the same snapshot; call it before the first one."""
    if not tx.is_sqlite:  # the default on SQLite
        tx.connection.execution_options(isolation_level="REPEATABLE READ")
