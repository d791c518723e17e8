"""Settle messages by what is told of them, whoever tells it: they only rise, in any order, however often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from nurture.domain.delivery.delivery_status import Fate, News, is_settled, merge
from nurture.journey.engagement import click_queries, provider_event_queries
from nurture.journey.engagement.provider_event_queries import Sent, Settled
from nurture.journey.leads import signal_queries
from nurture.runtime.context import House


def settle(
    house: House,
    connection: Connection,
    told: Iterable[tuple[Sent, Sequence[News]]],
    door: str,
    now: datetime,
) -> int:
    """Write what messages have become, wake whose mail was in the air; return how many changed.

    *door* is who tells it. The messages are locked, and nobody else applies events (`Lock.EVENTS`).
    """
    rows: list[Settled] = []
    landed: list[int] = []
    for sent, news in told:
        before = after = Fate(sent.state, sent.state_at, sent.accepted_at, sent.reason)
        for one in news:
            after = merge(after, one)
        if after == before:
            continue
        rows.append(Settled(sent.id, before.state, *after, provider=door))
        if not is_settled(before.state):
            landed.append(sent.lead_id)
    signal_queries.wake(house.database, connection, landed, now)
    provider_event_queries.settle(house.database, connection, rows)
    # Whether a click came too soon depends on when the mail was there.
    click_queries.doubt(house.database, connection, [row.id for row in rows])
    return len(rows)
