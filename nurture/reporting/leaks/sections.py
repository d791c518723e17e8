"""Say the leak report in words and tables, for the terminal and for the page alike."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from nurture.domain.lead import Custodian
from nurture.reporting.leaks.business_case import BusinessCase, Input, Range
from nurture.reporting.leaks.exports import DEALS, ExportFile
from nurture.reporting.leaks.facts import Touch
from nurture.reporting.leaks.figures import FirstTouches, OwnerFigures, PlaceRow, UntouchedRow
from nurture.reporting.leaks.lists import WON_DEALS
from nurture.reporting.leaks.report import LeakReport
from nurture.reporting.wording import format_percent, pluralize

UNKNOWN: Final = "cannot be computed"
_MINUTES_BELOW: Final = 2  # hours
_DAYS_FROM: Final = 48  # hours
_MAX_UNKNOWN: Final = 5
_NUMBER: Final = re.compile(r"-?|[\d,.]+(?: %)?|\d{4}-\d\d-\d\d")
_MIN_UNKNOWN: Final = 3
"""A word that stands in fewer rows may be about a person, and is not shown."""

_ESTIMATE: Final = (
    "Low, middle and high multiply the low, middle and high inputs, so the range is wide on purpose. It is an "
    "estimate, no promise: sales may have picked the better leads first, and a lead that waited is colder."
)
_PLACES: Final = {
    "queue hand-off": "offered to a rep now",
    "closed discarded": "discarded: no buyer",
    "closed lost": "closed: lost or unqualified in the file",
    "resting customer": "rests: a customer",
    "resting no-track": "rests: fits no track",
    "queue owner-unknown": "queue owner-unknown: worked, no column says by whom",
    Custodian.REP: "stays with the rep who works it",
}


class Share(NamedTuple):
    """A part of a whole. *list_name* is the list behind the part, "" for none; *benchmark* what others have."""

    name: str
    part: int | None
    total: int
    list_name: str = ""
    benchmark: str = ""

    @property
    def share(self) -> float | None:
        """Return the part of the whole, None without one."""
        return self.part / self.total if self.part is not None and self.total else None


class FigureTable(NamedTuple):
    """A table whose first column names the row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


class Section(NamedTuple):
    """One part of the report: *lead_in* says the result in a sentence, *remarks* what limits it."""

    title: str
    lead_in: str = ""
    shares: Sequence[Share] = ()
    tables: Sequence[FigureTable] = ()
    remarks: Sequence[str] = ()


def make_sections(report: LeakReport) -> list[Section]:
    """Return the sections of *report*, the most important first."""
    return [
        _case(report),
        _untouched(report),
        _first_touches(report.first_touches),
        _owners(report.owners),
        _duplicates(report),
        _replay(report),
        _gaps(report),
        _files(report),
    ]


def is_number(cell: object) -> bool:
    """Return whether a cell of a table is a number, a share or a date, or stands for one."""
    return isinstance(cell, int | float) or (isinstance(cell, str) and _NUMBER.fullmatch(cell) is not None)


def format_span(hours: float) -> str:
    """Return a time in minutes, hours or days."""
    if hours < _MINUTES_BELOW:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.1f} hours" if hours < _DAYS_FROM else f"{hours / 24:.1f} days"


def _case(report: LeakReport) -> Section:
    case, days = report.case, report.after.days
    unit = f" {case.currency}" if case.currency else ""
    if case.leads is None:
        lead_in = f"How many leads leaked {UNKNOWN}: no file says which leads somebody touched."
    elif case.value is not None and case.wins is not None:
        lead_in = (
            f"{case.leads:,} leads leaked. Won at the rate of those that were worked, they are worth between "
            f"{case.value.low:,.0f} and {case.value.high:,.0f}{unit}, {case.value.mid:,.0f}{unit} in the middle."
        )
    else:
        lead_in = f"{case.leads:,} leads leaked. What they are worth cannot be computed: see below what is missing."
    tables = [FigureTable(("Input or result", "Low", "Middle", "High", "From"), list(_case_rows(case, days)))]
    remarks = [
        _ESTIMATE,
        *(one.remark for one in (case.win_rate, case.deal_value) if one is not None and one.remark),
        *case.missing,
        "Lists: leaked (the leads), worked and won (the win rate), " + WON_DEALS + " (the deal value).",
    ]
    if report.undated:
        remarks.insert(
            0, f"{report.undated:,} of them have no date on which they came in; they count however new they are."
        )
    return Section("Business case", lead_in, (), tables, remarks)


