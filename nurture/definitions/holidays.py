"""Public holidays by country, for send windows and business days."""

from collections.abc import Collection, Iterator
from datetime import date, datetime
from functools import cached_property, lru_cache


def countries_with_holidays() -> frozenset[str]:
    """Return the codes of the countries whose public holidays are known, without loading their calendars."""
    from holidays.registry import EntityLoader  # noqa: PLC0415 - as below

    return frozenset(EntityLoader.get_country_codes())


class _CountryHolidays(Collection[date]):
    """The public holidays of one country, loaded when one is asked for."""

    def __init__(self, country: str, years: range) -> None:
        self._country, self._years = country, years

    @cached_property
    def _days(self) -> frozenset[date]:
        import holidays  # noqa: PLC0415 - it takes a tenth of a second, and most decisions ask for no holiday

        try:
            return frozenset(holidays.country_holidays(self._country, years=self._years))
        except NotImplementedError:
            return frozenset()

    def __contains__(self, day: object) -> bool:
        return day in self._days

    def __iter__(self) -> Iterator[date]:
        return iter(self._days)

    def __len__(self) -> int:
        return len(self._days)


def public_holidays(country: str, around: datetime) -> Collection[date]:
    """Return the public holidays of *country* (ISO 3166 alpha-2) from the year before to two years on.

    An unknown country has none.
    """
    return _holidays(country, around.year) if country else ()


@lru_cache(maxsize=2_048)
def _holidays(country: str, year: int) -> Collection[date]:
    return _CountryHolidays(country, range(year - 1, year + 3))
