"""One day of the calendar: its emails, and the people who get them."""

from dataclasses import replace
from datetime import date
from typing import Final

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.calendar import draw_sample, format_day
from nurture.console.view import View
from nurture.errors import NotFound
from nurture.reporting.console.calendar import DayPage, load_day
from nurture.reporting.console.calendar_forecast import find_forecasts
from nurture.reporting.wording import pluralize

_OF_NO_TEAM: Final = "Leads on tracks are not of your team yet, so this page names none of them to you."


def _load(request: PageRequest) -> DayPage:
    text = request.values["day"]
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise NotFound(f"{text[:20]!r} is no day.", "Write it as 2027-03-31.") from None
    with request.ctx.database.read() as tx:
        forecasts = find_forecasts(request.ctx, tx, request.now)
        found = load_day(request.ctx, tx, day, forecasts) if forecasts is not None else None
    if found is None:
        raise NotFound(f"{day} is not one of the next 28 days.")
    if request.user.reps is not None:  # leads on tracks are nobody's team
        return replace(found, events=(), more=found.more + len(found.events))
    return found


def _render(_view: View, page: DayPage) -> None:
    day = page.day
    with components.block("switch", "nav") as drawn:
        drawn.props["aria-label"] = "Day"
        components.link("Calendar", "/calendar")
        for other in page.neighbors:
            components.link(format_day(other), addresses.of_day(other))
    draw_sample(page.sample, page.at)
    with components.card("Emails"):
        if not page.emails:
            components.empty("No email goes out on this day if nobody acts.")
        else:
            ordered = sorted(page.emails.items(), key=lambda one: (-one[1], one[0]))
            emails = [
                (
                    components.Link(track, addresses.of_track(track)),
                    components.Link(email, addresses.of_email(track, email)),
                    components.Link(f"{count:,}", "#people"),
                )
                for (track, email), count in ordered
            ]
            components.table(("Track", "Email", "Emails"), emails, caption="Emails", right=("Emails",))
        for text, count in day.moved.most_common():
            components.paragraph(f"{count:,} moved to this day: {text}.")
        if day.hand_offs:
            components.paragraph(f"{pluralize(day.hand_offs, 'hand-off')}; the reps take {day.capacity:,} on this day.")
    with components.card("People") as people:
        people.props("id=people")
        if not page.events:
            components.empty(_OF_NO_TEAM if page.more else "Nobody.")
            return
        rows = [
            (
                components.Link(one.lead.name or f"lead {one.lead.id}", addresses.of_lead(one.lead.id)),
                one.lead.company,
                components.Time(one.at),
                one.track,
                one.email or "hand-off to sales",
            )
            for one in page.events
        ]
        components.table(("Who", "Company", "When", "Track", "What"), rows, caption="People")
        if page.more:
            components.paragraph(f"and {page.more:,} more of those that were forecast.", "soft")


def _name(page: DayPage) -> str:
    day = page.day.day
    return f"{day:%A} {day.day} {day:%B %Y}"


PAGE: Final = Page("/calendar/{day}", "Day", ALL_BUT_REPS, _load, _render, name=_name)
