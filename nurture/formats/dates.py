"""Parse dates in the formats of people and systems; infer the order of day and month from the column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final

from nurture.formats.languages import month_number
from nurture.formats.rejected_rows import InvalidCell
from nurture.formats.tables import read_words

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2100
_NOON: Final = 12
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 10, 13  # digits

_NUMERIC: Final = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?:[T ,]+(.+))?", re.ASCII)
_YEAR_FIRST: Final = re.compile(r"(\d{4})([/.-])(\d{1,2})\2(\d{1,2})(?:[T ,]+(.+))?", re.ASCII)
_DAY_MONTH_NAME: Final = re.compile(
    r"(\d{1,2})(?:st|nd|rd|th|er|º|\.)?[ -](?:of |de )?([^\W\d]{3,12})\.?(?: del?)?[ ,-]+(\d{4}|\d{2})"
    r"(?:[ ,T]+(?:at )?(.+))?",
    re.IGNORECASE,
)
_MONTH_NAME_DAY: Final = re.compile(
    r"([^\W\d]{3,12})\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})"
    r"(?:[ ,T]+(?:at )?(.+))?",
    re.IGNORECASE,
)
_WEEKDAY: Final = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? +", re.IGNORECASE)
_TIME: Final = re.compile(
    r"(\d{1,2})(?::(\d{2}))?(?::(\d{2})(?:[.,]\d+)?)? ?(?:([ap])\.?m\.?)? ?"
    r"(?:\(?([a-z]{1,4})?([+-]\d{1,2}(?::?\d{2})?)?\)?)?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(slots=True)
class DateOrderEvidence:
    """Evidence of one column for its day-month order. *meridiem* counts AM and PM, which suggest American order."""

    day_first: int = 0
    month_first: int = 0
    ambiguous: int = 0
    meridiem: int = 0

    def add(self, text: str) -> None:
        """Add the evidence of a cell."""
        found = _NUMERIC.fullmatch(text.strip())
        if found is None or found[2] == ".":
            return
        first, second = int(found[1]), int(found[3])
        if first > _NOON:
            self.day_first += 1
        elif second > _NOON:
            self.month_first += 1
        elif first != second:
            self.ambiguous += 1
        self.meridiem += (found[5] or "").casefold().endswith(("am", "pm"))

    def is_day_first(self) -> bool | None:
        """Return whether the day comes first; None without evidence or with contradicting evidence."""
        if bool(self.day_first) != bool(self.month_first):
            return self.day_first > 0
        return False if self.meridiem and not self.day_first else None


class DateReader:
    """Parses the dates of one column as UTC. Times without a zone are in *zone*.

    *formats*, if any, are the only ones accepted (strptime); *day_first* None leaves 03/04/2026 unreadable.
    """

    def __init__(self, zone: tzinfo = UTC, *, day_first: bool | None = None, formats: Sequence[str] = ()) -> None:
        self._zone = zone
        self._day_first = day_first
        self._formats = tuple(formats)
        self._cached_read = lru_cache(maxsize=4096)(self._read)

    def __call__(self, text: str) -> datetime:
        """Return the time of *text* in UTC. Raises ValueError with a remedy."""
        if not self._formats and not text.isdigit():
            try:
                return self._to_utc(datetime.fromisoformat(text), text)
            except ValueError:
                pass
        return self._cached_read(text)

    def _read(self, text: str) -> datetime:
        try:
            timestamp = self._parse_by_format(text) if self._formats else self._parse_by_pattern(text)
        except OverflowError:
            timestamp = None
        if timestamp is None:
            wanted = " or ".join(self._formats) or "2026-04-30 or 2026-04-30 14:05"
            raise InvalidCell(f"{text[:60]!r} is not a date", f"write it like {wanted}")
        return self._to_utc(timestamp, text)

    def _to_utc(self, timestamp: datetime, text: str) -> datetime:
        if not _FIRST_YEAR <= timestamp.year <= _LAST_YEAR:
            raise InvalidCell(f"{text[:60]!r} has the year {timestamp.year}", "correct the date or empty the cell")
        return (timestamp.replace(tzinfo=self._zone) if timestamp.tzinfo is None else timestamp).astimezone(UTC)

    def _parse_by_format(self, text: str) -> datetime | None:
        for form in self._formats:
            try:
                return datetime.strptime(text, form)  # noqa: DTZ007 -- the caller adds the zone
            except ValueError:
                continue
        return None

    def _parse_by_pattern(self, text: str) -> datetime | None:
        if text.isascii() and text.isdigit():
            return _parse_digits(text)
        text = _WEEKDAY.sub("", " ".join(text.split()), count=1)
        if found := _YEAR_FIRST.fullmatch(text):
            return _build_datetime(int(found[1]), int(found[3]), int(found[4]), found[5])
        if found := _NUMERIC.fullmatch(text):
            day, month = self._order_day_month(found)
            return _build_datetime(_full_year(found[4]), month, day, found[5])
        if found := _DAY_MONTH_NAME.fullmatch(text):
            return _build_datetime(_full_year(found[3]), month_number(found[2]) or 0, int(found[1]), found[4])
        if found := _MONTH_NAME_DAY.fullmatch(text):
            return _build_datetime(int(found[3]), month_number(found[1]) or 0, int(found[2]), found[4])
        return None

    def _order_day_month(self, found: re.Match[str]) -> tuple[int, int]:
        first, second = int(found[1]), int(found[3])
        if found[2] == "." or first > _NOON or first == second:
            return first, second
        if second > _NOON:
            return second, first
        if self._day_first is None:
            raise InvalidCell(
                f"{found[0]!r} is ambiguous (day or month first?), and no date of the column decides it",
                'write 2026-04-30, or give `formats` "%d/%m/%Y" or "%m/%d/%Y" in a mapping file',
            )
        return (first, second) if self._day_first else (second, first)


def _parse_digits(text: str) -> datetime | None:
    if len(text) in {_EPOCH_SECONDS, _EPOCH_MILLISECONDS}:
        return datetime.fromtimestamp(int(text) / (1000 if len(text) == _EPOCH_MILLISECONDS else 1), UTC)
    if len(text) == len("20260430"):
        return _build_datetime(int(text[:4]), int(text[4:6]), int(text[6:]), None)
    return None


def _full_year(text: str) -> int:
    return int(text) + (2000 if len(text) == len("26") else 0)


def _build_datetime(year: int, month: int, day: int, time: str | None) -> datetime | None:
    try:
        date = datetime(year, month, day)  # noqa: DTZ001 -- the caller adds the zone
    except ValueError:
        return None
    if not time:
        return date
    found = _TIME.fullmatch(time)
    if found is None or not (found[2] or found[4]):
        return None
    hour, minute, second = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    if found[4]:
        if not 1 <= hour <= _NOON:
            return None
        hour = hour % _NOON + (_NOON if found[4] in "pP" else 0)
    try:
        timestamp = date.replace(hour=hour, minute=minute, second=second)
        return timestamp if not (found[5] or found[6]) else timestamp.replace(tzinfo=_parse_offset(found[5], found[6]))
    except (KeyError, ValueError):
        return None


def _parse_offset(name: str | None, offset: str | None) -> timezone:
    hours = int(read_words("offset")[name.casefold()]) if name else 0
    minutes = 0
    if offset:
        digits = offset[1:].replace(":", "")
        minutes = (int(digits[:-2]) * 60 + int(digits[-2:])) if len(digits) > len("05") else int(digits) * 60
        minutes = -minutes if offset[0] == "-" else minutes
    return timezone(timedelta(hours=hours, minutes=minutes))
