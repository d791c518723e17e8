"""Determine which reps take leads today: leave, public holidays, reps who left."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from nurture.db.transaction import Transaction
from nurture.domain.planning import calendar
from nurture.domain.planning.calendar import Holidays
from nurture.domain.policy.team import Rep
from nurture.domain.routing.round_robin import RepAvailability
from nurture.journey.routing import queries
from nurture.journey.routing.queries import LeaveRow

_DAY = timedelta(days=1)


def load_availability(
    tx: Transaction, reps: Sequence[Rep], now: datetime, holidays: Holidays
) -> dict[str, RepAvailability]:
    """Return the availability of each rep at *now*, by the rep's own calendar."""
    leaves = queries.load_leaves(tx, (now - _DAY).date(), (now + _DAY).date())
    on_leave: dict[str, list[LeaveRow]] = {}
    for row in leaves:
        on_leave.setdefault(row.rep, []).append(row)
    return {rep.id: _availability(rep, on_leave, now, holidays) for rep in reps}


def is_active(rep: Rep, day: date) -> bool:
    """Return whether the rep still works here on *day*."""
    return rep.left_on is None or day <= rep.left_on


def _availability(
    rep: Rep, on_leave: Mapping[str, Sequence[LeaveRow]], now: datetime, holidays: Holidays
) -> RepAvailability:
    today = calendar.to_local(now, rep.hours.zone).date()
    if not is_active(rep, today):
        return RepAvailability(f"gone since {rep.left_on}", deputy=rep.deputy)
    leave = next((row for row in on_leave.get(rep.id, ()) if row.first_day <= today <= row.last_day), None)
    if leave is not None:
        return RepAvailability(f"on leave until {leave.last_day}", deputy=leave.deputy or rep.deputy)
    country = rep.hours.country if rep.hours.window.skip_holidays else ""
    if country and today in holidays(country, now):
        return RepAvailability("off, it is a public holiday", away_today_only=True, deputy=rep.deputy)
    return RepAvailability()
