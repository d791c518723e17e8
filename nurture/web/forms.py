"""Read the fields of a posted form, urlencoded or multipart, and the days that a form offers."""

from calendar import monthrange
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from nurture.web.auth import Principal, authorize

CUSTOM_DAY: Final = "day"
"""The choice for which a date is entered."""

MAX_AHEAD: Final = timedelta(days=10 * 366)
"""The latest date that a form accepts; a later one is a typing error."""


def parse_day(text: str) -> date | None:
    """Return an ISO day, or the last day of an ISO month such as 2027-03; None for other text."""
    try:
        if len(text) == len("2027-03"):
            return month_end(date.fromisoformat(f"{text}-01"))
        return date.fromisoformat(text)
    except ValueError:
        return None


def chosen_day(fields: Mapping[str, str], name: str, options: Mapping[str, date]) -> date | None:
    """Return the day of the chosen option, or the one entered beside the options; None for neither, both or no date."""
    chosen, written = fields.get(name, ""), fields.get(f"{name}-day", "")
    if not written:
        return options.get(chosen)
    return parse_day(written) if chosen in ("", CUSTOM_DAY) else None


def month_end(day: date) -> date:
    """Return the last day of the month of *day*."""
    return day.replace(day=monthrange(day.year, day.month)[1])


def add_months(day: date, months: int) -> date:
    """Return the day *months* later, or the last day of that month if it is shorter."""
    first = date(day.year + (day.month - 1 + months) // 12, (day.month - 1 + months) % 12 + 1, 1)
    return min(month_end(first), first + timedelta(days=day.day - 1))


def quarter_ends(today: date, count: int) -> list[date]:
    """Return the last days of this quarter and the following ones, *count* in all."""
    first = today.replace(day=1, month=(today.month - 1) // 3 * 3 + 1)
    return [month_end(add_months(first, 3 * number + 2)) for number in range(count)]


def quarter_starts(today: date, count: int) -> list[date]:
    """Return the first days of the next *count* quarters."""
    return [end + timedelta(days=1) for end in quarter_ends(today, count)]


MAX_FIELDS: Final = 20
_UNDECLARED_TYPES: Final = frozenset({"", "text/plain"})


async def read_fields(request: Request, _principal: Annotated[Principal, Depends(authorize)]) -> Mapping[str, str]:
    """Return the text fields of an authorized request; the last value of a repeated field. Raises 400 if invalid."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type in _UNDECLARED_TYPES:  # mail programs post one-click unsubscribes with any type
            text = (await request.body()).decode("latin-1")
            return {name: value.strip() for name, value in parse_qsl(text, max_num_fields=MAX_FIELDS)}
        async with request.form(max_files=0, max_fields=MAX_FIELDS, max_part_size=4096) as form:
            return {name: value.strip() for name, value in form.items() if isinstance(value, str)}
    except (ValueError, LookupError) as error:  # a broken boundary, an unknown charset
        raise HTTPException(400) from error


FormFields = Annotated[Mapping[str, str], Depends(read_fields)]
