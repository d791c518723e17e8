"""Parse values: durations, delays, send windows, zones, addresses, names."""

import re
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, PlainValidator

from nurture.definitions.schema_check import InvalidValue
from nurture.domain.planning.calendar import Delay
from nurture.errors import suggest

DAYS_OF_WEEK: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MAX_DELAY_DAYS: Final = 400
MAX_SPREAD: Final = timedelta(days=30)
_MAX_SPAN_DAYS: Final = 3_660
_HOURS: Final = {"minute": 1 / 60, "hour": 1, "day": 24, "week": 168, "month": 720}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?) *(minute|hour|day|week|month)s?")
_DELAY: Final = re.compile(
    r"(?:(?P<count>\d+(?:\.\d+)?) *(?P<unit>minute|hour|business day|day|week|month)s?)?"
    r" *(?:\bon (?P<on>[a-z]+))? *(?:\bat (?P<at>\d{1,2}:\d{2}))?"
)
_BETWEEN: Final = re.compile(r"(\d{1,2}:\d{2}) *(?:-|to) *(\d{1,2}:\d{2})")
_ADDRESS: Final = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+\.[^\s@<>,;]+")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
MAX_NAME_LENGTH: Final = 80
_SPAN_HINT: Final = "Write for example `4 hours`, `3 days`, `2 weeks` or `1 month` (30 days)."
_DELAY_HINT: Final = (
    "Write for example `4 hours`, `3 days`, `2 business days`, `on tuesday` or `1 week on tuesday at 10:00`."
)


def read_span(given: Any) -> timedelta:
    """Read "3 days": minutes, hours, days, weeks, or months of 30 days."""
    found = _SPAN.fullmatch(normalized(given))
    if not found:
        raise InvalidValue(f"`{given}` is not a duration", _SPAN_HINT)
    hours = float(found[1]) * _HOURS[found[2]]
    if hours > _MAX_SPAN_DAYS * 24:
        raise InvalidValue(f"`{given}` is longer than ten years", _SPAN_HINT)
    return timedelta(hours=hours)


def read_positive_span(given: Any) -> timedelta:
    """Read a duration that is not zero."""
    span = read_span(given)
    if not span:
        raise InvalidValue(f"`{given}` is zero", _SPAN_HINT)
    return span


def read_spread(given: Any) -> timedelta:
    """Read over how long a cohort is spread: at most 30 days."""
    span = read_positive_span(given)
    if span > MAX_SPREAD:
        raise InvalidValue(f"`{given}` is over {MAX_SPREAD.days} days", "Write for example `spread: 3 days`.")
    return span


def read_delay(given: Any) -> Delay:
    """Read "3 days", "2 business days", "1 week on tuesday at 10:00", "at once"; at most 400 days."""
    text = normalized(given)
    if text == "at once":
        return Delay()
    found = _DELAY.fullmatch(text)
    if not text or not found:
        raise InvalidValue(f"`{given}` is not a delay", _DELAY_HINT)
    on, at = found["on"], found["at"]
    return Delay(
        **_length(given, found["count"], found["unit"]),
        on=None if on is None else read_weekday(on),
        at=None if at is None else read_time(at),
    )


def _length(given: Any, count: str | None, unit: str | None) -> dict[str, Any]:
    if count is None or unit is None:
        return {}
    number = float(count)
    if unit in ("minute", "hour"):
        length: dict[str, Any] = {"hours": number * _HOURS[unit]}
        days = length["hours"] / 24
    else:
        if not number.is_integer():
            raise InvalidValue(f"`{given}` is not a whole number of {unit}s", "Write whole days, or hours.")
        days = number * {"day": 1, "business day": 1.4, "week": 7, "month": 30}[unit]
        length = {"business_days": int(number)} if unit == "business day" else {"days": int(days)}
    if days > MAX_DELAY_DAYS:
        raise InvalidValue(f"`{given}` is over {MAX_DELAY_DAYS} days", f"Write at most {MAX_DELAY_DAYS} days.")
    return length


def read_weekday(given: Any) -> int:
    """Read "tue" or "tuesday"; Monday is 0."""
    text = normalized(given)
    for number, day in enumerate(DAYS_OF_WEEK):
        if len(text) >= 3 and day.startswith(text):
            return number
    raise InvalidValue(
        f"`{given}` is not a day of the week", suggest(text, DAYS_OF_WEEK, "Write mon, tue, wed, thu, fri, sat or sun.")
    )


def read_days(given: Any) -> frozenset[int]:
    """Read the days of a send window: a list, or one day."""
    days = given if isinstance(given, list) else [given]
    if not days:
        raise InvalidValue(
            "the send window never opens: it has no days", "Write for example `days: [mon, tue, wed, thu, fri]`."
        )
    return frozenset(read_weekday(day) for day in days)


