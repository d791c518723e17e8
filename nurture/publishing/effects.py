"""What a change of tracks does to the leads on them: what each gets earlier, later, never or again, if nobody acts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import zip_longest
from typing import Final, NamedTuple

from nurture.db.transaction import Transaction
from nurture.domain.planning.calendar import to_local
from nurture.domain.planning.content import emails_of
from nurture.domain.planning.lead_view import Enrollment, TouchState
from nurture.domain.planning.program import (
    Email,
    End,
    HandOff,
    Instruction,
    Program,
    ToClosed,
    ToQueue,
    ToTrack,
    reachable,
)
from nurture.journey.leads import enrollment_queries, snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.tracks.advance import load_for_planner
from nurture.journey.tracks.forecast import EMAIL, Forecast, ForecastEvent, find_email
from nurture.journey.tracks.forecast_groups import CountryLead, forecast_all
from nurture.journey.tracks.take_in import KnownLead, find_former_topics, keep_refusals
from nurture.runtime.context import AppContext
from nurture.runtime.published import Definitions

FORECAST_DAYS: Final = 60
_MAX_EXAMPLES: Final = 3
_SENT: Final = (TouchState.ACCEPTED, TouchState.UNKNOWN)


class Change(StrEnum):
    """What a change does to an email, or to the way of a lead."""

    EARLIER = "earlier"
    LATER = "later"
    NEVER = "never"
    AGAIN = "again"
    NEW = "new"
    SKIPPED = "skipped"  # a new email, behind which the lead stands already


class Effect(NamedTuple):
    """What changes for *leads* on one day.

    *what* is "email", or the custodian to which leads go; *name* is the email, or the track, queue or reason. *track*
    is theirs before that. *before* and *after* are days in the zone of the lead; None: not at all, or, if it comes
    earlier or later, after the end of the forecast. *at_next_run*: as soon as the change is published. *examples* are
    ids of leads.
    """

    track: str
    what: str
    name: str
    change: Change
    before: date | None
    after: date | None
    at_next_run: bool
    leads: int
    examples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects until *until* on *leads* that are on the changed tracks, or would enter them; *affected* of them.

    *concerned* is larger than *leads* if only some of them were looked at.
    """

    until: datetime
    leads: int
    affected: int
    rows: tuple[Effect, ...]
    concerned: int


class _Row(NamedTuple):
    track: str
    what: str
    name: str
    change: Change
    before: date | None = None
    after: date | None = None
    at_next_run: bool = False


