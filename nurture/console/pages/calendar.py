"""The calendar: the next 28 days by day and track, what holidays and caps move, and hand-offs against capacity."""

from datetime import date, datetime
from typing import Final

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.view import View
from nurture.reporting.console.calendar import Calendar, CalendarDay, load_calendar
from nurture.reporting.console.calendar_forecast import Sample, find_forecasts
from nurture.reporting.wording import pluralize

_CAUSES_SHOWN: Final = 2
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _load(request: PageRequest) -> Calendar | None:
    with request.ctx.database.read() as tx:
        forecasts = find_forecasts(request.ctx, tx, request.now)
        return load_calendar(request.ctx, tx, forecasts) if forecasts is not None else None


def _render(_view: View, calendar: Calendar | None) -> None:
    if calendar is None:
        components.empty("No track is published. Publish one: the page Changes shows the folder.")
        return
    draw_sample(calendar.sample, calendar.at)
    with components.block("weeks", "ol"):
        for _ in range(calendar.days[0].day.weekday()):
            components.write("li", "", "no-day").props["aria-hidden"] = "true"
        for one in calendar.days:
            _draw_day(one)
    with components.card("What is moved to another day"):
        moves = [(one.day, text, count) for one in calendar.days for text, count in one.moved.most_common()]
        if not moves:
            components.empty("Nothing: no holiday, weekend or cap moves an email.")
        else:
            moved = [
                (components.Link(format_day(day), addresses.of_day(day)), count, text) for day, text, count in moves
            ]
            components.table(("Moved to", "Emails", "Why"), moved, caption="Moved emails", right=("Emails",))
    with components.card("Hand-offs against the capacity of the reps"):
        rows = [
            (components.Link(format_day(one.day), addresses.of_day(one.day)), one.hand_offs, one.capacity, _judge(one))
            for one in calendar.days
            if one.hand_offs
        ]
        if rows:
            columns = ("Day", "Hand-offs", "Reps take", "Note")
            components.table(columns, rows, caption="Hand-offs", right=("Hand-offs", "Reps take"))
        else:
            components.empty("No track hands a lead over by itself in these days; clicks and replies bring others.")


def _judge(one: CalendarDay) -> str:
    if not one.capacity:
        return "no rep works; they wait for the next day"
    return "more than reps take; the rest waits" if one.hand_offs > one.capacity else ""


def draw_sample(sample: Sample, at: datetime) -> None:
    """Draw what the numbers rest on, and when the leads were forecast."""
    if sample.is_whole:
        text = f"The planner's forecast for all {pluralize(sample.leads, 'lead')} on tracks or coming to one"
    else:
        text = (
            f"An estimate: the planner's forecast for {sample.forecast:,} of the {sample.leads:,} leads on tracks or "
            f"coming to one, evenly chosen, times {sample.factor:,.1f}"
        )
    text += ", if nobody clicks, replies or comes in. Days are those of each lead; “planned already” is counted. As of "
    with components.block("soft", "p"):
        components.write("span", text)
        components.time(at)


def _draw_day(one: CalendarDay) -> None:
    kind = "day weekend" if one.day.weekday() > 4 else "day"
    with components.block(kind, "li"):
        with components.block("day-head"):
            components.link(format_day(one.day), addresses.of_day(one.day))
            if one.holidays:
                components.write("span", f"holiday in {', '.join(one.holidays)}", "badge warn")
        if one.total:
            components.link(f"{one.total:,}", addresses.of_day(one.day), "day-total")
            components.write("span", " email" if one.total == 1 else " emails", "soft")
            with components.block("day-tracks", "ul"):
                for track, count in one.emails.most_common():
                    components.write("li", f"{count:,} {track}")
        if one.planned:
            components.paragraph(f"{one.planned:,} planned already", "soft small")
        for cause, count in one.moved.most_common(_CAUSES_SHOWN):
            components.paragraph(f"{count:,} moved here: {cause}", "small")
        if len(one.moved) > _CAUSES_SHOWN:
            components.paragraph("and more for other reasons", "soft small")
        for entry in one.starting:
            state = "" if entry.released_by else " (not released)"
            components.paragraph(f"Broadcast {entry.name}{state}", "small")
        if one.hand_offs:
            over = one.hand_offs > one.capacity
            text = f"{pluralize(one.hand_offs, 'hand-off')}, reps take {one.capacity:,}"
            components.write("span", text, "badge bad" if over else "badge")


def format_day(day: date) -> str:
    """Return a day as "Tue 15 Dec"."""
    return f"{_WEEKDAYS[day.weekday()]} {day.day} {day:%b}"


PAGE: Final = Page("/calendar", "Calendar", ALL_BUT_REPS, _load, _render, "Calendar", 22)
