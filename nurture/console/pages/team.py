"""The team: load, absence, and how each rep answers."""

from datetime import datetime
from typing import Final

from nurture.console import addresses, components
from nurture.console.components import Cell, Link
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.handoffs import draw_tabs
from nurture.console.pages.tracks import draw_periods, read_days
from nurture.console.view import View
from nurture.reporting.console.handoff_queries import OFFERS
from nurture.reporting.console.handoffs import TeamMember, find_first_day, load_team
from nurture.reporting.console.lead_list_queries import LeadFilter

_COLUMNS: Final = (
    *("Rep", "Now", "To answer", "To contact", "Offered", "Accepted", "Rejected", "No answer", "Contacted", "Won"),
    "Hours to answer",
)


def _load(request: PageRequest) -> tuple[list[TeamMember], int, datetime]:
    days = read_days(request)
    return load_team(request.ctx, request.now, days, request.user.reps), days, find_first_day(request.now, days)


def _count(one: TeamMember, did: str, since: datetime) -> Cell:
    """Return a number of offers, which leads to the people behind it."""
    number: int = getattr(one.counts, did)
    people = LeadFilter(did=did, rep=one.roster.id, since=since)
    return Link(f"{number:,}", addresses.of_leads(people)) if number else number


def _waiting(one: TeamMember, number: int, late: int = 0) -> Cell:
    """Return how many leads wait for a rep, which leads to the rep's leads."""
    text = f"{number:,}, {late:,} late" if late else f"{number:,}"
    return Link(text, addresses.of_leads(LeadFilter(rep=one.roster.id))) if number else number


def _render(_view: View, data: tuple[list[TeamMember], int, datetime]) -> None:
    team, days, since = data
    with components.block("switches"):
        draw_tabs("/handoffs/team")
        draw_periods("/handoffs/team?days={}", days)
    with components.card():
        if not team:
            components.empty("The policy names no rep.")
            return
        slowest = next((one for one in team if one.slowest), None)
        if slowest is not None:
            hours = f"{slowest.hours_to_answer:g}"
            words = f"{slowest.roster.name} answers slowest: half of the answers took {hours} hours or more."
            components.paragraph(words)
        components.table(
            _COLUMNS,
            [
                (
                    Link(one.roster.name, addresses.of_leads(LeadFilter(rep=one.roster.id))),
                    one.roster.absence_reason or f"{one.roster.offers_today} of {one.roster.capacity} today",
                    _waiting(one, one.roster.open_offers, one.roster.overdue_offers),
                    _waiting(one, one.roster.to_follow_up),
                    *(_count(one, did, since) for did in OFFERS),
                    f"{one.hours_to_answer:g}" if one.hours_to_answer is not None else "",
                )
                for one in team
            ],
            caption="Reps",
            right=_COLUMNS[2:],
        )
        components.paragraph("Hours of the clock, nights and weekends too, until the rep accepted or rejected.", "soft")


PAGE: Final = Page("/handoffs/team", "Team", ALL_BUT_REPS, _load, _render)
