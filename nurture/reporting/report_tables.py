"""Reports as tables: the columns and rows that the command line prints, and that the console and its CSV files show."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final, NamedTuple

from nurture.reporting.audit import AuditReport
from nurture.reporting.measures.report import Figure, MeasureReport
from nurture.reporting.sales import SalesReport
from nurture.reporting.tracks import Funnel, GoalReport, LinkRow, StepReport, Week, Wins
from nurture.reporting.wording import format_counts, format_hours, format_percent, pluralize

STEP_COLUMNS: Final = ("step", "sent", "held", "here now", "clicked", "replied", "unsub.", "exited", "handed off")
MEASURE_COLUMNS: Final = (
    "measure",
    "name",
    "share",
    "count",
    "not known",
    "median / 95 %",
    "benchmark",
    "last months, %",
)


class ReportTable(NamedTuple):
    """A table of plain values; *right* names the columns of numbers, *bars* are its figures as a chart, by name.

    *ids* are what its rows are about, such as the ids of reps, where rows say it in words.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    right: tuple[str, ...] = ()
    bars: Sequence[tuple[str, float]] = ()
    ids: Sequence[str] = ()


def funnel_table(found: Funnel) -> ReportTable:
    """Return the funnel."""
    classified = {rule: count for rule, count in found.readiness.items() if rule}
    rows = [
        ("imported", found.leads, ""),
        ("classified", sum(classified.values()), format_counts(classified)),
        ("not classified", found.readiness.get("", 0), "in intake, or placed on arrival"),
        ("enrolled", sum(found.enrolled.values()), format_counts(found.enrolled)),
        ("handed off", found.handed_off, ""),
        ("  offers of these to reps", sum(found.offers.values()), format_counts(found.offers)),
        ("recycled", found.recycled, ""),
        ("on a track now", found.nurtured, format_counts(found.nurtured_on)),
        ("in queues", sum(found.queued.values()), format_counts(found.queued)),
        ("with sales", found.with_sales, ""),
        ("resting", sum(found.resting.values()), format_counts(found.resting)),
        ("closed", sum(found.closed.values()), format_counts(found.closed)),
    ]
    return ReportTable(
        "Leads by stage", ("leads", "count", "details"), rows, ("count",), [(row[0], row[1]) for row in rows]
    )


def step_tables(found: Sequence[StepReport]) -> list[ReportTable]:
    """Return the steps of each track."""
    tables = []
    for track, of_track in groupby(found, key=lambda each: each.track):
        steps = list(of_track)
        sent = [(one.step, one.sent) for one in steps if one.is_email]
        tables.append(ReportTable(track, STEP_COLUMNS, [_step_row(one) for one in steps], STEP_COLUMNS[1:], sent))
    return tables


def _step_row(step: StepReport) -> tuple[object, ...]:
    held, exited = sum(step.holds.values()), sum(step.exits.values())
    counts = (step.waiting, step.clicked, step.replied, step.unsubscribed, exited, step.handed_off)
    return step.step, step.sent, held, *counts


def goal_table(found: Sequence[GoalReport]) -> ReportTable:
    """Return the versions of tracks with a goal."""
    columns = ("track", "version", "enrolled", "here now", "reached goal", "share", "exited")
    rows = [
        (one.track, one.version, one.enrolled, one.here_now, one.reached_goal, f"{one.share:.1%}", one.exited)
        for one in found
    ]
    return ReportTable("Goals", columns, rows, columns[1:])


def link_table(found: Sequence[LinkRow]) -> ReportTable:
    """Return the clicks per link."""
    columns = ("track", "email", "link", "leads", "clicks", "sent", "suspect", "bot")
    rows = [(one.track, one.step, one.link, one.leads, one.clicks, one.sent, one.suspects, one.bots) for one in found]
    return ReportTable("Clicks by link", columns, rows, columns[3:])


def week_table(found: Sequence[Week]) -> ReportTable:
    """Return the touches of each week."""
    rows = [(one.monday, one.touches, one.leads) for one in found]
    bars = [(one.monday.isoformat(), one.touches) for one in found]
    return ReportTable("Touches by week", ("week of", "touches", "leads"), rows, ("touches", "leads"), bars)


def win_table(found: Wins) -> ReportTable:
    """Return when leads were won."""
    columns = ("days after first contact", "wins", "share", "amount")
    rows = [(band.name, band.wins, f"{band.share:.0%}", f"{band.amount:,.0f}") for band in found.bands]
    return ReportTable(
        pluralize(found.wins, "win"), columns, rows, columns[1:], [(one.name, one.wins) for one in found.bands]
    )


