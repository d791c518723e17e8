"""The next 28 days as the planner makes them if nobody acts: emails by day and track, what is moved, hand-offs.

All leads are forecast up to a limit; of more, a sample, and its counts are multiplied. Days are those of each lead's
zone.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning import broadcasts
from nurture.domain.planning.calendar import Holidays, to_local
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Rep
from nurture.formats.places import country_name
from nurture.journey.broadcasts import queries as broadcast_queries
from nurture.journey.leads import history_queries
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.routing import queries as routing_queries
from nurture.journey.routing.availability import is_active
from nurture.journey.routing.queries import LeaveRow
from nurture.journey.tracks.forecast import EMAIL
from nurture.reporting.console import calendar_queries
from nurture.reporting.console.calendar_forecast import DAYS, LeadForecasts, Sample
from nurture.reporting.leads import LeadRow, describe_rows
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.published import BROADCAST, Definitions

MAX_LISTED: Final = 100
_MOVED: Final = re.compile(r"moved to [^:;]+: ([^;]+)")
"""How the planner says to which day it moves an email, and why."""

_HOLIDAY: Final = "a public holiday"
"""How the planner names the holiday that moves an email; the calendar says whose it is."""


@dataclass(frozen=True, slots=True)
class BroadcastDay:
    """A broadcast that begins on a day; *released_by* is "" while nobody has released it."""

    name: str
    at: datetime
    released_by: str


@dataclass(slots=True)
class CalendarDay:
    """One day: emails by track, those moved to it by cause, hand-offs, and how many leads reps take (*capacity*).

    *planned* counts the emails of this UTC day that are in the outbox already. *holidays* are countries of leads.
    """

    day: date
    emails: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    hand_offs: int = 0
    capacity: int = 0
    planned: int = 0
    holidays: tuple[str, ...] = ()
    starting: list[BroadcastDay] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Return all emails of the day."""
        return self.emails.total()


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days from today (UTC) on, on how many leads they rest, and when these were forecast."""

    days: tuple[CalendarDay, ...]
    sample: Sample
    at: datetime


@dataclass(frozen=True, slots=True)
class DayEvent:
    """An email to a lead, or its hand-off (*email* is ""), at *at* (UTC)."""

    lead: LeadRow
    at: datetime
    track: str
    email: str


@dataclass(frozen=True, slots=True)
class DayPage:
    """A day with its emails by (track, email), and the first people of those that were forecast."""

    day: CalendarDay
    emails: Mapping[tuple[str, str], int]
    events: Sequence[DayEvent]
    more: int
    sample: Sample
    at: datetime
    """When the leads were forecast (UTC)."""

    neighbors: tuple[date, ...]
    """The day before and the day after, as far as the calendar has them."""


def load_calendar(ctx: AppContext, tx: Transaction, forecasts: LeadForecasts) -> Calendar:
    """Return the calendar of DAYS days, in a constant number of statements."""
    now, until, definitions = forecasts.now, forecasts.until, forecasts.definitions
    made = {day: CalendarDay(day) for day in (now.date() + timedelta(days=number) for number in range(DAYS))}
    _count(made, forecasts)
    _add_waiting_moves(made, tx)
    _add_capacity(made, tx, definitions.policy, ctx.holidays, now)
    for (day, _), count in calendar_queries.count_planned(tx, until).items():
        if (entry := made.get(max(day, now.date()))) is not None:
            entry.planned += count
    for one in _load_broadcasts(ctx, tx, now):
        if (entry := made.get(one.at.date())) is not None:
            entry.starting.append(one)
    for country in sorted({country for _, country, _ in forecasts.leads if country}):
        off = ctx.holidays(country, now)
        for day, entry in made.items():
            if day in off:
                entry.holidays += (country_name(country),)
    return Calendar(tuple(made.values()), forecasts.sample, now)


def load_day(ctx: AppContext, tx: Transaction, day: date, forecasts: LeadForecasts) -> DayPage | None:
    """Return one day of the calendar, None if it is not one of its days."""
    now, until, definitions = forecasts.now, forecasts.until, forecasts.definitions
    if not now.date() <= day < until.date():
        return None
    made = {day: CalendarDay(day)}
    _count(made, forecasts)
    _add_waiting_moves(made, tx)
    _add_capacity(made, tx, definitions.policy, ctx.holidays, now)
    emails: Counter[tuple[str, str]] = Counter()
    events: list[tuple[datetime, int, str, str]] = []
    for lead, _, forecast in forecasts.leads:
        for event in forecast.events:
            if _local_day(lead, event.at, event.track, definitions) == day and _is_shown(event.what, event.name):
                email = event.name if event.what == EMAIL else ""
                events.append((event.at, lead.view.lead.id, event.track, email))
                emails[event.track, email] += event.what == EMAIL
    shown = sorted(events)[:MAX_LISTED]
    rows = history_queries.load_list_rows(tx, sorted({lead_id for _, lead_id, _, _ in shown}))
    people = {one.id: one for one in describe_rows(ctx, tx, rows, now)}
    listed = [DayEvent(people[lead], at, track, email) for at, lead, track, email in shown if lead in people]
    days = (day - timedelta(days=1), day + timedelta(days=1))
    neighbors = tuple(one for one in days if now.date() <= one < until.date())
    scaled = {key: round(count * forecasts.sample.factor) for key, count in emails.items() if count}
    return DayPage(made[day], scaled, listed, len(events) - len(shown), forecasts.sample, now, neighbors)


def _is_shown(what: str, name: str) -> bool:
    return what == EMAIL or (what == Custodian.QUEUE and name == Queue.HAND_OFF)


def _local_day(lead: LeadSnapshot, at: datetime, track: str, definitions: Definitions) -> date:
    program = definitions.programs.get(track)
    zone = lead.view.lead.zone or (program.zone_fallback if program is not None else "UTC")
    return to_local(at, zone).date()


def _count(days: Mapping[date, CalendarDay], forecasts: LeadForecasts) -> None:
    """Count emails, moves and hand-offs into *days*, each times the factor of the sample."""
    emails: dict[date, Counter[str]] = defaultdict(Counter)
    moved: dict[date, Counter[str]] = defaultdict(Counter)
    hand_offs: Counter[date] = Counter()
    definitions, sample = forecasts.definitions, forecasts.sample
    for lead, country, forecast in forecasts.leads:
        sent = set()
        for event in forecast.events:
            day = _local_day(lead, event.at, event.track, definitions)
            if event.what == EMAIL:
                emails[day][event.track] += 1
                sent.add((day, event.track))
            elif _is_shown(event.what, event.name):
                hand_offs[day] += 1
        for move in forecast.moves:
            day, cause = _local_day(lead, move.at, move.track, definitions), _MOVED.search(move.text)
            if cause is not None and (day, move.track) in sent:  # the lead may be handed off before
                moved[day][_name_holiday(cause[1], country)] += 1
    for day, entry in days.items():
        for counts, into in ((emails[day], entry.emails), (moved[day], entry.moved)):
            into.update({key: round(count * sample.factor) for key, count in counts.items()})
        entry.hand_offs = round(hand_offs[day] * sample.factor)


def _add_waiting_moves(days: Mapping[date, CalendarDay], tx: Transaction) -> None:
    """Add the emails that wait for another day already: a forecast moves only those that it decides about."""
    for one in calendar_queries.count_moved(tx):
        entry, found = days.get(one.day), _MOVED.search(one.next_action)
        if entry is not None and found is not None:
            entry.moved[_name_holiday(found[1], one.country)] += one.emails


def _name_holiday(text: str, country: str) -> str:
    return text.replace(_HOLIDAY, f"holiday in {country_name(country)}") if country else text


def _add_capacity(
    days: Mapping[date, CalendarDay], tx: Transaction, policy: Policy, holidays: Holidays, now: datetime
) -> None:
    leaves = routing_queries.load_leaves(tx, min(days), max(days))
    for day, entry in days.items():
        entry.capacity = sum(rep.capacity for rep in policy.reps if _works_on(rep, day, leaves, holidays, now))


def _works_on(rep: Rep, day: date, leaves: Sequence[LeaveRow], holidays: Holidays, now: datetime) -> bool:
    window = rep.hours.window
    is_off = bool(rep.hours.country) and window.skip_holidays and day in holidays(rep.hours.country, now)
    is_away = any(one.rep == rep.id and one.first_day <= day <= one.last_day for one in leaves)
    return is_active(rep, day) and day.weekday() in window.days and not is_off and not is_away


def _load_broadcasts(ctx: AppContext, tx: Transaction, now: datetime) -> list[BroadcastDay]:
    names = [row.name for row in publication_queries.load_newest_versions(tx) if row.kind == BROADCAST]
    releases = broadcast_queries.load_releases(tx)
    found = []
    for name, program in ctx.definitions.newest_broadcasts(tx, names).items():
        if not broadcasts.is_over(program, now):
            release = releases.get(name)
            start = max(broadcasts.first_start(program), now)
            found.append(BroadcastDay(program.name, start, release.released_by if release is not None else ""))
    return found
