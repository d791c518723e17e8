"""Send claimed messages: the checks of mail before the call, and the results of its provider."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.clock import Clock
from nurture.db import locks
from nurture.db.locks import Lock
from nurture.db.transaction import Transaction
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt
from nurture.journey.delivery import send_checks
from nurture.journey.delivery.claim import ClaimedBatch, apply_outcomes_and_wake, save_links, save_mentions
from nurture.journey.leads.custody import lock_leads
from nurture.mail.providers.base import BatchProvider, Provider
from nurture.outbox import circuit_breakers, messages
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.lease_queue import LEASE, CheckpointObserver, ignore_checkpoint
from nurture.outbox.messages import DeliveryResult, DueMessage
from nurture.outbox.sender import Sender, SendResult, chunks
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext

IN_FLIGHT: Final = 2
"""How many chunks are at the provider at once. They share its concurrency limit, so that no call has to wait there."""

MAX_CONSECUTIVE_UNKNOWN: Final = 5
"""How many unknown results in a row open the circuit breaker."""


def send_claimed(
    ctx: AppContext,
    batch: ClaimedBatch,
    clock: Clock,
    observe: CheckpointObserver = ignore_checkpoint,
    consecutive_unknown: int = 0,
    while_calling: Callable[[], None] = lambda: None,
) -> SendResult:
    """Send in chunks the messages that may still go; put back the others if the provider stops.

    *consecutive_unknown* is the number of unknown results in a row so far. *while_calling* is called once, while the
    last shared request is at the provider; beside a request for each email it would delay what was just checked.
    """
    single, shared = _chunks(batch, ctx.provider)
    sender = _MessageSender(
        ctx=ctx,
        batch=batch,
        database=ctx.database,
        clock=clock,
        queue=messages.QUEUE,
        name=ctx.provider.name,
        token=batch.token,
        is_probe=batch.is_probe,
        observe=observe,
        beat_interval=ctx.beat_interval,
        result=SendResult(consecutive_unknown=consecutive_unknown),
        while_calling=while_calling if shared else lambda: None,
    )
    result = sender.send([*single, *shared])
    result.states += Counter(planned=result.held)
    return result


_Chunks = list[Sequence[DueMessage]]


def _chunks(batch: ClaimedBatch, provider: Provider) -> tuple[_Chunks, _Chunks]:
    """Return what *provider* is called with at once: as many messages as it sends in parallel, and shared requests."""
    by_form: dict[Hashable, list[DueMessage]] = defaultdict(list)
    for one in batch.claimed:
        by_form[batch.composed[one.id].email.shared_form].append(one)
    shared: _Chunks = []
    if isinstance(provider, BatchProvider):
        groups = [rows for form, rows in by_form.items() if form is not None and len(rows) > 1]
        shared = [rows for group in groups for rows in chunks(group, provider.max_batch)]
    grouped = {one.id for rows in shared for one in rows}
    single = [one for one in batch.claimed if one.id not in grouped]
    return list(chunks(single, max(1, provider.max_concurrency // IN_FLIGHT))), shared


@dataclass(kw_only=True)
class _MessageSender(Sender[DueMessage]):
    """Sends the messages of one batch."""

    max_in_flight = IN_FLIGHT
    max_consecutive_unknown = MAX_CONSECUTIVE_UNKNOWN

    ctx: AppContext
    batch: ClaimedBatch

    def lock(self, tx: Transaction, rows: Sequence[DueMessage]) -> None:
        """Let no stop be committed meanwhile; lock leads before messages, as a sweep that cancels messages does."""
        locks.acquire_shared(tx, Lock.STOPS)
        named = [lead for one in rows for lead in self.batch.composed[one.id].named_leads]
        lock_leads(tx, [*named, *(one.lead_id for one in rows)])

    def stamp(
        self, tx: Transaction, chunk: Sequence[DueMessage], now: datetime, states: Counter[str]
    ) -> Sequence[DueMessage]:
        """Mark as sending the messages that may still go and whose lease is still held; store their links."""
        ctx, batch = self.ctx, self.batch
        touches = [one for one in chunk if one.recipient == messages.TO_LEAD]
        blocked = send_checks.recheck_stops(ctx, tx, chunk, now)
        blocked |= send_checks.recheck_permissions(ctx, tx, touches, batch.histories, now)
        if batch.claimed_at is not None and now - batch.claimed_at > LEASE:
            blocked = send_checks.recheck_send_windows(ctx, tx, touches, now) | blocked
        self.write_results(tx, list(blocked.values()), chunk, now)
        remaining = {one.id: batch.composed[one.id] for one in chunk if one.id not in blocked}
        outdated = save_mentions(tx, remaining)
        stamps = [(id_, one.link_digest) for id_, one in remaining.items() if id_ not in outdated]
        stamped = self.queue.stamp(tx, stamps, self.token, now + LEASE, now)
        states.update(outcome.state for outcome in blocked.values())
        if stamped:
            save_links(tx, [remaining[id_] for id_ in stamped], now)
            quarantine.record_external_calls(ctx, tx, self.name)
        return [one for one in chunk if one.id in stamped]

    def call(self, rows: Sequence[DueMessage], now: datetime) -> Sequence[Receipt]:
        """Give the emails to the provider, which were composed after the claim."""
        return self.ctx.provider.send([self.batch.composed[one.id].email for one in rows], now)

    def accepted(self, row: DueMessage, receipt: Accepted, now: datetime) -> DeliveryResult:
        """Return the result of an email that the provider accepted."""
        id_ = receipt.remote_id
        return DeliveryResult(row.id, "accepted", provider=self.name, accepted_at=now, provider_message_id=id_)

    def write_back(self, tx: Transaction, answers: Sequence[tuple[DueMessage, Receipt]], now: datetime) -> Counter[str]:
        """Write the results, and pause the sender domains that the provider refused."""
        states = super().write_back(tx, answers, now)
        for domain, receipt in _refused_senders(answers, self.batch.domains).items():
            until = receipt.retry_at or now + send_checks.RECHECK_AFTER
            circuit_breakers.trip(tx, Breaker("domain", domain, receipt.reason, now, until))
        return states

    def write_results(
        self, tx: Transaction, results: Sequence[DeliveryResult], rows: Sequence[DueMessage], now: datetime
    ) -> None:
        """Write results of *rows*, and wake their leads."""
        apply_outcomes_and_wake(tx, results, rows, self.token, now)


def _refused_senders(answers: Sequence[tuple[DueMessage, Receipt]], domains: Mapping[int, str]) -> dict[str, NotSent]:
    return {
        domains[one.id]: receipt
        for one, receipt in answers
        if isinstance(receipt, NotSent) and receipt.blocks_sender and one.id in domains
    }
