"""Answer at once: what a lead has just done is decided about now, not with the next sweep."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from nurture.domain.lead import Custodian
from nurture.journey.handoff.sweep import hand_off
from nurture.journey.leads import snapshot
from nurture.journey.tracks.advance import advance_batch
from nurture.runtime.context import AppContext

MAX_LEADS: Final = 200
"""Leads that are answered together. More that are due than that are a sweep's work."""


def process_due_leads(ctx: AppContext, now: datetime) -> int:
    """Advance leads on tracks that are due at *now*, and offer those who are ready; return how many.

    Without due leads this reads one index entry and writes nothing.
    """
    with ctx.database.read() as connection:
        if not snapshot.has_due_leads(connection, Custodian.TRACK, now):
            return 0
    advanced = advance_batch(ctx, now, MAX_LEADS)
    if advanced.leads:
        hand_off(ctx, now)
    return advanced.leads
