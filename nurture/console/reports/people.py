"""The lists of leads behind the numbers of reports."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from nurture.domain.lead import Custodian
from nurture.reporting.console.lead_list_queries import CLASSIFIED, NOT_CLASSIFIED, WITH_SALES, LeadFilter
from nurture.reporting.report_tables import ReportTable

_FUNNEL: Final[Mapping[str, LeadFilter]] = {
    "imported": LeadFilter(),
    "classified": LeadFilter(readiness=CLASSIFIED),
    "not classified": LeadFilter(readiness=NOT_CLASSIFIED),
    "enrolled": LeadFilter(did="enrolled"),
    "handed off": LeadFilter(did="handed_off"),
    "offers of these to reps": LeadFilter(did="offered"),
    "recycled": LeadFilter(did="recycled"),
    "on a track now": LeadFilter(custodian=Custodian.TRACK.value),
    "in queues": LeadFilter(custodian=Custodian.QUEUE.value),
    "with sales": LeadFilter(custodian=WITH_SALES),
    "resting": LeadFilter(custodian=Custodian.RESTING.value),
    "closed": LeadFilter(custodian=Custodian.CLOSED.value),
}
_OF_STEP: Final = {
    "sent": "emailed",
    "here now": "",
    "clicked": "clicked",
    "replied": "replied",
    "exited": "left",
    "handed off": "handed_off",
}
_OF_REP: Final = {
    "offers": "offered",
    "accepted": "accepted",
    "reached": "contacted",
    "rejected": "rejected",
    "expired": "unanswered",
    "won": "won",
}
_OF_RULE: Final = {"hand-offs": "offered", "accepted": "accepted"}


def find_people(report: str, table: ReportTable, at: int, column: str, chosen: Mapping[str, str]) -> LeadFilter | None:
    """Return the leads behind the number in a *column* of row *at*, None where no list of leads has them."""
    row, source = dict(zip(table.columns, table.rows[at], strict=True)), chosen.get("source", "")
    match report:
        case "funnel" if column == "count":
            found = _FUNNEL.get(str(row["leads"]).strip())
            return replace(found, source=source) if found is not None else None
        case "tracks" if column in _OF_STEP and "step" in row:
            return LeadFilter(track=table.title, step=str(row["step"]), did=_OF_STEP[column])
        case "emails" if column in ("touches", "leads") and isinstance(monday := row.get("week of"), date):
            return within_days(LeadFilter(did="emailed"), monday, monday + timedelta(days=6))
        case "ledger" if column in (*Custodian, "leads"):
            of = "" if row["source"] == "all" else str(row["source"])
            return LeadFilter(source=of, custodian="" if column == "leads" else column)
        case "sales":
            return _of_sales(table, at, column, chosen)
        case _:
            return None


def _of_sales(table: ReportTable, at: int, column: str, chosen: Mapping[str, str]) -> LeadFilter | None:
    first, last = (date.fromisoformat(chosen[name]) if name in chosen else None for name in ("since", "until"))
    source = chosen.get("source", "")
    match table.columns[0]:
        case "rep" if column in _OF_REP:
            return within_days(LeadFilter(did=_OF_REP[column], rep=table.ids[at], source=source), first, last)
        case "hand-off reason" if column in _OF_RULE:
            return within_days(LeadFilter(did=_OF_RULE[column], rule=table.ids[at], source=source), first, last)
        case "reject reason" if column == "times":
            return within_days(LeadFilter(did="rejected", reason=table.ids[at], source=source), first, last)
        case "month" if column == "hand-offs":
            begins = date.fromisoformat(f"{table.rows[at][0]}-01")
            ends = (begins + timedelta(days=31)).replace(day=1) - timedelta(days=1)
            return within_days(LeadFilter(did="offered", source=source), begins, ends)
        case _:
            return None


def within_days(chosen: LeadFilter, first: date | None, last: date | None) -> LeadFilter:
    """Return the filter for the days from *first* to *last* (UTC), both included."""
    since = datetime.combine(first, time.min, UTC) if first is not None else None
    until = datetime.combine(last + timedelta(days=1), time.min, UTC) if last is not None else None
    return replace(chosen, since=since, until=until)
