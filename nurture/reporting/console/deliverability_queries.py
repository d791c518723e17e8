"""Count refused messages by day and opt-outs by source, and find the last events and replies."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import case, func, select

from nurture.db.rollups import utc_day
from nurture.db.tables.consent import suppression
from nurture.db.tables.delivery import IS_REFUSED, message
from nurture.db.tables.inbound import raw_batch, reply
from nurture.db.transaction import Transaction

MAX_OVERDUE: Final = 10_000
_RECENT: Final = 100_000
"""Among how many of the newest messages the last accepted one is looked for."""


class EventHealth(NamedTuple):
    """When the provider last sent events, which provider that was, and when the last reply was received."""

    provider: str
    last_event: datetime | None
    last_reply: datetime | None


class SendingHealth(NamedTuple):
    """The provider that accepted the last email, when, and how many emails are overdue since the oldest one's time.

    At most MAX_OVERDUE are counted.
    """

    provider: str
    last_accepted: datetime | None
    overdue: int
    oldest: datetime | None


def load_sending_health(tx: Transaction, due_before: datetime) -> SendingHealth:
    """Return whether email goes out: *due_before* is when those had to be sent that are overdue now."""
    one = message.c
    newest = select(func.max(one.id)).scalar_subquery()
    recent = (one.id > newest - _RECENT, one.accepted_at.is_not(None))
    last = select(one.provider, one.accepted_at).where(*recent).order_by(one.id.desc()).limit(1)
    accepted = tx.execute(last).one_or_none()
    due = select(one.send_at).where(one.state == "planned", one.send_at < due_before).order_by(one.send_at)
    found = due.limit(MAX_OVERDUE).subquery()
    overdue, oldest = tx.execute(select(func.count(), func.min(found.c.send_at))).one()
    return SendingHealth((accepted[0] if accepted else "") or "", accepted[1] if accepted else None, overdue, oldest)


def count_refused(tx: Transaction, since: datetime) -> Mapping[tuple[date, str], int]:
    """Return how many messages bounced and were complained about since *since*, by day (UTC) and state."""
    day = utc_day(tx, message.c.state_at)
    query = select(day, message.c.state, func.count()).where(IS_REFUSED, message.c.state_at >= since)
    return {(found, state): count for found, state, count in tx.execute(query.group_by(day, message.c.state))}


def count_opt_outs(tx: Transaction, since: datetime) -> Mapping[str, tuple[int, int]]:
    """Return how many opt-outs the log has by their source, and how many of them are since *since*."""
    is_new = func.sum(case((suppression.c.recorded_at >= since, 1), else_=0))
    query = select(suppression.c.source, func.count(), is_new).where(suppression.c.action == "suppress")
    rows = tx.execute(query.group_by(suppression.c.source).order_by(func.count().desc(), suppression.c.source))
    return {source: (count, int(new)) for source, count, new in rows}


def load_event_health(tx: Transaction) -> EventHealth:
    """Return the last events and the last reply."""
    newest = select(raw_batch.c.provider, raw_batch.c.received_at).order_by(raw_batch.c.received_at.desc()).limit(1)
    event = tx.execute(newest).one_or_none()
    last_reply = tx.execute(select(reply.c.received_at).order_by(reply.c.id.desc()).limit(1)).scalar()
    return EventHealth(event[0] if event else "", event[1] if event else None, last_reply)
