"""Print the measures, their definitions or the leads behind one, or write them to files: `nurture reports measures`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from nurture.app import open_app
from nurture.cli.output import JsonOption, make_table, out, print_json, print_table
from nurture.cli.reports.files import print_written, write_csv, write_page
from nurture.errors import InvalidState
from nurture.reporting import report_tables
from nurture.reporting.measures import report
from nurture.reporting.measures.definitions import Measure, hash_definition, load_facts
from nurture.reporting.measures.report import PAGE, Figure, MeasureReport

_CSV_COLUMNS = ("measure", "name", "version", "table", "row", "part", "whole", "unknown", "value")


def measures(
    row: Annotated[str | None, typer.Option(help="Only this requirement or measure, such as R18 or R18-90.")] = None,
    leads: Annotated[bool, typer.Option("--leads", help="List the leads behind the figure of --row.")] = False,
    missed: Annotated[bool, typer.Option("--missed", help="List the leads of its whole that its part lacks.")] = False,
    month: Annotated[str | None, typer.Option(help="Only leads of this month, such as 2027-01.")] = None,
    page: Annotated[int, typer.Option(min=1, help=f"The page of leads, {PAGE} on each.")] = 1,
    definitions: Annotated[bool, typer.Option("--definitions", help="Print what each measure counts.")] = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write all figures to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts to this file.")] = None,
    json: JsonOption = False,
) -> None:
    """Show the figure of each requirement: part, whole, what is not known, the articles' figure, and the trend."""
    if definitions:
        _print_definitions(report.find_measures(row), json=json)
        return
    with open_app() as app:
        if leads or missed:
            if row is None:
                raise InvalidState("`--leads` needs a measure. Add for example `--row R18`.")
            found_leads = report.list_leads(app.ctx, app.clock.now(), row, missed=missed, month=month, page=page)
            rows = [(one.lead_id, one.at, one.source, one.company) for one in found_leads]
            nothing = "No lead is behind this figure" + (f" on page {page}." if page > 1 else ".")
            print_table(("lead", "at (UTC)", "source", "company"), rows, found_leads, json=json, empty=nothing)
            return
        found = report.report_measures(app.ctx, app.clock.now(), row)
    if csv_file is not None:
        write_csv(csv_file, _CSV_COLUMNS, _csv_rows(found))
    if html is not None:
        from nurture.web.sales.measures_page import render_measures_page  # noqa: PLC0415 - only --html needs the pages

        write_page(html, render_measures_page(found))
    if json:
        print_json({"at": found.at, "measures": [_to_dict(one) for one in found.figures]})
        return
    _print_figures(found, detailed=row is not None)
    print_written(csv_file, html)


def _to_dict(figure: Figure) -> dict[str, Any]:
    months = [one._asdict() for one in figure.months]
    groups = [one._asdict() for one in figure.groups]
    spread = figure.spread._asdict() if figure.spread is not None else None
    return asdict(figure) | {"share": figure.share, "months": months, "groups": groups, "spread": spread}


def _print_definitions(chosen: list[Measure], *, json: bool) -> None:
    facts = load_facts()
    versions = {one.id: facts[one.facts].version if one.facts else None for one in chosen}
    rows = [
        (
            one.id,
            f"{one.version}.{versions[one.id]}" if versions[one.id] else one.version,
            one.name,
            one.definition or f"No figure. {one.none}",
            one.baseline or one.target,
        )
        for one in chosen
    ]
    items = [asdict(one) | {"facts_version": versions[one.id], "hash": hash_definition(one)} for one in chosen]
    print_table(("measure", "version", "name", "definition", "beside"), rows, items, json=json)


def _print_figures(found: MeasureReport, *, detailed: bool) -> None:
    table = report_tables.measure_table(found)
    if table.rows:
        out.print(make_table(table.columns, table.rows, right=table.right))
    for one in found.figures:
        if one.measure.none:
            out.print(f"{one.measure.id} {one.measure.name}: no figure. {one.measure.none}", soft_wrap=True)
        if one.notes and (detailed or one.measure.special != "forecast"):
            out.print(f"{one.measure.id}: {'; '.join(one.notes)}", soft_wrap=True)
        if detailed and not one.measure.none:
            _print_details(one)
    if not detailed:
        out.print("`--row R18` shows one by month and group, `--row R18 --leads` its leads, `--definitions` all texts.")


def _print_details(one: Figure) -> None:
    out.print(f"\n{one.measure.id}, version {one.measure.version}: {one.measure.definition}", soft_wrap=True)
    for table in report_tables.measure_detail_tables(one):
        out.print(make_table(table.columns, table.rows, right=table.right))


def _csv_rows(found: MeasureReport) -> Iterator[tuple[object, ...]]:
    """Yield the totals, months, groups and percentiles, one line each, so that files can be concatenated."""
    for one in found.figures:
        if one.measure.none:
            continue
        name = (one.measure.id, one.measure.name, one.measure.version)
        yield *name, "total", "", one.part, one.whole, one.unknown, ""
        for month in one.months:
            yield *name, "month", *month, ""
        for group in one.groups:
            yield *name, "group", group.name, group.part, group.whole, "", "" if group.mean is None else group.mean
        if one.spread is not None:
            yield from ((*name, key, "", "", "", "", value) for key, value in one.spread._asdict().items())
