"""Read what the calendar counts: leads that are on a track or come up, and emails that are planned already."""

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Integer, and_, cast, func, or_, select

from nurture.db.rollups import utc_day
from nurture.db.tables.delivery import message
from nurture.db.tables.leads import custody, lead
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian


def _comes_up(until: datetime) -> ColumnElement[bool]:
    """Return the condition for leads to whom something may happen until *until* although nobody acts."""
    waiting = custody.c.kind.in_((Custodian.INTAKE.value, Custodian.RESTING.value))
    on_track = and_(custody.c.kind == Custodian.TRACK.value, custody.c.due_at.is_not(None))
    return or_(on_track, and_(waiting, custody.c.due_at <= until))


def count_leads(tx: Transaction, until: datetime) -> int:
    """Return how many leads are on a track, or are looked at until *until*."""
    return tx.execute(select(func.count()).where(_comes_up(until))).scalar_one()


def list_every(tx: Transaction, until: datetime, step: int) -> list[int]:
    """Return the ids of those of these leads whose id is a multiple of *step*."""
    every = cast(custody.c.lead_id, Integer) % step == 0 if step > 1 else custody.c.lead_id > 0
    query = select(custody.c.lead_id).where(_comes_up(until), every).order_by(custody.c.lead_id)
    return list(tx.execute(query).scalars())


class MovedEmails(NamedTuple):
    """How many emails wait for *day* (UTC) in *country*, and what their leads wait for, in the words of the planner."""

    day: date
    country: str
    next_action: str
    emails: int


def count_moved(tx: Transaction) -> list[MovedEmails]:
    """Count the emails that wait because they were moved to another day."""
    day = utc_day(tx, custody.c.due_at)
    moved = (custody.c.kind == Custodian.TRACK.value, custody.c.next_action.like("%, moved to %"))
    query = (
        select(day, lead.c.country, custody.c.next_action, func.count())
        .join(lead, lead.c.id == custody.c.lead_id)
        .where(*moved, custody.c.due_at.is_not(None))
        .group_by(day, lead.c.country, custody.c.next_action)
    )
    return [MovedEmails._make(row) for row in tx.execute(query)]


def count_planned(tx: Transaction, until: datetime) -> dict[tuple[date, str], int]:
    """Return how many emails to leads are planned already, by day (UTC) and by track or broadcast."""
    day = utc_day(tx, message.c.send_at)
    query = (
        select(day, func.coalesce(message.c.track, ""), func.count())
        .where(message.c.state == "planned", message.c.recipient == "lead", message.c.send_at < until)
        .group_by(day, message.c.track)
    )
    return {(at, track): count for at, track, count in tx.execute(query)}