def ledger_table(found: AuditReport) -> ReportTable:
    """Return the ledger: leads by source and custodian."""
    kinds = list(found.total.custody)
    rows = [
        (each.name, each.leads, *(each.custody.get(kind, 0) for kind in kinds), each.residual + each.journal_residual)
        for each in (*found.by_source, found.total)
    ]
    columns = ("source", "leads", *kinds, "residual")
    return ReportTable("Leads by source and custodian", columns, rows, columns[1:])


def measure_table(found: MeasureReport) -> ReportTable:
    """Return the figures of the measures that have one."""
    rows = [
        (
            one.measure.id,
            one.measure.name,
            format_percent(one.share),
            f"{one.part:,} of {one.whole:,}",
            f"{one.unknown:,}" if one.measure.unknown else "",
            describe_spread(one),
            one.measure.baseline or (f"target {one.measure.target}" if one.measure.target else ""),
            ", ".join(format_percent(month.part / month.whole)[:-2] for month in one.months[-3:] if month.whole),
        )
        for one in found.figures
        if not one.measure.none
    ]
    return ReportTable(
        "Figures by requirement", MEASURE_COLUMNS, rows, ("share", "count", "not known", "last months, %")
    )


def describe_spread(one: Figure) -> str:
    """Return the median and the 95th percentile of a measure's value."""
    return f"{one.spread.p50:,.1f} / {one.spread.p95:,.1f} {one.measure.unit}" if one.spread is not None else ""


def measure_detail_tables(one: Figure) -> list[ReportTable]:
    """Return the months and the groups of a figure."""
    months = [
        (month.month, format_percent(month.part / month.whole if month.whole else None), *month[1:])
        for month in one.months
    ]
    groups = [
        (group.name or "-", format_percent(one.share_of(group)), group.part, group.whole, group.mean)
        for group in one.groups
    ]
    tables = [
        ReportTable(
            "By month, in %",
            ("month", "share", "part", "whole", "not known"),
            months,
            ("share", "part", "whole", "not known"),
            [(month.month, 100 * month.part / month.whole) for month in one.months if month.whole],
        ),
        ReportTable("By group", ("by", "share", "part", "whole", "mean"), groups, ("share", "part", "whole", "mean")),
    ]
    return [table for table in tables if table.rows]


def sales_tables(found: SalesReport) -> list[ReportTable]:
    """Return the rates, and the hand-offs by rule, reject reason, rep and month."""
    tables = [_rates(found)]
    if not found.rules:
        return tables
    columns = ("hand-off reason", "hand-offs", "accepted", "rejected", "unanswered", "acceptance", "won")
    rules = [
        (one.label, one.handed_off, one.accepted, one.rejected, one.unanswered, format_percent(one.acceptance), one.won)
        for one in found.rules
    ]
    ids = [one.rule for one in found.rules]
    tables.append(ReportTable("By reason of the hand-off", columns, rules, columns[1:], ids=ids))
    if found.reasons:
        given, ids = [(label, number) for _, label, number in found.reasons], [code for code, _, _ in found.reasons]
        tables.append(ReportTable("Why reps rejected", ("reject reason", "times"), given, ("times",), ids=ids))
    return [*tables, _reps(found), _months(found)]


def _rates(found: SalesReport) -> ReportTable:
    columns = ("share of hand-offs", "result", "count", "benchmark", "definition")
    rows = [
        (rate.name, format_percent(rate.share), f"{rate.count:,} of {rate.total:,}", rate.benchmark, rate.definition)
        for rate in found.rates
    ]
    title = f"{pluralize(found.handed_off, 'hand-off')}, {found.still_open:,} of them still open"
    return ReportTable(title, columns, rows, ("result", "count", "benchmark"))


def _reps(found: SalesReport) -> ReportTable:
    columns = ("rep", "offers", "accepted", "reached", "rejected", "expired", "time to accept", "peak", "won", "amount")
    rows = [
        (
            one.name,
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
    return ReportTable("By rep", columns, rows, columns[1:], ids=[one.rep for one in found.reps])


def _months(found: SalesReport) -> ReportTable:
    columns = ("month", "hand-offs", "accepted", "contacted", "closed in 30 days", "won")
    rows = [
        (one.month, one.handed_off, one.accepted, one.reached, one.closed_in_30_days, one.won) for one in found.months
    ]
    return ReportTable("By month", columns, rows, columns[1:], [(one.month, one.handed_off) for one in found.months])
