"""Receive events from the mail provider: store the batch, then update messages, suppress, wake leads.

A batch is committed before the provider gets its 2xx response, and applied afterwards: at once, or by the next run.
Each step may run twice, in any order: statuses only advance; events and signals count once by their keys.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

from sqlalchemy.exc import DataError, IntegrityError

from nurture.db.engine import Database
from nurture.db.locks import Lock, acquire
from nurture.db.rollups import SentChange, count_sent
from nurture.db.transaction import Transaction
from nurture.domain.address import normalize_address
from nurture.domain.consent.suppression import SuppressionSource
from nurture.domain.delivery.delivery_status import (
    DeliveryEvent,
    DeliveryStatus,
    is_accepted_by_provider,
    merge_event,
)
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.engagement import click_filtering, click_queries, provider_event_queries, signals
from nurture.journey.engagement.click_filtering import EngagementEvent
from nurture.journey.engagement.provider_event_queries import (
    EventRow,
    MessageStatusUpdate,
    NewBatch,
    PendingBatch,
    SentMessage,
)
from nurture.journey.leads import address_queries, signal_queries
from nurture.journey.leads.signal_queries import NewSignal
from nurture.mail.providers.events import ProviderEvent, SuppressionReason
from nurture.outbox.messages import TO_LEAD
from nurture.runtime.batches import drain
from nurture.runtime.context import AppContext

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)

_MAX_BATCHES: Final = 20
_MAX_EVENTS: Final = 4_000
"""How many batches or events one transaction handles at most."""

UNPROCESSABLE: Final = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, DataError, IntegrityError)
"""Errors that an unexpected batch may raise. Any other error is not the batch's fault: it stays pending."""

_SIGNALS: Final[Mapping[SuppressionReason, tuple[SignalKind, SuppressionSource]]] = {
    SuppressionReason.BOUNCE: (SignalKind.BOUNCED, SuppressionSource.BOUNCE),
    SuppressionReason.COMPLAINT: (SignalKind.COMPLAINED, SuppressionSource.COMPLAINT),
    SuppressionReason.UNSUBSCRIBE: (SignalKind.UNSUBSCRIBED, SuppressionSource.PROVIDER),
}
_ENGAGEMENT_KINDS: Final = {"opened": SignalKind.OPENED, "clicked": SignalKind.CLICKED}

_log: Final = logging.getLogger(__name__)


class ReceivedBatch(NamedTuple):
    """A stored batch: its number of events, and whether it is new."""

    events: int
    new: bool


def receive(ctx: AppContext, provider: str, body: bytes, now: datetime) -> ReceivedBatch:
    """Store a batch as received, to be applied later. Raises InvalidEventBatch and stores nothing."""
    event_count = ctx.event_readers[provider].count(body)
    if not event_count:
        return ReceivedBatch(0, new=False)
    batch = NewBatch(provider, sha256(body).hexdigest(), now, event_count, body.decode())
    with ctx.database.write() as tx:
        return ReceivedBatch(event_count, provider_event_queries.store_batch(tx, batch))


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """How many events batches contained, how many of them were new, and how many messages changed."""

    events: int = 0
    new: int = 0
    messages: int = 0
    erased: frozenset[int] = frozenset()
    """Batches that concern an erased person."""

    def __add__(self, other: "ApplyResult") -> "ApplyResult":
        """Return the sum of two results."""
        return ApplyResult(
            self.events + other.events, self.new + other.new, self.messages + other.messages, self.erased | other.erased
        )


def process_pending(ctx: AppContext, now: datetime) -> ApplyResult:
    """Apply pending batches, retry failed ones, and delete those past their retention; these contain addresses."""
    kept = ctx.retention.raw_events
    cutoff = _LONG_AGO if kept is None else now - kept
    with ctx.database.read() as tx:
        if provider_event_queries.is_idle(tx, cutoff):
            return ApplyResult()
    with ctx.database.write() as tx:
        provider_event_queries.retry_failed(tx)
    result = apply_pending(ctx, now)
    with ctx.database.write() as tx:
        provider_event_queries.delete_processed(tx, cutoff)
    return result


