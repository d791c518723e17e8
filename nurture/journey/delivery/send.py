"""Send claimed messages: stamp, call the provider, write back, with two chunks in flight."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple, assert_never

from sqlalchemy.exc import DBAPIError

from nurture.clock import Clock
from nurture.db.errors import is_transaction_conflict
from nurture.db.transaction import Transaction
from nurture.domain.delivery.backoff import backoff
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.errors import DatabaseUnavailable
from nurture.journey.delivery import send_checks
from nurture.journey.delivery.claim import PROBE_AFTER, CheckpointObserver, ClaimedBatch, apply_outcomes_and_wake
from nurture.journey.leads import lock_queries
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox import circuit_breakers, messages
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.heartbeat import LEASE, heartbeat
from nurture.outbox.messages import DeliveryResult, DueMessage
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext

IN_FLIGHT: Final = 2
"""How many chunks are at the provider at once. They share its concurrency limit, so that no call has to wait there."""

MAX_CONSECUTIVE_UNKNOWN: Final = 5
"""How many unknown results in a row open the circuit breaker."""

MAX_WRITE_ATTEMPTS: Final = 3
"""How often a write is tried that fails with a transaction conflict, such as a deadlock."""

STALE_AFTER: Final = timedelta(seconds=5)
"""A call that starts later than this after its last check is not made: the machine may have been suspended."""


@dataclass
class SendResult:
    """How many messages are in each state after sending; *stopped_until* is when the provider accepts mail again."""

    states: Counter[str] = field(default_factory=Counter)
    stopped_until: datetime | None = None
    consecutive_unknown: int = 0


def send_claimed(
    ctx: AppContext,
    batch: ClaimedBatch,
    clock: Clock,
    observe: CheckpointObserver = lambda _point, _refs: None,
    consecutive_unknown: int = 0,
) -> SendResult:
    """Send in chunks the messages that may still go; put back the others if the provider stops.

    While one chunk is at the provider, the previous one is written back and the next one is stamped.
    *consecutive_unknown* is the number of unknown results in a row so far.
    """
    result = SendResult(consecutive_unknown=consecutive_unknown)
    if not batch.claimed:
        return result
    pending_chunks = deque(_chunks(batch.claimed, max(1, ctx.provider.max_concurrency // IN_FLIGHT)))
    in_flight: deque[_InFlightChunk] = deque()
    stop: NotSent | None = None
    with heartbeat(ctx.database, batch.token, clock), ThreadPoolExecutor(IN_FLIGHT, "call") as executor:
        while in_flight or (pending_chunks and stop is None):
            completed = in_flight.popleft() if len(in_flight) == IN_FLIGHT or not pending_chunks or stop else None
            if completed is not None:
                receipts = completed.receipts.result()
                observe("after the call", completed.refs)
                stop = stop or _find_stop(receipts, result)
            chunk = pending_chunks.popleft() if pending_chunks and stop is None else ()
            sending = _write_back_and_stamp(ctx, batch, completed, chunk, result, clock, observe)
            if sending:
                emails = [batch.emails[one.id] for one in sending]
                checked_at = clock.now()
                in_flight.append(
                    _InFlightChunk(sending, executor.submit(_call_provider, ctx, emails, checked_at, clock))
                )
    if stop is not None:
        _open_breaker(ctx, batch, [one for chunk in pending_chunks for one in chunk], stop, result, clock.now())
    return result


class _InFlightChunk(NamedTuple):
    """A chunk at the provider."""

    sending: Sequence[DueMessage]
    receipts: Future[Sequence[Receipt]]

    @property
    def refs(self) -> list[str]:
        return [one.send_key for one in self.sending]


def _chunks(claimed: Sequence[DueMessage], size: int) -> Iterator[Sequence[DueMessage]]:
    for start in range(0, len(claimed), size):
        yield claimed[start : start + size]


def _call_provider(
    ctx: AppContext, emails: Sequence[ComposedEmail], checked_at: datetime, clock: Clock
) -> Sequence[Receipt]:
    now = clock.now()
    if now - checked_at > STALE_AFTER:
        reason = f"not called: more than {STALE_AFTER.seconds} s passed since the last check"
        return [NotSent(reason, now) for _ in emails]
    try:
        return ctx.provider.send(emails, now)
    except Exception as error:  # noqa: BLE001 - any of them may have been sent
        return [Unknown(f"{ctx.provider.name} failed: {type(error).__name__}") for _ in emails]


def _write_back_and_stamp(
    ctx: AppContext,
    batch: ClaimedBatch,
    completed: _InFlightChunk | None,
    chunk: Sequence[DueMessage],
    result: SendResult,
    clock: Clock,
    observe: CheckpointObserver,
) -> list[DueMessage]:
    """Write back *completed*, and stamp what may go of *chunk*, in one transaction to wait for the disk once."""
    refs = [one.send_key for one in chunk]
    for attempt in range(MAX_WRITE_ATTEMPTS):
        if chunk:
            observe("last check", refs)
        states: Counter[str] = Counter()
        try:
            with ctx.database.write() as tx:
                now = clock.now()  # read after the lock is held: a lease starts when it is written
                # Lock leads before messages, as a sweep that cancels messages does, so that no deadlock occurs.
                concerned = [*chunk, *(completed.sending if completed else ())]
                lock_queries.lock_leads(tx, [one.lead_id for one in concerned])
                if completed is not None:
                    states += _write_back(ctx, tx, batch, completed, now)
                    observe("write-back", completed.refs)
                sending = _stamp(ctx, tx, batch, chunk, states, now) if chunk else []
                if sending:
                    quarantine.record_external_calls(ctx, tx, ctx.provider.name)
            break
        except (DBAPIError, DatabaseUnavailable) as error:
            # The results of the calls must survive a passing conflict.
            if attempt + 1 == MAX_WRITE_ATTEMPTS or not is_transaction_conflict(error):
                raise
    result.states += states
    if completed is not None:
        observe("written back", completed.refs)
    if sending:
        observe("before the call", refs)
    return sending


def _write_back(
    ctx: AppContext, tx: Transaction, batch: ClaimedBatch, completed: _InFlightChunk, now: datetime
) -> Counter[str]:
    receipts, provider_name = completed.receipts.result(), ctx.provider.name
    answers = list(zip(completed.sending, receipts, strict=True))
    outcomes = [_outcome(one, receipt, provider_name, now) for one, receipt in answers]
    apply_outcomes_and_wake(tx, outcomes, completed.sending, batch.token, now)
    if batch.is_probe and any(isinstance(receipt, Accepted | Rejected) for receipt in receipts):
        circuit_breakers.release(tx, "provider", provider_name, "a successful probe", now)
    for domain, receipt in _refused_senders(answers, batch.domains).items():
        until = receipt.retry_at or now + send_checks.RECHECK_AFTER
        circuit_breakers.trip(tx, Breaker("domain", domain, receipt.reason, now, until))
    return Counter(outcome.state for outcome in outcomes)


def _refused_senders(answers: Sequence[tuple[DueMessage, Receipt]], domains: Mapping[int, str]) -> dict[str, NotSent]:
    return {
        domains[one.id]: receipt
        for one, receipt in answers
        if isinstance(receipt, NotSent) and receipt.blocks_sender and one.id in domains
    }


def _stamp(
    ctx: AppContext,
    tx: Transaction,
    batch: ClaimedBatch,
    chunk: Sequence[DueMessage],
    states: Counter[str],
    now: datetime,
) -> list[DueMessage]:
    """Mark as sending the messages that may still go and whose lease is still held."""
    touches = [one for one in chunk if one.kind in messages.TO_LEADS]
    blocked = send_checks.recheck_suppressions(ctx, tx, touches)
    if batch.claimed_at is not None and now - batch.claimed_at > LEASE:
        blocked = send_checks.recheck_send_windows(ctx, tx, touches, now) | blocked
    apply_outcomes_and_wake(tx, list(blocked.values()), chunk, batch.token, now)
    remaining = [one.id for one in chunk if one.id not in blocked]
    stamped = messages.stamp_sending(tx, remaining, batch.token, now + LEASE, now)
    states.update(outcome.state for outcome in blocked.values())
    return [one for one in chunk if one.id in stamped]


def _find_stop(receipts: Sequence[Receipt], result: SendResult) -> NotSent | None:
    """Return the receipt that stops sending, or a new one after too many unknown results in a row."""
    stops = [receipt for receipt in receipts if isinstance(receipt, NotSent) and receipt.blocks_all]
    for receipt in receipts:
        if isinstance(receipt, Unknown):
            result.consecutive_unknown += 1
            if result.consecutive_unknown >= MAX_CONSECUTIVE_UNKNOWN:
                reason = (
                    f"{result.consecutive_unknown} calls in a row had an unknown result, the last one: {receipt.reason}"
                )
                stops.append(NotSent(reason, blocks_all=True))
                break
        elif not isinstance(receipt, NotSent):
            result.consecutive_unknown = 0
    return max(stops, key=lambda one: (one.retry_at is None, one.retry_at), default=None)


def _open_breaker(
    ctx: AppContext,
    batch: ClaimedBatch,
    remaining: Sequence[DueMessage],
    stop: NotSent,
    result: SendResult,
    now: datetime,
) -> None:
    """Stop all workers from calling the provider for a while, and plan again what was not called."""
    until = max(stop.retry_at or now + PROBE_AFTER, now + timedelta(seconds=1))
    deferred = [send_checks.hold_until(one, stop.reason, until) for one in remaining]
    name = ctx.provider.name
    with ctx.database.write() as tx:
        lock_queries.lock_leads(tx, [one.lead_id for one in remaining])
        messages.write_results(tx, deferred, batch.token, now)
        circuit_breakers.trip(tx, Breaker("provider", name, stop.reason, now, until))
    result.states["planned"] += len(deferred)
    result.stopped_until = until


def _outcome(message: DueMessage, receipt: Receipt, provider_name: str, now: datetime) -> DeliveryResult:
    match receipt:
        case Accepted(remote_id=provider_id):
            return DeliveryResult(message.id, "accepted", now, provider_name, provider_id, None, None)
        case Rejected(reason=why):
            return DeliveryResult(message.id, "rejected", None, provider_name, None, why, None)
        case NotSent(reason=why, retry_at=retry_at, blocks_all=stops):
            send_at = retry_at or now + (PROBE_AFTER if stops else backoff(message.attempts, message.send_key))
            return DeliveryResult(message.id, "planned", None, provider_name, None, why, send_at)
        case Unknown(reason=why):
            return DeliveryResult(message.id, "unknown", None, provider_name, None, why, None)
        case _:
            assert_never(receipt)
