"""Bring leads back from sales: what a rejection, or no answer at all, means for them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from nurture.domain.lead import Custodian, Queue
from nurture.domain.policy import RejectReason, Resume
from nurture.domain.track import ToQueue
from nurture.store import leads
from nurture.store.views import Claimed

from . import enrol
from .house import House
from .moves import Mover, barred
from .unnamed import unnamed


def recycle_all(
    house: House,
    connection: Connection,
    mover: Mover,
    taken: list[tuple[Claimed, RejectReason]],
    because: str,
) -> None:
    """Bring leads back from sales. Their evidence is spent: only what they do from now on counts."""
    if not taken:
        return
    leads.spend_evidence(house.database, connection, [lead.view.lead.id for lead, _ in taken], mover.now)
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
        enrol.place(lead, mover, why, event="recycled", peace_until=until)
    except Exception as error:  # noqa: BLE001 - recorded in the lead's journal
        failed = f"{why}; {unnamed(error, lead.view.lead.facts)}"
        mover.send_to(lead, ToQueue(Queue.NO_TRACK), failed, event="recycled")
