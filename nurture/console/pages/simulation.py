"""Simulate a track: what one lead would get, when and why, with the definitions in force and nobody mailed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nicegui import ui

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.view import View
from nurture.domain.planning import calendar
from nurture.domain.planning.program import Email
from nurture.errors import NotFound
from nurture.journey.leads.find import find_lead
from nurture.journey.tracks.emails_to_self import load_recipient
from nurture.runtime import publication_queries
from nurture.simulation.engine import SimulatedCalendar, simulate
from nurture.simulation.script import read_script

_DAYS: Final = ("30", "90", "180", "365")
_ANSWER: Final = "Please call me next week."


@dataclass(frozen=True, slots=True)
class SimulationPage:
    """What the lead gets, and the emails that it can click or answer."""

    track: str
    emails: tuple[str, ...]
    found: SimulatedCalendar


def _load(request: PageRequest) -> SimulationPage:
    ctx, track, values = request.ctx, request.values["track"], request.values
    with ctx.database.read() as tx:
        programs = ctx.definitions.current(tx).programs
        if track not in programs:
            raise NotFound(f"No track {track} is published.")
        sources = publication_queries.load_sources_in_force(tx)
    fields: Mapping[str, Any] = {}
    zone = country = ""
    if given := values.get("to", ""):
        recipient = load_recipient(ctx, find_lead(ctx, given), request.now)
        fields, zone, country = recipient.fields, recipient.zone, recipient.country
    clicks, replies = values.get("clicks", ""), values.get("replies", "")
    script = read_script([clicks] if clicks else None, [f"{replies}:{_ANSWER}"] if replies else None)
    days = int(values["days"]) if values.get("days", "") in _DAYS else 180
    begins = request.now.replace(second=0, microsecond=0)
    steps = [one for one in programs[track].instructions if isinstance(one, Email)]
    emails = tuple(dict.fromkeys(email for one in steps for email in one.emails))
    found = simulate(sources, track, begins, days, fields, zone, country, script, is_published=True)
    return SimulationPage(track, emails, found)


def _render(view: View, page: SimulationPage) -> None:
    with components.block("", "p"):
        components.link(page.track, addresses.of_track(page.track))
        components.write("span", " · one lead enters now; nothing is sent and no lead changes", "soft")
    _draw_form(view, page)
    found = page.found
    with components.card(classes="list"):
        if not found.days:
            components.empty("The lead gets nothing in this time.")
            return
        emails = sum(one.is_email for one in found.days)
        components.paragraph(f"{emails} {'email' if emails == 1 else 'emails'} in all. Times are those of the lead.")
        rows = []
        for one in found.days:
            local = calendar.to_local(one.at, found.zone or "UTC")
            rows.append((f"{local:%a} {local.day} {local:%b %Y %H:%M}", one.title, one.reason))
        components.table(("When", "What", "Why"), rows, caption=f"What a lead gets on {page.track}")
        components.paragraph(f"Time zone: {found.zone or 'UTC'}.", "soft")


def _draw_form(view: View, page: SimulationPage) -> None:
    emails = {one: one for one in page.emails}
    with ui.element("form").classes("filters few").props("method=get"):
        with components.block("field"):
            components.write("label", "As a lead").props["for"] = "simulation-to"
            field = ui.element("input").props("type=text name=to id=simulation-to maxlength=200")
            field.props["placeholder"] = "Id or address"
            field.props["value"] = view.values.get("to", "")
        _draw_select(view, "clicks", "Clicks", {"": "nothing", **emails})
        _draw_select(view, "replies", "Replies to", {"": "nothing", **emails})
        _draw_select(view, "days", "For", {one: f"{one} days" for one in _DAYS}, "180")
        components.write("button", "Simulate").props("type=submit")


def _draw_select(view: View, name: str, label: str, options: Mapping[str, str], default: str = "") -> None:
    with components.block("field"):
        components.write("label", label).props["for"] = f"simulation-{name}"
        with ui.element("select").props(f"id=simulation-{name} name={name}"):
            for option, text in options.items():
                drawn = components.write("option", text)
                drawn.props["value"] = option
                if option == view.values.get(name, default):
                    drawn.props("selected")


PAGE: Final = Page("/tracks/{track}/simulation", "Simulate a track", ALL_BUT_REPS, _load, _render)
