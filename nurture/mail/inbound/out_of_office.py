"""Recognize out-of-office replies and their return date."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import cache
from typing import Final

from nurture.formats.languages import LANGUAGES, WORDS_LIKE_MONTHS, month_numbers
from nurture.mail.inbound.phrase_patterns import PhrasePattern

_SUBJECT: Final = PhrasePattern(r"(?:\[[^\]]{1,30}\] ?)?(?:{absence_subject})")
_ABSENT: Final = PhrasePattern(r"{absence}")
_ENGLISH: Final = ("en",)
_OTHERS: Final = tuple(language for language in LANGUAGES if language not in _ENGLISH)
_ENGLISH_RETURN: Final = PhrasePattern(r"\b(?:{back})\b", _ENGLISH)
_RETURN: Final = PhrasePattern(r"\b(?:(?P<loose>{back_loose})|{back})\b", _OTHERS)
_ENGLISH_UNTIL: Final = PhrasePattern(r"\b(?:{until})\b", _ENGLISH)
_UNTIL: Final = PhrasePattern(r"\b(?:{until})\b", _OTHERS)
_GAP_END: Final = re.compile(r"[.!?;0-9]")
"""Characters that cannot occur between a phrase and its date."""

_MAX_GAP: Final = 45
_MAX_LOOSE_GAP: Final = 25
"""Characters allowed between a phrase and its date, and any further characters after a loose phrase."""

_MAX_DAYS_WITHOUT_YEAR: Final = 200
_MAX_DAYS_WITH_YEAR: Final = 400
"""Days ahead for a date without and with a year. A later date is a mistake or belongs to another year."""


@cache
def _date_pattern() -> re.Pattern[str]:
    names = sorted(month_numbers(), key=len, reverse=True)
    certain = "|".join(name for name in names if name not in WORDS_LIKE_MONTHS)
    with_year = "|".join(WORDS_LIKE_MONTHS)
    return re.compile(
        r"(?<!\d)(?:(?P<iso>\d{4}-\d{1,2}-\d{1,2})"
        r"|(?P<d1>\d{1,2})(?:st|nd|rd|th|er|\.|º|ª)? ?(?:of |de )?"
        rf"(?P<m1>{certain}|(?:{with_year})(?=\.? (?:del? )?\d{{4}}\b))\b\.?,?(?: ?(?:del? )?(?P<y1>\d{{4}}))?"
        rf"|(?P<m2>{certain})\b\.? (?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? ?(?P<y2>\d{{4}}))?"
        r"|(?P<d3>\d{1,2})\. ?(?P<m3>\d{1,2})\.(?: ?(?P<y3>\d{4}|\d{2})\b)?"
        r"|(?P<a4>\d{1,2})(?P<sep>[/-])(?P<b4>\d{1,2})(?:(?P=sep)(?P<y4>\d{4}|\d{2}))?\b)",
        re.IGNORECASE,
    )


def is_out_of_office_subject(subject: str) -> bool:
    """Return whether the subject is that of an automatic reply, not of a person's reply to one."""
    return _SUBJECT.compiled.match(subject.strip()) is not None


def is_out_of_office_text(text: str) -> bool:
    """Return whether the text of an automatic reply says that somebody is away."""
    return _ABSENT.compiled.search(text[:5_000]) is not None


def parse_return_date(text: str, today: date) -> date | None:
    """Return the return date in an out-of-office reply.

    Return None if there is none, more than one, an ambiguous one, or one too far ahead.
    """
    plain = " ".join(text[:5_000].split())
    dates = list(_date_pattern().finditer(plain))
    ends = [match.start() for match in _GAP_END.finditer(plain)]

    def find_dates(phrase: PhrasePattern, *, english: bool = False) -> set[date | None]:
        return {
            _parse_date(match, today, english=english)
            for match in _find_dates_after(phrase.compiled, plain, dates, ends)
        }

    return_dates = find_dates(_ENGLISH_RETURN, english=True) | find_dates(_RETURN)
    if not return_dates:
        last_days_away = find_dates(_ENGLISH_UNTIL, english=True) | find_dates(_UNTIL)
        return_dates = {None if day is None else day + timedelta(days=1) for day in last_days_away}
    day = return_dates.pop() if len(return_dates) == 1 else None
    return day if day is not None and day > today else None


def _find_dates_after(
    phrase: re.Pattern[str], text: str, dates: Sequence[re.Match[str]], ends: Sequence[int]
) -> Iterator[re.Match[str]]:
    """Yield the dates that closely follow a phrase, at most one per phrase.

    Dates and phrases are searched separately and then merged in order: a single expression would try every date
    format at every position of every gap.
    """
    phrases = list(phrase.finditer(text))
    index = 0
    for day in dates:
        last_end = bisect_left(ends, day.start()) - 1
        gap = max(day.start() - _MAX_GAP, ends[last_end] + 1 if last_end >= 0 else 0)
        matched = False
        while index < len(phrases) and phrases[index].end() <= day.start():
            extra = _MAX_LOOSE_GAP if phrases[index].groupdict().get("loose") else 0
            matched = matched or phrases[index].end() + extra >= gap
            index += 1
        if matched:
            yield day
            while index < len(phrases) and phrases[index].start() < day.end():
                index += 1


def _parse_date(match: re.Match[str], today: date, *, english: bool) -> date | None:
    groups = match.groupdict()
    if groups["iso"]:
        year, month, day = (int(part) for part in groups["iso"].split("-"))
        return _resolve_date(year, month, day, today)
    if groups["m1"]:
        return _resolve_date(_parse_year(groups["y1"]), month_numbers()[groups["m1"].lower()], int(groups["d1"]), today)
    if groups["m2"]:
        return _resolve_date(_parse_year(groups["y2"]), month_numbers()[groups["m2"].lower()], int(groups["d2"]), today)
    if groups["d3"]:
        return _resolve_date(_parse_year(groups["y3"]), int(groups["m3"]), int(groups["d3"]), today)
    first, second = int(groups["a4"]), int(groups["b4"])
    if english and first != second and first <= 12 and second <= 12:
        return None  # 3/4 is March 4 or April 3
    day, month = (second, first) if second > 12 else (first, second)
    return _resolve_date(_parse_year(groups["y4"]), month, day, today)


def _parse_year(text: str | None) -> int | None:
    if not text:
        return None
    return int(text) if len(text) == 4 else 2000 + int(text)


def _resolve_date(year: int | None, month: int, day: int, today: date) -> date | None:
    years = (today.year, today.year + 1) if year is None else (year,)
    for candidate_year in years:
        try:
            candidate = date(candidate_year, month, day)
        except ValueError:
            continue
        if today < candidate <= today + timedelta(days=_MAX_DAYS_WITHOUT_YEAR if year is None else _MAX_DAYS_WITH_YEAR):
            return candidate
    return None
