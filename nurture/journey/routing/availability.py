"""Which reps take leads today: leave, public holidays, and who has left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from nurture.domain.planning import calendar
from nurture.domain.planning.calendar import Holidays
from nurture.domain.policy.team import Rep
from nurture.domain.routing.round_robin import Standing
from nurture.journey.routing import queries
from nurture.journey.routing.queries import LeaveRow

_DAY = timedelta(days=1)


def presence(
    connection: Connection, reps: Sequence[Rep], now: datetime, holidays: Holidays
) -> dict[str, Standing]:
    """Return for each rep whether they are there at *now*, on their own calendar."""
    around = queries.leaves(connection, (now - _DAY).date(), (now + _DAY).date())
    on_leave: dict[str, list[LeaveRow]] = {}
    for row in around:
        on_leave.setdefault(row.rep, []).append(row)
    return {rep.id: _standing(rep, on_leave, now, holidays) for rep in reps}


def takes_leads(rep: Rep, day: date) -> bool:
    """Say whether the rep still works here on *day*."""
    return rep.left_on is None or day <= rep.left_on


def _standing(
    rep: Rep, on_leave: Mapping[str, Sequence[LeaveRow]], now: datetime, holidays: Holidays
) -> Standing:
    today = calendar.local(now, rep.hours.zone).date()
    if not takes_leads(rep, today):
        return Standing(f"gone since {rep.left_on}", deputy=rep.deputy)
    away = next((row for row in on_leave.get(rep.id, ()) if row.first_day <= today <= row.last_day), None)
    if away is not None:
        return Standing(f"on leave until {away.last_day}", deputy=away.deputy or rep.deputy)
    if rep.hours.window.skip_holidays and _is_free(rep, today, now, holidays):
        return Standing("free, it is a public holiday", back=True, deputy=rep.deputy)
    return Standing()


def _is_free(rep: Rep, today: date, now: datetime, holidays: Holidays) -> bool:
    return bool(rep.hours.country) and today in holidays(rep.hours.country, now)
