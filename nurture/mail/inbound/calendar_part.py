"""Read the calendar part (RFC 5545) of a mail: an invitation, or the answer to one."""

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

_MAX_TEXT: Final = 40_000
_FOLD: Final = re.compile(r"\r?\n[ \t]")
_LINE: Final = re.compile(r"([A-Za-z-]{1,40})((?:;[^:\"\n]{0,100}(?:\"[^\"\n]{0,100}\"[^:\"\n]{0,100})?)?):([^\r\n]*+)")
_ESCAPE: Final = re.compile(r"\\(.)")
_PARAMETER: Final = re.compile(r";(TZID|PARTSTAT)=\"?([^;\":]{1,100})", re.IGNORECASE)
_MAX_SUMMARY: Final = 300


class CalendarPart(NamedTuple):
    """A calendar part: its METHOD ("REQUEST", "REPLY", "CANCEL") and the SUMMARY of its first event.

    *starts_at* is in UTC, None if the time or its zone is unknown. *starts* is the local time in words, or "".
    *answer* is the first attendee's PARTSTAT: "ACCEPTED", "DECLINED", "TENTATIVE" or "".
    """

    method: str
    summary: str = ""
    starts_at: datetime | None = None
    starts: str = ""
    answer: str = ""


def parse_calendar(text: str) -> CalendarPart:
    """Parse the text of a part. Never raises: what is unreadable is left out."""
    method = summary = answer = ""
    starts: tuple[datetime | None, str] = None, ""
    components: list[str] = []
    for line in _FOLD.sub("", text[:_MAX_TEXT]).splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, value = match[1].upper(), match[3].strip()
        parameters = {one[0].upper(): one[1] for one in _PARAMETER.findall(match[2])}
        if name == "BEGIN":
            components.append(value.upper())
        elif name == "END" and components:
            if components.pop() == "VEVENT":
                break
        elif name == "METHOD" and components == ["VCALENDAR"]:
            method = value.upper()[:20]
        elif components == ["VCALENDAR", "VEVENT"]:
            if name == "SUMMARY":
                summary = _ESCAPE.sub(lambda one: " " if one[1] in "nN" else one[1], value).strip()[:_MAX_SUMMARY]
            elif name == "DTSTART":
                starts = _parse_start(value, parameters.get("TZID", ""))
            elif name == "ATTENDEE" and not answer:
                answer = parameters.get("PARTSTAT", "").upper()
    return CalendarPart(method, summary, *starts, answer)


def _parse_start(value: str, zone_name: str) -> tuple[datetime | None, str]:
    """Return the start in UTC, if its zone is known, and in words in its own zone."""
    has_time = "T" in value
    try:
        local = datetime.strptime(value.removesuffix("Z"), "%Y%m%dT%H%M%S" if has_time else "%Y%m%d")  # noqa: DTZ007
    except ValueError:
        return None, ""
    day = f"{local:%A} {local.day} {local:%B %Y}"
    if not has_time:
        return None, day
    zone_name = "UTC" if value.endswith("Z") else zone_name
    words = f"{day}, {local:%H:%M}" + (f" ({zone_name})" if zone_name else "")
    zone = _find_zone(zone_name)
    try:
        return (local.replace(tzinfo=zone).astimezone(UTC) if zone is not None else None), words
    except (ValueError, OverflowError):
        return None, words


def _find_zone(name: str) -> ZoneInfo | None:
    """Return the zone of an IANA name, or of the name that Windows gives it."""
    from babel.core import get_global  # noqa: PLC0415 - only for invitations

    try:
        return ZoneInfo(get_global("windows_zone_mapping").get(name, name)) if name else None
    except (ValueError, OSError, LookupError):  # ZoneInfoNotFoundError is a KeyError
        return None
