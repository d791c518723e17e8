"""Settle messages by what is told of them, whoever tells it: they only rise, in any order, however often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from nurture.domain.delivery.delivery_status import DeliveryEvent, DeliveryStatus, is_accepted_by_provider, merge_event
from nurture.journey.engagement import click_queries, provider_event_queries
from nurture.journey.engagement.provider_event_queries import MessageStatusUpdate, SentMessage
from nurture.journey.leads import signal_queries
from nurture.runtime.context import AppContext


def apply_statuses(
    ctx: AppContext,
    connection: Connection,
    updates: Iterable[tuple[SentMessage, Sequence[DeliveryEvent]]],
    provider: str,
    now: datetime,
) -> int:
    """Write what messages have become, wake whose mail was in the air; return how many changed.

    *provider* is who tells it. The messages are locked, and nobody else applies events (`Lock.EVENTS`).
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
    signal_queries.make_due(ctx.database, connection, lead_ids, now)
    provider_event_queries.write_statuses(ctx.database, connection, rows)
    # Whether a click came too soon depends on when the mail was there.
    click_queries.mark_for_reclassification(ctx.database, connection, [row.id for row in rows])
    return len(rows)
