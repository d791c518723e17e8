"""Run all hand-off sweeps: queue, offers, follow-ups, checks."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from nurture.journey.handoff.queue import offer_all
from nurture.journey.handoff.sla_sweep import escalate_follow_ups, escalate_offers
from nurture.journey.handoff.waiting.checks import check_queue_batch
from nurture.journey.handoff.waiting.emails import plan_morning_emails
from nurture.runtime import quarantine
from nurture.runtime.batches import drain, gc_paused
from nurture.runtime.context import AppContext


def hand_off(ctx: AppContext, now: datetime) -> Counter[str]:
    """Run the sweeps until nothing is due at *now* (UTC); return how many leads each event happened to."""
    if quarantine.is_on(ctx, now):
        return Counter()
    with gc_paused():
        events = _run_in_batches(escalate_offers, ctx, now)
        events += _run_in_batches(escalate_follow_ups, ctx, now)
        plan_morning_emails(ctx, now)
        events += _run_in_batches(check_queue_batch, ctx, now)
        events += offer_all(ctx, now)
        return events


def _run_in_batches(
    sweep: Callable[[AppContext, datetime, int], Counter[str]], ctx: AppContext, now: datetime
) -> Counter[str]:
    batches = drain(lambda: sweep(ctx, now, ctx.batch_size), lambda done: done.total() >= ctx.batch_size)
    return sum(batches, Counter())
