"""The reports that the console shows, each as tables from the functions behind `nurture reports`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from nurture.errors import InvalidState
from nurture.reporting import queries, report_tables
from nurture.reporting.audit import run_audit
from nurture.reporting.measures import report as measure_report
from nurture.reporting.measures.definitions import load_measures
from nurture.reporting.report_tables import ReportTable
from nurture.reporting.sales import report_sales
from nurture.reporting.tracks import (
    clicks_per_link,
    report_funnel,
    report_goals,
    report_tracks,
    touches_per_week,
)
from nurture.runtime.context import AppContext

Values = Mapping[str, str]
"""What a viewer chose: the values of `ReportKind.choices` that are not empty."""


_MAX_PAGE: Final = 10**6


@dataclass(frozen=True, slots=True)
class Report:
    """A computed report: its tables, and remarks."""

    tables: Sequence[ReportTable]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ReportKind:
    """A report: its title, what it answers, what a viewer may choose, and the function that computes it.

    *hidden* are choices that links make.
    """

    name: str
    title: str
    answers: str
    compute: Callable[[AppContext, datetime, Values], Report]
    choices: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


def list_options(ctx: AppContext, kind: ReportKind) -> Mapping[str, Mapping[str, str]]:
    """Return what a viewer may choose, by choice: the text of each value."""
    found: dict[str, Mapping[str, str]] = {}
    if "row" in kind.choices:
        found["row"] = {one.id: f"{one.id} {one.name}" for one in load_measures().values() if not one.none}
    with ctx.database.read() as tx:
        if "source" in kind.choices:
            found["source"] = {one: one for one in queries.list_sources(tx) if one}
        if "track" in kind.choices:
            definitions = ctx.definitions.find_current(tx)
            found["track"] = {one: one for one in sorted(definitions.programs)} if definitions is not None else {}
    return found


def read_page(values: Values) -> int:
    """Return which page of a list a viewer chose, the first one without a number."""
    text = values.get("page", "")
    return min(max(int(text), 1), _MAX_PAGE) if text.isdecimal() and text.isascii() else 1


def limit_to_team(report: Report, reps: Collection[str] | None) -> Report:
    """Return the report without the rows of other reps, and without leads, for whoever sees the team *reps* alone."""
    if reps is None:
        return report
    tables, notes = [], [*report.notes]
    for table in report.tables:
        if "lead" in table.columns:
            notes.append("The leads behind this figure are not of your team alone, so it names none of them to you.")
        elif "rep" in table.columns:
            kept = [(row, rep) for row, rep in zip(table.rows, table.ids, strict=True) if rep in reps]
            tables.append(table._replace(rows=[row for row, _ in kept], ids=[rep for _, rep in kept]))
        else:
            tables.append(table)
    return replace(report, tables=tables, notes=notes)


def _funnel(ctx: AppContext, _now: datetime, values: Values) -> Report:
    note = "“Enrolled” counts a lead once for each track that it was on; a lead can be offered several times."
    return Report([report_tables.funnel_table(report_funnel(ctx, values.get("source")))], [note])


def _tracks(ctx: AppContext, _now: datetime, _values: Values) -> Report:
    goals = report_goals(ctx)
    tables = report_tables.step_tables(report_tracks(ctx))
    return Report([*tables, report_tables.goal_table(goals)] if goals else tables)


def _emails(ctx: AppContext, _now: datetime, values: Values) -> Report:
    weeks = report_tables.week_table(touches_per_week(ctx))
    return Report([weeks, report_tables.link_table(clicks_per_link(ctx, values.get("track")))])


def _sales(ctx: AppContext, now: datetime, values: Values) -> Report:
    since, until = (_parse_day(values.get(name)) for name in ("since", "until"))
    found = report_sales(ctx, now, since, until, values.get("source"))
    return Report([*report_tables.sales_tables(found), report_tables.win_table(found.wins)])


def _ledger(ctx: AppContext, now: datetime, _values: Values) -> Report:
    found = run_audit(ctx, now)
    notes = [f"{one.headline} {one.remedy}" for one in found.findings]
    verdict = "Every lead has one custodian and one next action." if found.ok else "The audit failed."
    return Report([report_tables.ledger_table(found)], [verdict, *notes])


def _measures(ctx: AppContext, now: datetime, values: Values) -> Report:
    row, listed = values.get("row"), values.get("leads", "")
    if row and listed:
        missed = listed == "missed"
        found = measure_report.list_leads(
            ctx, now, row, missed=missed, month=values.get("month"), page=read_page(values)
        )
        rows = [(one.lead_id, one.at, one.source, one.company) for one in found]
        title = f"{row}: leads that count {'in the whole only' if missed else 'in the part'}"
        return Report([ReportTable(title, ("lead", "at", "source", "company"), rows)])
    figures = measure_report.report_measures(ctx, now, row)
    tables = [report_tables.measure_table(figures)]
    without = [one.measure for one in figures.figures if one.measure.none]
    notes = [f"{one.id} {one.name}: no figure. {one.none}" for one in without]
    if row:
        for one in figures.figures:
            if not one.measure.none:
                notes += [f"{one.measure.id}, version {one.measure.version}: {one.measure.definition}", *one.notes]
                tables += report_tables.measure_detail_tables(one)
    return Report(tables, notes)


def _parse_day(text: str | None) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidState(f"{text[:20]!r} is not a date. Write it as 2027-03-31.") from None


_ALL: Final = (
    ReportKind("funnel", "Funnel", "Where leads came from, and where they are now.", _funnel, ("source",)),
    ReportKind("tracks", "Tracks", "What each step of each track sent, and what came of it.", _tracks),
    ReportKind("emails", "Emails", "Touches by week, and the clicks of each link.", _emails, ("track",)),
    ReportKind(
        "sales",
        "Sales",
        "What happened to hand-offs in sales.",
        _sales,
        ("since", "until", "source"),
    ),
    ReportKind(
        "measures",
        "Measures",
        "The figure of each requirement, and the leads behind it.",
        _measures,
        ("row",),
        ("leads", "month", "page"),
    ),
    ReportKind("ledger", "Ledger", "Whether every lead has one custodian and one next action.", _ledger),
)

REPORTS: Final[Mapping[str, ReportKind]] = {one.name: one for one in _ALL}
