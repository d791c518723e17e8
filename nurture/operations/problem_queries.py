"""Read what problems are derived from, and keep which of them the operator was reported about."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BindParameter, bindparam, delete, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nurture.db.row_values import row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.inbound import raw_batch, reply
from nurture.db.tables.installation import alert
from nurture.db.tables.rollups import daily_count
from nurture.db.transaction import Transaction


class AlertRow(NamedTuple):
    """A problem that lasts, or has ended without the operator knowing."""

    key: str
    description: str
    since: datetime
    seen_at: datetime
    reported_at: datetime | None


def count_due_mail(tx: Transaction, before: datetime) -> tuple[int, datetime | None]:
    """Return how many messages are due since *before*, and since when the first of them.

    Those that a dead worker holds are due since its lease ended.
    """
    planned = select(func.count(), func.min(message.c.send_at)).where(
        message.c.state == literal("planned", literal_execute=True), message.c.send_at < before
    )
    leased: BindParameter[list[str]] = bindparam(None, ["claimed", "sending"], expanding=True, literal_execute=True)
    held = select(func.count(), func.min(message.c.lease_until)).where(
        message.c.state.in_(leased), message.c.lease_until < before
    )
    found = [tx.execute(query).one() for query in (planned, held)]
    return sum(count for count, _ in found), min((first for _, first in found if first is not None), default=None)


def count_sent(tx: Transaction) -> int:
    """Return how many touches have been sent in all."""
    total = select(func.coalesce(func.sum(daily_count.c.n), 0)).where(daily_count.c.measure == "sent")
    return int(tx.execute(total).scalar_one())


def find_last_event(tx: Transaction) -> datetime | None:
    """Return when the provider last sent events, None if not in the days for which they are kept."""
    found: datetime | None = tx.execute(select(func.max(raw_batch.c.received_at))).scalar()
    return found


def find_last_reply(tx: Transaction) -> datetime | None:
    """Return when the newest reply was received."""
    newest = select(reply.c.received_at).order_by(reply.c.id.desc()).limit(1)
    found: datetime | None = tx.execute(newest).scalar()
    return found


def list_alerts(tx: Transaction) -> list[AlertRow]:
    """Return the problems that last, the oldest first."""
    rows = tx.execute(select(*row_columns(AlertRow, alert)).order_by(alert.c.since, alert.c.key))
    return [AlertRow._make(row) for row in rows]


def note_seen(tx: Transaction, problems: Iterable[tuple[str, str]], now: datetime) -> None:
    """Note problems, by key and message, as seen at *now*."""
    rows = [{"key": key, "description": text, "since": now, "seen_at": now} for key, text in problems]
    if not rows:
        return
    maker = sqlite.insert if tx.is_sqlite else postgresql.insert
    insert = maker(alert).values(rows)
    tx.execute(insert.on_conflict_do_update(index_elements=[alert.c.key], set_={"seen_at": insert.excluded.seen_at}))


def claim_unreported(tx: Transaction, key: str, now: datetime) -> bool:
    """Claim to tell about a problem; return False if somebody else does or did."""
    unreported = update(alert).where(alert.c.key == key, alert.c.reported_at.is_(None))
    return tx.execute(unreported.values(reported_at=now)).rowcount > 0


def return_unreported(tx: Transaction, key: str) -> None:
    """Note that the operator could not be reported."""
    tx.execute(update(alert).where(alert.c.key == key).values(reported_at=None))


def delete_ended(tx: Transaction, key: str, seen_at: datetime) -> bool:
    """Delete a problem that was last seen at *seen_at*; return False if it is seen or deleted since."""
    return tx.execute(delete(alert).where(alert.c.key == key, alert.c.seen_at == seen_at)).rowcount > 0