def apply_pending(ctx: AppContext, now: datetime) -> ApplyResult:
    """Apply every pending batch, the oldest first."""
    pending = drain(lambda: _next_batches(ctx.database), bool)
    return sum((_apply_batches(ctx, batches, now) for batches in pending if batches), ApplyResult())


def _next_batches(database: Database) -> list[PendingBatch]:
    """Return as many pending batches as one transaction handles, at least one."""
    with database.read() as tx:
        found = provider_event_queries.load_pending(tx, _MAX_BATCHES)
    size = 0
    for number, batch in enumerate(found):
        size += batch.events
        if size > _MAX_EVENTS:
            return found[: max(number, 1)]
    return found


def _apply_batches(ctx: AppContext, batches: Sequence[PendingBatch], now: datetime) -> ApplyResult:
    """Apply batches together; on failure one by one, and then event by event."""
    try:
        return _apply_together(ctx, batches, now)
    except UNPROCESSABLE:
        if len(batches) == 1:
            return _apply_one_by_one(ctx, batches[0], now)
    total = ApplyResult()
    for batch in batches:
        total += _apply_batches(ctx, [batch], now)
    return total


def _apply_one_by_one(ctx: AppContext, batch: PendingBatch, now: datetime) -> ApplyResult:
    """Apply the valid events of a batch; set the batch aside if any event fails."""
    total, problem = ApplyResult(), ""
    try:
        for event in _parse(ctx, batch):
            try:
                total += _process_events(ctx, [(batch, event)], now)
            except UNPROCESSABLE as error:
                problem = type(error).__name__  # only the type: the message may quote the batch
    except UNPROCESSABLE as error:
        problem = type(error).__name__
    with ctx.database.write() as tx:
        if problem:
            provider_event_queries.mark_failed(tx, batch.id, problem)
        else:
            provider_event_queries.mark_processed(tx, [batch.id], now)
            provider_event_queries.clear_bodies(tx, total.erased)
    if problem:
        _log.error("event_batch_failed", extra={"batch_id": batch.id, "error": problem})
    return total


@dataclass(frozen=True, slots=True)
class _MatchedEvent:
    """An event with its message. *at* is its time, corrected to a possible one.

    *erased*: it concerns an erased person.
    """

    event: ProviderEvent
    batch: int
    provider: str
    received_at: datetime
    at: datetime
    message: SentMessage | None
    erased: bool = False


def _apply_together(ctx: AppContext, batches: Sequence[PendingBatch], now: datetime) -> ApplyResult:
    result = _process_events(ctx, [(batch, event) for batch in batches for event in _parse(ctx, batch)], now)
    with ctx.database.write() as tx:
        provider_event_queries.mark_processed(tx, [batch.id for batch in batches], now)
        provider_event_queries.clear_bodies(tx, result.erased)
    return result


def _parse(ctx: AppContext, batch: PendingBatch) -> list[ProviderEvent]:
    return ctx.event_readers[batch.provider].read(batch.body.encode())


def _process_events(
    ctx: AppContext, events: Sequence[tuple[PendingBatch, ProviderEvent]], now: datetime
) -> ApplyResult:
    """Store events and apply their effects; repeating it changes nothing.

    For an erased person only the message status is updated.
    """
    with ctx.database.write() as tx:
        acquire(tx, Lock.EVENTS)
        refs = {event.ref for _, event in events if event.ref and event.installation_id == ctx.installation_id}
        messages = provider_event_queries.lock_messages(tx, refs)
        matched = _redact_erased(
            tx, [_match_event(ctx.installation_id, batch, event, messages) for batch, event in events]
        )
        matched = _raise_repeated_refusals(tx, matched)
        kept = [one for one in matched if not one.erased]
        new = provider_event_queries.insert_events(tx, [_to_event_row(one) for one in kept])
        changed = _update_messages(tx, matched, now)
    _record_signals(ctx, [one for one in kept if one.message is not None and one.message.recipient == TO_LEAD], now)
    if changed:  # the delivery time may make a click a bot's, before the lead advances on it
        click_filtering.reclassify(ctx, now)
    return ApplyResult(len(events), new, changed, frozenset(one.batch for one in matched if one.erased))


