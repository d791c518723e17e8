"""Decide about the hand-offs of a restored database: offer them again, or leave them to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import Connection

from nurture.domain.lead import Custodian
from nurture.domain.planning.program import ToQueue
from nurture.domain.policy.business_hours import Step
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.escalation import told, until_answered
from nurture.journey.leads import snapshot
from nurture.journey.leads.transitions import Mover
from nurture.operations import restore_gap_queries
from nurture.runtime.context import House

Briefs = Literal["again", "leave"]
"""What a manager says: send the briefs again, or leave them, as the reps have them."""

QUEUE: Final = "after-restore"
"""Where leads wait whose briefs are not sent again: a person looks up what their reps did."""

_AGAIN: Final = "the database was restored, and a manager had its hand-offs offered again"
_LEFT: Final = "the database was restored: look up what its rep did since"


def reoffer(
    house: House, connection: Connection, briefs: Briefs, leads: Sequence[int], now: datetime
) -> None:
    """Offer *leads* again from *now* on, or bring them to a queue of people."""
    database = house.database
    if briefs == "leave":
        restore_gap_queries.leave_to_reps(connection)
    if not leads:
        return
    book = house.rulebooks.current(connection)
    mover = Mover(book, now, "restore")
    rows = snapshot.these(database, connection, leads)
    opened = handoff_queries.open_of(database, connection, leads)
    renewed = []
    for lead in snapshot.views(database, connection, rows, now, house.holidays):
        offer = opened.get(lead.view.lead.id)
        if briefs == "leave":
            mover.send_to(lead, ToQueue(QUEUE), _LEFT)
        elif offer is None:
            moved = mover.keep(lead, Custodian.QUEUE, lead.ref, "offer to a rep", now)
            mover.note(lead, "offered_again", _AGAIN, moved, ref=lead.ref)
        else:
            ladder = until_answered(book.policy, house.holidays, offer.rep, now)
            renewed.append((offer.id, next(rung.at for rung in ladder if rung.step is Step.TAKE_BACK)))
            action = f"{offer.rep} answers; else {told(book.policy, offer.rep, ladder[0])}"
            moved = mover.keep(lead, Custodian.OFFER, lead.ref, action, ladder[0].at)
            mover.note(lead, "offered_again", _AGAIN, moved, ref=lead.ref)
    if briefs == "leave":
        handoff_queries.answer(
            database, connection, [(one.id, "withdrawn", None) for one in opened.values()], now
        )
    restore_gap_queries.renew(database, connection, renewed, now)
    mover.changes.write(database, connection, now)
