"""The list of leads: search, filters, counts, saved filters, and actions on all that a filter lets through."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from nicegui import ui

from nurture.console import addresses, components, filter_queries
from nurture.console.access.users import Role
from nurture.console.components import Cell, Link, Time
from nurture.console.filter_queries import SavedFilter
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.view import View
from nurture.domain.lead import Custodian, describe_custody
from nurture.domain.planning.conditions import WORST_FIT
from nurture.domain.planning.program import FINALLY
from nurture.formats.status_mapping import ConsentBasis
from nurture.reporting.console.lead_list import FIT_WINDOW, LeadPage, list_leads
from nurture.reporting.console.lead_list_queries import (
    CLASSIFIED,
    MAX_COUNT,
    NO_CONSENT,
    NOT_CLASSIFIED,
    WINDOW,
    WITH_SALES,
    LeadFilter,
)
from nurture.reporting.leads import LeadRow
from nurture.runtime.published import Definitions

COLUMNS: Final = ("Name", "Company", "Where", "Next", "Due", "Score")
_WHERE: Final = {
    Custodian.INTAKE: "Not classified yet",
    Custodian.TRACK: "On a track",
    Custodian.QUEUE: "In a queue",
    Custodian.OFFER: "Offered to a rep",
    Custodian.REP: "With a rep",
    WITH_SALES: "Offered to a rep or with one",
    Custodian.RESTING: "Resting",
    Custodian.CLOSED: "Closed",
}
_DID: Final = {
    "enrolled": "came to a track",
    "emailed": "got an email",
    "clicked": "clicked",
    "replied": "replied",
    "answered": "clicked or replied",
    "handed_off": "handed off",
    "recycled": "came back from sales",
    "left": "left a track",
    "lost": "lost by a track",
    "reached_goal": "reached the goal",
    "went_on": "went on",
    "offered": "offered",
    "accepted": "accepted",
    "rejected": "rejected",
    "unanswered": "not answered",
    "contacted": "contacted",
    "won": "won",
}


_ACTIVE: Final = {"7": "in the last 7 days", "30": "in the last 30 days", "90": "in the last 90 days"}
_QUIET: Final = {"30": "for 30 days", "90": "for 90 days", "180": "for 180 days"}
_CONSENT: Final = {**{one.value: one.value.replace("_", " ") for one in ConsentBasis}, NO_CONSENT: "none recorded"}


@dataclass(frozen=True, slots=True)
class Choices:
    """What leads can be filtered by, and where they can be moved: tracks with their steps, reps, letters of fit."""

    tracks: Mapping[str, Sequence[str]]
    reps: Mapping[str, str]
    letters: Sequence[str]


@dataclass(frozen=True, slots=True)
class LeadListPage:
    """A page of the list, the filter by which it was read, and the filters that the user sees."""

    chosen: LeadFilter
    found: LeadPage
    is_first: bool
    choices: Choices
    saved: Sequence[SavedFilter]


def _load(request: PageRequest) -> LeadListPage:
    chosen = addresses.read_filter(request.values)
    before = addresses.read_number(request.values, "before")
    with request.ctx.database.read() as tx:
        within = replace(chosen, reps=request.user.reps)
        found = list_leads(request.ctx, tx, within, request.now, before=before)
        choices = _choices(request.ctx.definitions.find_current(tx), request.user.reps)
        saved = filter_queries.list_filters(tx, request.user.id)
    return LeadListPage(chosen, found, before is None, choices, saved)


def _choices(definitions: Definitions | None, reps: frozenset[str] | None) -> Choices:
    if definitions is None:
        return Choices({}, {}, ())
    tracks = {
        name: tuple(step for step in program.index if step != FINALLY)
        for name, program in sorted(definitions.programs.items())
    }
    named = {one.id: one.name for one in definitions.policy.reps if reps is None or one.id in reps}
    letters = sorted({rule.letter for rule in definitions.policy.fit} | {WORST_FIT}) if definitions.policy.fit else ()
    return Choices(tracks, named, letters)


def _render(view: View, page: LeadListPage) -> None:
    chosen, found = page.chosen, page.found
    _draw_saved(view, page)
    _draw_filters(chosen, page.choices)
    with components.card(classes="list"):
        if found.leads or found.is_partial:
            components.paragraph(_describe(page), "soft")
        if found.leads:
            _draw_actions(view, page)
            rows = [lead_row(one) for one in found.leads]
            components.table(COLUMNS, rows, caption="Leads", right=("Score",))
        elif not found.is_partial:
            components.empty("No lead matches. Use fewer words, or take away a filter.")
        if found.next_before is not None:
            label = "Look through older leads" if found.is_partial else "Older leads"
            with components.block("buttons"):
                components.link(label, addresses.of_leads(chosen, found.next_before), "button quiet")


def _describe(page: LeadListPage) -> str:
    found = page.found
    if found.is_partial and not found.leads:
        looked = f"{FIT_WINDOW if page.chosen.fit else WINDOW:,}"
        return f"None of the newest {looked} leads matches." if page.is_first else "None of these matches either."
    if found.count is None:
        return f"{len(found.leads):,} shown, the newest first"
    count = f"more than {MAX_COUNT:,}" if found.count >= MAX_COUNT else f"{found.count:,}"
    return f"{count} {'lead' if found.count == 1 else 'leads'}, the newest first"


def _draw_actions(view: View, page: LeadListPage) -> None:
    target, tracks = addresses.query_of(page.chosen), {"track": tuple(page.choices.tracks)}
    with components.block("buttons actions") as drawn:
        drawn.props("role=group aria-label='With all leads of this filter'")
        view.action_button("pause_leads", target)
        view.action_button("enroll_leads", target, choices=tracks)
        view.action_button("move_leads", target, choices=tracks)
        view.action_button("save_filter", target)
        if view.may_see("export_leads"):
            components.link("Export as CSV", addresses.of_export(page.chosen), "button quiet").props("download")


def _draw_saved(view: View, page: LeadListPage) -> None:
    if not page.saved:
        return
    here = addresses.query_of(page.chosen)
    with components.block("chips", "nav") as drawn:
        drawn.props["aria-label"] = "Saved filters"
        for one in page.saved:
            label = one.name if one.login == view.user.login else f"{one.name} ({one.login})"
            shown = components.link(label, f"/leads?{one.query}" if one.query else "/leads", "chip")
            if one.query == here:
                shown.props["aria-current"] = "true"
    for one in page.saved:
        if one.query == here and (one.login == view.user.login or view.user.role == Role.ADMIN):
            with components.block("buttons"):
                view.action_button("delete_filter", str(one.id), f"Delete the filter {one.name}")


def _draw_filters(chosen: LeadFilter, choices: Choices) -> None:
    with ui.element("form").classes("filters").props("action=/leads method=get"):
        _draw_field("find", "Search for", chosen.text, "Name or title:head")
        components.select("custodian", "Where", chosen.custodian, {str(kind): label for kind, label in _WHERE.items()})
        _draw_track(chosen, choices.tracks)
        components.select("did", "Did", chosen.did, _DID)
        for name, value in addresses.kept_by_form(chosen).items():
            ui.element("input").props(f"type=hidden name={name}").props["value"] = value
        components.write("button", "Filter").props("type=submit")
        more = ("rep", "fit", "source", "country", "consent", "active_days", "quiet_days")
        with components.block("more", "details") as details:
            if any(getattr(chosen, name) for name in more):
                details.props("open")
            components.write("summary", "More filters")
            with components.block("filters"):
                _draw_more(chosen, choices)
    _draw_chips(chosen)


def _draw_more(chosen: LeadFilter, choices: Choices) -> None:
    components.select("rep", "Rep", chosen.rep, choices.reps)
    if choices.letters:
        components.select("fit", "Fit", chosen.fit, {one: one for one in choices.letters})
    _draw_field("source", "Source", chosen.source)
    _draw_field("country", "Country", chosen.country, "as in DE")
    components.select("consent", "Consent", chosen.consent, _CONSENT)
    components.select("active_days", "Clicked or replied", _text(chosen.active_days), _ACTIVE)
    components.select("quiet_days", "No click or reply", _text(chosen.quiet_days), _QUIET)


def _text(days: int | None) -> str:
    return str(days) if days is not None else ""


_READINESS: Final = {CLASSIFIED: "classified by a rule", NOT_CLASSIFIED: "not classified by any rule"}
_NONE: Final[Mapping[str, dict[str, Any]]] = {
    "track": {"track": "", "step": "", "way": None},
    "since": {"since": None},
    "until": {"until": None},
    "way": {"way": None},
    "waiting": {"waiting": False},
    "account": {"account": None},
}
"""What removes a part of a filter, where it is more than the value ""."""


def _draw_chips(chosen: LeadFilter) -> None:
    removable = {
        "track": f"on track {chosen.track}" + (f", step {chosen.step}" if chosen.step else ""),
        "queue": f"in the queue {chosen.queue}",
        "since": f"since {chosen.since:%Y-%m-%d}" if chosen.since is not None else "",
        "until": f"before {chosen.until:%Y-%m-%d}" if chosen.until is not None else "",
        "way": f"way {(chosen.way or 0) + 1} of the fork",
        "readiness": _READINESS.get(chosen.readiness, f"classified by {chosen.readiness}"),
        "rule": f"offered because of {chosen.rule}",
        "reason": f"given back because of {chosen.reason}",
        "waiting": "waiting for sales",
        "account": "of one company",
    }
    shown = {name: label for name, label in removable.items() if getattr(chosen, name) not in ("", None, False)}
    if not shown:
        return
    with components.block("chips"):
        for name, label in shown.items():
            dropped = _NONE.get(name, {name: ""})
            drawn = components.link(f"{label} ✕", addresses.of_leads(replace(chosen, **dropped)), "chip")
            drawn.props["aria-label"] = f"Remove the filter: {label}"


def _draw_field(name: str, label: str, value: str, hint: str = "") -> None:
    with components.block("field"):
        components.write("label", label).props["for"] = f"filter-{name}"
        field = ui.element("input").props(f"type=text maxlength={addresses.MAX_LENGTH} id=filter-{name} name={name}")
        field.props["value"] = value
        if hint:
            field.props["placeholder"] = hint


def _draw_track(chosen: LeadFilter, tracks: Mapping[str, Sequence[str]]) -> None:
    """Draw the choice of a track, or of one of its steps."""
    value = f"{chosen.track} {chosen.step}".strip()
    with components.block("field"):
        components.write("label", "Track or step").props["for"] = "filter-on"
        with ui.element("select").props("id=filter-on name=on"):
            components.option("", "any", is_chosen=False)
            known = {f"{track} {step}".strip() for track, steps in tracks.items() for step in ("", *steps)}
            if value and value not in known:
                components.option(value, value, is_chosen=True)
            for track, steps in tracks.items():
                with ui.element("optgroup") as group:
                    group.props["label"] = track
                    components.option(track, f"{track}: all", is_chosen=value == track)
                    for step in steps:
                        components.option(f"{track} {step}", step, is_chosen=value == f"{track} {step}")


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
