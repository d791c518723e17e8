"""Find when a sweep next has something to do: for a virtual clock, and for the replay after a restore."""

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, func, select

from nurture.db.tables.delivery import message
from nurture.db.tables.leads import custody
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, Queue


def find_next_due(tx: Transaction, custodians: tuple[Custodian, ...], recipient: str | None = None) -> datetime | None:
    """Return when the next lead of *custodians* or planned message is due, None if never.

    Of leads in queues, only those in the hand-off queue count: people work the others. *recipient* None means any.
    """
    found = tx.execute(_next_due_query(custodians, recipient)).one()
    return min((due_at for due_at in found if due_at is not None), default=None)


@cache
def _next_due_query(custodians: tuple[Custodian, ...], recipient: str | None) -> Select[Any]:
    # One kind per subquery and the filter on due_at match the partial index; otherwise SQLite scans all leads.
    first = select(func.min(custody.c.due_at, type_=custody.c.due_at.type)).where(custody.c.due_at.is_not(None))
    queries = [first.where(custody.c.kind == one.value) for one in custodians if one is not Custodian.QUEUE]
    if Custodian.QUEUE in custodians:
        queries.append(first.where(custody.c.kind == Custodian.QUEUE.value, custody.c.ref == Queue.HAND_OFF.value))
    planned = select(func.min(message.c.send_at, type_=message.c.send_at.type)).where(message.c.state == "planned")
    queries.append(planned if recipient is None else planned.where(message.c.recipient == recipient))
    return select(*[one.scalar_subquery() for one in queries])
