"""Offer the leads of the hand-off queue to reps with room, the most urgent first."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection

from nurture.db.locks import Lock, acquire
from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning.callback import CALL_BACK
from nurture.domain.planning.planner import unanswered_request
from nurture.domain.policy.policy import RejectReason
from nurture.domain.routing.priority import Urgency
from nurture.domain.routing.routing import OWNER_GONE, UNSURE, Routed
from nurture.journey.handoff import queries, queue_queries
from nurture.journey.handoff.offer import Why, offer_to
from nurture.journey.handoff.queries import Had
from nurture.journey.handoff.queue_queries import Cursor, Waiter
from nurture.journey.handoff.recycle import expire_all
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import LOOK_AGAIN_AFTER, Mover
from nurture.journey.routing import ask_lead
from nurture.journey.routing import capacity as rooms
from nurture.journey.routing.capacity import Room
from nurture.journey.routing.router import Router, router
from nurture.runtime.context import House

FEWEST_LOOKED_AT: Final = 200
"""So many leads are looked at together at least, though fewer have room: some cannot go to who has it."""

LOOKED_AT_PER_PLACE: Final = 4

_TO_DO: Final = {
    Queue.NO_REP.value: "no rule gives a rep",
    UNSURE: "say to which account it belongs",
    OWNER_GONE: "say who owns its account",
}


class _Progress(NamedTuple):
    """How far the queue was looked at, and who had room after each batch: none takes who waits so far."""

    after: Cursor
    free: frozenset[str]


def offer_all(house: House, now: datetime) -> Counter[str]:
    """Offer batch after batch until no rep has room, or all who wait were looked at."""
    events: Counter[str] = Counter()
    progress: _Progress | None = None
    while True:
        done, progress = _batch(house, now, house.batch, progress)
        events += done
        if progress is None:
            return events
        gc.collect(1)


def offer_batch(house: House, now: datetime, limit: int) -> Counter[str]:
    """Offer the most urgent of the queue, *limit* at most; who finds no room waits until it is foreseen."""
    return _batch(house, now, limit, None)[0]


def _batch(
    house: House, now: datetime, limit: int, before: _Progress | None
) -> tuple[Counter[str], _Progress | None]:
    """Offer in one transaction; return what was done, and where to go on, None at the end.

    The queue is looked at when somebody is due, and whenever a rep has room who had none at the last look:
    whoever freed it need not say so, and cannot say so at a wrong moment.
    """
    database = house.database
    with database.write() as connection:
        waits, is_due = queue_queries.stirs(connection, now)
        if before is None and not waits:
            return Counter(), None
        acquire(database, connection, Lock.OFFERS)
        policy = house.rulebooks.current(connection).policy
        room = rooms.look(house, connection, policy, now)
        if before is None and not is_due and room.free() <= queue_queries.looked_for(connection):
            return Counter(), None
        size = min(limit, max(LOOKED_AT_PER_PLACE * room.places, FEWEST_LOOKED_AT)) if room.places else 0
        waiters, end, held = queue_queries.claim(database, connection, size, before.after if before else None)
        events = _offer(house, connection, room, waiters) if waiters else Counter[str]()
        free = room.free() if before is None else room.free() & before.free
        progress = _Progress(end, frozenset() if held else free) if end is not None and room.places else None
        if progress is None:
            if not room.places:  # else who is left came in, or was held, while this one looked
                until, version = room.opens(), policy.version
                events["waiting"] += queue_queries.postpone(database, connection, None, until, now, version)
            _note_pressure(house, connection, room)
        queue_queries.note_look(connection, () if progress or held else free, now)
    return events, progress


def _offer(house: House, connection: Connection, room: Room, waiters: Sequence[Waiter]) -> Counter[str]:
    """Route each lead in its turn, and offer it, or keep it waiting."""
    database, now = house.database, room.now
    book = house.rulebooks.current(connection)
    mover = Mover(book, now, "hand off")
    ids = [one.lead_id for one in waiters]
    rows = {row.lead_id: row for row in snapshot.these(database, connection, ids, lock=False)}
    claimed = snapshot.views(database, connection, [rows[id_] for id_ in ids], now, house.holidays)
    past = queries.had(database, connection, ids)
    routes = router(house, connection, book.policy, ids, room, _refused(book.policy.reject_reasons, past))
    whys = queries.whys(database, connection, ids)
    numbers = _numbers(house, connection, min(room.places, len(ids)))
    resting = room.resting()
    events: Counter[str] = Counter()
    stuck: list[int] = []
    again: list[Claimed] = []
    for lead, one in zip(claimed, waiters, strict=True):
        asked, routed = routes.route(lead, {} if one.hot else resting)
        if routed.waits:
            stuck.append(one.lead_id)
            continue
        number = next(numbers) if routed.rep is not None else None
        routes.keep(lead, asked, routed, number)
        tries = 1 + sum(had.offered_at >= one.since for had in past.get(one.lead_id, ()))
        rep = book.policy.rep(routed.rep) if routed.rep is not None else None
        if rep is not None and number is not None:
            rule, because = whys.get(one.lead_id, ("", "handed off"))
            urgency = Urgency(one.points, one.since, book.policy.pace.age).at(now)
            why = Why(rule, because, "; ".join(routed.because), tries, urgency, one.hot)
            offer_to(mover, house.holidays, lead, rep, number, why)
            events["offered"] += 1
        elif (
            routed.queue == Queue.NO_REP and tries > 1 and not unanswered_request(lead.view, book.policy, now)
        ):
            again.append(lead)
            events["recycled"] += 1
        else:
            events[_elsewhere(lead, mover, routes, routed)] += 1
    expire_all(house, connection, mover, again, "nobody is left who could be asked")
    won = mover.changes.write(database, connection, now)
    routes.write(database, connection, won)
    until, version = room.opens(), book.policy.version
    events["waiting"] += queue_queries.postpone(database, connection, stuck, until, now, version)
    return events


def _numbers(house: House, connection: Connection, at_once: int) -> Iterator[int]:
    """Yield ids of offers, reserved *at_once* when the first is wanted: leads that only wait use none."""
    while True:
        yield from house.database.reserve_ids(connection, "offer", max(at_once, 1))


def _refused(reasons: Mapping[str, RejectReason], past: Mapping[int, Sequence[Had]]) -> dict[int, set[str]]:
    """Return who must not have each lead again: all who had it, but for reasons that allow it."""
    return {
        lead_id: {one.rep for one in had if one.state != "rejected" or _keeps_from(one.reason or "", reasons)}
        for lead_id, had in past.items()
    }


def _keeps_from(reason: str, reasons: Mapping[str, RejectReason]) -> bool:
    if reason == CALL_BACK:  # they promised to call
        return False
    return reason not in reasons or reasons[reason].not_same_rep


def _elsewhere(lead: Claimed, mover: Mover, routes: Router, routed: Routed) -> str:
    """Bring a lead to where a person decides, or where it waits for what routing needs to know."""
    assert routed.queue is not None
    if routed.queue == Queue.NO_REP:
        mover.end_stay(lead, f"queue {routed.queue}")
    due, next_action = mover.now + LOOK_AGAIN_AFTER, f"look at it: {_TO_DO.get(routed.queue, '')}"
    if routed.queue != UNSURE and any(not one.available for one in routes.team.values()):
        due = mover.now + timedelta(days=1)  # who is away may be back
    if routed.needs:
        want = routes.want(lead, routed)
        due, next_action = want.overdue_at, f"wait for {routed.needs}"
        mover.changes.intended += ask_lead.intended(routes.house, lead, mover.book, want, mover.now)
    moved = mover.keep(lead, Custodian.QUEUE, routed.queue, next_action, due)
    detail = {"candidates": list(routed.candidates)} if routed.candidates else None
    mover.note(lead, "moved", "; ".join(routed.because), moved, ref=routed.queue, detail=detail)
    if routed.queue == Queue.NO_REP:
        return "no rep left"
    return "needs a fact" if routed.needs else "needs a person"


def _note_pressure(house: House, connection: Connection, room: Room) -> None:
    """Keep how full the reps are, where the policy has tracks heed it."""
    policy = room.policy
    if policy.pace.hold_calls_to_action_at is None:
        return
    seen = room.pressure(queue_queries.count(connection))
    desk = rooms.working(policy.desk.hours, house.holidays, room.now)
    until = seen.full_until(policy.pace.hold_calls_to_action_at, desk, room.now)
    queue_queries.note_pressure(connection, seen, until, room.now)
