"""The times of broadcasts in all zones: never early, in the send window, and at a minute of the spread."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.lead import Custodian, Lead
from nurture.domain.planning import broadcasts, calendar
from nurture.domain.planning.calendar import Delay, Schedule
from nurture.domain.planning.frequency_cap import CountedEmail, FrequencyCap
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.program import Email, Program
from tests.domain.builders import ALWAYS, DAY, HOUR, OFFICE, program

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
law = settings(max_examples=150, deadline=None, derandomize=True)
times = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda at: at.replace(second=0, microsecond=0))
zones = st.sampled_from(ZONES)


def broadcast(when: datetime, **settings_: object) -> Program:
    schedule = Schedule(when, when + 5 * DAY)
    return program(Email("news", ("news",), Delay()), schedule=schedule, track="broadcasts/spring", **settings_)


def view(zone: str, lead_id: int = 1, **more: object) -> LeadView:
    return LeadView(Lead(lead_id, {}, zone, ()), Custodian.TRACK, None, **more)  # type: ignore[arg-type]


@law
@given(times, zones)
def test_no_zone_is_due_before_the_first_start_and_none_is_left_when_it_is_over(when: datetime, zone: str) -> None:
    one = broadcast(when)
    starts_at = broadcasts.start_of(one, zone)
    assert broadcasts.first_start(one) <= starts_at <= broadcasts.first_start(one) + 26 * HOUR + HOUR
    expires_at = broadcasts.plan_times(one, view(zone), starts_at).expires_at
    assert not broadcasts.is_over(one, expires_at)
    assert broadcasts.is_over(one, expires_at + 27 * HOUR)


@law
@given(times, zones, st.integers(1, 10_000), st.sampled_from([timedelta(), HOUR, 9 * HOUR]))
def test_each_lead_is_due_in_its_send_window_not_before_its_time(
    when: datetime, zone: str, lead_id: int, spread: timedelta
) -> None:
    one = broadcast(when, window=OFFICE, spread=spread)
    starts_at = broadcasts.start_of(one, zone)
    planned = broadcasts.plan_times(one, view(zone, lead_id), starts_at - 30 * HOUR)
    assert planned.send_at >= starts_at
    assert calendar.is_open(OFFICE, zone, (), planned.send_at)
    late = broadcasts.plan_times(one, view(zone, lead_id), starts_at + 2 * DAY)
    assert late.send_at >= starts_at + 2 * DAY
    assert late.expires_at == planned.expires_at


def test_a_fixed_zone_is_the_same_time_for_everybody() -> None:
    when = datetime(2026, 3, 2, 10)
    one = broadcast(when, window=ALWAYS)
    one = replace(one, schedule=Schedule(when, when + DAY, "Europe/Berlin"))
    starts = {broadcasts.start_of(one, zone) for zone in ZONES}
    assert starts == {broadcasts.first_start(one)} == {datetime(2026, 3, 2, 9, tzinfo=UTC)}


def test_what_a_cap_holds_beyond_its_time_is_expected_to_expire() -> None:
    when = datetime(2026, 3, 2, 10)
    start = when.replace(tzinfo=UTC)
    sent = (CountedEmail(start - HOUR),)
    for days, at in ((1, start - HOUR + DAY), (30, None)):
        one = broadcast(when, caps=(FrequencyCap(1, days * DAY),))
        lead = view("UTC", counted_emails=sent)
        found = broadcasts.expect(one, lead, broadcasts.plan_times(one, lead, start), start)
        assert found.at == at
        assert found.cause == f"already 1 email in {days} day{'s' if days > 1 else ''}"
