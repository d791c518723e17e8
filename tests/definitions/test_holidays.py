from __future__ import annotations

from datetime import UTC, date, datetime

from nurture.definitions.holidays import public_holidays

NOW = datetime(2026, 3, 6, 9, tzinfo=UTC)


def test_public_holidays_reach_from_the_year_before_to_two_years_on() -> None:
    found = public_holidays("DE", NOW)
    assert {date(2025, 10, 3), date(2028, 10, 3)} <= set(found)
    assert date(2026, 10, 3) in found
    assert date(2026, 10, 4) not in found
    assert {day.year for day in found} == {2025, 2026, 2027, 2028}
    assert len(found) == len(set(found))


def test_an_unknown_country_has_no_public_holidays() -> None:
    assert [*public_holidays("XX", NOW), *public_holidays("", NOW)] == []
