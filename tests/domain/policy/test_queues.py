"""Since when a lead in a queue is late."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.policy.business_hours import DurationUnit, SlaDuration, WorkCalendar
from nurture.domain.policy.queues import QueueRule
from tests.domain.policy.test_business_hours import MINUTE, OFFICE_HOURS, _calendars, _times, at

_spans = st.builds(SlaDuration, st.integers(0, 48), st.sampled_from(DurationUnit))
SEARCHED: Final = timedelta(days=30)
"""How long ago a lead may have entered, besides eight times the time of its queue."""


@given(_calendars, _times, _spans)
def test_the_time_of_a_lead_is_over_since_the_newest_entry_that_is_late(
    calendar: WorkCalendar, now: datetime, within: SlaDuration
) -> None:
    late = QueueRule("ana", within).late_since(now, calendar)
    if within.after(late, calendar) <= now:
        assert within.after(late + MINUTE, calendar) > now
    else:
        assert late == now - 8 * within.length(calendar) - SEARCHED


def test_a_lead_that_entered_over_the_weekend_is_late_a_business_day_after_monday_morning() -> None:
    rule = QueueRule("ana", SlaDuration(1, DurationUnit.BUSINESS_DAYS))
    assert rule.late_since(at(8, 17), OFFICE_HOURS) == at(5, 17)
    assert rule.late_since(at(8, 18), OFFICE_HOURS) == at(8, 10)
