"""Find leads that nobody worked, in exports of a CRM: `nurture reports leaks`. Needs no database."""

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.cli.output import JsonOption, err, make_table, out, print_json
from nurture.cli.reports.files import open_csv, print_written, write_page
from nurture.clock import RealClock, parse_time
from nurture.errors import InvalidState
from nurture.reporting.leaks.business_case import GivenInputs, parse_range
from nurture.reporting.leaks.lists import LISTS, ListedRows
from nurture.reporting.leaks.report import DEFAULT_AFTER, LeakReport, report_leaks
from nurture.reporting.leaks.sections import Section, Share, is_number, make_sections
from nurture.reporting.wording import format_percent
from nurture.settings import STARTER_TEMPLATES, Settings

MAX_ROWS: Final = 50
"""Rows of a list that the terminal shows; a CSV file has all."""

_LEFT_OUT: Final = frozenset({"file", "status", "first touch", "policy"})
"""Columns of a list for which a terminal has no room."""


def leaks(
    files: Annotated[list[Path], typer.Argument(help="Exports of leads or contacts, and of deals: CSV, Excel, JSON.")],
    html: Annotated[Path | None, typer.Option(help="Write the report as one page to this file.")] = None,
    list_: Annotated[
        list[str] | None, typer.Option("--list", help=f"Show who is behind a figure; repeatable: {', '.join(LISTS)}.")
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the lists to this file.")] = None,
    win_rate: Annotated[str | None, typer.Option(help="Instead of your own win rate: 4%, or 3%-6%.")] = None,
    deal_value: Annotated[
        str | None, typer.Option(help="Instead of your own deal value: 12000, or 8000-20000.")
    ] = None,
    currency: Annotated[str, typer.Option(help="The currency of the deal value, such as EUR.")] = "",
    after: Annotated[
        int, typer.Option(min=0, max=3_650, help="A lead leaked if nobody touched it for more than these days.")
    ] = DEFAULT_AFTER.days,
    at: Annotated[str | None, typer.Option(help="The ISO time of the export (UTC); default: now.")] = None,
    json: JsonOption = False,
) -> None:
    """Show which leads nobody worked and what that costs, from exports of a CRM alone: no set-up, no database."""
    if csv_file is not None and not list_:
        raise InvalidState("--csv writes lists.", "Name one, such as --list never-touched.")
    given = GivenInputs(
        parse_range(win_rate, percent=True) if win_rate else None,
        parse_range(deal_value) if deal_value else None,
        currency,
    )
    with err.status("Reading the files, and asking the policy about each lead") if err.is_terminal else nullcontext():
        found = report_leaks(
            files,
            Settings.read().templates,
            next(folder for folder in STARTER_TEMPLATES if folder.is_dir()),
            parse_time(at) if at else RealClock().now(),
            after=timedelta(days=after),
            given=given,
            lists=list_ or (),
        )
    if html is not None:
        from nurture.web.sales.leaks_page import render_leaks_page  # noqa: PLC0415 - only --html needs the pages

        write_page(html, render_leaks_page(found))
    if csv_file is not None:
        write_lists(csv_file, found.lists)
    if json:
        print_json(found)
        return
    print_report(found, show_lists=csv_file is None)
    print_written(html, csv_file)


def print_report(found: LeakReport, *, show_lists: bool) -> None:
    """Print the report, and the lists asked for."""
    for section in make_sections(found):
        _print_section(section)
    for each in found.lists if show_lists else ():
        title = f"{each.title} ({len(each.rows):,})"
        kept = [at for at, name in enumerate(each.columns) if name not in _LEFT_OUT]
        rows = [[row[at] for at in kept] for row in each.rows[:MAX_ROWS]]
        out.print(make_table([each.columns[at] for at in kept], rows, title=title))
        first = f"The first {MAX_ROWS} of {len(each.rows):,}. " if len(each.rows) > MAX_ROWS else ""
        out.print(f"[dim]{first}--csv FILE writes all rows and columns.[/]\n")


def _print_section(section: Section) -> None:
    out.print(f"[bold]{escape(section.title)}[/]")
    if section.lead_in:
        out.print(escape(section.lead_in))
    if section.shares:
        cells = [_share_cells(one) for one in section.shares]
        names = ("share", "result", "leads", "list", "benchmark")
        used = [at for at in range(len(names)) if any(row[at] for row in cells)]
        kept = [[row[at] for at in used] for row in cells]
        out.print(make_table([names[at] for at in used], kept, right=("result", "leads")))
    for table in section.tables:
        numeric = [
            name for at, name in enumerate(table.columns) if at and all(is_number(row[at]) for row in table.rows)
        ]
        out.print(make_table(table.columns, table.rows, right=numeric))
    for remark in section.remarks:
        out.print(f"[dim]{escape(remark)}[/]")
    out.print()


def _share_cells(one: Share) -> tuple[str, ...]:
    part = "cannot be computed" if one.part is None else f"{one.part:,} of {one.total:,}"
    return one.name, format_percent(one.share), part, one.list_name, one.benchmark


def write_lists(file: Path, lists: tuple[ListedRows, ...]) -> None:
    """Write *lists* one below the other, each row with the name of its list."""
    with open_csv(file, "list,") as writer:
        columns: object = None
        for each in lists:
            if each.columns != columns:
                writer.write_row(("list", *each.columns))
                columns = each.columns
            writer.write_rows((each.name, *row) for row in each.rows)
