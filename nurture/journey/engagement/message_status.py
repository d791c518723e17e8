"""Apply delivery events to messages: a status only advances, in any order and however often events repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from nurture.db.transaction import Transaction
from nurture.domain.delivery.delivery_status import DeliveryEvent, DeliveryStatus, is_accepted_by_provider, merge_event
from nurture.journey.engagement import click_queries, provider_event_queries
from nurture.journey.engagement.provider_event_queries import MessageStatusUpdate, SentMessage
from nurture.journey.leads import signal_queries


def apply_statuses(
    tx: Transaction, updates: Iterable[tuple[SentMessage, Sequence[DeliveryEvent]]], provider: str, now: datetime
) -> int:
    """Store the new status of messages, wake leads whose mail was in flight; return how many changed.

    *provider* is the source of the events. Requires the messages to be locked, and `Lock.EVENTS`.
    """
    rows: list[MessageStatusUpdate] = []
    lead_ids: list[int] = []
    for sent, news in updates:
        before = after = DeliveryStatus(sent.state, sent.state_at, sent.accepted_at, sent.reason)
        for one in news:
            after = merge_event(after, one)
        if after == before:
            continue
        rows.append(MessageStatusUpdate(sent.id, before.state, *after, provider=provider))
        if not is_accepted_by_provider(before.state):
            lead_ids.append(sent.lead_id)
    signal_queries.make_due(tx, lead_ids, now)
    provider_event_queries.write_statuses(tx, rows)
    # Whether a click came too soon depends on when the mail was delivered.
    click_queries.mark_for_reclassification(tx, [row.id for row in rows])
    return len(rows)
