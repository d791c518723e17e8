"""What else a rep does with leads: have one called later, pull one off its track."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from nurture.db.locks import Lock, acquire
from nurture.domain.lead import Custodian
from nurture.domain.planning.callback import CALL_BACK
from nurture.domain.policy.policy import Policy, RejectReason, Resume
from nurture.domain.policy.team import Rep
from nurture.errors import NotFound, Refused
from nurture.journey.handoff import queries
from nurture.journey.handoff.offer import Why, offer_to
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.handoff.recycle import recycle_all
from nurture.journey.handoff.responses import open_offer
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries, snapshot
from nurture.journey.leads.transitions import Mover
from nurture.journey.routing.availability import takes_leads
from nurture.runtime.context import House

PULLED: Final = "pulled"
"""The rule by which a lead is offered that a rep asked for."""

LATER: Final = RejectReason(CALL_BACK, "Asked to be called later", Resume())
"""What becomes of a lead until the day of its call: its track goes on."""


def colleagues(policy: Policy, rep: str, refused: set[str], day: date) -> list[Rep]:
    """Return to whom *rep* may pass a lead on: whoever works here and has not given it back."""
    return [one for one in policy.reps if one.id not in {rep, *refused} and takes_leads(one, day)]


def call_back(house: House, offer_id: int, on: date, now: datetime) -> OfferRow:
    """Take the lead back until *on*, when it asked to be called; then it is offered again.

    Until then its track goes on. Raises NotFound, or Refused for an offer that was answered already.
    """
    with house.database.write() as connection:
        one, lead, mover = open_offer(house, connection, offer_id, now)
        queries.answer(house.database, connection, [(offer_id, "rejected", CALL_BACK)], now)
        recycle_all(house, connection, mover, [(lead, LATER)], f"{one.rep} was asked to call on {on}")
        mover.changes.write(house.database, connection, now)
        leads_queries.ask_to_call(connection, one.lead_id, on, now)
        signal_queries.wake(house.database, connection, [one.lead_id], now, parked=True)
    return one


def pull(house: House, lead_id: int, rep_id: str, now: datetime) -> int:
    """Offer a lead that is on a track to the rep who asks for it; return the offer's id.

    Raises NotFound, or Refused for a lead that is on no track.
    """
    database = house.database
    with database.write() as connection:
        acquire(database, connection, Lock.OFFERS)
        book = house.rulebooks.current(connection)
        rows = snapshot.these(database, connection, [lead_id])
        rep = book.policy.rep(rep_id)
        if not rows or rep is None:
            raise NotFound(f"There is no lead {lead_id}, or no rep {rep_id}.")
        lead = snapshot.views(database, connection, rows, now, house.holidays)[0]
        if lead.view.custodian is not Custodian.TRACK:
            raise Refused(f"Lead {lead_id} is on no track; {lead.view.custodian.value} has it.")
        mover = Mover(book, now, "hand off")  # who asks for a lead has room for it
        mover.call_off(lead, "handed_off")
        mover.rank(lead, PULLED)  # what an earlier hand-off was worth, and who had it then, is over
        (number,) = database.reserve_ids(connection, "offer", 1)
        why = Why(PULLED, f"{rep_id} asked for it", "it was theirs before")
        offer_to(mover, house.holidays, lead, rep, number, why)
        mover.changes.write(database, connection, now)
    return int(number)
