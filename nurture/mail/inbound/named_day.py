"""Find the day from which somebody who says "not now" wants to hear from us again, in any language."""

import re
from datetime import date, timedelta
from functools import cache
from itertools import pairwise
from typing import Final

from nurture.mail.inbound.out_of_office import find_future_dates, find_month, list_months
from nurture.mail.inbound.phrase_patterns import Sentence, languages, load_list, normalize

_MAX_TEXT: Final = 2_000
_QUARTER: Final = re.compile(r"\b[QTKqtk] ?([1-4])\b(?: ?/? ?(20\d\d))?")
_YEAR: Final = re.compile(r"(?<!\d)(20\d\d)(?!\d)")
_MONTH_AND_YEAR: Final = re.compile(r"([^\W\d_]{3,15})\.? (20\d\d)(?!\d)")
_MAX_WORDS: Final = 10
_MAX_DAYS: Final = 400
_DAYS: Final = {"day": 1, "week": 7, "month": 30, "year": 365}


def parse_named_day(text: str, today: date) -> date | None:
    """Return the first day ahead that a text names: a date, a span, a quarter, a month or a year; None without one.

    This quarter, without a year, means its last month. This month names no day, and never that of a year later.
    """
    text = text[:_MAX_TEXT]
    sentence = Sentence.of(text)
    next_year = (today.year + 1,) if any(phrase.is_in(sentence) for _, phrase in load_list("next_year")) else ()
    days = find_future_dates(text, today)
    found = days[0] if days else _find_span(text, today)
    found = found or _find_quarter(text, next_year, today) or _find_month(text, next_year, today)
    if found is None:
        years = *(int(year[1]) for year in _YEAR.finditer(text)), *next_year
        found = next((day for year in years if (day := date(year, 1, 1)) > today), None)
    return found if found is not None and found <= today + timedelta(days=_MAX_DAYS) else None


def parse_only_day(text: str, sender: str, today: date) -> date | None:
    """Return the first day of the quarter, month or year ahead that is all that a short answer says; None otherwise.

    "May", "Q2", "probably early September 2027, thanks" answer "when do you decide?". This month or quarter without a
    year means now, which a person answers. A month in *sender*, the From header, is a name, and so is one after thanks.
    """
    words = normalize(text[:_MAX_TEXT]).split()
    if "?" in text or len(words) > _MAX_WORDS:
        return None
    while words and words[-1] in _words_of("polite"):
        words.pop()
    rest = " ".join(word for word in words if word not in _words_of("around"))
    if {*rest.split()} & {*normalize(sender).split()}:
        return None
    quarters, years = _QUARTER.findall(rest), {int(year) for year in _YEAR.findall(rest)}
    months = [list_months(word) for word in _YEAR.sub("", _QUARTER.sub("", rest)).split()]
    if len(quarters) + len(months) not in (1, 2) or len(years) > 1 or any(len(one) != 1 for one in months):
        return None
    firsts, named = [int(number) * 3 - 2 for number, _ in quarters], [month for one in months for month in one]
    if not years and (today.month in named or (today.month - 1) // 3 * 3 + 1 in firsts):
        return None
    found = (_first_ahead(month, tuple(years), today) for month in firsts + named)
    day = min((one for one in found if one is not None), default=None)
    return day if day is not None and day <= today + timedelta(days=_MAX_DAYS) else None


def _first_ahead(month: int, years: tuple[int, ...], today: date) -> date | None:
    """Return the first day of *month* that is ahead, in one of *years* if any are named; None without one."""
    days = (date(year, month, 1) for year in years or (today.year, today.year + 1))
    return next((day for day in days if day > today), None)


@cache
def _words_of(kind: str) -> frozenset[str]:
    """Return the words of a list in all languages, without those that name a month in one of them."""
    words = {word for _, phrase in load_list(kind) for word in phrase.text.split()}
    return frozenset(word for word in words if not list_months(word))


def _find_quarter(text: str, next_year: tuple[int, ...], today: date) -> date | None:
    for match in _QUARTER.finditer(text):
        years, first = (int(match[2]),) if match[2] else next_year, int(match[1]) * 3 - 2
        if not years and first <= today.month <= first + 2:
            years, first = (today.year,), first + 2
        day = _first_ahead(first, years, today)
        if day is not None:
            return day
    return None


def _find_month(text: str, next_year: tuple[int, ...], today: date) -> date | None:
    """Return the first day of a month that is named alone, with its long name or with a year."""
    for word, year in _MONTH_AND_YEAR.findall(text):
        months = list_months(word)
        day = _first_ahead(min(months), (int(year),), today) if len(months) == 1 else None
        if day is not None:
            return day
    for word in re.findall(r"[^\W\d_]{4,15}|\d{1,2} ?[月월]", text):
        month = int(re.sub(r"\D", "", word)) if word[0].isdigit() else find_month(word) or 0
        if 1 <= month <= 12 and (month != today.month or next_year):
            return _first_ahead(month, next_year, today)
    return None


def _find_span(text: str, today: date) -> date | None:
    """Return the day after a span such as "in 3 months"."""
    words = normalize(text).split()
    for number, unit in pairwise(words):
        if number.isdigit() and len(number) <= 3 and unit in _units():
            return today + timedelta(days=int(number) * _DAYS[_units()[unit]])
    for match in re.finditer(r"(\d{1,2}) ?(?:か|ヶ|カ|ケ|个|個|개)?(月|월|週間|周|주)", normalize(text)):
        return today + timedelta(days=int(match[1]) * (30 if match[2] in "月월" else 7))
    return None


@cache
def _units() -> dict[str, str]:
    """Return the units of time by their words in all languages."""
    from babel.units import format_unit  # noqa: PLC0415 - where mail is read

    found: dict[str, str] = {}
    for unit in _DAYS:
        for language in languages():
            for number in (1, 2, 3, 6, 20):
                written = normalize(format_unit(number, f"duration-{unit}", "long", locale=language)).split()
                if len(written) == 2 and written[0].isdigit():
                    found.setdefault(written[1], unit)
    return found
