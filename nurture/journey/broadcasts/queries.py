"""The releases of broadcasts, and the messages that are planned from them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, func, insert, select, update

from nurture.db.row_values import column_types, row_columns
from nurture.db.suppression_journal import RELEASED, JournalLine
from nurture.db.tables.delivery import broadcast, message
from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import SuppressionScope, SuppressionSource
from nurture.journey.leads.changeset import NewMessage
from nurture.outbox.messages import BROADCAST

_NEVER_CALLED: Final = and_(message.c.state.in_(("planned", "cancelled", "rejected")), message.c.attempts == 0)
"""The provider was never asked to send it, so it may be planned again: in a newer version, at another time."""


class Release(NamedTuple):
    """A broadcast that somebody released; *planned_at* is None until it is planned for all leads."""

    track: str
    released_at: datetime
    released_by: str
    topic: str
    due_at: datetime
    last_lead_id: int = 0
    planned_at: datetime | None = None


class BroadcastMessage(NamedTuple):
    """A message of a broadcast, or with the state cancelled, why a lead of its audience gets none."""

    planned: NewMessage
    reason: str | None = None


_RELEASE: Final = select(*row_columns(Release, broadcast))
_IS_OPEN: Final = broadcast.c.planned_at.is_(None)
_NEXT_DUE: Final = (
    _RELEASE.where(_IS_OPEN, broadcast.c.due_at <= bindparam("now"))
    .order_by(broadcast.c.due_at, broadcast.c.track)
    .limit(1)
)


def find_release(tx: Transaction, track: str) -> Release | None:
    """Return the release of a broadcast, None if nobody has released it."""
    row = tx.execute(_RELEASE.where(broadcast.c.track == track)).one_or_none()
    return Release._make(row) if row is not None else None


def load_releases(tx: Transaction) -> dict[str, Release]:
    """Return all releases by broadcast."""
    return {row[0]: Release._make(row) for row in tx.execute(_RELEASE)}


def find_due(tx: Transaction, now: datetime) -> Release | None:
    """Return the release that is to be planned next, None if none is due at *now*."""
    row = tx.execute(_NEXT_DUE, {"now": now}).one_or_none()
    return Release._make(row) if row is not None else None


def write_release(tx: Transaction, release: Release) -> None:
    """Write a release: a new one, or the next one of its broadcast; in the suppression journal too."""
    values = release._asdict()
    if not tx.execute(update(broadcast).where(broadcast.c.track == release.track).values(values)).rowcount:
        tx.execute(insert(broadcast).values(values))
    if tx.database.machine is not None:
        everybody = SuppressionScope.GLOBAL.value
        line = JournalLine("", RELEASED, everybody, release.track, SuppressionSource.ADMIN.value, release.released_at)
        tx.at_commit(tx.database.machine.before_suppressions, [line])


def reschedule(tx: Transaction, track: str, due_at: datetime) -> None:
    """Set when a release that is not planned yet is to be planned, if there is one."""
    tx.execute(update(broadcast).where(broadcast.c.track == track, _IS_OPEN).values(due_at=due_at))


def load_finished(tx: Transaction, track: str, lead_ids: Sequence[int]) -> set[int]:
    """Return which of these leads were sent the broadcast, or are being sent it."""
    chosen = tx.ids("chosen", lead_ids)
    query = select(message.c.lead_id).join(chosen, chosen.c.id == message.c.lead_id)
    return set(tx.execute(query.where(*_of(track), ~_NEVER_CALLED)).scalars())


def count_sent_by_version(tx: Transaction, track: str) -> dict[int, int]:
    """Return to how many leads each version of a broadcast was sent."""
    sent = (*_of(track), message.c.accepted_at.is_not(None))
    query = select(message.c.track_version, func.count()).where(*sent).group_by(message.c.track_version)
    return dict(tx.execute(query).tuples().all())


def write_messages(tx: Transaction, rows: Sequence[BroadcastMessage]) -> None:
    """Write messages: new ones, and again those that no provider was ever called with."""
    if not rows:
        return
    names = (*NewMessage._fields, "reason")
    values = [(*one.planned, one.reason) for one in rows]
    new = tx.rows("new", column_types(message, names), values)
    kept = ("send_key", "kind", "recipient", "lead_id", "enrollment_id", "offer_id", "reply_id", "attempts")
    replanned: Mapping[str, Any] = {name: new.c[name] for name in names if name not in kept}
    is_same = message.c.send_key == new.c.send_key
    tx.execute(update(message).where(is_same, _NEVER_CALLED).values(**replanned, held_by=None))
    tx.insert(message, names, values, unique_columns=["send_key"])


def list_sent_after(tx: Transaction, track: str, lead_id: int, limit: int) -> dict[int, datetime]:
    """Return when the next *limit* leads after *lead_id* were sent the broadcast."""
    sent = (*_of(track), message.c.accepted_at.is_not(None), message.c.lead_id > lead_id)
    query = select(message.c.lead_id, message.c.accepted_at).where(*sent).order_by(message.c.lead_id).limit(limit)
    return dict(tx.execute(query).tuples().all())


def list_planned(tx: Transaction) -> Collection[str]:
    """Return the broadcasts with messages that wait to be sent."""
    query = select(message.c.track).where(message.c.kind == BROADCAST, message.c.state == "planned")
    return tx.execute(query.distinct()).scalars().all()


def _of(track: str) -> tuple[ColumnElement[bool], ...]:
    return message.c.kind == BROADCAST, message.c.track == track
