"""Give a hand-off to another rep, by a person's decision."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from nurture.db.locks import Lock, acquire
from nurture.domain.policy.team import Rep
from nurture.domain.routing.round_robin import Standing, has_room
from nurture.errors import NotFound, Refused
from nurture.journey.handoff import queries
from nurture.journey.handoff.offer import Why, offer_to
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.handoff.roster import named_rep
from nurture.journey.leads import snapshot
from nurture.journey.leads.transitions import Mover
from nurture.journey.routing import capacity as rooms
from nurture.runtime.context import House

OPEN: Final = ("offered", "accepted")


def reassign(
    house: House,
    offer_id: int,
    to: str,
    now: datetime,
    *,
    by: str = "by hand",
    anyway: bool = False,
    states: Collection[str] = OPEN,
) -> OfferRow:
    """Offer the lead of a hand-off to the rep *to* instead; return the hand-off as it was.

    A lead that was taken over is taken from its rep, and is the other's when they accept. Raises NotFound, or
    Refused for a hand-off that is over, the same rep, or one without room; *anyway* passes that over.
    *states* are those in which it may still be given away.
    """
    database = house.database
    with database.write() as connection:
        acquire(database, connection, Lock.OFFERS)
        one, rows = _held(house, connection, offer_id, states)
        mover = Mover(house.rulebooks.current(connection), now, "hand off")
        policy = mover.book.policy
        rep = named_rep(policy, to)
        if to == one.rep:
            raise Refused(f"Hand-off {offer_id} is {to}'s already.")
        if not anyway:
            _require_room(rep, rooms.look(house, connection, policy, now).team[to])
        if one.state == "offered":
            queries.answer(database, connection, [(offer_id, "reassigned", by)], now)
        else:
            queries.take_away(database, connection, [(offer_id, "reassigned", by)])
        lead = snapshot.views(database, connection, rows, now, house.holidays)[0]
        (number,) = database.reserve_ids(connection, "offer", 1)
        routed = f"reassigned from {one.rep} {by}"
        why = Why(one.rule, one.because, routed, one.round, one.urgency, one.hot)
        mover.note(lead, "reassigned", f"from {one.rep} to {to} {by}", None, ref=to)
        offer_to(mover, house.holidays, lead, rep, number, why)
        mover.changes.write(database, connection, now)
    return one


def _held(
    house: House, connection: Connection, offer_id: int, states: Collection[str]
) -> tuple[OfferRow, list[snapshot.DueRow]]:
    """Lock the lead of a hand-off that holds it; return both."""
    one = queries.find(house.database, connection, [offer_id]).get(offer_id)
    if one is None:
        raise NotFound(f"There is no hand-off {offer_id}. `nurture handoffs list` lists them.")
    rows = snapshot.these(house.database, connection, [one.lead_id])
    one = queries.find(house.database, connection, [offer_id])[offer_id]
    holds = bool(rows) and (one.state, rows[0].kind, rows[0].ref) in (
        ("offered", "offer", str(offer_id)),
        ("accepted", "rep", one.rep),
    )
    if one.state not in states or not holds:
        raise Refused(f"Hand-off {offer_id} is over ({one.state}); nothing was changed.")
    return one, rows


def _require_room(rep: Rep, standing: Standing) -> None:
    if not (standing.available and has_room(rep, standing)):
        counts = f"{standing.today} of {rep.capacity} today, {standing.in_hand} in hand"
        full = f"is {standing.away}" if standing.away else f"has {counts}"
        raise Refused(f"{rep.id} {full}. Give it to them nevertheless with --anyway.")
