"""Hand-offs: the pipeline from signal to won, and those that wait for a rep."""

from typing import Final

from nurture.console import addresses, components
from nurture.console.components import Cell, Link, Time
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.tracks import draw_periods, read_days
from nurture.console.view import View
from nurture.reporting.console.handoffs import MAX_OPEN, OpenLead, Pipeline, load_pipeline

OPEN_COLUMNS: Final = ("Lead", "Company", "Rep", "Stands", "Since", "Due")


def draw_tabs(here: str) -> None:
    """Draw the links between the pages about hand-offs."""
    with components.block("switch", "nav") as drawn:
        drawn.props["aria-label"] = "Hand-offs"
        for href, label in (("/handoffs", "Pipeline"), ("/handoffs/queues", "Queues"), ("/handoffs/team", "Team")):
            one = components.link(label, href)
            if href == here:
                one.props["aria-current"] = "page"


def _load(request: PageRequest) -> tuple[Pipeline, int]:
    days = read_days(request)
    with request.ctx.database.read() as tx:
        return load_pipeline(request.ctx, tx, request.now, days, request.user.reps), days


def _render(_view: View, data: tuple[Pipeline, int]) -> None:
    found, days = data
    with components.block("switches"):
        draw_tabs("/handoffs")
        draw_periods("/handoffs?days={}", days)
    with components.card("From signal to won"):
        most = max([one.leads for one in found.stages] + [1])
        with components.block("pipeline", "ol"):
            for before, one in zip((None, *found.stages), found.stages, strict=False):
                with components.block("stage", "li"):
                    components.write("span", one.title, "stage-name")
                    with components.block("stage-bar") as bar:
                        bar.style(f"--share: {one.leads / most:.3f}")
                    with components.block("stage-value"):
                        if one.leads:
                            components.link(f"{one.leads:,}", addresses.of_leads(one.people))
                        else:
                            components.write("span", f"{one.leads:,}")
                        if before is not None and one.leads <= before.leads > 0:
                            share = f"{one.leads / before.leads:.0%} of those before"
                            components.write("span", share, "soft")
        components.paragraph(
            "Each line counts the leads to whom this happened in this time. A lead that was handed off before may be "
            "offered in it, to several reps.",
            "soft",
        )
    with components.card("Waiting for a rep"):
        if found.open:
            rows = [open_row(one) for one in found.open]
            components.table(OPEN_COLUMNS, rows, caption="Open hand-offs by deadline")
            if found.is_full:
                components.paragraph(f"The {MAX_OPEN} with the earliest deadline.", "soft")
        else:
            components.empty("Every hand-off is answered, and every accepted lead was contacted.")


def open_row(one: OpenLead) -> tuple[Cell, ...]:
    """Return the cells of an open hand-off."""
    stands = one.stands + (", late" if one.is_late else "") + (", hot" if one.hot else "")
    due = Time(one.due_at) if one.due_at is not None else ""
    return Link(one.name, addresses.of_lead(one.lead_id)), one.company, one.rep, stands, Time(one.since), due


PAGE: Final = Page("/handoffs", "Hand-offs", ALL_BUT_REPS, _load, _render, "Hand-offs", 40)
