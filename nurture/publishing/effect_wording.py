"""Write what a change of tracks does to leads: a line that sums it up, and rows by email and day."""

from collections.abc import Container, Iterator, Sequence
from datetime import date
from itertools import groupby
from typing import Final

from nurture.domain.lead import Custodian, Queue
from nurture.journey.tracks.forecast import EMAIL
from nurture.publishing.effects import Change, Effect, Effects
from nurture.publishing.publish import PublishedChange

COLUMNS: Final = ("track", "what", "leads", "change", "was", "will be")
_MAX_DAYS: Final = 4
"""An email that changes on more days than this is shown in one row, with the first and the last day."""


def summarize(rows: Sequence[Effect], changed: Container[str]) -> str:
    """Return the main effects in one line: "6 get an email at the next run, 7 skip 02b-case"."""
    at_next_run = sum(row.leads for row in rows if row.at_next_run and row.what == EMAIL)
    parts = [f"{at_next_run:,} get an email at the next run"] if at_next_run else []
    for (change, what, name), found in groupby(sorted(rows, key=_kind), key=_kind):
        count = sum(row.leads for row in found)
        if change == Change.SKIPPED:
            parts.append(f"{count:,} skip {name}")
        elif change == Change.NEW and what == Custodian.TRACK and name in changed:
            parts.append(f"{count:,} newly enter {name}")
        elif change == Change.NEVER and what == EMAIL:
            parts.append(f"{count:,} never get {name}")
        elif change == Change.AGAIN:
            parts.append(f"{count:,} get {name} again")
    return ", ".join(parts) or "the days change"


def _kind(row: Effect) -> tuple[str, str, str]:
    return row.change, row.what, row.name


def tabulate(effects: Effects) -> Iterator[tuple[str, str, int, str, str, str]]:
    """Yield the rows of a table with COLUMNS."""
    for _, found in groupby(effects.rows, key=lambda row: (row.track, row.what, row.name, row.change)):
        rows = list(found)
        for part in [[row] for row in rows] if len(rows) <= _MAX_DAYS else [rows]:
            first, leads = part[0], sum(row.leads for row in part)
            before = _format_days([row.before for row in part], effects, first.change)
            after = _format_days([row.after for row in part], effects, first.change)
            if first.change in (Change.EARLIER, Change.LATER) and all(row.before == row.after for row in part):
                after = "the same day, at another time"
            if any(row.at_next_run for row in part):
                after = "at the next run" if all(row.at_next_run for row in part) else f"at the next run, or {after}"
            if first.change in (Change.NEW, Change.AGAIN, Change.SKIPPED):
                before = "-"
            if first.change in (Change.NEVER, Change.SKIPPED):
                after = "not at all" if first.change == Change.NEVER else "they are past it"
            yield first.track, _describe(first), leads, first.change.value, before, after


def _describe(row: Effect) -> str:
    match row.what:
        case "email":
            return row.name
        case Custodian.TRACK:
            return f"moves to {row.name}"
        case Custodian.QUEUE:
            return "goes to sales" if row.name == Queue.HAND_OFF else f"goes to the queue {row.name}"
        case Custodian.RESTING:
            return f"rests: {row.name}"
        case _:
            return f"is closed as {row.name}"


def _format_days(days: Sequence[date | None], effects: Effects, change: Change) -> str:
    known = sorted(day for day in days if day is not None)
    texts = list(dict.fromkeys(format_day(day) for day in (*known[:1], *known[-1:])))
    if len(known) < len(days) and change in (Change.EARLIER, Change.LATER):
        texts = [*texts[:1], f"after {format_day(effects.until.date())}"]
    return " to ".join(texts)


def format_day(day: date) -> str:
    """Format a day without its year: a forecast ends before that matters."""
    return f"{day:%a} {day.day} {day:%b}"


def describe_fits(change: PublishedChange, *, taken_in: bool) -> str:
    """Return how many known leads a new or changed audience fits, by the track that they are on."""
    named = [f"{count:,} {f'on {track}' if track else 'new'}" for track, count in sorted(change.fits.items())]
    total = sum(change.fits.values())
    if not total:
        return "no known lead fits that is not on it"
    text = f"{'1 lead fits' if total == 1 else f'{total:,} leads fit'}: {', '.join(named)}"
    if taken_in or not any(change.fits):
        return text
    return (
        f"{text}. Those on other tracks stay there until they no longer fit, and later fit again. --take-in moves them"
    )
