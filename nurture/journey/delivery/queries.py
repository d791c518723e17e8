"""Count what each sender domain has sent, and how it was received; read messages with unknown delivery."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import case, func, literal, select, union_all

from nurture.db.locks import Lock, acquire
from nurture.db.row_values import row_columns
from nurture.db.tables.delivery import IS_UNKNOWN, message
from nurture.db.tables.delivery import circuit_breaker as breaker
from nurture.db.tables.leads import address, lead
from nurture.db.transaction import Transaction
from nurture.outbox.messages import MARKETING

_RELEASED_BY_OPERATOR: Final = breaker.c.released_at.is_not(None) & breaker.c.until.is_(None)


class SentCount(NamedTuple):
    """How many messages of a domain were sent or are being sent."""

    this_hour: int = 0
    today: int = 0


class DeliveryStats(NamedTuple):
    """How the newest messages of a domain were received."""

    sent: int = 0
    bounced: int = 0
    complained: int = 0


def count_sent_locked(tx: Transaction, domains: Sequence[str], now: datetime) -> dict[str, SentCount]:
    """Return what each domain has sent in this clock hour and this UTC day.

    Locks the counters until the transaction ends, so that two workers never use the same remaining capacity.
    """
    if domains:
        acquire(tx, Lock.SENDING)
    return count_sent(tx, domains, now)


def count_sent(tx: Transaction, domains: Sequence[str], now: datetime) -> dict[str, SentCount]:
    """Return the same as `count_sent_locked`, without locking."""
    if not domains:
        return {}
    hour = now.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    in_hour = func.sum(case((message.c.claimed_at >= hour, 1), else_=0))
    query = (
        select(message.c.sender_domain, in_hour, func.count())
        .where(message.c.sender_domain.in_(domains), message.c.claimed_at >= day)
        .group_by(message.c.sender_domain)
    )
    found = {row[0]: SentCount(row[1], row[2]) for row in tx.execute(query)}
    return {domain: found.get(domain, SentCount()) for domain in domains}


def count_by_track_locked(
    tx: Transaction, tracks: Sequence[str], domains: Sequence[str], now: datetime
) -> dict[str, tuple[int, int]]:
    """Return how many touches each track has sent from *domains* in this clock hour, and how many are planned.

    Locks the counters as `count_sent_locked` does.
    """
    acquire(tx, Lock.SENDING)
    hour = now.replace(minute=0, second=0, microsecond=0)
    sent = (message.c.sender_domain.in_(domains), message.c.claimed_at >= hour)
    parts = [
        select(message.c.track.label("track"), literal(is_planned).label("is_planned")).where(
            message.c.kind.in_(MARKETING), message.c.track.in_(tracks), *where
        )
        for is_planned, where in ((0, sent), (1, (message.c.state == "planned",)))
    ]
    both = union_all(*parts).subquery()
    planned = func.sum(both.c.is_planned)
    query = select(both.c.track, func.count() - planned, planned).group_by(both.c.track)
    return {track: (sent, planned) for track, sent, planned in tx.execute(query)}


def load_delivery_stats(tx: Transaction, sample_sizes: Mapping[str, int]) -> dict[str, DeliveryStats]:
    """Return how the newest messages of each domain were received, at most *sample_sizes* of each.

    Counts only messages since a person last resumed the domain.
    """
    since = _load_manual_releases(tx, list(sample_sizes))
    newest = [
        select(message.c.sender_domain.label("domain"), message.c.state.label("state"))
        .where(
            message.c.sender_domain == domain,
            message.c.claimed_at > since[domain] if domain in since else message.c.claimed_at.is_not(None),
        )
        .order_by(message.c.claimed_at.desc())
        .limit(limit)
        .subquery(f"newest_{number}")
        for number, (domain, limit) in enumerate(sorted(sample_sizes.items()))
    ]
    if not newest:
        return {}
    listed = union_all(*(select(one.c.domain, one.c.state) for one in newest)).subquery()
    counted = select(
        listed.c.domain,
        func.count(),
        func.sum(case((listed.c.state == "bounced", 1), else_=0)),
        func.sum(case((listed.c.state == "complained", 1), else_=0)),
    ).group_by(listed.c.domain)
    return {row[0]: DeliveryStats(row[1], row[2], row[3]) for row in tx.execute(counted)}


def _load_manual_releases(tx: Transaction, domains: Sequence[str]) -> dict[str, datetime]:
    query = (
        select(breaker.c.name, func.max(breaker.c.released_at))
        .where(breaker.c.kind == "domain", breaker.c.name.in_(domains), _RELEASED_BY_OPERATOR)
        .group_by(breaker.c.name)
    )
    return {row[0]: row[1] for row in tx.execute(query)}


class UnknownMessage(NamedTuple):
    """A message with unknown delivery. *called_at* (UTC) is when it was stamped, right before the call."""

    id: int
    send_key: str
    kind: str
    lead_id: int
    track: str | None
    step: str
    rep: str | None
    called_at: datetime
    attempts: int
    reason: str | None
    email: str | None
    provider: str | None = None


_SELECT_UNKNOWN = (
    select(*row_columns(UnknownMessage, message, called_at=message.c.state_at, email=address.c.email))
    .join(lead, lead.c.id == message.c.lead_id)
    .outerjoin(address, address.c.id == lead.c.address_id)
    .where(IS_UNKNOWN)
)


def count_unknown(tx: Transaction) -> int:
    """Return how many messages have an unknown delivery."""
    return tx.execute(select(func.count()).where(IS_UNKNOWN)).scalar_one()


def load_unknown(tx: Transaction, limit: int | None = None) -> list[UnknownMessage]:
    """Return the unknown messages, the oldest first."""
    ordered = _SELECT_UNKNOWN.order_by(message.c.state_at, message.c.id).limit(limit)
    return [UnknownMessage._make(row) for row in tx.execute(ordered)]


def load_unknown_by_id(tx: Transaction, ids: Sequence[int], *, lock: bool = False) -> list[UnknownMessage]:
    """Return those of *ids* that are unknown; *lock* locks them until the transaction ends."""
    query = _SELECT_UNKNOWN.join(picked := tx.ids("picked", ids), picked.c.id == message.c.id)
    if lock and tx.skips_locked:
        query = query.with_for_update(of=message)
    return [UnknownMessage._make(row) for row in tx.execute(query.order_by(message.c.id))]
