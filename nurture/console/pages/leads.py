"""The list of leads: search, filters, counts."""

from dataclasses import dataclass, replace
from typing import Any, Final

from nicegui import ui

from nurture.console import addresses, components
from nurture.console.components import Cell, Link, Time
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.view import View
from nurture.domain.lead import Custodian, describe_custody
from nurture.reporting.console.lead_list import LeadPage, list_leads
from nurture.reporting.console.lead_list_queries import MAX_COUNT, WINDOW, LeadFilter
from nurture.reporting.leads import LeadRow

COLUMNS: Final = ("Name", "Company", "Where", "Next", "Due", "Score")
_WHERE: Final = {
    Custodian.INTAKE: "Not classified yet",
    Custodian.TRACK: "On a track",
    Custodian.QUEUE: "In a queue",
    Custodian.OFFER: "Offered to a rep",
    Custodian.REP: "With a rep",
    Custodian.RESTING: "Resting",
    Custodian.CLOSED: "Closed",
}
_DID: Final = {
    "emailed": "got an email",
    "clicked": "clicked",
    "replied": "replied",
    "answered": "clicked or replied",
    "handed_off": "handed off",
}


@dataclass(frozen=True, slots=True)
class LeadListPage:
    """A page of the list, and the filter by which it was read."""

    chosen: LeadFilter
    found: LeadPage
    is_first: bool


def _load(request: PageRequest) -> LeadListPage:
    chosen = addresses.read_filter(request.values)
    before = addresses.read_number(request.values, "before")
    with request.ctx.database.read() as tx:
        found = list_leads(request.ctx, tx, chosen, request.now, before=before)
    return LeadListPage(chosen, found, before is None)


def _render(_view: View, page: LeadListPage) -> None:
    chosen, found = page.chosen, page.found
    _draw_filters(chosen)
    with components.card(classes="list"):
        if found.leads or found.is_partial:
            components.paragraph(_describe(page), "soft")
        if found.leads:
            rows = [lead_row(one) for one in found.leads]
            components.table(COLUMNS, rows, caption="Leads", right=("Score",))
        elif not found.is_partial:
            components.empty("No lead matches. Use fewer words, or take away a filter.")
        if found.next_before is not None:
            label = f"Look through {WINDOW:,} older leads" if found.is_partial else "Older leads"
            with components.block("buttons"):
                components.link(label, addresses.of_leads(chosen, found.next_before), "button quiet")


def _describe(page: LeadListPage) -> str:
    found = page.found
    if found.is_partial and not found.leads:
        return f"None of the newest {WINDOW:,} leads matches." if page.is_first else "None of these matches either."
    if found.count is None:
        return f"{len(found.leads):,} shown, the newest first"
    count = f"more than {MAX_COUNT:,}" if found.count >= MAX_COUNT else f"{found.count:,}"
    return f"{count} {'lead' if found.count == 1 else 'leads'}, the newest first"


def _draw_filters(chosen: LeadFilter) -> None:
    with ui.element("form").classes("filters").props("action=/leads method=get"):
        _draw_select("custodian", "Where", chosen.custodian, {kind.value: label for kind, label in _WHERE.items()})
        _draw_select("did", "Did", chosen.did, _DID)
        for name, label, value in (("find", "Words", chosen.text), ("source", "Source", chosen.source)):
            with components.block("field"):
                components.write("label", label).props["for"] = f"filter-{name}"
                field = ui.element("input").props(f"type=text maxlength=200 id=filter-{name} name={name}")
                field.props["value"] = value
        for name, value in addresses.kept_by_form(chosen).items():
            ui.element("input").props(f"type=hidden name={name}").props["value"] = value
        components.write("button", "Filter").props("type=submit")
    removable = {
        "track": f"on track {chosen.track}" + (f", step {chosen.step}" if chosen.step else ""),
        "queue": f"in the queue {chosen.queue}",
        "since": f"since {chosen.since:%Y-%m-%d}" if chosen.since is not None else "",
        "waiting": "waiting for sales",
    }
    shown = {name: label for name, label in removable.items() if getattr(chosen, name)}
    if shown:
        with components.block("chips"):
            for name, label in shown.items():
                dropped: dict[str, Any] = dict.fromkeys((name, "step") if name == "track" else (name,), "")
                dropped = {"since": None} if name == "since" else {"waiting": False} if name == "waiting" else dropped
                without = replace(chosen, **dropped)
                drawn = components.link(f"{label} ✕", addresses.of_leads(without), "chip")
                drawn.props["aria-label"] = f"Remove the filter: {label}"


def _draw_select(name: str, label: str, value: str, options: dict[str, str]) -> None:
    with components.block("field"):
        components.write("label", label).props["for"] = f"filter-{name}"
        with ui.element("select").props(f"id=filter-{name} name={name}"):
            for option, text in {"": "any", **options}.items():
                drawn = components.write("option", text)
                drawn.props["value"] = option
                if option == value:
                    drawn.props("selected")


def lead_row(lead: LeadRow) -> tuple[Cell, ...]:
    """Return the cells of a lead, under COLUMNS."""
    return (
        Link(lead.name or lead.email or f"Lead {lead.id}", addresses.of_lead(lead.id)),
        lead.company,
        describe_place(lead),
        lead.next_action,
        Time(lead.due_at) if lead.due_at is not None else "",
        lead.engagement,
    )


def describe_place(lead: LeadRow) -> str:
    """Return in words who has the lead."""
    match lead.custodian:
        case Custodian.TRACK:
            return f"{lead.ref}, {lead.step}" if lead.step else lead.ref
        case Custodian.QUEUE:
            return f"queue {lead.ref}"
        case Custodian.REP:
            return f"rep {lead.ref}"
        case Custodian.RESTING | Custodian.CLOSED:
            return f"{lead.custodian}: {lead.ref}"
        case Custodian.OFFER | Custodian.INTAKE:
            return describe_custody(Custodian(lead.custodian), "")
        case _:
            return lead.custodian


PAGE: Final = Page("/leads", "Leads", ALL_BUT_REPS, _load, _render, "Leads", 30)
