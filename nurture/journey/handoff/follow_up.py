"""The first touch after a rep took a lead over: a call that is logged, a status in the CRM, a reply."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection

from nurture.domain.lead import Custodian
from nurture.errors import NotFound, Refused
from nurture.journey.handoff import queries
from nurture.journey.leads import snapshot
from nurture.journey.leads.signal_queries import Unapplied
from nurture.journey.leads.transitions import Mover
from nurture.runtime.context import House

REPLIED: Final = "reply"
CLOSED: Final = "closed"


class Touched(NamedTuple):
    """Somebody was in touch with a lead, *how* (`call`, `email`, `reply`, a CRM's status), and when."""

    lead_id: int
    how: str
    at: datetime


def followed_up(house: House, lead_id: int, how: str, now: datetime) -> str:
    """Note that the lead's rep was in touch with it; return the rep. Refused for a lead that no rep has."""
    with house.database.write() as connection:
        rows = snapshot.these(house.database, connection, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        if rows[0].kind != Custodian.REP:
            rest = "" if rows[0].kind == Custodian.CLOSED else "; it has to be accepted first"
            raise Refused(f"Lead {lead_id} is with no rep ({rows[0].kind}: {rows[0].ref}){rest}.")
        note_touches(house, connection, [Touched(lead_id, how, now)], now)
    return rows[0].ref


def note_touches(house: House, connection: Connection, touches: Sequence[Touched], now: datetime) -> int:
    """Note touches of leads that reps took over; return how many had none before.

    A lead that no rep has, or that was taken over only later, is passed over. In this transaction, and in a
    constant number of statements: for whoever hears of touches, such as a CRM's status.
    """
    database = house.database
    by_lead = {one.lead_id: one for one in sorted(touches, key=lambda one: one.at, reverse=True)}
    if not by_lead:
        return 0
    accepted = queries.accepted_of(database, connection, list(by_lead))
    mine = [
        id_
        for id_, one in accepted.items()
        if one.answered_at is not None and by_lead[id_].at >= one.answered_at
    ]
    if not mine:
        return 0
    rows = [row for row in snapshot.these(database, connection, mine) if row.kind == Custodian.REP]
    mover = Mover(house.rulebooks.current(connection), now, "follow up")
    due = now + mover.book.policy.max_silence
    for lead in snapshot.views(database, connection, rows, now, house.holidays):
        touched = by_lead[lead.view.lead.id]
        mover.keep(lead, Custodian.REP, lead.ref, f"{lead.ref} works it", due)
        mover.note(lead, "followed_up", f"{lead.ref} was in touch: {touched.how}", None, ref=touched.how)
    won = mover.changes.write(database, connection, now)
    new = queries.follow_up(database, connection, [(id_, by_lead[id_].how) for id_ in sorted(won)], now)
    return len(new)


def heard(house: House, connection: Connection, replies: Sequence[Unapplied], now: datetime) -> int:
    """Take a reply as proof that the rep who has the lead was in touch with it."""
    return note_touches(
        house, connection, [Touched(one.lead_id, REPLIED, one.occurred_at) for one in replies], now
    )
