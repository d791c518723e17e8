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
from nurture.reporting.sales import SalesReport, report_sales
from nurture.reporting.wording import format_percent

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


def format_hours(hours: float) -> str:
    """Return a time in hours, in minutes if it is short."""
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"


def _report_to_dict(found: SalesReport) -> dict[str, object]:
    plain = asdict(found)
    plain["rates"] = [asdict(rate) | {"share": rate.share} for rate in found.rates]
    plain["rules"] = [asdict(rule) | {"acceptance": rule.acceptance} for rule in found.rules]
    return plain


def _print_report(found: SalesReport) -> None:
    rows = [
        (rate.name, format_percent(rate.share), f"{rate.count:,} of {rate.total:,}", rate.benchmark, rate.definition)
        for rate in found.rates
    ]
    waited = found.time_to_owner
    hours = (
        f"median {format_hours(waited.p50)}, 95th percentile {format_hours(waited.p95)}"
        if waited.p50 is not None and waited.p95 is not None
        else "no lead has an owner yet"
    )
    title = f"{found.handed_off:,} hand-offs, {found.still_open:,} of them still open"
    columns = ("share of hand-offs", "result", "count", "benchmark", "definition")
    out.print(make_table(columns, rows, title=title, right=("result", "count", "benchmark")))
    out.print(f"Time from decision to owner: {hours}.\n")
    if found.rules:
        _print_rules(found)
        _print_reps(found)
        _print_months(found)
    in_all = "" if found.since or found.until or found.source else " in total"
    out.print(
        f"{pluralize(found.wins.wins, 'lead')} won{in_all}, {found.wins.after_day_90:,} of them "
        f"({format_percent(found.wins.share_after_day_90)}) more than 90 days after the first contact."
    )


def _print_rules(found: SalesReport) -> None:
    rows = [
        (one.label, one.handed_off, one.accepted, one.rejected, one.unanswered, format_percent(one.acceptance), one.won)
        for one in found.rules
    ]
    columns = ("hand-off reason", "hand-offs", "accepted", "rejected", "unanswered", "acceptance", "won")
    out.print(make_table(columns, rows, right=columns[1:]), "")
    if found.reasons:
        given = [(label, number) for _, label, number in found.reasons]
        out.print(make_table(("reject reason", "times"), given, right=("times",)), "")


def _print_reps(found: SalesReport) -> None:
    rows = [
        (
            one.rep,
            one.offered,
            one.accepted,
            one.followed_up,
            one.rejected,
            one.expired,
            "-" if one.hours_to_accept is None else format_hours(one.hours_to_accept),
            f"{one.peak} of {one.capacity}" if one.capacity is not None else one.peak,
            one.won,
            f"{one.amount:,.0f}",
        )
        for one in found.reps
    ]
    columns = (
        "rep",
        "offers",
        "accepted",
        "reached",
        "rejected",
        "expired",
        "time to accept",
        "peak",
        "won",
        "amount",
    )
    out.print(make_table(columns, rows, right=columns[1:]), "")


def _print_months(found: SalesReport) -> None:
    rows = [
        (one.month, one.handed_off, one.accepted, one.reached, one.closed_in_30_days, one.won) for one in found.months
    ]
    columns = ("month", "hand-offs", "accepted", "contacted", "closed in 30 days", "won")
    out.print(make_table(columns, rows, right=columns[1:]), "")


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
