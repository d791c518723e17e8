"""Hand leads to sales: the sweep over offers, and the answers of reps."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from nurture.journey.handoff.queue import offer_all
from nurture.journey.handoff.queue_checks import look_batch
from nurture.journey.handoff.responses import accept, reject
from nurture.journey.handoff.sla_sweep import climb_batch, follow_up_batch
from nurture.runtime import quarantine
from nurture.runtime.context import House
from nurture.runtime.gc_pause import undisturbed

__all__ = ["accept", "hand_off", "reject"]


def hand_off(house: House, now: datetime) -> Counter[str]:
    """Offer waiting leads to reps with room, and take back what nobody answered in time."""
    if quarantine.is_on(house, now):
        return Counter()
    with undisturbed():
        events = _swept(climb_batch, house, now)
        events += _swept(follow_up_batch, house, now)
        events += _swept(look_batch, house, now)
        return events + offer_all(house, now)


def _swept(
    sweep: Callable[[House, datetime, int], Counter[str]], house: House, now: datetime
) -> Counter[str]:
    events: Counter[str] = Counter()
    while True:
        done = sweep(house, now, house.batch)
        events += done
        if done.total() < house.batch:
            return events
        gc.collect(1)
