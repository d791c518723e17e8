"""Hand leads to sales: the sweep over offers, and the answers of reps."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from .answering import accept, reject
from .house import House
from .offering import offer_batch
from .sla import expire_batch, remind_batch

__all__ = ["accept", "hand_off", "reject"]


def hand_off(house: House, now: datetime) -> Counter[str]:
    """Offer waiting leads to reps with room, and take back what nobody answered in time."""
    events: Counter[str] = Counter()
    for sweep in (expire_batch, offer_batch, remind_batch):
        while True:
            done = sweep(house, now, house.batch)
            events += done
            if done.total() < house.batch:
                break
    return events
