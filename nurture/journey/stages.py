"""The stages of a lead's way, each as one function with its counts, in a lead's order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from nurture.clock import Clock
from nurture.journey.broadcasts.plan import plan_due
from nurture.journey.crm_sync.pull import pull
from nurture.journey.crm_sync.push import push
from nurture.journey.delivery.run import deliver
from nurture.journey.engagement import provider_events, replies
from nurture.journey.engagement.signals import apply_pending_signals
from nurture.journey.handoff.sweep import hand_off
from nurture.journey.intake.api import idempotency
from nurture.journey.tracks.advance import advance
from nurture.journey.tracks.enroll import classify
from nurture.runtime.context import AppContext

ShouldStop = Callable[[], bool]
"""Asked between two batches of calls to a provider or a CRM."""

RunStage = Callable[[AppContext, Clock, ShouldStop], Counter[str]]
"""Runs one stage until nothing is due, and returns how many of each thing it did."""


def apply_signals(ctx: AppContext, clock: Clock, _should_stop: ShouldStop) -> Counter[str]:
    """Apply pending provider events, replies and recorded signals."""
    now = clock.now()
    idempotency.delete_expired(ctx, now)
    events, read = provider_events.process_pending(ctx, now).new, replies.poll_inbox(ctx, now).new
    return Counter(events=events, replies=read, signals=apply_pending_signals(ctx, now))


def sync_crm(ctx: AppContext, clock: Clock, should_stop: ShouldStop) -> Counter[str]:
    """Push due hand-offs to the CRM, and pull what sales did."""
    pushed, read = push(ctx, clock, should_stop=should_stop), pull(ctx, clock.now())
    unclear = Counter({"unknown statuses": read.unknown_statuses.total(), "problems": len(read.problems)})
    return pushed + Counter(read.counts) + unclear


def send_mail(ctx: AppContext, clock: Clock, should_stop: ShouldStop) -> Counter[str]:
    """Plan due broadcasts, and send due messages."""
    planned = plan_due(ctx, clock.now())
    return Counter({"broadcast emails": planned.planned}) + deliver(ctx, clock, should_stop=should_stop).states


STAGES: Final[Mapping[str, RunStage]] = {
    "signals": apply_signals,
    "intake": lambda ctx, clock, _: classify(ctx, clock.now()),
    "advance": lambda ctx, clock, _: advance(ctx, clock.now()).events,
    "hand-off": lambda ctx, clock, _: hand_off(ctx, clock.now()),
    "crm": sync_crm,
    "deliver": send_mail,
}
"""By name, which is also the name of its flow."""
