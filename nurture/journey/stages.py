"""The stages of a lead's way, each as one function with its counts, in a lead's order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nurture.clock import Clock
from nurture.db import last_rounds
from nurture.journey.broadcasts.plan import PlanResult, plan_due
from nurture.journey.crm_sync.pull import pull
from nurture.journey.crm_sync.push import push
from nurture.journey.delivery.run import DeliverySummary, deliver
from nurture.journey.engagement import provider_events, replies
from nurture.journey.engagement.signals import apply_pending_signals
from nurture.journey.handoff.sweep import hand_off
from nurture.journey.intake.api import idempotency
from nurture.journey.tracks.advance import advance
from nurture.journey.tracks.enroll import classify
from nurture.runtime.context import AppContext

ShouldStop = Callable[[], bool]
"""Asked between two batches of calls to a provider or a CRM."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: *run* works until nothing is due, *count* says of its result how many of each thing it did."""

    run: Callable[[AppContext, Clock, ShouldStop], Any]
    count: Callable[[Any], Counter[str]] = Counter


def apply_signals(ctx: AppContext, clock: Clock, _should_stop: ShouldStop) -> Counter[str]:
    """Apply pending provider events, replies and recorded signals."""
    now = clock.now()
    idempotency.delete_expired(ctx, now)
    events, read = provider_events.process_pending(ctx, now).new, replies.poll_inbox(ctx, now).new
    return Counter(events=events, replies=read, signals=apply_pending_signals(ctx, now))


def send_mail(ctx: AppContext, clock: Clock, should_stop: ShouldStop) -> tuple[PlanResult, DeliverySummary]:
    """Plan due broadcasts, and send due messages."""
    return plan_due(ctx, clock.now()), deliver(ctx, clock, lambda: note_batch(ctx, clock), should_stop=should_stop)


def note_batch(ctx: AppContext, clock: Clock) -> None:
    """Note a batch of mail as a round: many of them may take an hour, and nothing is late meanwhile."""
    if clock.is_live:
        with ctx.database.write() as tx:
            last_rounds.note_success(tx, "deliver", clock.now())


def _count_mail(done: tuple[PlanResult, DeliverySummary]) -> Counter[str]:
    planned, delivered = done
    return Counter({"broadcast emails": planned.planned}) + delivered.states


def sync_crm(ctx: AppContext, clock: Clock, should_stop: ShouldStop) -> Counter[str]:
    """Push due hand-offs to the CRM, and pull what sales did."""
    pushed, read = push(ctx, clock, should_stop=should_stop), pull(ctx, clock.now())
    unclear = Counter({"unknown statuses": read.unknown_statuses.total(), "problems": len(read.problems)})
    return pushed + Counter(read.counts) + unclear


STAGES: Final[Mapping[str, Stage]] = {
    "signals": Stage(apply_signals),
    "intake": Stage(lambda ctx, clock, _: classify(ctx, clock.now())),
    "advance": Stage(lambda ctx, clock, _: advance(ctx, clock.now()), lambda done: done.events),
    "hand-off": Stage(lambda ctx, clock, _: hand_off(ctx, clock.now())),
    "deliver": Stage(send_mail, _count_mail),
    "crm": Stage(sync_crm),
}
"""By name, which is also the name of its flow."""
