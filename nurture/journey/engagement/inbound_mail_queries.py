"""Store, lease, retry and delete inbound mail."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import String, delete, func, insert, null, or_, select, update

from nurture.db.tables.delivery import message
from nurture.db.tables.inbound import inbound_mail as inbound
from nurture.db.tables.leads import address
from nurture.db.tables.links import link_token as token
from nurture.db.transaction import Transaction

MAX_ATTEMPTS: Final = 2
MAX_FAILED: Final = 100
"""How many failed mails are kept, the newest."""

_LEASE: Final = timedelta(minutes=5)
_TEXT: Final = String()


class NewMail(NamedTuple):
    """A mail to store."""

    source: str
    received_at: datetime
    lead_id: int | None
    sender: str
    body: bytes


class ClaimedMail(NamedTuple):
    """A mail to parse now, and how often that was tried before."""

    id: int
    attempts: int
    body: bytes


class FailedMail(NamedTuple):
    """A mail that could not be parsed, and why."""

    id: int
    source: str
    received_at: datetime
    lead_id: int | None
    size: int
    error: str


def match_known(
    tx: Transaction, digests: Collection[str], senders: Collection[str], purpose: str
) -> dict[str, int | None]:
    """Return which tokens are ours, with their leads, and which addresses are known, in one statement."""
    if not digests and not senders:
        return {}
    names = [("token", one) for one in sorted(digests)] + [("address", one) for one in sorted(senders)]
    requested = tx.rows("requested", {"kind": _TEXT, "name": _TEXT}, names)
    token_matches = (
        select(token.c.digest, token.c.lead_id)
        .join(requested, (requested.c.name == token.c.digest) & (requested.c.kind == "token"))
        .where(token.c.purpose == purpose)
    )
    message_matches = select(message.c.link_digest, message.c.lead_id).join(
        requested, (requested.c.name == message.c.link_digest) & (requested.c.kind == "token")
    )
    address_matches = select(address.c.normalized, null()).join(
        requested, (requested.c.name == address.c.normalized) & (requested.c.kind == "address")
    )
    return {row[0]: row[1] for row in tx.execute(token_matches.union_all(message_matches, address_matches))}


def store(tx: Transaction, mails: Sequence[NewMail]) -> None:
    """Insert mails, pending."""
    if mails:
        rows = [{**one._asdict(), "size": len(one.body), "attempts": 0} for one in mails]
        tx.execute(insert(inbound), rows)


def count_pending_bytes(tx: Transaction) -> int:
    """Return the size of all pending mail in bytes."""
    size = select(func.coalesce(func.sum(inbound.c.size), 0)).where(_PENDING)
    return int(tx.execute(size).scalar_one())


def is_idle(tx: Transaction) -> bool:
    """Return whether no mail is stored."""
    return tx.execute(_ANY).first() is None


_ANY: Final = select(inbound.c.id).limit(1)


def claim(tx: Transaction, now: datetime, limit: int) -> list[ClaimedMail]:
    """Lease the next mails to parse, and count the attempt; commit before parsing.

    Mails that were never tried come first, together; then those tried before, one at a time, as one of them may
    have killed its reader. A mail tried MAX_ATTEMPTS times without a recorded error is set aside.
    """
    free = or_(
        inbound.c.last_attempt_at.is_(None), inbound.c.last_attempt_at <= now - _LEASE, inbound.c.last_attempt_at > now
    )
    query = select(inbound.c.id, inbound.c.attempts).where(_PENDING, free)
    query = query.order_by(inbound.c.attempts, inbound.c.id).limit(limit)
    if tx.skips_locked:
        query = query.with_for_update(skip_locked=True)
    found = tx.execute(query).all()
    exhausted = [row[0] for row in found if row[1] >= MAX_ATTEMPTS]
    if exhausted:
        mark_failed(tx, dict.fromkeys(exhausted, "the process that parsed it was killed each time"))
    fresh = [row[0] for row in found if row[1] == 0]
    chosen = fresh or [row[0] for row in found if row[1] < MAX_ATTEMPTS][:1]
    if not chosen:
        return []
    claimed = tx.ids("these", chosen)
    leased = update(inbound).where(inbound.c.id == claimed.c.id)
    tx.execute(leased.values(attempts=inbound.c.attempts + 1, last_attempt_at=now))
    read = select(inbound.c.id, inbound.c.attempts, inbound.c.body).join(claimed, claimed.c.id == inbound.c.id)
    return [ClaimedMail(id_, attempts - 1, body) for id_, attempts, body in tx.execute(read.order_by(inbound.c.id))]


def delete_finished(tx: Transaction, ids: Collection[int]) -> None:
    """Delete processed mails."""
    if ids:
        done = tx.ids("done", sorted(ids))
        tx.execute(delete(inbound).where(inbound.c.id.in_(select(done.c.id))))


def release(tx: Transaction, ids: Collection[int], *, count_attempt: bool) -> None:
    """Return mails to pending; unless *count_attempt*, take back the attempt."""
    if ids:
        these = tx.ids("these", sorted(ids))
        attempts = inbound.c.attempts - (0 if count_attempt else 1)
        free = update(inbound).where(inbound.c.id == these.c.id)
        tx.execute(free.values(last_attempt_at=None, attempts=attempts))


def mark_failed(tx: Transaction, problems: Mapping[int, str]) -> None:
    """Set mails aside with their problems, and keep only the newest of all that are set aside."""
    if not problems:
        return
    tx.update_by_id(inbound, ("error",), sorted(problems.items()))
    kept = select(inbound.c.id).where(inbound.c.error.is_not(None)).order_by(inbound.c.id.desc())
    oldest = kept.offset(MAX_FAILED - 1).limit(1).scalar_subquery()
    tx.execute(delete(inbound).where(inbound.c.error.is_not(None), inbound.c.id < oldest))


def list_failed(tx: Transaction, limit: int) -> list[FailedMail]:
    """Return the mails that were set aside, the newest first."""
    columns = [inbound.c[name] for name in FailedMail._fields]
    query = select(*columns).where(inbound.c.error.is_not(None)).order_by(inbound.c.id.desc()).limit(limit)
    return [FailedMail._make(row) for row in tx.execute(query)]


def retry_failed(tx: Transaction) -> int:
    """Return all mails that were set aside to pending; return how many."""
    again = update(inbound).where(inbound.c.error.is_not(None))
    return tx.execute(again.values(error=None, attempts=0, last_attempt_at=None)).rowcount


def delete_expired(tx: Transaction, before: datetime) -> int:
    """Delete mails that were set aside and received before *before*; return how many."""
    old = inbound.c.error.is_not(None) & (inbound.c.received_at < before)
    return tx.execute(delete(inbound).where(old)).rowcount


def erase(tx: Transaction, lead_ids: Collection[int], spellings: Collection[str]) -> int:
    """Delete mails of these leads, of an address, and those that mention it; return how many."""
    named = [one.lower() for one in spellings if one]
    every = select(inbound.c.id, inbound.c.lead_id, inbound.c.sender, inbound.c.body)
    gone = [
        id_
        for id_, whose, sender, body in tx.execute(every.execution_options(yield_per=10))
        if whose in lead_ids or sender in named or any(one.encode() in body.lower() for one in named)
    ]
    return tx.execute(delete(inbound).where(inbound.c.id.in_(gone))).rowcount if gone else 0


_PENDING: Final = inbound.c.error.is_(None)
