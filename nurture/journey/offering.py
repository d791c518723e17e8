"""Offer the leads of the hand-off queue to reps with room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from nurture.domain.lead import Custodian, Queue
from nurture.domain.routing import Load, choose
from nurture.domain.track import ToQueue
from nurture.store import offers, views
from nurture.store.changes import Offered
from nurture.store.views import Claimed

from .announcing import announced
from .house import House
from .moves import Mover


def offer_batch(house: House, now: datetime, limit: int) -> Counter[str]:
    """Offer at most *limit* leads of the hand-off queue, those that waited longest first."""
    database = house.database
    with database.write() as connection:
        rows = views.claim_due(database, connection, [Custodian.QUEUE], now, limit, ref=Queue.HAND_OFF)
        if not rows:
            return Counter()
        book = house.rulebooks.current(connection)
        mover = Mover(book, now, "hand off")
        claimed = views.views(database, connection, rows, now, house.holidays)
        ids = [row.lead_id for row in rows]
        began = datetime(now.year, now.month, now.day, tzinfo=UTC)
        loads = offers.loads(connection, [rep.id for rep in book.policy.reps], began)
        refused = offers.refused_by(database, connection, ids)
        whys = offers.whys(database, connection, ids)
        numbers = database.reserve_ids(connection, "offer", len(ids))
        events: Counter[str] = Counter()
        for lead, number in zip(claimed, numbers, strict=True):
            lead_id = lead.view.lead.id
            chosen = choose(book.policy.reps, loads, refused.get(lead_id, ()))
            rule, because = whys.get(lead_id, ("", "handed off"))
            if chosen is None:
                events[_wait(lead, mover, refused.get(lead_id, set()), began)] += 1
                continue
            load = loads[chosen.rep.id]
            loads[chosen.rep.id] = Load(load.today + 1, number)
            until = now + book.policy.accept_within
            offered = Offered(
                number,
                lead_id,
                lead.view.enrollment.id if lead.view.enrollment else None,
                chosen.rep.id,
                rule,
                because,
                chosen.because,
                book.policy.version,
                "offered",
                now,
                until,
            )
            mover.changes.offered.append(offered)
            mover.changes.intended += announced(offered, chosen.rep, now)
            moved = mover.keep(lead, Custodian.OFFER, str(number), f"{chosen.rep.id} answers", until)
            mover.note(lead, "offered", f"{because}; {chosen.because}", moved, ref=str(number))
            events["offered"] += 1
        mover.changes.write(database, connection, now)
    return events


def _wait(lead: Claimed, mover: Mover, refused: Collection[str], began: datetime) -> str:
    """Keep a lead in the queue until reps have room again; one that all of them gave back needs a person."""
    if all(rep.id in refused for rep in mover.book.policy.reps):
        mover.send_to(lead, ToQueue(Queue.NO_REP), "every rep gave it back or let it expire", event="moved")
        return "no rep left"
    because = "no rep has room today"
    mover.keep(lead, Custodian.QUEUE, Queue.HAND_OFF, because, began + timedelta(days=1))
    mover.note(lead, "held", because, None)
    return "waiting"
