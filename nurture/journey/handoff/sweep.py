"""Run all hand-off sweeps: queue, offers, follow-ups, checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from nurture.journey.handoff.queue import offer_all
from nurture.journey.handoff.queue_checks import check_queue_batch
from nurture.journey.handoff.responses import accept, reject
from nurture.journey.handoff.sla_sweep import escalate_follow_ups, escalate_offers
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext
from nurture.runtime.drain import drain
from nurture.runtime.gc_pause import gc_paused

__all__ = ["accept", "hand_off", "reject"]


def hand_off(ctx: AppContext, now: datetime) -> Counter[str]:
    """Offer waiting leads to reps with capacity, and take back overdue offers."""
    if quarantine.is_on(ctx, now):
        return Counter()
    with gc_paused():
        events = _run_in_batches(escalate_offers, ctx, now)
        events += _run_in_batches(escalate_follow_ups, ctx, now)
        events += _run_in_batches(check_queue_batch, ctx, now)
        return events + offer_all(ctx, now)


def _run_in_batches(
    sweep: Callable[[AppContext, datetime, int], Counter[str]], ctx: AppContext, now: datetime
) -> Counter[str]:
    batches = drain(lambda: sweep(ctx, now, ctx.batch_size), lambda done: done.total() >= ctx.batch_size)
    return sum(batches, Counter())
