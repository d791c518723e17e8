"""Decide at once about leads that a signal has just made due."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from nurture.domain.lead import Custodian
from nurture.journey.handoff.sweep import hand_off
from nurture.journey.leads import snapshot
from nurture.journey.tracks.advance import advance_batch
from nurture.runtime.context import AppContext

MAX_LEADS: Final = 200
"""How many leads are handled at once. The rest is left to the next run."""


def process_due_leads(ctx: AppContext, now: datetime) -> int:
    """Advance leads on tracks that are due at *now*, and hand off those that are ready; return how many were due.

    Without due leads this reads one index entry and writes nothing.
    """
    with ctx.database.read() as tx:
        if not snapshot.has_due_leads(tx, Custodian.TRACK, now):
            return 0
    advanced = advance_batch(ctx, now, MAX_LEADS)
    if advanced.leads:
        hand_off(ctx, now)
    return advanced.leads
