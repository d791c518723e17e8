"""Parse dates in the formats of people and systems; infer the order of day and month from the column."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from nurture.formats.languages import (
    european_months,
    fold,
    has_other_meaning,
    is_weekday,
    month_among,
    month_number,
    month_of_date,
)
from nurture.formats.places import zone_name, zone_offsets
from nurture.formats.rejected_rows import InvalidCell
from nurture.formats.tables import read_words

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2100
_NOON: Final = 12
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 10, 13  # digits

_MAX_LENGTH: Final = 80
_TIME_AFTER: Final = r"(?:[T ,]+(.+))?"
_ORDINAL: Final = r"(?:st|nd|rd|th|er|re|e|º|ª|°|\.)?"
_NUMERIC: Final = re.compile(r"(\d{1,2})([/.-]) ?(\d{1,2})\2 ?(\d{4}|\d{2})\.?" + _TIME_AFTER, re.ASCII)
_YEAR_FIRST: Final = re.compile(r"(\d{4})([/.-]) ?(\d{1,2})\2 ?(\d{1,2})\.?" + _TIME_AFTER, re.ASCII)
_DAY_MONTH_NAME: Final = re.compile(
    rf"(\d{{1,2}}){_ORDINAL}[ -]?([^\d\s,/-]{{2,20}})\.?[ ,-]+(\d{{4}}|\d{{2}})\.?" + _TIME_AFTER, re.IGNORECASE
)
_MONTH_NAME_DAY: Final = re.compile(
    rf"([^\d\s,/-]{{2,20}})\.?[ -](\d{{1,2}}){_ORDINAL}[ ,-]+(\d{{4}})" + _TIME_AFTER, re.IGNORECASE
)
_YEAR_MONTH_NAME: Final = re.compile(
    rf"(\d{{4}})[. -]+([^\d\s,/-]{{2,20}})\.?[ -](\d{{1,2}}){_ORDINAL}" + _TIME_AFTER, re.IGNORECASE
)
_DIGIT: Final = re.compile(r"\d")
_WORD: Final = re.compile(r"[^\W\d_]{3,20}")
_EAST_ASIAN: Final = re.compile(r"(\d{4}) ?[年년] ?(\d{1,2}) ?[月월] ?(\d{1,2}) ?[日일]")
_TIME: Final = re.compile(
    r"(\d{1,2})(?:[:h.](\d{2}))?(?::(\d{2})(?:[.,]\d+)?)? ?(?:([ap])\.? ?m\.?)? ?"
    r"(?:\(?([a-z]+/[a-z_/+-]+|[a-z]{1,5})?([+\u2212-]\d{1,2}(?::?\d{2})?)?\)?)?",
    re.ASCII | re.IGNORECASE,
)
_MAX_DATE: Final = 40  # characters
_LIKE_A_DATE: Final = re.compile(r"(?=(?:.*\d){4})[\w\s.,:/+\-()年月日時分秒년월일시분초т]{6,40}")
_NO_DATE: Final = re.compile(
    r"(?:0{4}([/.-])00?\1(?:00?)|00?([/.-])00?\2(?:0000|00)|1900-0?1-0?[01]|0?[01][/.]0?1[/.]1900|1899-12-3[01]"
    r"|0001-01-01|0?1[/.]0?1[/.]0001|0)(?:[T ].*)?"
)
_SERIAL: Final = re.compile(r"\d{5}(?:\.\d{1,20})?", re.ASCII)
_SERIAL_START: Final = datetime(1899, 12, 30)  # noqa: DTZ001 -- day 0 of spreadsheets; the caller adds the zone

K = TypeVar("K")


def is_no_date(text: str) -> bool:
    """Return whether *text* is what systems write for no date: 0000-00-00, 1900-01-01."""
    return text[:1] in "01" and _NO_DATE.fullmatch(text) is not None


def is_date_like(text: str) -> bool:
    """Return whether *text* has the form of a date or a time."""
    return len(text) <= _MAX_DATE and _LIKE_A_DATE.fullmatch(text) is not None and not is_no_date(text)


class AmbiguousZone(InvalidCell):
    """The abbreviation of a time zone stands for several, and none is that of the file."""


@dataclass(slots=True)
class DateOrderEvidence:
    """Evidence of one column for its day-month order. *meridiem* counts AM and PM, which suggest American order.

    *month_words* are the folded names of months in the column, which say in which language it is.
    """

    day_first: int = 0
    month_first: int = 0
    ambiguous: int = 0
    meridiem: int = 0
    month_words: set[str] = field(default_factory=set)

    def add(self, text: str) -> None:
        """Add the evidence of a cell."""
        found = _NUMERIC.fullmatch(text.strip())
        if found is None or found[2] == ".":
            words = (fold(word) for word in _WORD.findall(text[:_MAX_LENGTH]))
            self.month_words.update(word for word in words if word in european_months())
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


def choose_orders(evidence: Mapping[K, DateOrderEvidence]) -> dict[K, bool | None]:
    """Return whether the day comes first in each column; without evidence of its own, as in the file's other dates."""
    own = {key: found.is_day_first() for key, found in evidence.items()}
    orders = set(own.values()) - {None}
    shared = orders.pop() if len(orders) == 1 else None
    return {key: shared if order is None and not evidence[key].month_first else order for key, order in own.items()}


