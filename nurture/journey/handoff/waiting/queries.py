"""Read the leads that wait in queues, by queue and time of entry."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, FromClause, Select, String, case, func, literal, select, union_all

from nurture.db.row_values import row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import IN_QUEUE, custody, journal, lead
from nurture.db.tables.routing import queue_priority
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.lead import ROUTED_QUEUES

_LEFT_REP: Final = (
    select(func.max(func.coalesce(offer.c.ended_at, offer.c.answered_at, type_=custody.c.since.type)))
    .where(offer.c.lead_id == custody.c.lead_id)
    .scalar_subquery()
)
_HANDED_OFF: Final = func.coalesce(queue_priority.c.since, custody.c.since, type_=custody.c.since.type)
ENTERED: Final[ColumnElement[datetime]] = case(
    (custody.c.ref.not_in(ROUTED_QUEUES), custody.c.since),
    (_LEFT_REP > _HANDED_OFF, _LEFT_REP),
    else_=_HANDED_OFF,
)
"""When a lead entered its queue, or the first of the queues between which routing moves it since a rep had it."""

JOIN_PRIORITY: Final[FromClause] = custody.outerjoin(queue_priority, queue_priority.c.lead_id == custody.c.lead_id)


class WaitingLead(NamedTuple):
    """A lead in a queue, and why it is there."""

    lead_id: int
    queue: str
    entered_at: datetime
    reason: str
    fields: dict[str, Any]
    hot: bool | None


class QueueCounts(NamedTuple):
    """How many leads wait in a queue, how many of them too long, and since when the first."""

    waiting: int
    late: int
    oldest: datetime


def load_entries(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, datetime]:
    """Return when each of these leads, if in a queue, entered it."""
    chosen = tx.ids("chosen", lead_ids)
    query = select(custody.c.lead_id, ENTERED).select_from(JOIN_PRIORITY)
    query = query.join(chosen, chosen.c.id == custody.c.lead_id).where(IN_QUEUE)
    return dict(tx.execute(query).tuples().all())


def load_reasons(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, str]:
    """Return why each of these leads, if in a queue, came into it, as its journal says."""
    chosen = tx.ids("chosen", lead_ids)
    entered = (
        select(func.max(journal.c.id).label("id"))
        .join(custody, custody.c.lead_id == journal.c.lead_id)
        .join(chosen, chosen.c.id == custody.c.lead_id)
        .where(IN_QUEUE, journal.c.custody_to == custody.c.kind, journal.c.ref == custody.c.ref)
        .group_by(journal.c.lead_id)
        .subquery()
    )
    query = select(journal.c.lead_id, journal.c.reason).join(entered, entered.c.id == journal.c.id)
    return dict(tx.execute(query).tuples().all())


def load_hot_leads(tx: Transaction, lead_ids: Sequence[int]) -> set[int]:
    """Return those leads whose newest hand-off was by a hot rule."""
    chosen = tx.ids("chosen", lead_ids)
    query = select(queue_priority.c.lead_id).join(chosen, chosen.c.id == queue_priority.c.lead_id)
    return set(tx.execute(query.where(queue_priority.c.hot)).scalars())


def list_queues(tx: Transaction) -> list[str]:
    """Return the names of the queues in which leads wait; it reads one entry of the index for each of them."""
    return list(tx.execute(_queue_names_query()).scalars())


@cache
def _queue_names_query() -> Select[tuple[str]]:
    names = select(func.min(custody.c.ref).label("name")).where(IN_QUEUE).cte("names", recursive=True)
    following = select(func.min(custody.c.ref)).where(IN_QUEUE, custody.c.ref > names.c.name).scalar_subquery()
    names = names.union_all(select(following).where(names.c.name.is_not(None)))
    return select(names.c.name).where(names.c.name.is_not(None)).order_by(names.c.name)


def load_oldest(tx: Transaction, queues: Sequence[str]) -> list[tuple[str, int, datetime]]:
    """Return (queue, lead id, entry) of the lead that has waited longest in each of *queues*, the longest first."""
    if not queues:
        return []
    parts = []
    for name in queues:
        source, entered = (JOIN_PRIORITY, ENTERED) if name in ROUTED_QUEUES else (custody, custody.c.since)
        columns = (literal(name).label("queue"), custody.c.lead_id, entered.label("entered_at"))
        one = select(*columns).select_from(source).where(IN_QUEUE, custody.c.ref == name)
        parts.append(select(one.order_by(entered, custody.c.lead_id).limit(1).subquery()))
    found = union_all(*parts).subquery()
    return list(tx.execute(select(found).order_by(found.c.entered_at, found.c.queue)).tuples())


def count_leads(tx: Transaction, late_since: Sequence[tuple[str, datetime]]) -> dict[str, QueueCounts]:
    """Return the counts of each queue of (queue, since when its leads are too late)."""
    clocks = tx.rows("clocks", {"queue": String(), "late_since": UtcDateTime()}, late_since)
    late = func.sum(case((clocks.c.late_since >= ENTERED, 1), else_=0))
    oldest = func.min(ENTERED, type_=custody.c.since.type)
    query = (
        select(custody.c.ref, func.count(), late, oldest)
        .select_from(JOIN_PRIORITY.join(clocks, clocks.c.queue == custody.c.ref))
        .where(IN_QUEUE)
        .group_by(custody.c.ref)
    )
    return {queue: QueueCounts(*counts) for queue, *counts in tx.execute(query)}


def load_leads(tx: Transaction, entered_until: Sequence[tuple[str, datetime]], limit: int) -> list[WaitingLead]:
    """Return the leads of each queue of (queue, newest entry), those that have waited longest first."""
    clocks = tx.rows("clocks", {"queue": String(), "until": UtcDateTime()}, entered_until)
    query = (
        select(
            *row_columns(
                WaitingLead,
                custody,
                lead,
                queue_priority,
                queue=custody.c.ref,
                entered_at=ENTERED,
                reason=custody.c.next_action,
            )
        )
        .select_from(JOIN_PRIORITY.join(clocks, clocks.c.queue == custody.c.ref))
        .join(lead, lead.c.id == custody.c.lead_id)
        .where(IN_QUEUE, clocks.c.until >= ENTERED)
        .order_by(ENTERED, custody.c.lead_id)
        .limit(limit)
    )
    return [WaitingLead._make(row) for row in tx.execute(query)]


class Recipient(NamedTuple):
    """To whom an email was sent, and when it was planned."""

    person: str
    planned_at: datetime


def find_recipient(tx: Transaction, message_id: int) -> Recipient | None:
    """Return the person to whom the email *message_id* was sent."""
    row = tx.execute(select(message.c.rep, message.c.planned_at).where(message.c.id == message_id)).one_or_none()
    return Recipient(*row) if row is not None and row.rep else None


def find_planned(tx: Transaction, send_keys: Sequence[str]) -> dict[str, datetime]:
    """Return when the messages with these send keys were planned, of those that there are."""
    keys = tx.rows("keys", {"key": String()}, [(one,) for one in send_keys])
    query = select(message.c.send_key, message.c.planned_at).join(keys, keys.c.key == message.c.send_key)
    return dict(tx.execute(query).tuples().all())


def find_people_with_unsent_list(tx: Transaction, kind: str, since: datetime, until: datetime) -> set[str]:
    """Return the people for whom an email of this *kind* is due from *since* to *until*, and is not sent yet."""
    query = select(message.c.rep).where(
        message.c.state == "planned", message.c.send_at.between(since, until), message.c.kind == kind
    )
    return {person for person in tx.execute(query).scalars() if person}
