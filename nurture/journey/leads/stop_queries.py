"""The append-only log of stops and starts, and the planned mail that a start makes due again."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import func, select, update

from nurture.db.suppression_journal import JournalLine
from nurture.db.tables.delivery import mail_stop, message
from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import SuppressionScope, SuppressionSource
from nurture.domain.delivery.stops import Stop, StopAction, Stops
from nurture.outbox.messages import MARKETING

STOP: Final = "stop"
"""What holds messages whose mail is stopped, and touches that a start made due until they are looked at."""

_NEWEST: Final = select(func.max(mail_stop.c.id)).group_by(mail_stop.c.track)
_ACTIVE: Final = (
    select(*(mail_stop.c[name] for name in Stop._fields))
    .where(mail_stop.c.id.in_(_NEWEST), mail_stop.c.action != StopAction.START.value)
    .order_by(mail_stop.c.track)
)
_IS_PLANNED: Final = message.c.state == "planned"


def load_stops(tx: Transaction) -> Stops:
    """Return the active stops."""
    rows = (Stop._make(row) for row in tx.execute(_ACTIVE))
    return {row.track: row._replace(action=StopAction(row.action)) for row in rows}


def append_stop(tx: Transaction, stop: Stop) -> None:
    """Append a decision to the log, and to the suppression journal: a restored backup lacks it."""
    tx.insert(mail_stop, Stop._fields, [stop._replace(action=stop.action.value)])  # type: ignore[arg-type]
    if tx.database.machine is not None:
        everybody, by_person = SuppressionScope.GLOBAL.value, SuppressionSource.ADMIN.value
        line = JournalLine("", stop.action.value, everybody, stop.track, by_person, stop.at)
        tx.at_commit(tx.database.machine.before_suppressions, [line])


def count_messages(tx: Transaction, state: str, track: str | None, recipients: Collection[str]) -> int:
    """Return how many messages of *track*, None for any, to *recipients* are in *state*."""
    query = select(func.count()).where(message.c.state == state, message.c.recipient.in_(recipients))
    return tx.execute(query if track is None else query.where(message.c.track == track)).scalar_one()


def renew_planned(
    tx: Transaction, track: str, version: int, emails: Collection[str], now: datetime, expires_at: datetime | None
) -> None:
    """Make the planned emails of *track* due, in *version*; cancel those whose email is not in it.

    They may be sent until *expires_at*, or longer if their send window opens later; None leaves their time as it is.
    """
    planned = update(message).where(_IS_PLANNED, message.c.kind.in_(MARKETING), message.c.track == track)
    renewed = {"track_version": version, "send_at": now, "reason": f"stopped: until {now}", "held_by": STOP}
    if expires_at is not None:
        renewed["expires_at"] = expires_at
    tx.execute(planned.where(message.c.email.in_(emails)).values(renewed))
    superseded = {"state": "cancelled", "state_at": now, "reason": "superseded"}
    tx.execute(planned.where(message.c.email.not_in(emails)).values(superseded))


def make_held_due(tx: Transaction, now: datetime) -> None:
    """Make due what a stop held, such as mail to sales."""
    tx.execute(update(message).where(_IS_PLANNED, message.c.held_by == STOP).values(send_at=now))
