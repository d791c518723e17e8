"""Run every stage once, without Prefect."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nurture.clock import Clock, VirtualClock
from nurture.db import clock_row
from nurture.journey.broadcasts.plan import PlanResult
from nurture.journey.delivery.run import DeliverySummary
from nurture.journey.intake.queries import ClosedLead, load_closed_by_policy
from nurture.journey.stages import STAGES
from nurture.journey.tracks.advance import AdvanceResult
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
    at = clock or VirtualClock(now)
    done = {name: stage.run(ctx, at, lambda: False) for name, stage in STAGES.items()}
    broadcasts, delivered = done["deliver"]
    result = RunResult(
        signals_applied=done["signals"].total(),
        classified=done["intake"],
        advanced=done["advance"],
        handed_off=done["hand-off"],
        broadcasts=broadcasts,
        delivered=delivered,
        crm=done["crm"],
    )
    if result.classified:
        with ctx.database.read() as tx:
            result.closed = load_closed_by_policy(tx, now)
    return result
