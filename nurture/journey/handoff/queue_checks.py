"""Look at the leads of queues when they are due: a request hands a lead off, else a person is reminded."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.lead import NEEDS, Custodian, Queue, is_parked
from nurture.domain.planning.conditions import earliest
from nurture.domain.planning.planner import OfferToSales, decide
from nurture.domain.routing.routing import ASKED_AGAIN
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import LOOK_AGAIN_AFTER, Mover
from nurture.journey.tracks.advance import stored
from nurture.journey.tracks.enroll import is_discarded
from nurture.runtime.context import House
from nurture.runtime.redact import unnamed

ASKS_AGAIN_AFTER: Final = timedelta(days=1)
"""How often a person is reminded of a lead that asked for one and cannot be offered yet."""


def look_batch(house: House, now: datetime, limit: int) -> Counter[str]:
    """Look at no more than *limit* due leads of queues, but for those that wait for a rep with room."""
    database = house.database
    with database.write() as connection:
        rows = snapshot.claim_due(
            database, connection, [Custodian.QUEUE], now, limit, without_ref=Queue.HAND_OFF
        )
        if not rows:
            return Counter()
        mover = Mover(house.rulebooks.current(connection), now, "hand off")
        claimed = snapshot.views(database, connection, rows, now, house.holidays)
        events = Counter(_look(lead, mover) for lead in claimed)
        mover.changes.write(database, connection, now)
    return events


def _look(lead: Claimed, mover: Mover) -> str:
    """Hand off a lead that asked for a person, or say that its queue is to be looked at."""
    looks = (mover.now - lead.since) // LOOK_AGAIN_AFTER + 1
    due = lead.since + looks * LOOK_AGAIN_AFTER
    if is_parked(lead.ref):
        try:
            decision = decide(lead.view, None, mover.book.policy, mover.now)
            discarded = bool(decision.actions) and is_discarded(lead.view, mover)
        except Exception as error:  # noqa: BLE001 - recorded in the lead's journal, and tried again
            return mover.fault(lead, unnamed(error, lead.view.lead.facts))
        for action in decision.actions:
            if isinstance(action, OfferToSales) and not discarded:
                mover.hand_off(lead, action.rule, action.because, stored(decision))
                return "hand_off"
        due = earliest((due, decision.wake_at)) or due
        if not _is_reminder(lead):
            mover.keep(lead, Custodian.QUEUE, lead.ref, f"look at it: {decision.because}", due)
            return "looked at"
    elif lead.ref == Queue.AMBIGUOUS and not _is_reminder(lead):
        because = "it asked for a person, and two known leads match"
        mover.keep(
            lead, Custodian.QUEUE, lead.ref, f"say whose it is: {because}", mover.now + ASKS_AGAIN_AFTER
        )
        mover.note(lead, "reminder", because, None, ref=lead.ref)
        return "reminded of"
    return _remind(lead, mover, due)


def _is_reminder(lead: Claimed) -> bool:
    """Return whether a lead is due because of its queue, and not because it did something or named a date."""
    waited = (lead.due_at or lead.since) - lead.since
    return bool(waited) and not waited % LOOK_AGAIN_AFTER


def _remind(lead: Claimed, mover: Mover, due: datetime) -> str:
    """Say that somebody is waited for, and look again later; a lead without a track gets another try."""
    if lead.ref == Queue.NO_TRACK:
        moved = mover.keep(lead, Custodian.INTAKE, "return", "classify", mover.now)
        mover.note(lead, "returned", "the rules may have a track for it by now", moved, ref="return")
    elif lead.ref in ASKED_AGAIN or (lead.ref.startswith(NEEDS) and not is_parked(lead.ref)):
        moved = mover.keep(lead, Custodian.QUEUE, Queue.HAND_OFF, "offer to a rep", mover.now)
        mover.note(lead, "returned", f"asked again: {lead.ref}", moved, ref=Queue.HAND_OFF)
    else:
        mover.remind(lead, "look at it", due)
    return "reminded of"
