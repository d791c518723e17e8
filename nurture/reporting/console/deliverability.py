"""What the page on deliverability shows beside the status of senders: refusals by day, suppressions, last events."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from nurture.db.rollups import SENT
from nurture.db.transaction import Transaction
from nurture.journey.delivery import circuit_breakers, queries, unknown
from nurture.journey.delivery.circuit_breakers import DeliverabilityStatus
from nurture.journey.delivery.unknown import PendingResolution
from nurture.journey.engagement import provider_event_queries
from nurture.reporting.console import deliverability_queries
from nurture.reporting.console.deliverability_queries import EventHealth, SendingHealth
from nurture.reporting.console.today_queries import count_measures
from nurture.runtime.context import AppContext

DAYS: Final = 30
MAX_UNKNOWN: Final = 50
OVERDUE_AFTER: Final = timedelta(hours=1)
"""How long after its time an email counts as overdue."""


@dataclass(frozen=True, slots=True)
class DeliveryDay:
    """One day (UTC): touches that the provider accepted, and how many emails bounced or were complained about."""

    day: date
    sent: int
    bounced: int
    complained: int


@dataclass(frozen=True, slots=True)
class Deliverability:
    """The senders, the last 30 days, at most 50 *pending* of *unknown_count* messages, and opt-outs by their source.

    *opt_outs* counts those in the log, and those of the last 30 days. *failed_batches* could not be applied.
    """

    status: DeliverabilityStatus
    days: tuple[DeliveryDay, ...]
    pending: tuple[PendingResolution, ...]
    unknown_count: int
    opt_outs: Mapping[str, tuple[int, int]]
    events: EventHealth
    sending: SendingHealth
    failed_batches: int


def load_deliverability(ctx: AppContext, now: datetime) -> Deliverability:
    """Return what the page shows at *now*, in a constant number of statements."""
    today = now.astimezone(UTC).date()
    since = today - timedelta(days=DAYS - 1)
    with ctx.database.read() as tx:
        days = _load_days(tx, since, today)
        opt_outs = deliverability_queries.count_opt_outs(tx, now - timedelta(days=DAYS))
        events = deliverability_queries.load_event_health(tx)
        sending = deliverability_queries.load_sending_health(tx, now - OVERDUE_AFTER)
        failed, _ = provider_event_queries.count_failed(tx)
        unknown_count = queries.count_unknown(tx)
    return Deliverability(
        circuit_breakers.load_deliverability_status(ctx, now),
        days,
        tuple(unknown.list_pending_resolutions(ctx, MAX_UNKNOWN)) if unknown_count else (),
        unknown_count,
        opt_outs,
        events,
        sending,
        failed,
    )


def _load_days(tx: Transaction, since: date, until: date) -> tuple[DeliveryDay, ...]:
    sent = count_measures(tx, since, until)[SENT]
    refused = deliverability_queries.count_refused(tx, datetime.combine(since, time(), UTC))
    days = [since + timedelta(days=number) for number in range((until - since).days + 1)]
    return tuple(
        DeliveryDay(one, sent.get(one, 0), refused.get((one, "bounced"), 0), refused.get((one, "complained"), 0))
        for one in days
    )
