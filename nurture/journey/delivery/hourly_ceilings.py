"""Keep the ceiling of emails per hour of a track: what exceeds it waits for an hour that a hash chooses."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.planning import calendar
from nurture.domain.planning.program import Program, draw
from nurture.domain.planning.send_time import format_day
from nurture.journey.delivery import queries
from nurture.journey.delivery.results import defer_until
from nurture.outbox.messages import MARKETING, DeliveryResult, DueMessage
from nurture.runtime.context import AppContext

_HOUR: Final = timedelta(hours=1)
_MINUTES: Final = 60


def defer_beyond_ceilings(
    ctx: AppContext,
    tx: Transaction,
    touches_by_domain: Mapping[str, list[DueMessage]],
    programs: Collection[Program],
    now: datetime,
) -> list[DeliveryResult]:
    """Remove the touches that exceed the ceiling of their track in this clock hour (UTC), and return when they may go.

    The hour is drawn by a hash of stable ids from as many open hours as all planned touches of the track need. An
    hour that more drew than it holds passes the rest on, so the ceiling is never exceeded, but some hours get fewer.
    """
    limited = {one.track: one for one in sorted(programs, key=lambda one: one.version) if one.per_hour is not None}
    if not limited:
        return []
    counts = queries.count_by_track_locked(tx, list(limited), list(touches_by_domain), now)
    left = {name: (program.per_hour or 0) - counts.get(name, (0, 0))[0] for name, program in limited.items()}
    deferred = []
    for touches in touches_by_domain.values():
        kept = []
        for one in touches:
            program = limited.get(one.track or "") if one.kind in MARKETING else None
            if program is not None:
                left[program.track] -= 1
            if program is not None and left[program.track] < 0:
                deferred.append(_defer(ctx, one, program, counts[program.track][1], now))
            else:
                kept.append(one)
        touches[:] = kept
    return deferred


def _defer(ctx: AppContext, message: DueMessage, program: Program, planned: int, now: datetime) -> DeliveryResult:
    """Return the result of a touch that waits for its hour; its grace period grows by the same time."""
    per_hour, zone = program.per_hour or 1, message.zone or program.zone_fallback
    place = program.window, zone, ctx.holidays(message.country, now)
    next_hour = now.replace(minute=0, second=0, microsecond=0) + _HOUR
    minutes = draw(ceil(planned / per_hour) * _MINUTES, program.track, message.step, message.lead_id)
    opens_at = calendar.next_open(*place, next_hour)
    until = calendar.after_open_time(*place, opens_at, timedelta(minutes=minutes))
    reason = f"moved to {format_day(until, zone, now)}: {program.track} sends {per_hour} emails an hour at most"
    return defer_until(message, reason, until, now)
