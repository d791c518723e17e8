"""Read `points:`, `fit:` and `click_filtering:` of templates/sales/policy.yaml."""

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from nurture.definitions.conditions import FIT_LETTERS, KnownEmails, read_condition, read_kind
from nurture.definitions.schema_check import InvalidValue, Reporting, Shape, read_part, read_shape
from nurture.definitions.values import read_name, read_positive_span
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    FieldCondition,
    FitCondition,
    FitRule,
    Not,
    SignalCondition,
    leaves,
)
from nurture.domain.scoring.bant import BantCondition
from nurture.domain.scoring.click_filtering import ClickThresholds
from nurture.domain.scoring.scoring import MAX_HALF_LIVES, UNSCORED_KINDS, Points
from nurture.domain.signals import SignalKind
from nurture.errors import suggest

_DAY: Final = timedelta(days=1)
_MAX_POINTS: Final = 1_000_000
_HALF_LIVES_HINT: Final = "Write for example `half_lives: {fast: 7 days, slow: 90 days}`."
_SHORT_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?) *(second|minute|hour)s?")
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3600}
_MAX_SHORT_SPAN: Final = timedelta(hours=1)
_SHORT_SPAN_HINT: Final = "Write for example `90 seconds` or `15 minutes`; at most one hour."
_FIT_HINT: Final = "Write for example `A: {field: employees, at_least: 200}` under it."


def read_points(node: Node | None, context: ParseContext) -> Points:
    """Read `points:`: lines of `kind: number` or `kind: {points: number, half_life: name}`."""
    if node is None:
        return Points()
    if not isinstance(node.value, dict):
        context.add_problem(
            node, "`points` is not a list of `kind: number` lines", "Write for example `clicked: 10` under it."
        )
        return Points()
    names, spans = _half_lives(node, context)
    worth: dict[SignalKind, float] = {}
    slots: dict[SignalKind, int] = {}
    low: set[SignalKind] = set()
    for key, part in node.parts.items():
        if key in ("half_life", "half_lives"):
            continue
        with Reporting(part, context, f"`{key}`"):
            kind = read_kind(str(key))
            worth[kind], name = _points(part.value, kind)
            if isinstance(part.value, dict) and _is_low(part.value.get("intent", "high")):
                low.add(kind)
            if name is not None:
                slots[kind] = _slot(name, names)
    return Points(worth, spans, slots, names, frozenset(low))


