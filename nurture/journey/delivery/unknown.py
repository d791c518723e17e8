"""Settle what is in doubt, by what a person found out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from nurture.domain.planning.lead_view import UNKNOWN_COUNTS_AS_SENT_AFTER
from nurture.errors import NotFound
from nurture.journey.delivery import unknown_queries
from nurture.journey.delivery.unknown_queries import UnknownMessage
from nurture.journey.leads import changeset, signal_queries
from nurture.journey.leads.changeset import Changes, JournalEntry
from nurture.outbox import messages
from nurture.outbox.messages import DeliveryResult
from nurture.runtime.context import AppContext

DefaultResolution = Literal["resend", "count_as_sent", "hold"]
"""What becomes of a message in doubt if nobody settles it."""


@dataclass(frozen=True, slots=True)
class PendingResolution:
    """A message in doubt, and the *resolution* that happens by itself from *at* (UTC) on, None for never."""

    message: UnknownMessage
    resolution: DefaultResolution
    at: datetime | None


def list_unknown(ctx: AppContext) -> list[UnknownMessage]:
    """Return every message in doubt, the oldest first."""
    with ctx.database.read() as connection:
        return unknown_queries.load_unknown(connection)


def list_pending_resolutions(ctx: AppContext) -> list[PendingResolution]:
    """Return every message in doubt, the oldest first, with what becomes of it if nobody settles it."""
    with ctx.database.read() as connection:
        found = unknown_queries.load_unknown(connection)
        try:
            resend_after = ctx.definitions.current(connection).sending.resend_after
        except NotFound:
            resend_after = None
    return [default_resolution(one, resend_after) for one in found]


def default_resolution(message: UnknownMessage, resend_after: timedelta | None) -> PendingResolution:
    """Say what becomes of a message in doubt under the rules for sending, if nobody settles it."""
    if resend_after is not None and message.provider != messages.PRESUMED_SENT:
        return PendingResolution(message, "resend", message.called_at + resend_after)
    if message.kind == "touch":
        return PendingResolution(message, "count_as_sent", message.called_at + UNKNOWN_COUNTS_AS_SENT_AFTER)
    return PendingResolution(message, "hold", None)


def resolve_unknown(ctx: AppContext, ids: Sequence[int], now: datetime, *, sent: bool) -> list[UnknownMessage]:
    """Say of messages in doubt that they were sent, or that they were not: these are planned anew.

    All or none; the journal of each lead tells of it. Raises NotFound naming the ids that are not in doubt.
    """
    database = ctx.database
    with database.write() as connection:
        # Leads first, as everybody who settles messages does: so nobody waits in a circle.
        leads = [one.lead_id for one in unknown_queries.load_unknown_by_id(database, connection, ids)]
        changeset.lock_leads(database, connection, leads)
        found = unknown_queries.load_unknown_by_id(database, connection, ids, lock=True)
        missing = sorted(set(ids) - {one.id for one in found})
        if missing:
            raise NotFound(
                f"Not in doubt: {', '.join(map(str, missing))}. Nothing was settled. "
                "`nurture delivery messages` lists what is."
            )
        signal_queries.make_due(database, connection, leads, now)
        messages.write_results(database, connection, [_manual_outcome(one, now, sent=sent) for one in found], None, now)
        changes = Changes(journal_entries=[_journal_entry(one, now, sent=sent) for one in found])
        changes.write(database, connection, now)
    return found


def _manual_outcome(message: UnknownMessage, now: datetime, *, sent: bool) -> DeliveryResult:
    if sent:
        return DeliveryResult(
            message.id, "accepted", message.called_at, None, None, "settled by hand: it was sent", None
        )
    reason = "settled by hand: it was not sent"
    return DeliveryResult(message.id, "planned", None, None, None, reason, now, now + messages.RESEND_WINDOW)


def _journal_entry(message: UnknownMessage, now: datetime, *, sent: bool) -> JournalEntry:
    finding = "it was sent" if sent else "it was not sent, so it is planned again"
    reason = f"a person found out about the doubt of {message.called_at:%Y-%m-%d %H:%M} UTC: {finding}"
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
