"""The results of messages that may not go now: cancelled, held, or deferred by a limit."""

from datetime import datetime, timedelta
from typing import Final

from nurture.journey.leads.stop_queries import STOP
from nurture.outbox.messages import BROADCAST, DeliveryResult, DueMessage

TOO_LATE: Final = "too_late"
"""The reason of messages whose time was over; of a broadcast, it goes on with what held it."""

_AFTER_END: Final = timedelta(seconds=1)


def cancel(message: DueMessage, reason: str) -> DeliveryResult:
    """Return the result of a message that will never be sent."""
    return DeliveryResult(message.id, "cancelled", reason)


def hold_until(message: DueMessage, reason: str, until: datetime) -> DeliveryResult:
    """Return the result of a message that is checked again at *until* (UTC), a broadcast also when its time ends."""
    if message.kind == BROADCAST:
        until = min(until, message.expires_at + _AFTER_END)
    return DeliveryResult(message.id, "planned", reason, until)


def defer_until(message: DueMessage, reason: str, until: datetime, now: datetime) -> DeliveryResult:
    """Return the result of a message deferred to *until* (UTC) by a limit; its grace period grows by the same time.

    The time of a broadcast does not: it is held, or too late.
    """
    if message.kind == BROADCAST:
        return hold_or_cancel(message, reason, until, now)
    return DeliveryResult(message.id, "planned", reason, until, message.expires_at + (until - now))


def hold_or_cancel(message: DueMessage, reason: str, until: datetime, now: datetime) -> DeliveryResult:
    """Return the result of a message that is held until *until* (UTC), or too late by then."""
    if until <= message.expires_at:
        return hold_until(message, reason, until)
    if message.kind == BROADCAST:
        return cancel(message, f"{TOO_LATE}: {reason.removeprefix('held: ')}")
    if message.held_by == STOP:
        return defer_until(message, reason, until, now)  # the stop took its time, so nothing is skipped
    return cancel(message, TOO_LATE)
