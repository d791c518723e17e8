"""Store and check the digests of links to reps' workspaces."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update

from nurture.db.tables.links import workspace_link as link
from nurture.db.transaction import Transaction


def add(tx: Transaction, rows: Sequence[tuple[str, str, datetime, datetime]]) -> None:
    """Store (digest, rep, created at, expires at) rows."""
    tx.insert(link, ("digest", "rep", "created_at", "expires_at"), rows)


def find_rep(tx: Transaction, digest: str, now: datetime) -> str | None:
    """Return the rep whose workspace the link of this digest opens at *now*, or None."""
    query = select(link.c.rep).where(link.c.digest == digest, link.c.revoked_at.is_(None), link.c.expires_at > now)
    return tx.execute(query).scalar_one_or_none()


def revoke(tx: Transaction, rep: str, now: datetime) -> int:
    """Revoke all valid links of a rep; return how many."""
    active = (link.c.rep == rep, link.c.revoked_at.is_(None), link.c.expires_at > now)
    return tx.execute(update(link).where(*active).values(revoked_at=now)).rowcount
