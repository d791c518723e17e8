"""Drain the outbox in batches: claim what may go, and send it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Final

from nurture.clock import Clock
from nurture.db.machine_state import DatabaseOutdated
from nurture.journey.delivery.claim import ClaimedBatch, claim_batch, put_back
from nurture.journey.delivery.send import MAX_CONSECUTIVE_UNKNOWN, send_claimed
from nurture.journey.delivery.unknown import load_resend_after
from nurture.journey.leads.due_queries import find_due_stages
from nurture.outbox import messages as outbox_messages
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.lease_queue import LEASE, CheckpointObserver, ignore_checkpoint
from nurture.runtime import quarantine
from nurture.runtime.batches import drain, gc_paused
from nurture.runtime.context import AppContext

MAX_BATCH_SIZE: Final = 1_000
"""How many messages one worker holds at most."""

MAX_RATE_LIMIT_WAIT: Final = timedelta(seconds=10)
"""How long a worker waits for a rate limit. Longer waits are left to a later run."""

UNKNOWN_LOOKBACK: Final = timedelta(minutes=15)
"""How far back unknown results of earlier runs count towards MAX_CONSECUTIVE_UNKNOWN."""


@dataclass
class DeliverySummary:
    """How many due messages one run handled, and how many are now in each state.

    *stopped_by* is the quarantine because of which nothing may be sent, None if there is none.
    """

    messages: int = 0
    states: Counter[str] = field(default_factory=Counter)
    stopped_by: Breaker | None = None

    @property
    def refusal(self) -> str:
        """Return why nothing was sent, and the remedy; "" if sending is allowed."""
        found = self.stopped_by
        return f"Nothing was sent: {found.reason}. {quarantine.remedy_for(found)}" if found is not None else ""

    def __add__(self, other: "DeliverySummary") -> "DeliverySummary":
        """Return the sum of two runs."""
        found = self.stopped_by or other.stopped_by
        return DeliverySummary(self.messages + other.messages, self.states + other.states, found)


def deliver(
    ctx: AppContext,
    clock: Clock,
    after_batch: Callable[[], None] = lambda: None,
    observe: CheckpointObserver = ignore_checkpoint,
    should_stop: Callable[[], bool] = lambda: False,
) -> DeliverySummary:
    """Send everything that is due and may go, in batches; call *after_batch* after each.

    Mail goes first, then notices by target, so that a target that cannot be reached delays neither mail nor other
    targets. *should_stop* is called between batches.
    """
    found = quarantine.check(ctx, clock.now())
    if found is not None and not quarantine.is_local(ctx.provider.name):
        return DeliverySummary(stopped_by=found)
    with ctx.database.read() as tx:
        if not find_due_stages(tx, clock.now(), ("deliver",)):
            return DeliverySummary()

    def send_due(ctx: AppContext, target: str | None = None) -> DeliverySummary:
        worker = _DeliveryWorker(ctx, clock, after_batch, observe, target, should_stop)
        total = sum(drain(worker.deliver_batch, worker.has_more, should_stop), worker.recovered)
        return total + worker.put_back()

    try:
        with gc_paused():
            total = send_due(ctx)
            with ctx.database.read() as tx:
                targets = outbox_messages.list_due_targets(tx, clock.now())
            for target in targets:
                if not should_stop():
                    total += send_due(replace(ctx, provider=ctx.notifier(target)), target)
            return total
    except DatabaseOutdated as error:
        reason = f"the database is in quarantine: {error}"
        return DeliverySummary(stopped_by=quarantine.start(ctx, reason, clock.now(), is_outdated=True))


class _DeliveryWorker:
    """Sends mail, or the notices for *target*, batch by batch.

    While the last shared request of a batch is made, it claims and composes the next one, so that neither the
    provider nor this process waits for the other. Its heartbeat keeps the leases of both.
    """

    def __init__(
        self,
        ctx: AppContext,
        clock: Clock,
        after_batch: Callable[[], None],
        observe: CheckpointObserver,
        target: str | None,
        should_stop: Callable[[], bool],
    ) -> None:
        self.ctx, self.clock, self.after_batch, self.observe, self.target = ctx, clock, after_batch, observe, target
        self.should_stop = should_stop
        self.token = token_urlsafe(8)
        self.next_batch: ClaimedBatch | None = None
        self.failure: Exception | None = None
        self.limit = min(ctx.batch_size, MAX_BATCH_SIZE)
        self.leases_checked_at = clock.now()
        self.recovered = _recover_expired_leases(ctx, self.leases_checked_at)
        self.consecutive_unknown = _count_recent_unknown(ctx, self.leases_checked_at)
        self.stopped_until: datetime | None = None
        self.is_probe = False

    def deliver_batch(self) -> DeliverySummary:
        """Claim one batch, and send it."""
        now, recovered = self.clock.now(), DeliverySummary()
        if now - self.leases_checked_at > LEASE / 4:
            self.leases_checked_at, recovered = now, _recover_expired_leases(self.ctx, now)
        batch, self.next_batch = self.next_batch or self._claim(), None

        def claim_next() -> None:
            if batch.due_count >= self.limit and not batch.is_probe and not self.should_stop():
                try:
                    self.next_batch = self._claim()
                except Exception as error:  # noqa: BLE001 - raised when the results of the calls are written
                    self.failure = error

        result = send_claimed(self.ctx, batch, self.clock, self.observe, self.consecutive_unknown, claim_next)
        if self.failure is not None:
            raise self.failure
        self.consecutive_unknown, self.is_probe = result.consecutive_unknown, batch.is_probe
        self.stopped_until = result.stopped_until or batch.stopped_until
        if self.stopped_until is not None:
            recovered += self.put_back()
        self.after_batch()
        return recovered + DeliverySummary(batch.due_count, batch.states + result.states)

    def _claim(self) -> ClaimedBatch:
        now = self.clock.now()
        return claim_batch(self.ctx, now, self.limit, self.observe, self.target, self.clock, self.token)

    def put_back(self) -> DeliverySummary:
        """Plan the messages of the next batch again; return what its claim held back."""
        batch, self.next_batch = self.next_batch, None
        if batch is None:
            return DeliverySummary()
        put_back(self.ctx, batch, self.clock.now())
        return DeliverySummary(0, batch.states)

    def has_more(self, summary: DeliverySummary) -> bool:
        """Return whether another batch may be due; wait for a rate limit first."""
        if self.stopped_until is not None:
            return self.clock.wait(self.stopped_until, MAX_RATE_LIMIT_WAIT)
        return summary.messages >= self.limit or self.is_probe


def _count_recent_unknown(ctx: AppContext, now: datetime) -> int:
    """Return how many unknown results this run starts with, at most one below the limit.

    Without it, runs of few messages would never reach the limit when the connection is broken.
    """
    with ctx.database.read() as tx:
        count = outbox_messages.QUEUE.count_recent_unknown(tx, ctx.provider.name, now - UNKNOWN_LOOKBACK)
    return min(count, MAX_CONSECUTIVE_UNKNOWN - 1)


def _recover_expired_leases(ctx: AppContext, now: datetime) -> DeliverySummary:
    """Release expired leases, and plan unknown messages again where `on_unknown` allows it."""
    with ctx.database.write() as tx:
        released, unknown = outbox_messages.QUEUE.release_expired(tx, now)
        resent = 0
        resend_after = load_resend_after(ctx.definitions, tx)
        if resend_after is not None:
            resent = outbox_messages.requeue_unknown(tx, now - resend_after, now)
    return DeliverySummary(0, Counter({"released": released, "unknown": unknown, "resent": resent}))
