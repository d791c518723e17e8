"""Print the sales report, or write it as CSV or as a page with charts: `nurture reports sales`."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from nurture.app import open_app
from nurture.cli.arguments import parse_date
from nurture.cli.output import JsonOption, make_table, out, pluralize, print_json
from nurture.cli.reports.files import print_written, write_csv, write_page
from nurture.reporting.report_tables import sales_tables
from nurture.reporting.sales import SalesReport, report_sales
from nurture.reporting.wording import format_hours, format_percent

_CSV_COLUMNS = ("table", "row", "figure", "value")


def sales(
    since: Annotated[str | None, typer.Option(help="The first day (UTC) of hand-offs, such as 2027-01-01.")] = None,
    until: Annotated[str | None, typer.Option(help="The last day (UTC) of hand-offs.")] = None,
    source: Annotated[str | None, typer.Option(help="Only leads from this source.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write all figures to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts to this file.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what happened to hand-offs in sales: right owner, contacted, answered, closed, won."""
    first, last = (parse_date(text) if text else None for text in (since, until))
    with open_app() as app:
        found = report_sales(app.ctx, app.clock.now(), first, last, source)
    if csv_file is not None:
        write_csv(csv_file, _CSV_COLUMNS, _csv_rows(found))
    if html is not None:
        from nurture.web.sales.report_page import render_sales_page  # noqa: PLC0415 - only --html needs the pages

        write_page(html, render_sales_page(found))
    if json:
        print_json(_report_to_dict(found))
        return
    _print_report(found)
    print_written(csv_file, html)


def _report_to_dict(found: SalesReport) -> dict[str, object]:
    plain = asdict(found)
    plain["rates"] = [asdict(rate) | {"share": rate.share} for rate in found.rates]
    plain["rules"] = [asdict(rule) | {"acceptance": rule.acceptance} for rule in found.rules]
    return plain


def _print_report(found: SalesReport) -> None:
    rates, *others = sales_tables(found)
    waited = found.time_to_owner
    hours = (
        f"median {format_hours(waited.p50)}, 95th percentile {format_hours(waited.p95)}"
        if waited.p50 is not None and waited.p95 is not None
        else "no lead has an owner yet"
    )
    out.print(make_table(rates.columns, rates.rows, title=rates.title, right=rates.right))
    out.print(f"Time from decision to owner: {hours}.\n")
    for table in others:
        out.print(make_table(table.columns, table.rows, right=table.right), "")
    in_all = "" if found.since or found.until or found.source else " in total"
    out.print(
        f"{pluralize(found.wins.wins, 'lead')} won{in_all}, {found.wins.after_day_90:,} of them "
        f"({format_percent(found.wins.share_after_day_90)}) more than 90 days after the first contact."
    )


def _csv_rows(found: SalesReport) -> Iterator[tuple[str, str, str, object]]:
    """Yield one line per figure, so that files of several months can be concatenated."""
    yield "report", "all", "handed_off", found.handed_off
    yield "report", "all", "still_open", found.still_open
    for rate in found.rates:
        for name in ("count", "total", "share"):
            yield "rates", rate.name, name, getattr(rate, name)
    for name, value in asdict(found.time_to_owner).items():
        yield "time_to_owner", "hours", name, value
    for code, _, number in found.reasons:
        yield "reasons", code, "times", number
    keyed: dict[str, tuple[str, list[dict[str, Any]]]] = {
        "rules": ("rule", [asdict(row) for row in found.rules]),
        "reps": ("rep", [asdict(row) for row in found.reps]),
        "months": ("month", [asdict(row) for row in found.months]),
    }
    for listed, (key, rows) in keyed.items():
        for plain in rows:
            named = str(plain.pop(key))
            figures = ((name, value) for name, value in plain.items() if name not in ("label", "name"))
            yield from ((listed, named, name, value) for name, value in figures)
    for band in found.wins.bands:
        yield "wins", band.name, "wins", band.wins