def _half_lives(node: Node, context: ParseContext) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return names and days; the name of `half_life:` is ""."""
    one, several = node.parts.get("half_life"), node.parts.get("half_lives")
    if one is not None and several is not None:
        context.add_problem(one, "both `half_life` and `half_lives` are set", "Keep one of them.")
    if several is None:
        days = _days(one, "half_life", context) if one is not None else None
        return ("",), Points().half_lives if days is None else (days,)
    if not isinstance(several.value, dict) or not several.value:
        context.add_problem(several, "`half_lives` has no half-lives", _HALF_LIVES_HINT)
        return ("",), Points().half_lives
    if len(several.parts) > MAX_HALF_LIVES:
        what = f"`half_lives` has {len(several.parts)} half-lives; at most {MAX_HALF_LIVES} are allowed"
        context.add_problem(several, what, "Give signals with similar decay the same one.")
        return ("",), Points().half_lives
    found: dict[str, float] = {}
    for name, part in several.parts.items():
        with Reporting(part, context):
            read_name(name)
        found[str(name)] = _days(part, str(name), context) or 1.0
    return tuple(found), tuple(found.values())


def _days(part: Node, key: str, context: ParseContext) -> float | None:
    with Reporting(part, context, f"`{key}`"):
        return read_positive_span(part.value) / _DAY
    return None


def _points(given: Any, kind: SignalKind) -> tuple[float, str | None]:
    """Return the points of a kind and the name of its half-life, None for the first."""
    name = None
    if isinstance(given, dict):
        unknown = [key for key in given if key not in ("points", "half_life", "intent")]
        if unknown or "points" not in given:
            what = f"`{unknown[0]}` is not a key of points" if unknown else "`points` is missing"
            raise InvalidValue(what, f"Write for example `{kind}: {{points: 10, half_life: fast}}`.")
        name, given = given.get("half_life"), given["points"]
    number = float(given) if isinstance(given, int | float) and not isinstance(given, bool) else float("nan")
    if not abs(number) <= _MAX_POINTS:
        raise InvalidValue(f"`{given}` is not a number of points", f"Write for example `{kind}: 10`.")
    if number < 0:
        raise InvalidValue(
            f"`{given}` is below 0, and points cannot be", "Use a condition instead: `{not: {did: ...}}`."
        )
    if number and kind in UNSCORED_KINDS:
        raise InvalidValue("mail programs open mail by themselves: it has no points", "Remove this line.")
    return number, None if name is None else str(name)


def _is_low(given: Any) -> bool:
    if given not in ("low", "high"):
        raise InvalidValue(f"`intent: {given}` is neither low nor high", "Write `intent: low`, or remove it.")
    return bool(given == "low")


def _slot(name: str, names: tuple[str, ...]) -> int:
    if name in names:
        return names.index(name)
    raise InvalidValue(f"there is no half-life `{name}`", _HALF_LIVES_HINT if names == ("",) else suggest(name, names))


def read_fit(node: Node | None, context: ParseContext) -> tuple[FitRule, ...]:
    """Read `fit:`: the conditions for the letters A, B and C; all other leads get D."""
    if node is None:
        return ()
    letters = FIT_LETTERS[:-1]
    if not isinstance(node.value, dict) or not node.value:
        context.add_problem(node, "`fit` has no letters", _FIT_HINT)
        return ()
    rules: dict[str, FitRule] = {}
    known_emails = KnownEmails(None, unavailable_reason="fit uses fields, not signals")
    for key, part in node.parts.items():
        letter = str(key)
        if letter not in letters:
            remedy = "All other leads get D: remove it." if letter == FIT_LETTERS[-1] else _FIT_HINT
            context.add_problem(part, f"`fit` gives the letters A, B and C, not `{letter}`", remedy)
            continue
        when = read_condition(part, known_emails, context)
        if when is not None and not all(isinstance(one, FieldCondition | BantCondition) for one in leaves(when)):
            context.add_problem(
                part,
                f"fit {letter} uses more than fields",
                "Use only `field`, `all`, `any` and `not`; signals belong in `points`.",
            )
        elif when is not None:
            rules[letter] = FitRule(letter, when)
    return tuple(rules[letter] for letter in letters if letter in rules)


def depends_on_low_intent(when: Condition, low: Collection[SignalKind]) -> bool:
    """Return whether signals of low intent alone, apart from fields, can make the condition hold."""
    match when:
        case SignalCondition(kind=kind):
            return kind in low
        case AnyOf(parts=parts):
            return any(depends_on_low_intent(part, low) for part in parts)
        case AllOf(parts=parts):
            signal_parts = [part for part in parts if not isinstance(part, FieldCondition | FitCondition | Not)]
            return bool(signal_parts) and all(depends_on_low_intent(part, low) for part in signal_parts)
        case _:
            return False


def _read_short_span(given: Any) -> timedelta:
    """Read "90 seconds"."""
    found = _SHORT_SPAN.fullmatch(" ".join(str(given).split()))
    span = timedelta(seconds=float(found[1]) * _UNITS[found[2]]) if found else None
    if span is None or span > _MAX_SHORT_SPAN:
        raise InvalidValue(f"`{given}` is not a short duration", _SHORT_SPAN_HINT)
    return span


_ShortSpan = Annotated[timedelta, PlainValidator(_read_short_span)]


class _LinksShape(Shape):
    links: int = Field(ge=2, examples=["2"])
    within: _ShortSpan = Field(examples=["2 seconds"])


class _CompanyShape(Shape):
    leads: int = Field(ge=2, examples=["3"])
    within: _ShortSpan = Field(examples=["10 seconds"])


class ClickFilteringShape(Shape):
    """The keys under `click_filtering:`."""

    grace_period: _ShortSpan = Field(ClickThresholds().grace_period, examples=["90 seconds"])
    min_time_after_delivery: _ShortSpan = Field(ClickThresholds().min_time_after_delivery, examples=["10 seconds"])
    links_at_once: Any = Field(None, examples=["{links: 2, within: 2 seconds}"])
    company_at_once: Any = Field(None, examples=["{leads: 3, within: 10 seconds}"])
    bot_window: _ShortSpan = Field(ClickThresholds().bot_window, examples=["15 minutes"])


def read_click_filtering(node: Node | None, context: ParseContext) -> ClickThresholds:
    """Read `click_filtering:`; missing keys keep their defaults."""
    defaults = ClickThresholds()
    shape = read_shape(ClickFilteringShape, node, context, "`click_filtering`")
    if node is None or shape is None:
        return defaults
    links = read_part(_LinksShape, node, "links_at_once", context)
    company = read_part(_CompanyShape, node, "company_at_once", context)
    return ClickThresholds(
        grace_period=shape.grace_period,
        min_time_after_delivery=shape.min_time_after_delivery,
        links=links.links if links else defaults.links,
        links_within=links.within if links else defaults.links_within,
        leads=company.leads if company else defaults.leads,
        leads_within=company.within if company else defaults.leads_within,
        bot_window=shape.bot_window,
    )
