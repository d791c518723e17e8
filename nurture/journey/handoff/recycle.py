"""Bring leads back from sales: what a rejection, or no answer at all, means for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning.planner import unanswered_request
from nurture.domain.planning.program import ToQueue
from nurture.domain.policy.policy import RejectReason, Resume
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import Mover, barred
from nurture.journey.tracks import enroll
from nurture.runtime.context import House
from nurture.runtime.redact import unnamed


def expire_all(
    house: House, connection: Connection, mover: Mover, leads_: Sequence[Claimed], because: str
) -> None:
    """Bring leads back that no rep answered in time: a person decides about those that asked for one.

    Their requests are not spent. Of the others the interest is, but not a day to come that they named.
    """
    shown: list[tuple[Claimed, RejectReason]] = []
    for lead in leads_:
        asked = unanswered_request(lead.view, mover.book.policy, mover.now)
        if asked:
            mover.send_to(lead, ToQueue(Queue.NO_REP), f"{because}; {asked}", event="recycled")
        else:
            shown.append((lead, mover.book.policy.on_expiry))
    recycle_all(house, connection, mover, shown, because, answered=False)


def recycle_all(
    house: House,
    connection: Connection,
    mover: Mover,
    taken: list[tuple[Claimed, RejectReason]],
    because: str,
    *,
    answered: bool = True,
) -> None:
    """Bring leads back from sales. Their evidence is spent: only what they do from now on counts.

    Unless a rep *answered*, the days that they named stay.
    """
    if not taken:
        return
    ids = [lead.view.lead.id for lead, _ in taken]
    leads_queries.spend_evidence(house.database, connection, ids, mover.now, dates=answered)
    for lead, meaning in taken:
        until = mover.now + meaning.cool_off if meaning.cool_off else None
        why = f"{because} ({meaning.label})"
        stay = lead.view.enrollment
        bar = barred(lead, mover.book.programs.get(stay.track) if stay is not None else None)
        if not isinstance(meaning.then, Resume):
            mover.send_to(lead, meaning.then, why, event="recycled", peace_until=until)
        elif bar is not None:
            mover.send_to(lead, ToQueue(bar[0]), f"{why}; {bar[1]}", event="recycled")
        elif stay is not None:
            if until is not None:
                mover.leave_in_peace(lead, until)
            due = mover.due_after(lead, until)
            moved = mover.keep(lead, Custodian.TRACK, stay.track, "the track goes on", due)
            mover.note(lead, "resumed", why, moved, ref=stay.track)
        else:
            _place(lead, mover, why, until)


def _place(lead: Claimed, mover: Mover, why: str, until: datetime | None) -> None:
    """Enrol a lead that was on no track; if the rules fail on it, a person looks at it."""
    try:
        enroll.place(lead, mover, why, event="recycled", peace_until=until)
    except Exception as error:  # noqa: BLE001 - recorded in the lead's journal
        failed = f"{why}; {unnamed(error, lead.view.lead.facts)}"
        mover.send_to(lead, ToQueue(Queue.NO_TRACK), failed, event="recycled")
