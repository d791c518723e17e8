"""Read what hangs on a date of the lead: `7 days before trial_ends`, `{date: renewal_date, within: 90 days}`."""

import re
from datetime import date, timedelta
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from nurture.definitions.schema_check import InvalidValue, Reporting, Shape, read_shape
from nurture.definitions.values import Line, PositiveSpan, normalized, read_date, read_delay, read_span, read_weekday
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.date_conditions import DateCondition, InactiveFor
from nurture.domain.planning.dates import ONE_DAY, DateOffset

_UNIT: Final = r"(?:minute|hour|business day|day|week|month)s?"
_OFFSET: Final = re.compile(
    rf"(?:(?P<count>\d+(?:\.\d+)?) *(?P<unit>{_UNIT})? *(?P<way>before|after|since)|on)"
    r"(?: +(?P<name>[a-z_]\w*))??(?P<at> +at +\d{1,2}:\d{2})?"
)
_OFFSET_HINT: Final = (
    "Write for example `7 days before trial_ends at 10:00`, `3 days after trial_ends` or `on trial_ends`."
)
_BOUND: Final = re.compile(r"(?:(?P<coming>in +)?(?P<span>\d[^a-z]*[a-z]+)(?P<past> +ago)?|(?P<today>today))")
_BOUND_HINT: Final = "Write a date such as `2026-12-31`, or `today`, `in 30 days`, `30 days ago`."
_DATE_HINT: Final = "Write for example `{date: renewal_date, within: 90 days}`."


def read_after(given: Any) -> Delay | DateOffset:
    """Read a delay, or a time before or after a date of the lead."""
    return _read_offset(given) or read_delay(given)


def _read_offset(given: Any) -> DateOffset | None:
    """Read "7 days before trial_ends at 10:00" or "on trial_ends"; None if it is neither."""
    text = normalized(given)
    found = _OFFSET.fullmatch(text)
    if found is None or (found["count"] is None and (found["name"] is None or _is_weekday(found["name"]))):
        return None
    if found["count"] is None:
        return DateOffset(found["name"], read_delay(found["at"]) if found["at"] else Delay())
    if found["unit"] is None:
        raise InvalidValue(f"`{given}` has no unit after {found['count']}", _OFFSET_HINT)
    if found["name"] is None:
        raise InvalidValue(f"`{given}` names no date after `{found['way']}`", _OFFSET_HINT)
    if float(found["count"]) == 0:
        raise InvalidValue(f"`{given}` is the date itself", f"Write `on {found['name']}`.")
    delay = read_delay(f"{found['count']} {found['unit']}{found['at'] or ''}")
    if delay.hours and delay.at is not None:
        raise InvalidValue(f"`{given}` has both hours and a time of day", _OFFSET_HINT)
    return DateOffset(found["name"], delay, is_before=found["way"] == "before")


def _is_weekday(text: str) -> bool:
    try:
        read_weekday(text)
    except InvalidValue:
        return False
    return True


def read_limit(given: Any) -> date | DateOffset:
    """Read the last day of a touch: a date, a date of the lead, or a time before or after one."""
    text = normalized(given)
    if re.fullmatch(r"[a-z_]\w*", text):
        return DateOffset(text)
    return _read_offset(given) or read_date(given)


def _read_days(span: timedelta, given: Any) -> int:
    if span % ONE_DAY:
        raise InvalidValue(f"`{given}` is not a whole number of days", "Conditions on dates count in days.")
    return span // ONE_DAY


def _read_bound(given: Any) -> date | int:
    """Read "2026-12-31", or a number of days from today: "today", "in 30 days", "30 days", "30 days ago"."""
    found = _BOUND.fullmatch(normalized(given))
    if found is None or (found["coming"] and found["past"]):
        try:
            return read_date(given)
        except InvalidValue:
            raise InvalidValue(f"`{given}` is no date, and no number of days from today", _BOUND_HINT) from None
    days = 0 if found["today"] else _read_days(read_span(found["span"]), given)
    return -days if found["past"] else days


After = Annotated[Delay | DateOffset, PlainValidator(read_after)]
Limit = Annotated[date | DateOffset, PlainValidator(read_limit)]
_Bound = Annotated[date | int, PlainValidator(_read_bound)]


class _DateShape(Shape):
    name: Line = Field(alias="date", examples=["renewal_date"])
    within: PositiveSpan | None = Field(None, examples=["90 days"])
    ago: PositiveSpan | None = Field(None, examples=["30 days"])
    before: _Bound | None = Field(None, examples=["in 30 days"])
    after: _Bound | None = Field(None, examples=["30 days ago"])


class _InactiveShape(Shape):
    inactive: PositiveSpan = Field(examples=["120 days"])


def read_date_condition(node: Node, _: object, context: ParseContext) -> DateCondition | None:
    """Read `{date: renewal_date, within: 90 days}`; None, with the problems reported, if it is not valid."""
    shape = read_shape(_DateShape, node, context, "a `date` condition")
    if shape is None:
        return None
    given = [key for key in ("within", "ago", "after", "before") if key in node.parts]
    if not given or (len(given) > 1 and set(given) != {"before", "after"}):
        has = " and ".join(f"`{key}`" for key in given) or "nothing to compare it with"
        context.add_problem(
            node, f"`date: {shape.name}` has {has}", f"Use one of within, ago, before, after. {_DATE_HINT}"
        )
        return None
    context.date_references.append((node.parts["date"], shape.name))
    written = " and ".join(f"{key.replace('ago', 'at least')} {node.value[key]}" for key in given)
    description = f"{shape.name} {written}{' ago' if 'ago' in given else ''}"
    for key, span in (("within", shape.within), ("ago", shape.ago)):
        if span is not None:
            with Reporting(node.parts[key], context, f"`{key}`"):
                days = _read_days(span, node.value[key])
                earliest, latest = (0, days) if key == "within" else (None, -days)
                return DateCondition(shape.name, earliest, latest, description)
            return None
    return DateCondition(shape.name, _next(shape.after, 1), _next(shape.before, -1), description)


def _next(bound: date | int | None, days: int) -> date | int | None:
    if bound is None:
        return None
    return bound + days if isinstance(bound, int) else bound + days * ONE_DAY


def read_inactive(node: Node, _: object, context: ParseContext) -> InactiveFor | None:
    """Read `{inactive: 120 days}`; None, with the problems reported, if it is not valid."""
    shape = read_shape(_InactiveShape, node, context, "an `inactive` condition")
    if shape is not None:
        with Reporting(node.parts["inactive"], context, "`inactive`"):
            return InactiveFor(_read_days(shape.inactive, node.value["inactive"]))
    return None
