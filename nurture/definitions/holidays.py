"""Public holidays by country, for send windows and business days."""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache


def countries_with_holidays() -> frozenset[str]:
    """Return the codes of the countries whose public holidays are known, without loading their calendars."""
    from holidays.registry import EntityLoader  # noqa: PLC0415 - as below

    return frozenset(EntityLoader.get_country_codes())


def public_holidays(country: str, around: datetime) -> frozenset[date]:
    """Return the public holidays of *country* (ISO 3166 alpha-2) from the year before to two years on.

    An unknown country has none.
    """
    return _holidays(country, around.year) if country else frozenset()


@lru_cache(maxsize=2_048)
def _holidays(country: str, year: int) -> frozenset[date]:
    import holidays  # noqa: PLC0415 - it takes a tenth of a second, and most decisions ask for no holiday

    try:
        return frozenset(holidays.country_holidays(country, years=range(year - 1, year + 3)))
    except NotImplementedError:
        return frozenset()