def forecast_effects(
    ctx: AppContext,
    tx: Transaction,
    new: Definitions,
    changed: Sequence[str],
    entering: Sequence[KnownLead],
    now: datetime,
    days: int = FORECAST_DAYS,
    limit: int | None = None,
) -> Effects:
    """Compare the forecasts of the leads concerned with the definitions in force and with *new*, for *days*.

    Concerned are the leads on *changed* tracks, also interrupted stays there, and those that are *entering* them; of
    more than *limit*, as many at equal distances.
    """
    old, until = ctx.definitions.current(tx), now + timedelta(days=days)
    compared = _Comparison(old, new, now, until, frozenset(changed))
    rows: Counter[_Row] = Counter()
    examples: dict[_Row, list[int]] = defaultdict(list)
    affected = 0
    ids = find_concerned_leads(tx, changed, entering)
    chosen = ids if limit is None or len(ids) <= limit else [ids[place * len(ids) // limit] for place in range(limit)]
    forecasts = forecast_change(ctx, tx, new, changed, entering, now, until, chosen)
    for lead, was, will_be in forecasts:
        found = list(compared.find_rows(lead, was, will_be))
        affected += bool(found)
        for row in found:
            rows[row] += 1
            if len(examples[row]) < _MAX_EXAMPLES:
                examples[row].append(lead.view.lead.id)
    ordered = sorted(rows, key=compared.order)
    effects = tuple(Effect(*row, leads=rows[row], examples=tuple(examples[row])) for row in ordered)
    return Effects(until, len(forecasts), affected, effects, len(ids))


def forecast_change(
    ctx: AppContext,
    tx: Transaction,
    new: Definitions,
    changed: Sequence[str],
    entering: Sequence[KnownLead],
    now: datetime,
    until: datetime,
    ids: Sequence[int] | None = None,
) -> list[tuple[LeadSnapshot, Forecast, Forecast]]:
    """Return the leads *ids*, else all concerned, each with its forecasts with the definitions in force and *new*."""
    old, entries = ctx.definitions.current(tx), {one.lead_id: one for one in entering}
    ids = find_concerned_leads(tx, changed, entering) if ids is None else ids
    before = _load(ctx, tx, old, {**old.programs, **new.programs}, ids, now)
    former = find_former_topics(old.programs, {name: new.programs[name] for name in changed if name in new.programs})
    published = [replace(lead, view=keep_refusals(lead.view, former)) for lead, _ in before]
    after = [
        (_publish_to(lead, changed, entries.get(lead.view.lead.id), now), country)
        for lead, (_, country) in zip(published, before, strict=True)
    ]
    was = forecast_all(before, old, now, until, ctx.holidays)
    will_be = forecast_all(after, new, now, until, ctx.holidays)
    return [(lead, one, other) for (lead, _), one, other in zip(before, was, will_be, strict=True)]


def find_concerned_leads(tx: Transaction, changed: Sequence[str], entering: Sequence[KnownLead]) -> list[int]:
    """Return the ids of the leads on *changed* tracks and of those that are *entering* them, in order."""
    return sorted({*enrollment_queries.list_leads_on(tx, changed), *(one.lead_id for one in entering)})


def _load(
    ctx: AppContext,
    tx: Transaction,
    definitions: Definitions,
    programs: Mapping[str, Program],
    ids: Sequence[int],
    now: datetime,
) -> list[CountryLead]:
    """Return the leads as a sweep sees them; *programs* are the tracks before and after the change."""
    found: list[CountryLead] = []
    for first in range(0, len(ids), ctx.batch_size):
        rows = snapshot.load_rows(tx, ids[first : first + ctx.batch_size], lock=False)
        snapshots = load_for_planner(ctx, tx, definitions, rows, now, may_enter=programs)
        found += [(lead, row.country) for lead, row in zip(snapshots, rows, strict=True)]
    return found


def _publish_to(lead: LeadSnapshot, changed: Sequence[str], entry: KnownLead | None, now: datetime) -> LeadSnapshot:
    """Return the lead as publishing leaves it: due, if its track changed or takes it, and kept out of others."""
    excluded, due = lead.view.excluded_from.difference(changed), lead.due_at
    if lead.ref in changed:
        due = now if due is None else min(due, now)
    if entry is not None:
        excluded = excluded.union(entry.excluded_from)
        if entry.due_at is not None:
            due = min(due or entry.due_at, entry.due_at)
    return replace(lead, due_at=due, view=replace(lead.view, excluded_from=excluded))


@dataclass(frozen=True)
class _Comparison:
    """The definitions before and after a change of the tracks *changed*."""

    old: Definitions
    new: Definitions
    now: datetime
    until: datetime
    changed: frozenset[str]

    def find_rows(self, lead: LeadSnapshot, was: Forecast, will_be: Forecast) -> Iterator[_Row]:
        """Yield what changes for one lead."""
        if was.events == will_be.events and not self._new_emails(lead):
            return
        before, after = self._by_name(was), self._by_name(will_be)
        for key in before.keys() | after.keys():
            received = self._count_received(lead, key)
            for number, (old, new) in enumerate(zip_longest(before.get(key, ()), after.get(key, ()))):
                row = self._compare(lead, old, new, was, will_be, is_repeated=bool(received + number))
                if row is not None:
                    yield row
        for track, name in self._new_emails(lead):
            key = track, EMAIL, name
            if key not in after and not _comes_later(will_be.end, key, self.new):
                yield _Row(track, EMAIL, name, Change.SKIPPED)

    def order(self, row: _Row) -> tuple[object, ...]:
        """Return the place of a row: by track and step, then by day."""
        program = self.new.programs.get(row.track) or self.old.programs.get(row.track)
        steps = [step for step in program.instructions if isinstance(step, Email)] if program is not None else []
        place = next((number for number, step in enumerate(steps) if row.name in step.emails), len(steps))
        days = (row.before or date.max, row.after or date.max)
        return row.track, row.what != EMAIL, place, row.what, row.name, row.change, days, row.at_next_run

    def _by_name(self, one: Forecast) -> Mapping[_Key, list[ForecastEvent]]:
        found: dict[_Key, list[ForecastEvent]] = defaultdict(list)
        for event in one.events:
            found[event.track, event.what, event.name].append(event)
        return found

    def _count_received(self, lead: LeadSnapshot, key: _Key) -> int:
        """Return how often the lead got an email in its stay on the track."""
        track, what, name = key
        if what != EMAIL:
            return 0
        stays = {one.id: lead.suspended_touches.get(one.id, ()) for one in lead.view.suspended if one.track == track}
        enrollment = lead.view.enrollment
        touches = [touch for one in stays.values() for touch in one]
        if enrollment is not None and enrollment.track == track:
            touches += lead.view.touches
        return sum(one.state in _SENT and find_email(self.old, track, one) == name for one in touches)

    def _compare(
        self,
        lead: LeadSnapshot,
        old: ForecastEvent | None,
        new: ForecastEvent | None,
        was: Forecast,
        will_be: Forecast,
        *,
        is_repeated: bool,
    ) -> _Row | None:
        event = new or old
        assert event is not None
        key = event.track, event.what, event.name
        days = self._day(lead, old), self._day(lead, new)
        soon = new is not None and new.at <= self.now
        if old is not None and new is not None:
            if old.at == new.at:
                return None
            return _Row(*key, Change.EARLIER if new.at < old.at else Change.LATER, *days, soon)
        if new is None:
            change = Change.LATER if _comes_later(will_be.end, key, self.new) else Change.NEVER
        elif _comes_later(was.end, key, self.old):
            change = Change.EARLIER
        else:
            change = Change.AGAIN if is_repeated and event.what == EMAIL else Change.NEW
        return _Row(*key, change, *days, soon)

    def _day(self, lead: LeadSnapshot, event: ForecastEvent | None) -> date | None:
        if event is None:
            return None
        program = self.new.programs.get(event.track)
        zone = lead.view.lead.zone or (program.zone_fallback if program is not None else "UTC")
        return to_local(event.at, zone).date()

    def _new_emails(self, lead: LeadSnapshot) -> list[tuple[str, str]]:
        """Return the emails that the track of the lead did not have before."""
        enrollment = lead.view.enrollment
        if enrollment is None or enrollment.track not in self.changed:
            return []
        track = enrollment.track
        old, new = (programs.get(track) for programs in (self.old.programs, self.new.programs))
        known = emails_of(old) if old is not None else ()
        return [(track, name) for name in (emails_of(new) if new is not None else ()) if name not in known]


_Key = tuple[str, str, str]
"""Track, what and name of an event."""


def _comes_later(end: LeadSnapshot, key: _Key, definitions: Definitions) -> bool:
    """Return whether an event may still come after the end of a forecast: its step can be reached from there."""
    track, what, name = key
    stays: Iterable[Enrollment | None] = (end.view.enrollment, *end.view.suspended)
    pending = [(one.track, one.position.step) for one in stays if one is not None]
    seen: set[str] = set()
    while pending:
        on, step = pending.pop()
        program = definitions.programs.get(on)
        start = program.index_of(step) if program is not None else None
        if program is None or start is None or on in seen:
            continue
        seen.add(on)
        steps = [program.instructions[place] for place in reachable(program.instructions, start)]
        if on == track and any(_is_step_of(one, what, name) for one in steps):
            return True
        onward = {
            one.destination.track for one in steps if isinstance(one, End) and isinstance(one.destination, ToTrack)
        }
        pending += [(to, definitions.programs[to].first_step) for to in sorted(onward & definitions.programs.keys())]
    return False


def _is_step_of(step: Instruction, what: str, name: str) -> bool:
    if what == EMAIL:
        return isinstance(step, Email) and name in step.emails
    return _leads_to(step, name)


def _leads_to(step: Instruction, name: str) -> bool:
    match step:
        case HandOff():
            return name == "hand-off"
        case End(destination=ToTrack(track=to)) | End(destination=ToQueue(queue=to)):
            return to == name
        case End(destination=ToClosed(closing=closing)):
            return closing == name
        case _:
            return False
