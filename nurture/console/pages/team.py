"""The team: load, absence, and how each rep answers."""

from typing import Final

from nurture.console import components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.handoffs import draw_tabs
from nurture.console.pages.tracks import draw_periods, read_days
from nurture.console.view import View
from nurture.reporting.console.handoffs import TeamMember, load_team

_COLUMNS: Final = (
    *("Rep", "Now", "To answer", "To contact", "Offered", "Accepted", "Rejected", "No answer", "Contacted", "Won"),
    "Hours to answer",
)


def _load(request: PageRequest) -> tuple[list[TeamMember], int]:
    days = read_days(request)
    return load_team(request.ctx, request.now, days, request.user.reps), days


def _render(_view: View, data: tuple[list[TeamMember], int]) -> None:
    team, days = data
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
                    one.roster.name,
                    one.roster.absence_reason or f"{one.roster.offers_today} of {one.roster.capacity} today",
                    f"{one.roster.open_offers}, {one.roster.overdue_offers} late"
                    if one.roster.overdue_offers
                    else one.roster.open_offers,
                    one.roster.to_follow_up,
                    one.counts.offered,
                    one.counts.accepted,
                    one.counts.rejected,
                    one.counts.unanswered,
                    one.counts.contacted,
                    one.counts.won,
                    f"{one.hours_to_answer:g}" if one.hours_to_answer is not None else "",
                )
                for one in team
            ],
            caption="Reps",
            right=_COLUMNS[2:],
        )
        components.paragraph("Hours of the clock, nights and weekends too, until the rep accepted or rejected.", "soft")


PAGE: Final = Page("/handoffs/team", "Team", ALL_BUT_REPS, _load, _render)
