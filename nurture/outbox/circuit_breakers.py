"""Pauses of sending: by provider after failures, by sender domain after bounces or complaints, by database."""

from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from sqlalchemy import literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nurture.db.tables.delivery import circuit_breaker as breaker
from nurture.db.transaction import Transaction

Kind = Literal["provider", "domain", "database"]

PROBE_AFTER: Final = timedelta(minutes=1)
"""How long to wait before one message or record probes a provider or CRM that cannot be reached."""


class Breaker(NamedTuple):
    """A pause since *since* (UTC). It ends at *until*, or for None only when a person resumes.

    *is_outdated*: this machine has seen a newer state of the database, so its quarantine cannot end by adopting it.
    """

    kind: Kind
    name: str
    reason: str
    since: datetime
    until: datetime | None
    is_outdated: bool = False

    def blocks_calls(self, now: datetime) -> bool:
        """Return whether it has not ended yet; later, one call probes it."""
        return self.until is None or self.until > now


def list_active(tx: Transaction) -> list[Breaker]:
    """Return the active breakers, oldest first."""
    return [Breaker._make(row) for row in tx.execute(_ACTIVE)]


_ACTIVE: Final = (
    select(*(breaker.c[name] for name in Breaker._fields))
    .where(breaker.c.released_at.is_(None))
    .order_by(breaker.c.since, breaker.c.id)
)


def trip(tx: Transaction, new_breaker: Breaker) -> None:
    """Activate a breaker, or update what is known of an active one.

    A breaker without an end stays without one.
    """
    existing = (
        (breaker.c.kind == new_breaker.kind) & (breaker.c.name == new_breaker.name) & breaker.c.released_at.is_(None)
    )
    news = {name: getattr(new_breaker, name) for name in ("reason", "until", "is_outdated")}
    longer = or_(breaker.c.until.is_not(None), literal(new_breaker.until is None))
    if tx.execute(select(breaker.c.id).where(existing)).first() is not None:  # a conflict would use up an id
        tx.execute(update(breaker).where(existing, longer).values(news))
        return
    maker = sqlite.insert if tx.is_sqlite else postgresql.insert
    insert = maker(breaker).values(new_breaker._asdict())
    tx.execute(
        insert.on_conflict_do_update(
            index_elements=[breaker.c.kind, breaker.c.name],
            index_where=breaker.c.released_at.is_(None),
            set_=news,
            where=longer,
        )
    )


def claim_probe(tx: Transaction, provider: str, now: datetime) -> bool:
    """Claim the probe of a paused provider whose *until* has passed; return False if another worker has it."""
    due = update(breaker).where(
        breaker.c.kind == "provider",
        breaker.c.name == provider,
        breaker.c.released_at.is_(None),
        breaker.c.until <= now,
    )
    return tx.execute(due.values(until=now + PROBE_AFTER)).rowcount > 0


def last_restored(tx: Transaction, since: datetime) -> datetime | None:
    """Return when a restore of a backup that was made at *since* last released the quarantine."""
    query = select(breaker.c.released_at).where(breaker.c.restored_since == since)
    found: datetime | None = tx.execute(query.order_by(breaker.c.id.desc()).limit(1)).scalar()
    return found


def release(
    tx: Transaction, kind: Kind, name: str, by: str, now: datetime, restored_since: datetime | None = None
) -> bool:
    """Release a breaker, *restored_since* by the restore of a backup of that time; return whether it was active."""
    released = tx.execute(
        update(breaker)
        .where(breaker.c.kind == kind, breaker.c.name == name, breaker.c.released_at.is_(None))
        .values(released_at=now, released_by=by, restored_since=restored_since)
    )
    return released.rowcount > 0
