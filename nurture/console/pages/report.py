"""Reports: funnel, tracks, emails, sales, measures and ledger, as charts and tables to print or to download."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from urllib.parse import urlencode

from nicegui import ui

from nurture.console import addresses, components
from nurture.console.components import Cell, Link, Time
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.reports import report_runs
from nurture.console.reports.charts import Bar, bars
from nurture.console.reports.people import find_people
from nurture.console.reports.report_runs import Run
from nurture.console.view import View
from nurture.errors import NotFound
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.reporting.console.reports import REPORTS, Report, ReportKind, limit_to_team, list_options, read_page
from nurture.reporting.report_tables import ReportTable

_POLL_SECONDS: Final = 1.0
_LABELS: Final = {
    "source": "Source of the leads",
    "track": "Track",
    "since": "First day",
    "until": "Last day",
    "row": "Measure",
}
_MAX_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class ReportPage:
    """The kind of report, what the viewer chose and may choose, and the newest result."""

    kind: ReportKind
    chosen: Mapping[str, str]
    options: Mapping[str, Mapping[str, str]]
    run: Run


def _load(request: PageRequest) -> ReportPage:
    kind = REPORTS.get(request.values.get("report", next(iter(REPORTS))))
    if kind is None:
        raise NotFound(f"There is no report {request.values['report'][:40]!r}.", f"There are {', '.join(REPORTS)}.")
    chosen = report_runs.choose(kind, request.values)
    run = report_runs.run(request.ctx, kind, chosen, request.now)
    if isinstance(run.result, Report):
        run.result = limit_to_team(run.result, request.user.reps)
    return ReportPage(kind, chosen, list_options(request.ctx, kind), run)


def _render(view: View, page: ReportPage) -> None:
    with components.block("switch", "nav") as drawn:
        drawn.props["aria-label"] = "Reports"
        for kind in REPORTS.values():
            one = components.link(kind.title, addresses.of_report(kind.name))
            if kind is page.kind:
                one.props["aria-current"] = "page"
        if view.may_see("find_leaks"):
            components.link("Leaks in a file", "/import")
    with components.block("report-head"):
        components.heading(page.kind.title)
        with components.block("soft", "p"):
            components.write("span", page.kind.answers)
            if page.run.now is not None:
                components.write("span", " As of ")
                components.time(page.run.now)
    if page.kind.choices:
        _draw_choices(page)
    if page.run.is_running:
        components.notice("It is being computed. Until then the page shows the last result, if there is one.")
        view.read_again_in(_POLL_SECONDS)
    elif page.run.error:
        components.notice(page.run.error, "problem")
    if isinstance(page.run.result, Report):
        _draw_report(page, page.run.result)


def _draw_choices(page: ReportPage) -> None:
    with ui.element("form").classes("filters few").props("method=get") as form:
        form.props["action"] = addresses.of_report(page.kind.name)
        for name in page.kind.choices:
            if name in page.options:
                components.select(name, _LABELS[name], page.chosen.get(name, ""), page.options[name])
                continue
            with components.block("field"):
                components.write("label", _LABELS[name]).props["for"] = f"choice-{name}"
                field = ui.element("input").props("type=date")
                field.props["id"], field.props["name"] = f"choice-{name}", name
                field.props["value"] = page.chosen.get(name, "")
        components.write("button", "Show").props("type=submit")


def _draw_report(page: ReportPage, report: Report) -> None:
    row = page.chosen.get("row", "")
    if row and page.kind.name == "measures":
        _draw_drill_down(page, row)
    for note in report.notes if row or page.kind.name != "measures" else ():
        components.paragraph(note)
    for at, table in enumerate(report.tables):
        with components.card(table.title):
            if any(value for _, value in table.bars):
                bars(table.title, [Bar(name, value) for name, value in table.bars])
            if table.rows:
                rows = [
                    [_cell(page, table, row, name, cell) for name, cell in zip(table.columns, cells, strict=True)]
                    for row, cells in enumerate(table.rows[:_MAX_ROWS])
                ]
                columns, right = ([one.capitalize() for one in names] for names in (table.columns, table.right))
                components.table(columns, rows, caption=table.title, right=right)
                query = urlencode({**page.chosen, "table": at})
                if len(table.rows) > _MAX_ROWS:
                    components.paragraph(
                        f"The first {_MAX_ROWS} of {len(table.rows):,} rows; the CSV has all.", "soft after"
                    )
                components.link("CSV", f"{addresses.of_report(page.kind.name)}/table.csv?{query}", "csv")
            else:
                components.empty("Nothing yet.")
    if not row and page.kind.name == "measures":
        with components.card("Without a figure"):
            for note in report.notes:
                components.paragraph(note, "soft")


def _draw_drill_down(page: ReportPage, row: str) -> None:
    with components.block("switch", "nav") as drawn:
        drawn.props["aria-label"] = "Leads behind the figure"
        for label, listed in (("Figure", ""), ("Leads that count", "part"), ("Leads that do not", "missed")):
            one = components.link(label, addresses.of_report("measures", row=row, leads=listed))
            if page.chosen.get("leads", "") == listed:
                one.props["aria-current"] = "true"
        if page.chosen.get("leads"):
            query = {**page.chosen, "page": read_page(page.chosen) + 1}
            components.link("Next page", addresses.of_report("measures", **query))


def _cell(page: ReportPage, table: ReportTable, row: int, column: str, value: object) -> Cell:
    people = find_people(page.kind.name, table, row, column, page.chosen) if value else None
    if people is not None and isinstance(value, int):
        return Link(f"{value:,}", addresses.of_leads(people))
    if (
        page.kind.name == "measures"
        and not str(value).startswith("0")
        and (of := _find_measure(page, table, row, column))
    ):
        text = f"{value:,}" if isinstance(value, int) else str(value)
        return Link(text, addresses.of_report("measures", **of, leads="part"))
    match value:
        case bool():
            return "yes" if value else "no"
        case datetime():
            return Time(value)
        case date():
            return value.isoformat()
        case float():
            return f"{value:,.1f}"
        case int() if column == "lead":
            return Link(f"Lead {value}", addresses.of_lead(value))
        case str() if column == "measure":
            return Link(value, addresses.of_report("measures", row=value))
        case str() if column == "track":
            return Link(value, addresses.of_track(value))
        case str() if column == "rep":
            return Link(value, addresses.of_leads(LeadFilter(rep=table.ids[row])))
        case None | int() | str():
            return value
        case _:
            return str(value)


def _find_measure(page: ReportPage, table: ReportTable, row: int, column: str) -> dict[str, object]:
    """Return the measure, and the month, whose leads that count are a number of the table; nothing for another."""
    if column == "count":
        return {"row": table.rows[row][0]}
    is_month = column == "part" and table.columns[0] == "month"
    return {"row": page.chosen["row"], "month": table.rows[row][0]} if is_month else {}


PAGE: Final = Page("/reports/{report}", "Reports", ALL_BUT_REPS, _load, _render)