def _case_rows(case: BusinessCase, days: int) -> Iterator[Sequence[object]]:
    overdue = f"never touched for more than {days} days, not discarded by the policy, each person once; --after"
    yield ("leaked leads", *["-" if case.leads is None else f"{case.leads:,}"] * 3, overdue)
    yield _input_row("x win rate", case.win_rate, "--win-rate", format_percent)
    yield _input_row("x deal value", case.deal_value, "--deal-value", _format_amount)
    yield _result_row("= leads won", case.wins, lambda value: f"{value:,.1f}")
    yield _result_row(f"= value {case.currency}".strip(), case.value, _format_amount)


def _format_amount(value: float) -> str:
    return f"{value:,.0f}"


def _input_row(name: str, found: Input | None, option: str, show: object) -> Sequence[object]:
    if found is None or not callable(show):
        return name, "-", "-", "-", f"{UNKNOWN}; give {option}"
    source = found.source if option in found.source else f"{found.source}; {option}"
    return (name, *map(show, found.value), source)


def _result_row(name: str, found: Range | None, show: object) -> Sequence[object]:
    return (name, *map(show, found), "") if found is not None and callable(show) else (name, "-", "-", "-", UNKNOWN)


def _untouched(report: LeakReport) -> Section:
    total, unknown = report.leads, report.touches[Touch.UNKNOWN]
    lists = {Touch.NEVER: "never-touched", Touch.UNKNOWN: "not-known"}
    benchmarks = {Touch.NEVER: "elsewhere 50 to 70 % are never followed up"}
    shares = [
        Share(str(touch), count, total, lists.get(touch, ""), benchmarks.get(touch, ""))
        for touch, count in report.touches.items()
    ]
    known = total - unknown
    if report.untouched is None:
        lead_in = f"It {UNKNOWN}: no file says by a column or by a status which leads somebody touched."
    else:
        lead_in = f"Nobody touched {report.untouched:,} of {known:,} leads ({format_percent(report.untouched / known)})"
        lead_in += f"; of {unknown:,} more the files do not say." if unknown else "."
    if report.lead_days is not None:
        lead_in += f" The leaked ones have waited {report.lead_days:,} days together."
    remarks = []
    if report.untouched is not None and report.by_status:
        recorded = report.untouched - report.by_status
        remarks.append(
            f"{report.by_status:,} are untouched by their status alone, as their file records no touches; "
            f"{recorded:,} by a column of touches that is empty."
        )
    remarks += [
        f"{file.path.name}: {column!r} is no touch: it also changes with edits, or by what the lead does."
        for file in report.files
        for column in file.not_counted
    ]
    tables = [
        FigureTable(("Age", "Leads", "Never touched", "Share"), [_untouched_row(one)[:4] for one in report.by_age]),
        FigureTable(
            ("Owner", "Leads", "Never touched", "Share", "Median days waited"),
            [_untouched_row(one) for one in report.by_owner],
        ),
    ]
    if report.untouched is None:
        return Section("Never touched", lead_in, (), (), remarks)
    return Section("Never touched", lead_in, shares, tables, remarks)


def _untouched_row(one: UntouchedRow) -> tuple[object, ...]:
    share = format_percent(one.untouched / one.leads if one.leads else None)
    return one.name, one.leads, one.untouched, share, "-" if one.median_days is None else f"{one.median_days:,.0f}"


def _first_touches(found: FirstTouches | None) -> Section:
    title = "Time to the first touch"
    if found is None or found.median_hours is None or found.p90_hours is None:
        return Section(title, f"It {UNKNOWN}: no lead has both the date it came in and the date of its first touch.")
    spans = (
        (f"{found.median_hours / 24:.0f} days", f"{found.p90_hours / 24:.0f} days")
        if found.by_day
        else (format_span(found.median_hours), format_span(found.p90_hours))
    )
    lead_in = f"Half of {found.leads:,} leads waited for {spans[0]} or less, nine of ten for {spans[1]} or less."
    shares = [Share(name, count, found.leads) for name, count in found.speeds]
    remarks = ["List: slow (longer than a day). Leads that nobody touched are not in these figures."]
    if found.by_day:
        remarks.append("The files have days without times, so hours and minutes are not known.")
    if found.before:
        remarks.append(f"{found.before:,} leads were touched before they came in, by the files; they are left out.")
    return Section(title, lead_in, shares, (), remarks)


def _owners(found: OwnerFigures) -> Section:
    title = "Wrong and absent owners"
    if found.wrong is None:
        return Section(title, f"It {UNKNOWN}: no file has a column of owners.")
    lead_in = f"{found.wrong:,} of {found.leads:,} open leads have no owner, or a wrong one"
    lead_in += f" ({format_percent(found.wrong / found.leads)})." if found.leads else "."
    shares = [
        Share("no owner", found.nobody, found.leads, "no-owner"),
        Share("owned by a queue or a system user", found.queue, found.leads, "queue-owner"),
        Share("the owner left or is inactive", found.left, found.leads, "owner-left"),
        Share("belongs to other reps by the policy", found.misplaced, found.leads, "wrong-territory"),
    ]
    remarks = [
        "Elsewhere 25.5 % of leads are assigned to the wrong person. Who is a queue, or left, is judged by the name."
    ]
    if found.unlisted:
        remarks.append(f"{found.unlisted:,} open leads have an owner who is no rep of the policy.")
    return Section(title, lead_in, shares, (), remarks)


