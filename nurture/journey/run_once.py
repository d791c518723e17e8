"""Run every stage once, without Prefect."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nurture.clock import Clock, VirtualClock
from nurture.db import clock_row
from nurture.journey.broadcasts.plan import PlanResult, plan_due
from nurture.journey.crm_sync.pull import pull
from nurture.journey.crm_sync.push import push
from nurture.journey.delivery.run import DeliverySummary, deliver
from nurture.journey.engagement import provider_events, replies
from nurture.journey.engagement.signals import apply_pending_signals
from nurture.journey.handoff.sweep import hand_off
from nurture.journey.intake.api import idempotency
from nurture.journey.intake.queries import ClosedLead, load_closed_by_policy
from nurture.journey.tracks.advance import AdvanceResult, advance
from nurture.journey.tracks.enroll import classify
from nurture.runtime.context import AppContext


@dataclass
class RunResult:
    """What each stage of one run did."""

    signals_applied: int = 0
    classified: Counter[str] = field(default_factory=Counter)
    closed: Sequence[ClosedLead] = ()
    """The leads that the policy closed."""
    advanced: AdvanceResult = field(default_factory=AdvanceResult)
    handed_off: Counter[str] = field(default_factory=Counter)
    broadcasts: PlanResult = field(default_factory=PlanResult)
    delivered: DeliverySummary = field(default_factory=DeliverySummary)
    crm: Counter[str] = field(default_factory=Counter)


def run_once(ctx: AppContext, now: datetime, clock: Clock | None = None) -> RunResult:
    """Run every stage once at *now* (UTC). A second run at the same time changes nothing.

    Sending takes time: a running *clock* is read again for each batch; without one, time stands still at *now*.
    """
    with ctx.database.write() as tx:
        clock_row.advance_to(tx, now)
    clock = clock or VirtualClock(now)
    idempotency.delete_expired(ctx, now)
    result = RunResult(
        signals_applied=provider_events.process_pending(ctx, now).new
        + replies.poll_inbox(ctx, now).new
        + apply_pending_signals(ctx, now),
        classified=classify(ctx, now),
        advanced=advance(ctx, now),
        handed_off=hand_off(ctx, now),
        broadcasts=plan_due(ctx, now),
        delivered=deliver(ctx, clock),
        crm=push(ctx, clock) + pull(ctx, clock.now()).counts,
    )
    if result.classified:
        with ctx.database.read() as tx:
            result.closed = load_closed_by_policy(tx, now)
    return result
