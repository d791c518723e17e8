"""What waits for a person: offers that nobody answered, leads that nobody touched, queues."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from nurture.domain.lead import Custodian, Queue
from nurture.domain.routing import NEEDS
from nurture.store import offers, views
from nurture.store.views import Claimed

from .house import House
from .moves import LOOK_AGAIN_AFTER, Mover
from .recycling import recycle_all


def expire_batch(house: House, now: datetime, limit: int) -> Counter[str]:
    """Take back at most *limit* offers that nobody answered in time."""
    database = house.database
    with database.write() as connection:
        rows = views.claim_due(database, connection, [Custodian.OFFER], now, limit)
        if not rows:
            return Counter()
        book = house.rulebooks.current(connection)
        mover = Mover(book, now, "hand off")
        claimed = views.views(database, connection, rows, now, house.holidays)
        opened = offers.open_of(database, connection, [row.lead_id for row in rows])
        offers.answer(database, connection, [(one.id, "expired", None) for one in opened.values()], now)
        recycle_all(house, connection, mover, [(lead, book.policy.on_expiry) for lead in claimed], "expired")
        mover.changes.write(database, connection, now)
    return Counter({"expired": len(rows)})


def remind_batch(house: House, now: datetime, limit: int) -> Counter[str]:
    """Bring at most *limit* leads to attention that wait for a person: a rep's, and those in queues."""
    database = house.database
    with database.write() as connection:
        kinds = [Custodian.REP, Custodian.QUEUE]
        rows = views.claim_due(database, connection, kinds, now, limit, without_ref=Queue.HAND_OFF)
        if not rows:
            return Counter()
        mover = Mover(house.rulebooks.current(connection), now, "hand off")
        for lead in views.views(database, connection, rows, now, house.holidays):
            _remind(lead, mover)
        mover.changes.write(database, connection, now)
    return Counter({"reminded": len(rows)})


def _remind(lead: Claimed, mover: Mover) -> None:
    """Say that somebody is waited for, and look again later; a lead without a track gets another try."""
    if lead.view.custodian is Custodian.QUEUE and lead.ref == Queue.NO_TRACK:
        moved = mover.keep(lead, Custodian.INTAKE, "return", "classify", mover.now)
        mover.note(lead, "returned", "the rules may have a track for it by now", moved, ref="return")
        return
    if lead.view.custodian is Custodian.QUEUE and lead.ref.startswith(NEEDS):
        moved = mover.keep(lead, Custodian.QUEUE, Queue.HAND_OFF, "offer to a rep", mover.now)
        mover.note(lead, "returned", f"waited long enough: {lead.ref}", moved, ref=Queue.HAND_OFF)
        return
    waits = "follow up" if lead.view.custodian is Custodian.REP else "look at it"
    because = f"{lead.ref} was to {waits} by now"
    mover.keep(lead, lead.view.custodian, lead.ref, f"{waits}: overdue", mover.now + LOOK_AGAIN_AFTER)
    mover.note(lead, "reminder", because, None, ref=lead.ref)
