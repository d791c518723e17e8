"""When the stages, and other tasks that repeat, last ended well and badly."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from nurture.db.row_values import row_columns
from nurture.db.tables.installation import last_round
from nurture.db.transaction import Transaction

INBOX: Final = "inbox"
"""The name of looks into the mailbox of replies."""

LEDGER: Final = "ledger"
"""The name of audits; one that found something has failed."""

BACKUP: Final = "backup"

CERTIFICATE: Final = "certificate"
"""The name of looks at the certificate of the base URL; one that is about to expire has failed."""

RUN: Final = "run"
"""The name of `nurture run`, which runs every stage once."""


class LastRound(NamedTuple):
    """The last rounds of *name*."""

    name: str
    succeeded_at: datetime | None
    failed_at: datetime | None
    error: str

    @property
    def has_failed(self) -> bool:
        """Return whether the newest round failed."""
        return self.failed_at is not None and (self.succeeded_at is None or self.failed_at > self.succeeded_at)


def note_success(tx: Transaction, name: str, now: datetime) -> None:
    """Record that a round of *name* ended well at *now*."""
    _note(tx, name, {"succeeded_at": now})


def note_successes(tx: Transaction, names: Iterable[str], now: datetime) -> None:
    """Record that a round of each of *names* ended well at *now*."""
    for name in names:
        note_success(tx, name, now)


def note_failure(tx: Transaction, name: str, now: datetime, error: str) -> None:
    """Record that a round of *name* failed at *now*; *error* must not contain personal data."""
    _note(tx, name, {"failed_at": now, "error": error})


def _note(tx: Transaction, name: str, values: Mapping[str, Any]) -> None:
    maker = sqlite.insert if tx.is_sqlite else postgresql.insert
    insert = maker(last_round).values(name=name, **{"error": "", **values})
    tx.execute(insert.on_conflict_do_update(index_elements=[last_round.c.name], set_=dict(values)))


def load_all(tx: Transaction) -> dict[str, LastRound]:
    """Return the last rounds by name."""
    found = map(LastRound._make, tx.execute(select(*row_columns(LastRound, last_round))))
    return {one.name: one for one in found}