def _match_event(
    installation_id: str, batch: PendingBatch, event: ProviderEvent, messages: Mapping[str, SentMessage]
) -> _MatchedEvent:
    """Match an event to its message. Its time is never before the mail was planned, or after the event was received."""
    message = messages.get(event.ref) if event.installation_id == installation_id else None
    at = min(event.at or batch.received_at, batch.received_at)
    if message is not None:
        at = max(at, message.planned_at)
    return _MatchedEvent(event, batch.id, batch.provider, batch.received_at, at, message)


def _redact_erased(tx: Transaction, matched: Sequence[_MatchedEvent]) -> list[_MatchedEvent]:
    """Mark events that concern an erased person, by message or by address, and drop their texts."""
    normals = [normalize_address(one.event.email) for one in matched]
    others = {normal for one, normal in zip(matched, normals, strict=True) if _is_foreign_address(one.message, normal)}
    erased = address_queries.find_erased(tx, sorted(others))
    return [
        replace(one, erased=True, event=replace(one.event, reason=""))
        if (one.message is not None and one.message.erased_at is not None) or normal in erased
        else one
        for one, normal in zip(matched, normals, strict=True)
    ]


def _raise_repeated_refusals(tx: Transaction, matched: Sequence[_MatchedEvent]) -> list[_MatchedEvent]:
    """Turn ambiguous refusals into bounces where an earlier message to the lead was refused alike."""
    ids = {one.message.id for one in matched if one.event.is_ambiguous and one.message is not None}
    repeated = provider_event_queries.find_repeated_refusals(tx, ids)
    return [
        replace(one, event=one.event.as_bounce())
        if one.event.is_ambiguous and one.message is not None and one.message.id in repeated
        else one
        for one in matched
    ]


def _is_foreign_address(message: SentMessage | None, address: str) -> bool:
    return bool(address) and (message is None or address != message.address)


def _to_event_row(matched: _MatchedEvent) -> EventRow:
    event = matched.event
    return EventRow(
        natural_key=event.natural_key,
        event_key=event.event_key,
        provider=matched.provider,
        event_type=event.event_type.value,
        raw_event_type=event.event_name,
        at=matched.at,
        received_at=matched.received_at,
        message_id=matched.message.id if matched.message is not None else None,
        installation_id=event.installation_id[:100],
        ref=event.ref[:200],
        provider_message_id=event.provider_message_id,
        reason=event.reason,
    )


def _update_messages(tx: Transaction, matched: Sequence[_MatchedEvent], now: datetime) -> int:
    """Update the status of the messages; return how many changed."""
    updates: dict[int, list[DeliveryEvent]] = defaultdict(list)
    messages: dict[int, SentMessage] = {}
    providers: dict[int, str] = {}
    for one in matched:
        if one.message is not None:
            messages[one.message.id] = one.message
            providers.setdefault(one.message.id, one.provider)
            event = DeliveryEvent(one.event.event_type, one.at, one.event.reason, one.event.is_ambiguous)
            updates[one.message.id].append(event)
    return sum(
        apply_statuses(
            tx, [(messages[id_], updates[id_]) for id_ in updates if providers[id_] == provider], provider, now
        )
        for provider in sorted(set(providers.values()))
    )


def _record_signals(ctx: AppContext, matched: Sequence[_MatchedEvent], now: datetime) -> None:
    """Record signals of what leads did; suppress bounced addresses that no longer belong to the lead."""
    other_address_events = [
        one for one in matched if one.event.suppression_reason is not None and _is_about_other_address(one)
    ]
    if other_address_events:
        database, refusals = ctx.database, list(_refusals(other_address_events))
        with database.write() as tx:
            found = suppression.get_or_create_addresses(tx, sorted({normal for normal, _ in refusals}))
            opt_outs = [refusal._replace(address_id=found[normal]) for normal, refusal in refusals]
            suppression.opt_out(tx, opt_outs, now)
    lead_events = [one for one in matched if _is_about_lead(one)]
    clicks = [_to_engagement_event(one) for one in matched if one.event.event_type.value in _ENGAGEMENT_KINDS]
    if lead_events or clicks:
        signals.record(ctx, [_to_signal(one, now) for one in lead_events], now, clicks)


def _is_about_lead(matched: _MatchedEvent) -> bool:
    """Return whether it concerns the lead. A bounce concerns an address that the lead may have given up."""
    refusal = matched.event.suppression_reason
    return refusal is not None and not (refusal is SuppressionReason.BOUNCE and _is_about_other_address(matched))


