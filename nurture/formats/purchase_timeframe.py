"""Parse the time within which a lead plans to buy."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

from nurture.formats.dates import DateReader
from nurture.formats.tables import read_words

_UNITS: Final = {"day": 1.0, "week": 7.0, "month": 365 / 12, "quarter": 365 / 4, "year": 365.0}
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_AMOUNT: Final = re.compile(
    r"(\d{1,3})(?:\s*(?:-|to|\u2013|and)\s*(\d{1,3}))?\s*\+?\s*"
    r"(day|week|month|mo|mth|quarter|year|yr)s?\b"
)
_OPEN_ENDED: Final = re.compile(r"(?:>|over|more than|after|beyond|later than|longer than|\d\s*\+)")
_QUARTER: Final = re.compile(r"\bq([1-4])\b(?:\D{0,3}(20\d\d))?|\b(20\d\d)\W{0,2}q([1-4])\b")
_MONTH: Final = re.compile(r"\b(" + "|".join(_MONTHS) + r")[a-z]*\.?(?:,? (20\d\d))?$")
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

    A range gives its far end, a quarter or month its last day; without a year the next one after *stated_on*.
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
        year = found[2] or found[3]
        return _month_end(int(found[1] or found[4]) * 3, year, stated_on)
    if found := _HALF.search(plain):
        return _month_end(int(found[1]) * 6, found[2], stated_on)
    if found := _MONTH.search(plain):
        return _month_end(_MONTHS.index(found[1]) + 1, found[2], stated_on)
    if found := _YEAR.fullmatch(plain):
        return _month_end(12, found[1], stated_on)
    return None


def _month_end(month: int, year: str | None, stated_on: date | None) -> Timeframe | None:
    if year is None and stated_on is None:
        return None
    number = int(year) if year is not None else stated_on.year if stated_on is not None else 0
    last = date(number, month, monthrange(number, month)[1])
    if year is None and stated_on is not None and last < stated_on:
        last = date(number + 1, month, monthrange(number + 1, month)[1])
    return Timeframe(on=last)