def read_time(given: Any) -> time:
    """Read "09:00"."""
    hours, _, minutes = str(given).partition(":")
    if not (hours.isdigit() and minutes.isdigit() and int(hours) < 24 and int(minutes) < 60):
        raise InvalidValue(f"`{given}` is not a time of day", "Write for example `09:00`; the day ends at 23:59.")
    return time(int(hours), int(minutes))


def read_between(given: Any) -> tuple[time, time]:
    """Read "09:00-17:00"; an end before the start is on the next day, equal times mean 24 hours."""
    found = _BETWEEN.fullmatch(normalized(given))
    if not found:
        raise InvalidValue(f"`{given}` is not a range of times", "Write for example `between: 09:00-17:00`.")
    return read_time(found[1]), read_time(found[2])


def read_zone(given: Any) -> str:
    """Read an IANA time zone name."""
    name = str(given)
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        near = suggest(name, available_timezones(), "Write a name such as `Europe/Berlin`.")
        raise InvalidValue(f"there is no time zone `{name}`", near) from None
    return name


def read_date(given: Any) -> date:
    """Read a date; the YAML reader may have parsed it already."""
    if isinstance(given, date):
        return given
    try:
        return date.fromisoformat(str(given))
    except ValueError:
        raise InvalidValue(f"`{given}` is not a date", "Write year-month-day, for example `2026-01-15`.") from None


def read_local_time(given: Any) -> datetime:
    """Read "2027-03-02 10:00": a day with a time of day, without a zone; the YAML reader may have parsed it."""
    example = "Write a day and a time, for example `2027-03-02 10:00`."
    try:
        found = given if isinstance(given, datetime) else datetime.fromisoformat(normalized(given).upper())
    except ValueError:
        raise InvalidValue(f"`{given}` is not a time", example) from None
    if found.tzinfo is not None:
        raise InvalidValue(f"`{given}` has an offset", "Write the local time, and the zone as `zone:`.")
    if ":" not in str(given):
        raise InvalidValue(f"`{given}` has no time of day", example)
    return found


def read_zone_or_lead(given: Any) -> str:
    """Read an IANA time zone name; "" for `lead`, the zone of each lead."""
    return "" if given == "lead" else read_zone(given)


def read_address(given: Any) -> str:
    """Read an email address."""
    if not isinstance(given, str) or not _ADDRESS.fullmatch(given):
        raise InvalidValue(f"`{given}` is not an email address", "Write for example `nora@example.com`.")
    return given


def read_name(given: Any) -> str:
    """Read a name that becomes part of ids."""
    if not isinstance(given, str):
        raise InvalidValue(f"`{given}` is not a name", f'Put it in quotes: "{given}".')
    if _NAME.fullmatch(given.removesuffix(".md")) and given.endswith(".md"):
        raise InvalidValue(f"`{given}` cannot be a name", f"Write `{given[:-3]}`, without `.md`.")
    if not _NAME.fullmatch(given) or len(given) > MAX_NAME_LENGTH:
        rule = f"Use lower-case letters, digits and hyphens, at most {MAX_NAME_LENGTH} of them."
        raise InvalidValue(f"`{given}` cannot be a name", rule)
    return given


def read_names(given: Any) -> tuple[str, ...]:
    """Read one name, or a list of names."""
    names = given if isinstance(given, list) else [given]
    if not names:
        raise InvalidValue("the list is empty", "Write at least one name.")
    return tuple(read_name(name) for name in names)


def normalized(given: Any) -> str:
    """Return *given* as text in lower case, with single spaces."""
    return " ".join(str(given).lower().split())


def _require_text(text: str) -> str:
    if not text.strip():
        raise InvalidValue("it is empty", "Write a text.")
    return text.strip()


def _require_one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise InvalidValue("it has more than one line", "Write it on one line.")
    return text


Text = Annotated[str, AfterValidator(_require_text)]
Line = Annotated[str, AfterValidator(_require_text), AfterValidator(_require_one_line)]
Span = Annotated[timedelta, PlainValidator(read_span)]
PositiveSpan = Annotated[timedelta, PlainValidator(read_positive_span)]
Spread = Annotated[timedelta, PlainValidator(read_spread)]
WaitTime = Annotated[Delay, PlainValidator(read_delay)]
Days = Annotated[frozenset[int], PlainValidator(read_days)]
Between = Annotated[tuple[time, time], PlainValidator(read_between)]
Zone = Annotated[str, PlainValidator(read_zone)]
ZoneOrLead = Annotated[str, PlainValidator(read_zone_or_lead)]
LocalTime = Annotated[datetime, PlainValidator(read_local_time)]
Day = Annotated[date, PlainValidator(read_date)]
Address = Annotated[str, PlainValidator(read_address)]
Name = Annotated[str, PlainValidator(read_name)]
Names = Annotated[tuple[str, ...], PlainValidator(read_names)]
