"""Parse the time within which a lead plans to buy."""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

from nurture.formats.dates import DateReader
from nurture.formats.languages import WORDS_LIKE_MONTHS, month_number
from nurture.formats.tables import read_words

_UNITS: Final = {"day": 1.0, "week": 7.0, "month": 365 / 12, "quarter": 365 / 4, "year": 365.0}
_AMOUNT: Final = re.compile(
    r"(\d{1,3})(?:\s*(?:-|to|\u2013|and)\s*(\d{1,3}))?\s*\+?\s*"
    r"(day|week|month|mo|mth|quarter|year|yr)s?\b"
)
_OPEN_ENDED: Final = re.compile(r"(?:>|over|more than|after|beyond|later than|longer than|\d\s*\+)")
_QUARTER: Final = re.compile(r"\bq([1-4])\b(?:\D{0,3}(20\d\d))?|\b(20\d\d)\W{0,2}q([1-4])\b")
_MONTH: Final = re.compile(
    r"(?:\b(\d{1,2})(?:st|nd|rd|th|er|º|\.)? (?:of |de )?)?\b([^\W\d]{3,12})\.?(?:,? (?:del? )?(20\d\d))?$"
)
_YEAR: Final = re.compile(r"(?:in |by |during )?(20\d\d)")
_HALF: Final = re.compile(r"\bh([12])\b\D{0,3}(20\d\d)")
_date_reader: Final = DateReader()


@dataclass(frozen=True, slots=True)
class Timeframe:
    """The latest time that the lead named: a number of days after its statement, or a date."""

    within_days: int | None = None
    on: date | None = None


@lru_cache(maxsize=4096)
def read_timeframe(text: str, stated_on: date | None = None) -> Timeframe | None:
    """Return the timeframe in *text*; None if it names no time ("unsure", "over 12 months").

    A range gives its far end, a quarter or a month its last day; a date without a year is the next one after
    *stated_on*.
    """
    lower = " ".join(text.casefold().split())
    plain = re.sub(r"\b[a-z]+\b", lambda word: read_words("number").get(word[0], word[0]), lower)
    days = read_words("days").get(re.sub(r"^(?:with)?in (?:the )?|^(?:by )?", "", lower).strip(" .!"))
    if days is not None:
        return Timeframe(within_days=int(days))
    if amount := _AMOUNT.search(plain):
        return _parse_span(plain, amount)
    return _parse_date(plain, text, stated_on)


def _parse_span(plain: str, amount: re.Match[str]) -> Timeframe | None:
    if _OPEN_ENDED.search(plain):
        return None
    unit = {"mo": "month", "mth": "month", "yr": "year"}.get(amount[3], amount[3])
    return Timeframe(within_days=round(int(amount[2] or amount[1]) * _UNITS[unit]))


def _parse_date(plain: str, text: str, stated_on: date | None) -> Timeframe | None:
    try:
        return Timeframe(on=_date_reader(text.strip()).date())
    except ValueError:
        pass
    if found := _QUARTER.search(plain):
        return _last_day(stated_on, found[2] or found[3], int(found[1] or found[4]) * 3)
    if found := _HALF.search(plain):
        return _last_day(stated_on, found[2], int(found[1]) * 6)
    if (found := _MONTH.search(plain)) and (found[3] or found[2] not in WORDS_LIKE_MONTHS):
        month = month_number(found[2])
        if month is not None:
            return _last_day(stated_on, found[3], month, int(found[1] or 0))
    if found := _YEAR.fullmatch(plain):
        return _last_day(stated_on, found[1], 12)
    return None


def _last_day(stated_on: date | None, year: str | None, month: int, day: int = 0) -> Timeframe | None:
    """Return a date, with *day* 0 the last one of the month; without a year the next one after *stated_on*."""
    years = (int(year),) if year else (stated_on.year, stated_on.year + 1) if stated_on is not None else ()
    for candidate in years:
        last = monthrange(candidate, month)[1]
        if day <= last and (year or stated_on is None or date(candidate, month, day or last) >= stated_on):
            return Timeframe(on=date(candidate, month, day or last))
    return None