def _is_about_other_address(matched: _MatchedEvent) -> bool:
    """Return whether it concerns another address than the lead's current one."""
    if matched.message is None or normalize_address(matched.event.email) == matched.message.address:
        return False
    return _normalize_or_none(matched.event.email) is not None


def _normalize_or_none(email: str) -> str | None:
    try:
        return suppression.parse_address(email)
    except InvalidState:
        return None


def _refusals(matched: Sequence[_MatchedEvent]) -> Iterator[tuple[str, OptOut]]:
    """Yield the addresses that events suppress, with the opt-outs; these have no address id yet."""
    for one in matched:
        normal = _normalize_or_none(one.event.email)
        if normal is not None and one.event.suppression_reason is not None:
            source = _SIGNALS[one.event.suppression_reason][1]
            yield normal, OptOut(0, source, at=one.at, evidence=_evidence(one))


def _evidence(matched: _MatchedEvent) -> str:
    """Return which event of the provider reported it, and when, without personal data."""
    event = matched.event
    id_ = f", id {event.event_id}" if event.event_id else ""
    return f"{matched.provider} event {event.event_name}{id_}, {matched.at:%Y-%m-%d %H:%M:%S} UTC"


def _to_signal(matched: _MatchedEvent, now: datetime) -> NewSignal:
    assert matched.message is not None
    assert matched.event.suppression_reason is not None
    kind, source = _SIGNALS[matched.event.suppression_reason]
    return NewSignal(
        lead_id=matched.message.lead_id,
        kind=kind.value,
        occurred_at=matched.at,
        recorded_at=now,
        natural_key=_natural_key(matched, kind),
        source=matched.provider,
        verdict_reason=_evidence(matched),
        enrollment_id=matched.message.enrollment_id,
        track=matched.message.track,
        step=matched.message.step or None,
        message_id=matched.message.id,
        value=source.value if kind is SignalKind.UNSUBSCRIBED else None,
    )


def _to_engagement_event(matched: _MatchedEvent) -> EngagementEvent:
    assert matched.message is not None
    kind = _ENGAGEMENT_KINDS[matched.event.event_type.value]
    url = matched.event.url
    return EngagementEvent(
        kind=kind,
        message_id=matched.message.id,
        occurred_at=matched.at,
        link=f"url-{sha256(url.encode()).hexdigest()[:10]}" if url else None,
        ip=matched.event.ip,
        agent=matched.event.user_agent,
        machine=matched.event.is_machine_open,
        source=matched.provider,
        natural_key=_natural_key(matched, kind),
    )


def _natural_key(matched: _MatchedEvent, kind: SignalKind) -> str:
    return f"{matched.provider}|{kind.value}|{matched.event.natural_key}"


def apply_statuses(
    tx: Transaction, updates: Iterable[tuple[SentMessage, Sequence[DeliveryEvent]]], provider: str, now: datetime
) -> int:
    """Store the new status of messages, wake leads whose mail was in flight; return how many changed.

    *provider* is the source of the events. Requires the messages to be locked, and `Lock.EVENTS`.
    """
    rows: list[MessageStatusUpdate] = []
    lead_ids: list[int] = []
    counted: list[SentChange] = []
    for sent, news in updates:
        before = after = DeliveryStatus(sent.state, sent.state_at, sent.accepted_at, sent.reason, sent.is_ambiguous)
        for one in news:
            after = merge_event(after, one)
        if after == before:
            continue
        rows.append(MessageStatusUpdate(sent.id, before.state, *after, provider=provider))
        if after.accepted_at != before.accepted_at:
            times = ((before.accepted_at, -1), (after.accepted_at, 1))
            counted += [SentChange(sent.id, at, n) for at, n in times if at is not None]
        if not is_accepted_by_provider(before.state):
            lead_ids.append(sent.lead_id)
    signal_queries.make_due(tx, lead_ids, now)
    provider_event_queries.write_statuses(tx, rows)
    count_sent(tx, counted)
    # Whether a click came too soon depends on when the mail was delivered.
    click_queries.mark_for_reclassification(tx, [row.id for row in rows])
    return len(rows)
