"""Decide about the hand-offs of a restored database: offer them again, or leave them to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import Connection

from nurture.domain.lead import Custodian
from nurture.domain.sla import Step
from nurture.domain.track import ToQueue
from nurture.store import gap, offers, views

from .house import House
from .ladders import told, until_answered
from .moves import Mover

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
        gap.leave_to_reps(connection)
    if not leads:
        return
    book = house.rulebooks.current(connection)
    mover = Mover(book, now, "restore")
    rows = views.these(database, connection, leads)
    opened = offers.open_of(database, connection, leads)
    renewed = []
    for lead in views.views(database, connection, rows, now, house.holidays):
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
        offers.answer(database, connection, [(one.id, "withdrawn", None) for one in opened.values()], now)
    gap.renew(database, connection, renewed, now)
    mover.changes.write(database, connection, now)