class DateReader:
    """Parses the dates of one column as UTC. Times without a zone are in *zone*.

    *formats*, if any, are the only ones accepted (strptime); *day_first* None leaves 03/04/2026 unreadable.
    *month_words* of the column decide between the meanings of a name such as listopad.
    """

    def __init__(
        self,
        zone: tzinfo = UTC,
        *,
        day_first: bool | None = None,
        formats: Sequence[str] = (),
        month_words: Collection[str] = (),
    ) -> None:
        self.zone = UTC if str(zone) == "UTC" else zone  # the fastest of the two
        self.day_first = day_first
        self._formats = tuple(formats)
        self._month_words = month_words

    def __call__(self, text: str) -> datetime:
        """Return the time of *text* in UTC. Raises ValueError with a remedy."""
        if not self._formats and not text.isdigit():
            try:
                return self._to_utc(datetime.fromisoformat(text), text)
            except ValueError:
                pass
        return self._read(text)

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
        return (timestamp.replace(tzinfo=self.zone) if timestamp.tzinfo is None else timestamp).astimezone(UTC)

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
        text = _simplify(text[: _MAX_LENGTH + 1])
        if _SERIAL.fullmatch(text):
            return _SERIAL_START + timedelta(seconds=round(float(text) * 86_400))
        if found := _YEAR_FIRST.fullmatch(text):
            return self._build(int(found[1]), int(found[3]), int(found[4]), found[5])
        if found := _NUMERIC.fullmatch(text):
            day, month = self._order_day_month(found)
            return self._build(_full_year(found[4]), month, day, found[5])
        for pattern, year, month_name, day_number in (
            (_DAY_MONTH_NAME, 3, 2, 1),
            (_MONTH_NAME_DAY, 3, 1, 2),
            (_YEAR_MONTH_NAME, 1, 2, 3),
        ):
            if (found := pattern.fullmatch(text)) and (month_found := self._month(found[month_name])):
                return self._build(_full_year(found[year]), month_found, int(found[day_number]), found[4])
        return None

    def _month(self, name: str) -> int | None:
        if not has_other_meaning(name):
            return month_of_date(name)
        month = month_among(name, self._month_words)
        if month is None:
            raise InvalidCell(
                f"{name!r} is a different month in another language, and no other date of the column decides it",
                "write 2026-04-30",
            )
        return month

    def _build(self, year: int, month: int, day: int, time: str | None) -> datetime | None:
        return _build_datetime(year, month, day, time, self.zone)

    def _order_day_month(self, found: re.Match[str]) -> tuple[int, int]:
        first, second = int(found[1]), int(found[3])
        if found[2] == "." or first > _NOON or first == second:
            return first, second
        if second > _NOON:
            return second, first
        if self.day_first is None:
            raise InvalidCell(
                f"{found[0]!r} is ambiguous (day or month first?), and no date of the column decides it",
                'write 2026-04-30, or give `formats` "%d/%m/%Y" or "%m/%d/%Y" in a mapping file',
            )
        return (first, second) if self.day_first else (second, first)


def _simplify(text: str) -> str:
    """Return *text* with single spaces, without weekday and joining words, and with East Asian dates by points."""
    if not text.isascii():
        text = _DIGIT.sub(lambda digit: str(int(digit[0])), text.replace("\u2019", "'"))
    text = _EAST_ASIAN.sub(r"\1-\2-\3 ", text.replace("d'", " "))
    words = [word for word in text.split() if word.strip(".,").casefold() not in read_words("date_word")]
    first, *others = [word.strip(".,") for word in words] or [""]
    # "mar" is Tuesday before another month, and March without one.
    if first.isalpha() and is_weekday(first) and (not month_of_date(first) or any(map(month_number, others))):
        del words[0]
    return " ".join(words).strip(" ,")


def _parse_digits(text: str) -> datetime | None:
    if len(text) == len("46157"):
        return _SERIAL_START + timedelta(days=int(text))
    if len(text) in {_EPOCH_SECONDS, _EPOCH_MILLISECONDS}:
        return datetime.fromtimestamp(int(text) / (1000 if len(text) == _EPOCH_MILLISECONDS else 1), UTC)
    if len(text) == len("20260430"):
        return _build_datetime(int(text[:4]), int(text[4:6]), int(text[6:]), None)
    return None


def _full_year(text: str) -> int:
    return int(text) + (2000 if len(text) == len("26") else 0)


def _build_datetime(year: int, month: int, day: int, time: str | None, zone: tzinfo = UTC) -> datetime | None:
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
        return _in_zone(timestamp, found[5], found[6], zone) if found[5] or found[6] else timestamp
    except ValueError as error:
        if isinstance(error, InvalidCell):
            raise
        return None


def _in_zone(at: datetime, name: str | None, offset: str | None, zone: tzinfo) -> datetime | None:
    """Return *at* in the zone of a name, an abbreviation or an offset; *zone* decides between several meanings."""
    hours = 0.0
    if name and "/" in name:
        exact = zone_name(name)
        return at.replace(tzinfo=ZoneInfo(exact)) if exact else None
    if name and not offset:
        offsets = zone_offsets(name.upper())
        if not offsets:
            return None
        own = at.replace(tzinfo=zone).utcoffset()
        if len(offsets) > 1 and own not in offsets:
            raise AmbiguousZone(
                f"the time zone {name} has several meanings", "name the zone of the file, `time_zone:` in a mapping"
            )
        return at.replace(tzinfo=timezone(own if own is not None and own in offsets else next(iter(offsets))))
    if offset:
        digits = offset[1:].replace(":", "")
        hours = int(digits[:-2]) + int(digits[-2:]) / 60 if len(digits) > len("05") else int(digits)
        hours = hours if offset[0] == "+" else -hours
    return at.replace(tzinfo=timezone(timedelta(hours=hours)))
