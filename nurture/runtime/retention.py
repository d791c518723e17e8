"""How long data is kept that no proof needs."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each kind of data is kept; None keeps it forever. Built from the settings `NURTURE_KEEP_...`.

    *raw_events*: bodies of webhook batches. *events*: events of providers, and requests of clicks. *replies*: what
    people wrote. *journal*: what the planner decided without a change of custodian.
    """

    raw_events: timedelta | None = timedelta(days=7)
    events: timedelta | None = timedelta(days=400)
    replies: timedelta | None = timedelta(days=730)
    journal: timedelta | None = timedelta(days=1_825)
