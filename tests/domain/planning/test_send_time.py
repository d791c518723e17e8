"""When a touch may be sent."""

from __future__ import annotations

from datetime import date

from nurture.domain.planning.decision import HoldReason
from nurture.domain.planning.frequency_cap import CountedEmail, FrequencyCap
from nurture.domain.planning.send_time import SendTime, earliest_send_time
from tests.domain.builders import ALWAYS, DAY, OFFICE, Mail, at, track

WEEKLY = track(Mail(), window=OFFICE, cap=FrequencyCap(1, 7 * DAY))


def test_an_open_window_below_the_cap_allows_a_touch_at_once() -> None:
    assert earliest_send_time(WEEKLY, at(2, 10), zone="UTC", holidays=()) == SendTime(at(2, 10))


def test_holidays_and_weekends_after_the_cap_delay_a_touch_further() -> None:
    counted = [CountedEmail(at(6, 18))]  # a Saturday; the cap frees on the next one
    holidays = {date(2026, 6, 15)}
    allowed = earliest_send_time(WEEKLY, at(9), zone="UTC", holidays=holidays, counted=counted)
    assert allowed[:2] == (at(16, 9), HoldReason.FREQUENCY_CAP)


def test_a_lead_that_asked_for_fewer_emails_waits_longer_than_the_cap() -> None:
    of = track(Mail(), window=ALWAYS, cap=FrequencyCap(1, 7 * DAY))
    allowed = earliest_send_time(
        of, at(9), zone="UTC", holidays=(), counted=[CountedEmail(at(2))], touch_interval=30 * DAY
    )
    assert allowed[:2] == (at(32), HoldReason.FREQUENCY_CAP)


def test_a_lead_without_a_zone_has_that_of_the_program() -> None:
    of = track(Mail(), window=OFFICE, zone_fallback="America/New_York")
    assert earliest_send_time(of, at(2), zone="", holidays=()).at == at(2, 13)