def _duplicates(report: LeakReport) -> Section:
    found = report.duplicates
    rows = [
        ("same address or id", found.leads_in_several_rows, f"{found.extra_rows:,} too many", "same-address"),
        ("same name at one company", found.people, f"{found.extra_addresses:,} too many", "same-person"),
        ("one company, several owners", found.companies, pluralize(found.company_leads, "lead"), "company-owners"),
    ]
    lead_in = (
        f"Leads in several rows: {found.leads_in_several_rows:,}. People with several addresses: {found.people:,}. "
        f"Companies that hear several owners: {found.companies:,}."
    )
    tables = [FigureTable(("Duplicate", "Found", "Extent", "List"), rows)]
    return Section(
        "Duplicates", lead_in, (), tables, ["Everywhere else in this report a lead with several rows counts once."]
    )


def _replay(report: LeakReport) -> Section:
    found, whose = report.replay, "your policy" if report.own_policy else "the example policy that comes with nurture"
    total = found.untouched
    shares = [
        Share("ready: offered to a rep now", found.ready, total, "ready", "elsewhere 10 to 30 %"),
        Share("not ready: onto a track", found.nurture, total, "nurture", "elsewhere at least 50 %"),
        Share("no buyer: discarded, with the reason", found.discard, total, "discard", "elsewhere 25 %"),
    ]
    columns = ("Place", "All leads", "Never touched", "May be mailed", "No consent", "Refused mail", "No address")
    tables = [FigureTable(columns, [_place_row(one) for one in found.places])]
    if found.rules:
        tables.append(FigureTable(("Never touched, by the rule that decided", "Leads"), found.rules))
    remarks = ["A lead without consent waits in a queue until a basis is known; the table shows where it goes then."]
    if report.own_policy and found.by_rep:
        tables.append(FigureTable(("Rep who would get it", "Ready leads"), found.by_rep))
    if found.ready and report.own_policy:
        remarks.append(f"At the capacity of your reps the ready leads take at least {found.days:,} working days.")
    if found.unrouted:
        remarks.append(f"{found.unrouted:,} ready leads find no rep by the routing rules.")
    lead_in = f"If the {total:,} untouched leads were imported today, {whose} would do this with them:"
    if not total:
        shares = []
        lead_in = (
            f"No lead is known to be untouched. With all leads {whose} would do this, if they were imported today:"
        )
    return Section("What the policy would do", lead_in, shares, tables, remarks)


def _place_row(one: PlaceRow) -> Sequence[object]:
    place = _PLACES.get(one.place, one.place.replace("track ", "onto track ").replace("queue ", "waits in queue "))
    return (place, *one[1:])


def _gaps(report: LeakReport) -> Section:
    if not report.gaps:
        return Section("What is missing", "Every figure could be computed.")
    rows = [(gap.figure, gap.remedy) for gap in report.gaps]
    lead_in = "These figures cannot be computed, or only in part. Export the files again with these columns:"
    return Section("What is missing", lead_in, (), [FigureTable(("Figure", "What would give it"), rows)])


def _files(report: LeakReport) -> Section:
    rows = [
        (file.path.name, file.kind, file.system or "other", file.rows, file.people or "", file.rejected)
        for file in report.files
    ]
    columns = ("File", "Holds", "System", "Rows", "Leads", "Unreadable rows")
    remarks = [remark for file in report.files for remark in _file_remarks(file)]
    lead_in = f"{report.leads:,} leads, each counted once, as of {report.at:%Y-%m-%d %H:%M} UTC."
    return Section("Files", lead_in, (), [FigureTable(columns, rows)], remarks)


def _file_remarks(file: ExportFile) -> Iterator[str]:
    used = ", ".join(f"{column} ({meaning.replace('_', ' ')})" for column, meaning in file.columns.items())
    yield f"{file.path.name}: columns used: {used}"
    for column, count in file.unread.items():
        yield f"{file.path.name}: {count:,} cells of {column!r} cannot be read and count as not known"
    if file.unknown:
        common = [(word, count) for word, count in file.unknown.most_common(_MAX_UNKNOWN) if count >= _MIN_UNKNOWN]
        words = ", ".join(f"{word!r} ({count:,})" for word, count in common) or "all of them rare"
        meaning = "stages are not known and count as open" if file.kind == DEALS else "status words are not known"
        yield f"{file.path.name}: {len(file.unknown):,} {meaning}: {words}"
    yield from (f"{file.path.name}: {note}" for note in file.notes)
