"""When an email may be sent: the send window and the frequency caps, and in words what moved it to another day."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from nurture.domain.planning import calendar
from nurture.domain.planning.calendar import Window
from nurture.domain.planning.dates import ONE_DAY
from nurture.domain.planning.decision import HoldReason
from nurture.domain.planning.frequency_cap import CountedEmail, FrequencyCap, format_span, latest_release
from nurture.domain.planning.program import Program, draw

PAUSED: Final = "the lead is paused"

_MINUTE: Final = timedelta(minutes=1)
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Spread(NamedTuple):
    """The span over which the leads that are due together get an email."""

    span: timedelta

    def __str__(self) -> str:
        """Describe why an email waits."""
        return f"spread over {format_span(self.span)}"


class Move(NamedTuple):
    """A part of the way from the due time to the send time. *cause* None: the send window is closed."""

    since: datetime
    until: datetime
    cause: FrequencyCap | Spread | None = None


class SendTime(NamedTuple):
    """When an email may be sent (UTC), what it waits for, and what moved it there, in order."""

    at: datetime
    limited_by: HoldReason = HoldReason.NOT_DUE
    moves: tuple[Move, ...] = ()


def earliest_send_time(
    program: Program,
    at: datetime,
    *,
    zone: str,
    holidays: Collection[date],
    counted: Sequence[CountedEmail] = (),
    touch_interval: timedelta | None = None,
    step: str = "",
) -> SendTime:
    """Return the first time from *at* on at which the email of *step* may be sent.

    *zone* and *holidays* are the lead's; zone "" means that of the program. *counted* are its emails in all tracks,
    and *touch_interval* is the least time between two that it asked for. Raises NeverOpens.
    """
    caps = program.caps_of(step)
    if touch_interval is not None:
        caps = (*caps, FrequencyCap(1, touch_interval, by_lead=True))
    moves, limited_by, zone = [], HoldReason.NOT_DUE, zone or program.zone_fallback
    while True:
        opens_at = calendar.next_open(program.window, zone, holidays, at)
        if opens_at > at:
            moves.append(Move(at, opens_at))
            at = opens_at
            if limited_by is HoldReason.NOT_DUE:
                limited_by = HoldReason.SEND_WINDOW
        release = latest_release(caps, counted, at)
        if release is None:
            return SendTime(at, limited_by, tuple(moves))
        moves.append(Move(at, *release))
        at, limited_by = release[0], HoldReason.FREQUENCY_CAP


def spread_send_time(
    program: Program, step: str, lead_id: int, span: timedelta, due: datetime, zone: str, holidays: Collection[date]
) -> datetime:
    """Return the lead's minute within *span*, from the first opening of the send window at or after *due* on.

    A hash of the lead and *step* chooses it, each open minute with the same chance. Raises NeverOpens.
    """
    place = program.window, zone or program.zone_fallback, holidays
    start = calendar.next_open(*place, due)
    minutes = max(calendar.open_time(*place, start, start + span) // _MINUTE, 1)
    return calendar.after_open_time(*place, start, draw(minutes, program.track, step, lead_id) * _MINUTE)


def describe_move(
    send: SendTime,
    due: datetime,
    program: Program,
    zone: str,
    holidays: Collection[date],
    now: datetime,
    otherwise: str = "overdue",
) -> str:
    """Return "moved to Thursday 10 December: already 2 emails in 7 days", in the lead's zone; "" on the same day.

    *otherwise* is the cause if neither a cap nor the send window is.
    """
    zone = zone or program.zone_fallback
    if send.at == due or calendar.to_local(send.at, zone).date() == calendar.to_local(due, zone).date():
        return ""
    latest = max((place for place, one in enumerate(send.moves) if one.cause is not None), default=0)
    causes = (
        str(one.cause) if one.cause is not None else _closed_days(program.window, one, zone, holidays)
        for one in send.moves[latest:]  # what came before it is over by then
    )
    hours = f"emails only from {program.window.opens:%H:%M} to {program.window.closes:%H:%M}"
    why = ", then ".join(filter(None, causes)) or (hours if send.moves else otherwise)
    return f"moved to {format_day(send.at, zone, now)}: {why}"


def name_cause(send: SendTime, paused_until: datetime | None, expires_at: datetime) -> str:
    """Return what an email waits for last, without days: a pause beyond its time, a cap, or the send window."""
    if paused_until is not None and paused_until > expires_at:
        return PAUSED
    caused = [str(one.cause) for one in send.moves if one.cause is not None]
    return caused[-1] if caused else "the send window" if send.moves else PAUSED


def format_day(at: datetime, zone: str, now: datetime) -> str:
    """Format a time as a day in *zone*, with the year if it is not that of *now*."""
    return format_date(calendar.to_local(at, zone).date(), now.year)


def format_time(at: datetime, zone: str, now: datetime, of: str = "the lead's time") -> str:
    """Format a time in *zone* for a reason; *of* says whose time it is."""
    local = calendar.to_local(at, zone)
    return f"{format_date(local.date(), now.year)} at {local.hour:02}:{local.minute:02} ({of})"


@lru_cache(maxsize=1024)
def format_date(day: date, this_year: int) -> str:
    """Format a day, with the year if it is not *this_year*."""
    year = "" if day.year == this_year else f" {day.year}"
    return f"{_WEEKDAYS[day.weekday()]} {day.day} {day:%B}{year}"


def _closed_days(window: Window, move: Move, zone: str, holidays: Collection[date]) -> str:
    """Return on which days the send window did not open, "" if it was closed for hours only."""
    first, last = (calendar.to_local(at, zone).date() for at in (move.since, move.until))
    skipped = [first + number * ONE_DAY for number in range((last - first).days)]
    reasons = []
    if closed := [day for day in skipped if day.weekday() not in window.days]:
        is_weekend = all(day.weekday() > 4 for day in closed)
        reasons.append("the weekend" if is_weekend else f"emails only on {_list_days(window)}")
    if window.skip_holidays and (free := [day for day in skipped if day in holidays and day not in closed]):
        reasons.append("a public holiday" if len(free) == 1 else f"{len(free)} public holidays")
    return " and ".join(reasons)


def _list_days(window: Window) -> str:
    *names, last = (_WEEKDAYS[day] for day in sorted(window.days))
    return f"{', '.join(names)} and {last}" if names else last
