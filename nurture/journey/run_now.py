"""Answer at once: what a lead has just done is decided about now, not with the next sweep."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from nurture.domain.lead import Custodian
from nurture.journey.handoff.sweep import hand_off
from nurture.journey.leads import snapshot
from nurture.journey.tracks.advance import advance_batch
from nurture.runtime.context import House

AT_ONCE: Final = 200
"""Leads that are answered together. More that are due than that are a sweep's work."""


def answer(house: House, now: datetime) -> int:
    """Advance leads on tracks that are due at *now*, and offer those who are ready; return how many.

    Without due leads this reads one index entry and writes nothing.
    """
    with house.database.read() as connection:
        if not snapshot.any_due(connection, Custodian.TRACK, now):
            return 0
    done = advance_batch(house, now, AT_ONCE)
    if done.leads:
        hand_off(house, now)
    return done.leads
