"""Read the conditions of audiences, steps and the sales policy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from math import ceil
from typing import Any, Final, Literal, TypeVar

from pydantic import Field

from nurture.definitions.contradictions import find_contradiction
from nurture.definitions.dates import read_date_condition, read_inactive
from nurture.definitions.schema_check import InvalidValue, Reporting, Shape, read_shape
from nurture.definitions.values import Line, Name, PositiveSpan
from nurture.definitions.yaml_reader import Node, ParseContext, TrackReference
from nurture.domain.lead import FieldValue
from nurture.domain.planning.comparisons import Comparison, normalize_postcode
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    DecidesWithin,
    FieldCondition,
    FitCondition,
    InTrack,
    Not,
    PostcodeCondition,
    ScoreCondition,
    SignalCondition,
)
from nurture.domain.scoring.bant import BANT_FIELDS, BantCondition, Confidence
from nurture.domain.signals import SignalKind
from nurture.errors import suggest

ALWAYS: Final = ("always", "everybody")
NEVER: Final = ("never", "nobody")
_EXAMPLE: Final = "Write for example `{did: clicked, email: 01-thanks}`."
_COMPARISONS: Final = tuple(comparison.value for comparison in Comparison)
_LISTS: Final = frozenset({Comparison.IN, Comparison.NOT_IN})
FIT_LETTERS: Final = ("A", "B", "C", "D")
"""From the best to the worst."""
_LIST_COMPARISONS: Final = {Comparison.IS: Comparison.IN, Comparison.IS_NOT: Comparison.NOT_IN}
_NUMBERS: Final = frozenset({Comparison.AT_LEAST, Comparison.AT_MOST})


@dataclass(frozen=True, slots=True)
class KnownEmails:
    """Which emails a `did` may name: the step id by each of its names. None: they are not known here."""

    emails: Mapping[str, str] | None
    unavailable_reason: str = ""


class _DidShape(Shape):
    did: str = Field(examples=["clicked"])
    email: Name | None = Field(None, examples=["01-thanks"])
    link: Line | None = Field(None, examples=["https://www.example.com/pricing"])
    times: int = Field(1, ge=1, examples=["2"])
    within: PositiveSpan | None = Field(None, examples=["30 days"])


class _ScoreShape(Shape):
    at_least: float | None = Field(None, allow_inf_nan=False, examples=["40"])
    below: float | None = Field(None, allow_inf_nan=False, examples=["40"])


class _FitShape(Shape):
    at_least: Literal["A", "B", "C", "D"] | None = Field(None, examples=["B"])
    below: Literal["A", "B", "C", "D"] | None = Field(None, examples=["B"])


Bounded = TypeVar("Bounded", _ScoreShape, _FitShape)


class _TimelineShape(Shape):
    decides_within: PositiveSpan = Field(examples=["90 days"])


class _PostcodeShape(Shape):
    country: Line = Field(examples=["DE"])
    first: Line = Field(alias="from", examples=['"80000"'])
    last: Line = Field(alias="to", examples=['"89999"'])


class _InTrackShape(Shape):
    in_track: Name = Field(examples=["keep-warm"])


def read_condition(node: Node, known_emails: KnownEmails, context: ParseContext) -> Condition | None:
    """Read one condition; None, with the problems reported, if it is not valid."""
    if node.value in ALWAYS:
        return AllOf(())
    if node.value in NEVER:
        return AnyOf(())
    if isinstance(node.value, list) and node.value:
        what = "this is a list of conditions"
        context.add_problem(node, what, "Write `{all: [...]}` if all of them must hold, or `{any: [...]}`.")
        return None
    if not isinstance(node.value, dict) or not node.value:
        shown = f"`{node.value}`" if node.value else "nothing"
        context.add_problem(node, f"{shown} is not a condition", _EXAMPLE)
        return None
    verbs = [key for key in node.value if key in CONDITION_READERS]
    if len(verbs) == 1:
        return CONDITION_READERS[verbs[0]](node, known_emails, context)
    if verbs:
        both = " and ".join(f"`{verb}`" for verb in verbs)
        context.add_problem(node, f"one condition has {both}", "Put each on its own line under `all:` or `any:`.")
        return None
    key = next(iter(node.value))
    context.add_problem(node, f"`{key}` is not a kind of condition", suggest(key, CONDITION_READERS))
    return None


def _reject_other_keys(node: Node, verb: str, context: ParseContext) -> None:
    for key, part in node.parts.items():
        if key != verb:
            context.add_problem(
                part, f"`{key}` is next to `{verb}`", f"Put it into the list under `{verb}:`, or remove it."
            )


def _group(
    verb: str, group: type[AllOf | AnyOf], node: Node, known_emails: KnownEmails, context: ParseContext
) -> Condition | None:
    inner = node.parts[verb]
    _reject_other_keys(node, verb, context)
    if not isinstance(inner.value, list) or not inner.value:
        context.add_problem(
            inner, f"`{verb}` needs a list of conditions", f"Write {verb}: and below it lines that begin with `- `."
        )
        return None
    found = [read_condition(part, known_emails, context) for part in inner.items()]
    read = tuple(part for part in found if part is not None)
    if group is AllOf and (contradiction := find_contradiction(read)):
        context.warn(inner, f"no lead meets this: {contradiction}", "Write `any:` if one of them is enough.")
    return group(read) if len(read) == len(found) else None


def _not(node: Node, known_emails: KnownEmails, context: ParseContext) -> Condition | None:
    _reject_other_keys(node, "not", context)
    part = read_condition(node.parts["not"], known_emails, context)
    return None if part is None else Not(part)


def _field(node: Node, _: KnownEmails, context: ParseContext) -> Condition | None:
    name = node.value["field"]
    others = [key for key in node.value if key != "field"]
    if not isinstance(name, str) or not name.strip():
        context.add_problem(
            node.parts["field"],
            "`field` needs the name of a field",
            "Write for example `{field: title, contains: director}`.",
        )
        return None
    unknown = [key for key in others if key not in _COMPARISONS]
    if len(others) == 2 and str(others[1]).isdigit():
        written = f"{node.value[others[0]]},{others[1]}"
        what, remedy = f"`{others[0]}: {written}` has a comma in a number", f"Write `{written.replace(',', '.')}`"
        context.add_problem(node, what, f"{remedy}, or `{written.replace(',', '')}` for thousands.")
        return None
    for key in unknown:
        context.add_problem(node.parts[key], f"`{key}` is not a way to compare a field", suggest(key, _COMPARISONS))
    if len(others) != 1:
        both = " and ".join(f"`{key}`" for key in others) or "no test"
        context.add_problem(node, f"`field: {name}` has {both}", f"Write one of: {', '.join(_COMPARISONS)}.")
    if unknown or len(others) != 1:
        return None
    comparison = Comparison(others[0])
    if isinstance(node.value[others[0]], list):
        comparison = _LIST_COMPARISONS.get(comparison, comparison)
    with Reporting(node.parts[others[0]], context, f"`{comparison.value}`"):
        found = FieldCondition(name, comparison, _read_comparison_value(comparison, node.value[others[0]]))
        context.field_conditions.append((node, found))
        return found
    return None


def _read_comparison_value(comparison: Comparison, given: Any) -> FieldValue | tuple[FieldValue, ...]:
    if comparison in _LISTS or (comparison is Comparison.CONTAINS and isinstance(given, list)):
        if not isinstance(given, list) or not given:
            raise InvalidValue("it needs a list", f"Write for example `{comparison.value}: [DE, AT]`.")
        return tuple(read_field_value(value) for value in given)
    if comparison is Comparison.EXISTS:
        if not isinstance(given, bool):
            raise InvalidValue(f"`{given}` is not yes or no", "Write `exists: yes` or `exists: no`.")
        return given
    if comparison in _NUMBERS and (isinstance(given, bool) or not isinstance(given, int | float)):
        remedy = f"Write for example `{comparison.value}: 50`; for a date `{{date: renewal_date, within: 90 days}}`."
        raise InvalidValue(f"`{given}` is not a number", remedy)
    if comparison is Comparison.CONTAINS and (not isinstance(given, str) or not given.strip()):
        raise InvalidValue(f"`{given}` is not a text", "Write a word, or a list of words, in quotes if necessary.")
    return read_field_value(given)


def read_field_value(given: Any) -> FieldValue:
    """Read the value of a field; dates become text, as fields store them."""
    if given is None or isinstance(given, list | dict):
        raise InvalidValue("this is not one value", "Write a word, a number, yes or no.")
    if isinstance(given, date):
        return given.isoformat()
    field_value: FieldValue = given
    return field_value


def read_kind(name: str) -> SignalKind:
    """Read the kind of a signal."""
    try:
        return SignalKind(name)
    except ValueError:
        raise InvalidValue(f"`{name}` is not a kind of signal", suggest(name, list(SignalKind))) from None


def _did(node: Node, known_emails: KnownEmails, context: ParseContext) -> Condition | None:
    shape = read_shape(_DidShape, node, context, "a `did` condition")
    if shape is None:
        return None
    with Reporting(node.parts["did"], context):
        kind = read_kind(shape.did)
        if kind is SignalKind.OPENED:
            what = "opens are recorded only for leads that agreed to it, so this holds for few leads or none"
            context.warn(node, what, "Write `did: clicked` instead.")
        if shape.email is None:
            return SignalCondition(kind, None, shape.link, shape.times, shape.within)
        with Reporting(node.parts["email"], context):
            email = _email(shape.email, known_emails)
            return SignalCondition(kind, email, shape.link, shape.times, shape.within)
    return None


def _email(name: str, known_emails: KnownEmails) -> str:
    if known_emails.unavailable_reason:
        raise InvalidValue(f"email `{name}` cannot be used here: {known_emails.unavailable_reason}", "Remove `email:`.")
    if known_emails.emails is None:
        return name
    if name not in known_emails.emails:
        raise InvalidValue(f"email `{name}` is not sent by any step", suggest(name, known_emails.emails))
    return known_emails.emails[name]


def _score(node: Node, _: KnownEmails, context: ParseContext) -> Condition | None:
    shape = _read_bound(_ScoreShape, node, "score", "{score: {at_least: 40}}", context)
    return None if shape is None else ScoreCondition(shape.at_least, shape.below)


def _fit(node: Node, _: KnownEmails, context: ParseContext) -> Condition | None:
    shape = _read_bound(_FitShape, node, "fit", "{fit: {at_least: B}}", context)
    return None if shape is None else FitCondition(shape.at_least, shape.below)


def _read_bound(shape_of: type[Bounded], node: Node, name: str, example: str, context: ParseContext) -> Bounded | None:
    """Read a condition with one of `at_least` and `below`."""
    _reject_other_keys(node, name, context)
    inner = node.parts[name]
    shape = read_shape(shape_of, inner, context, f"`{name}`")
    if shape is None:
        return None
    if (shape.at_least is None) is (shape.below is None):
        what = f"`{name}` needs one of `at_least` and `below`"
        context.add_problem(inner, what, f"Write for example `{example}`.")
        return None
    return shape


def _timeline(node: Node, _: KnownEmails, context: ParseContext) -> Condition | None:
    _reject_other_keys(node, "timeline", context)
    shape = read_shape(_TimelineShape, node.parts["timeline"], context, "`timeline`")
    return None if shape is None else DecidesWithin(ceil(shape.decides_within / timedelta(days=1)))


def _postcode(node: Node, _: KnownEmails, context: ParseContext) -> Condition | None:
    _reject_other_keys(node, "postcode", context)
    inner = node.parts["postcode"]
    shape = read_shape(_PostcodeShape, inner, context, "`postcode`")
    if shape is None:
        return None
    country = shape.country.upper()
    if len(country) != 2 or not country.isalpha():
        what = f"`{shape.country}` is not a country code"
        context.add_problem(inner.parts["country"], what, "Write its two letters, such as `DE`.")
        return None
    first, last = normalize_postcode(shape.first), normalize_postcode(shape.last)
    if first[: len(last)] > last[: len(first)]:
        context.add_problem(
            inner, f"no postcode is from `{shape.first}` to `{shape.last}`", "Write the lower one first."
        )
        return None
    return PostcodeCondition(country, first, last)


_CONFIDENCE: Final[Mapping[str, Confidence | None]] = {
    "known": Confidence.STATED,
    "guessed": Confidence.GUESSED,
    "confirmed": Confidence.CONFIRMED,
    "unknown": None,
}
_BANT_HINT: Final = "Write for example `{bant: {budget: known, need: confirmed}}` or `{bant: {at_least: 3}}`."


def _bant(node: Node, _: KnownEmails, context: ParseContext) -> Condition | None:
    _reject_other_keys(node, "bant", context)
    inner = node.parts["bant"]
    if not isinstance(inner.value, dict) or not inner.value:
        context.add_problem(inner, "`bant` is empty", _BANT_HINT)
        return None
    min_confidence: dict[str, Confidence | None] = {}
    for key, part in inner.parts.items():
        if key == "at_least" and len(inner.parts) == 1 and part.value in (1, 2, 3, 4):
            return BantCondition({}, int(part.value))
        if key not in BANT_FIELDS or part.value not in _CONFIDENCE:
            context.add_problem(part, f"`{key}: {part.value}` is not a condition of `bant`", _BANT_HINT)
            return None
        min_confidence[str(key)] = _CONFIDENCE[part.value]
    return BantCondition(min_confidence)


def _in_track(node: Node, _: KnownEmails, context: ParseContext) -> Condition | None:
    shape = read_shape(_InTrackShape, node, context, "an `in_track` condition")
    if shape is None:
        return None
    context.track_references.append(TrackReference(node.parts["in_track"], shape.in_track, enters=False))
    return InTrack(shape.in_track)


_Reader = Callable[[Node, KnownEmails, ParseContext], Condition | None]
CONDITION_READERS: Final[Mapping[str, _Reader]] = {
    "all": partial(_group, "all", AllOf),
    "any": partial(_group, "any", AnyOf),
    "not": _not,
    "field": _field,
    "did": _did,
    "score": _score,
    "fit": _fit,
    "timeline": _timeline,
    "date": read_date_condition,
    "inactive": read_inactive,
    "in_track": _in_track,
    "postcode": _postcode,
    "bant": _bant,
}
