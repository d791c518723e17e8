"""Offer the leads of the hand-off queue to reps with room."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from nurture.domain.lead import Custodian, Queue
from nurture.domain.routing import Routed
from nurture.domain.track import ToQueue
from nurture.store import offers, views
from nurture.store.changes import Offered
from nurture.store.views import Claimed

from . import asking
from .announcing import announced
from .house import House
from .moves import LOOK_AGAIN_AFTER, Mover
from .routing import Router, router


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
        routes = router(house, connection, book.policy, ids, now, began)
        whys = offers.whys(database, connection, ids)
        numbers = database.reserve_ids(connection, "offer", len(ids))
        events: Counter[str] = Counter()
        for lead, number in zip(claimed, numbers, strict=True):
            lead_id = lead.view.lead.id
            rule, because = whys.get(lead_id, ("", "handed off"))
            asked, routed = routes.route(lead)
            if not routed.waits:
                routes.keep(lead, asked, routed, number)
            rep = book.policy.rep(routed.rep) if routed.rep is not None else None
            if rep is None:
                events[_elsewhere(lead, mover, routes, routed, began)] += 1
                continue
            chain = "; ".join(routed.because)
            until = now + book.policy.accept_within
            offered = Offered(
                number,
                lead_id,
                lead.view.enrollment.id if lead.view.enrollment else None,
                rep.id,
                rule,
                because,
                chain,
                book.policy.version,
                "offered",
                now,
                until,
            )
            mover.changes.offered.append(offered)
            mover.changes.intended += announced(offered, rep, now)
            moved = mover.keep(lead, Custodian.OFFER, str(number), f"{rep.id} answers", until)
            mover.note(lead, "offered", f"{because}; {chain}", moved, ref=str(number))
            events["offered"] += 1
        won = mover.changes.write(database, connection, now)
        routes.write(database, connection, won)
    return events


def _elsewhere(lead: Claimed, mover: Mover, routes: Router, routed: Routed, began: datetime) -> str:
    """Keep a lead in the queue until its reps have room again, or bring it to where a person decides."""
    because = routed.because[-1]
    if routed.waits:
        mover.keep(lead, Custodian.QUEUE, Queue.HAND_OFF, because, began + timedelta(days=1))
        mover.note(lead, "held", because, None)
        return "waiting"
    assert routed.queue is not None
    if routed.queue == Queue.NO_REP:
        mover.send_to(lead, ToQueue(Queue.NO_REP), "; ".join(routed.because), event="moved")
        return "no rep left"
    due, next_action = mover.now + LOOK_AGAIN_AFTER, "look at it: say to which account it belongs"
    if routed.needs:
        want = routes.want(lead, routed)
        due, next_action = want.overdue_at, f"wait for {routed.needs}"
        mover.changes.intended += asking.intended(routes.house, lead, mover.book, want, mover.now)
    moved = mover.keep(lead, Custodian.QUEUE, routed.queue, next_action, due)
    detail = {"candidates": list(routed.candidates)} if routed.candidates else None
    mover.note(lead, "moved", "; ".join(routed.because), moved, ref=routed.queue, detail=detail)
    return "needs a fact" if routed.needs else "needs a person"
