"""List unknown deliveries and resolve them by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from nurture.db.transaction import Transaction
from nurture.domain.planning.lead_view import UNKNOWN_COUNTS_AS_SENT_AFTER
from nurture.errors import NotFound
from nurture.journey.delivery import queries
from nurture.journey.delivery.queries import UnknownMessage
from nurture.journey.leads import signal_queries
from nurture.journey.leads.changeset import Changes
from nurture.journey.leads.custody import JournalEntry, lock_leads
from nurture.outbox import messages
from nurture.outbox.messages import DeliveryResult
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions

DefaultResolution = Literal["resend", "count_as_sent", "hold"]
"""What happens to an unknown message if nobody resolves it."""


@dataclass(frozen=True, slots=True)
class PendingResolution:
    """An unknown message, and the *resolution* that applies automatically from *at* (UTC), None for never."""

    message: UnknownMessage
    resolution: DefaultResolution
    at: datetime | None


def list_pending_resolutions(ctx: AppContext, limit: int | None = None) -> list[PendingResolution]:
    """Return the unknown messages, the oldest first, each with its default resolution."""
    with ctx.database.read() as tx:
        found = queries.load_unknown(tx, limit)
        resend_after = load_resend_after(ctx.definitions, tx)
    return [default_resolution(one, resend_after) for one in found]


def load_resend_after(definitions: PublishedDefinitions, tx: Transaction) -> timedelta | None:
    """Return after how long the sending rules resend unknown messages, None for never."""
    current = definitions.find_current(tx)
    return current.sending.resend_after if current is not None else None


def default_resolution(message: UnknownMessage, resend_after: timedelta | None) -> PendingResolution:
    """Return what happens to an unknown message under the sending rules if nobody resolves it."""
    if resend_after is not None and message.provider != messages.PRESUMED_SENT:
        return PendingResolution(message, "resend", message.called_at + resend_after)
    if message.kind in messages.MARKETING:
        return PendingResolution(message, "count_as_sent", message.called_at + UNKNOWN_COUNTS_AS_SENT_AFTER)
    return PendingResolution(message, "hold", None)


def resolve_unknown(ctx: AppContext, ids: Sequence[int], now: datetime, *, sent: bool) -> list[UnknownMessage]:
    """Resolve unknown messages as sent, or as not sent: then they are planned again.

    All or none; each lead's journal records it. Raises NotFound with the ids that are not unknown.
    """
    with ctx.database.write() as tx:
        # Lock leads before messages, as everywhere, so that no deadlock occurs.
        leads = [one.lead_id for one in queries.load_unknown_by_id(tx, ids)]
        lock_leads(tx, leads)
        found = queries.load_unknown_by_id(tx, ids, lock=True)
        missing = sorted(set(ids) - {one.id for one in found})
        if missing:
            raise NotFound(
                f"No message with unknown delivery: {', '.join(map(str, missing))}. Nothing was changed. "
                "`nurture mail messages` lists them."
            )
        signal_queries.make_due(tx, leads, now)
        messages.write_results(tx, [_manual_outcome(one, now, sent=sent) for one in found], None, now)
        changes = Changes(journal_entries=[_journal_entry(one, now, sent=sent) for one in found])
        changes.write(tx, now)
    return found


def _manual_outcome(message: UnknownMessage, now: datetime, *, sent: bool) -> DeliveryResult:
    if sent:
        reason = "resolved by hand: it was sent"
        return DeliveryResult(message.id, "accepted", reason, accepted_at=message.called_at)
    reason = "resolved by hand: it was not sent"
    return DeliveryResult(message.id, "planned", reason, now, now + messages.RESEND_WINDOW)


def _journal_entry(message: UnknownMessage, now: datetime, *, sent: bool) -> JournalEntry:
    finding = "it was sent" if sent else "it was not sent, so it is planned again"
    reason = f"unknown delivery of {message.called_at:%Y-%m-%d %H:%M} UTC resolved by a person: {finding}"
    return JournalEntry(
        message.lead_id,
        now,
        "deliver",
        "resolved",
        reason,
        track=message.track,
        step=message.step,
        ref=message.send_key,
    )
