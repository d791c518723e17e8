"""Conditions: the questions that audiences, steps and the sales policy ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil
from typing import Any, Final, Literal, TypeVar

from pydantic import Field

from nurture.definitions.schema_check import Shape, Wrong, read_shape
from nurture.definitions.values import Line, Name, PositiveSpan
from nurture.definitions.yaml_reader import Named, Node, Reading, nearest
from nurture.domain.lead import Fact
from nurture.domain.planning.conditions import Any as AnyOf
from nurture.domain.planning.conditions import (
    Comparison,
    Condition,
    DecidesWithin,
    Did,
    Every,
    Fit,
    InTrack,
    Not,
    Postcode,
    Score,
    plain_postcode,
)
from nurture.domain.planning.conditions import Field as FactTest
from nurture.domain.scoring.bant import FIELDS, Bant, Sure
from nurture.domain.signals import SignalKind

ALWAYS: Final = ("always", "everybody")
NEVER: Final = ("never", "nobody")
_EXAMPLE: Final = "Write for example `{did: clicked, email: 01-thanks}`."
_COMPARISONS: Final = tuple(comparison.value for comparison in Comparison)
_LISTS: Final = frozenset({Comparison.IN, Comparison.NOT_IN})
FIT_LETTERS: Final = ("A", "B", "C", "D")
"""From the best to the worst."""
_OF_LISTS: Final = {Comparison.IS: Comparison.IN, Comparison.IS_NOT: Comparison.NOT_IN}
_NUMBERS: Final = frozenset({Comparison.AT_LEAST, Comparison.AT_MOST})


@dataclass(frozen=True, slots=True)
class Scope:
    """Which emails a `did` may name: the step id by what people call it. None: they are not known here."""

    emails: Mapping[str, str] | None
    no_emails_because: str = ""


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


def read_condition(node: Node, scope: Scope, reading: Reading) -> Condition | None:
    """Read one condition; None, with its faults noted, where it is none."""
    if node.value in ALWAYS:
        return Every(())
    if node.value in NEVER:
        return AnyOf(())
    if not isinstance(node.value, dict) or not node.value:
        shown = f"`{node.value}`" if node.value else "nothing"
        reading.fault(node, f"{shown} is not a condition", _EXAMPLE)
        return None
    verbs = [key for key in node.value if key in QUESTIONS]
    if len(verbs) == 1:
        return QUESTIONS[verbs[0]](node, scope, reading)
    if verbs:
        both = " and ".join(f"`{verb}`" for verb in verbs)
        reading.fault(
            node, f"one condition asks {both}", "Put each into its own line under `all:` or `any:`."
        )
        return None
    key = next(iter(node.value))
    reading.fault(node, f"`{key}` is not a question that a condition can ask", nearest(key, QUESTIONS))
    return None


def _parts(node: Node, verb: str, scope: Scope, reading: Reading) -> tuple[Condition, ...] | None:
    inner = node.parts[verb]
    _refuse_others(node, verb, reading)
    if not isinstance(inner.value, list) or not inner.value:
        reading.fault(
            inner,
            f"`{verb}` needs a list of conditions",
            f"Write {verb}: and under it lines that begin with `- `.",
        )
        return None
    found = [read_condition(part, scope, reading) for part in inner.items()]
    read = tuple(part for part in found if part is not None)
    return read if len(read) == len(found) else None


def _refuse_others(node: Node, verb: str, reading: Reading) -> None:
    for key, part in node.parts.items():
        if key != verb:
            reading.fault(
                part,
                f"`{key}` stands beside `{verb}`",
                f"Put it into the list under `{verb}:`, or take it out.",
            )


def _all(node: Node, scope: Scope, reading: Reading) -> Condition | None:
    parts = _parts(node, "all", scope, reading)
    return None if parts is None else Every(parts)


def _any(node: Node, scope: Scope, reading: Reading) -> Condition | None:
    parts = _parts(node, "any", scope, reading)
    return None if parts is None else AnyOf(parts)


def _not(node: Node, scope: Scope, reading: Reading) -> Condition | None:
    _refuse_others(node, "not", reading)
    part = read_condition(node.parts["not"], scope, reading)
    return None if part is None else Not(part)


def _field(node: Node, _: Scope, reading: Reading) -> Condition | None:
    name = node.value["field"]
    others = [key for key in node.value if key != "field"]
    if not isinstance(name, str) or not name.strip():
        reading.fault(
            node.parts["field"],
            "`field` does not name a fact",
            "Write for example `{field: title, contains: director}`.",
        )
        return None
    unknown = [key for key in others if key not in _COMPARISONS]
    for key in unknown:
        reading.fault(node.parts[key], f"`{key}` is not a way to compare a field", nearest(key, _COMPARISONS))
    if len(others) != 1:
        both = " and ".join(f"`{key}`" for key in others) or "no test"
        reading.fault(node, f"`field: {name}` has {both}", f"Write one of: {', '.join(_COMPARISONS)}.")
    if unknown or len(others) != 1:
        return None
    test = Comparison(others[0])
    if isinstance(node.value[others[0]], list):
        test = _OF_LISTS.get(test, test)
    try:
        return FactTest(name, test, _compared(test, node.value[others[0]]))
    except Wrong as wrong:
        reading.fault(node.parts[others[0]], f"`{test.value}`: {wrong.what}", wrong.instead)
        return None


def _compared(test: Comparison, given: Any) -> Fact | tuple[Fact, ...]:
    if test in _LISTS or (test is Comparison.CONTAINS and isinstance(given, list)):
        if not isinstance(given, list) or not given:
            raise Wrong("it needs a list", f"Write for example `{test.value}: [Germany, Austria]`.")
        return tuple(read_fact(value) for value in given)
    if test is Comparison.EXISTS:
        if not isinstance(given, bool):
            raise Wrong(f"`{given}` is not yes or no", "Write `exists: yes` or `exists: no`.")
        return given
    if test in _NUMBERS and (isinstance(given, bool) or not isinstance(given, int | float)):
        raise Wrong(f"`{given}` is not a number", f"Write for example `{test.value}: 50`.")
    if test is Comparison.CONTAINS and (not isinstance(given, str) or not given.strip()):
        raise Wrong(f"`{given}` is not a text", "Write a word, or a list of words, in quotes if need be.")
    return read_fact(given)


def read_fact(given: Any) -> Fact:
    """Read the value of a fact; dates become text, as facts hold them."""
    if given is None or isinstance(given, list | dict):
        raise Wrong("this is not one value", "Write a word, a number, yes or no.")
    if isinstance(given, date):
        return given.isoformat()
    fact: Fact = given
    return fact


def read_kind(name: str) -> SignalKind:
    """Read the kind of a signal."""
    try:
        return SignalKind(name)
    except ValueError:
        raise Wrong(
            f"`{name}` is not something that a lead can do", nearest(name, list(SignalKind))
        ) from None


def _did(node: Node, scope: Scope, reading: Reading) -> Condition | None:
    shape = read_shape(_DidShape, node, reading, "a `did` condition")
    if shape is None:
        return None
    try:
        kind = read_kind(shape.did)
        email = None if shape.email is None else _email(shape.email, scope)
    except Wrong as wrong:
        at = node.parts["email"] if wrong.what.startswith("email") else node.parts["did"]
        reading.fault(at, wrong.what, wrong.instead)
        return None
    return Did(kind, email, shape.link, shape.times, shape.within)


def _email(name: str, scope: Scope) -> str:
    if scope.no_emails_because:
        raise Wrong(
            f"email `{name}` cannot be asked about here: {scope.no_emails_because}", "Leave `email:` out."
        )
    if scope.emails is None:
        return name
    if name not in scope.emails:
        raise Wrong(f"email `{name}` is not sent by any step", nearest(name, scope.emails))
    return scope.emails[name]


def _score(node: Node, _: Scope, reading: Reading) -> Condition | None:
    shape = _one_bound(_ScoreShape, node, "score", "{score: {at_least: 40}}", reading)
    return None if shape is None else Score(shape.at_least, shape.below)


def _fit(node: Node, _: Scope, reading: Reading) -> Condition | None:
    shape = _one_bound(_FitShape, node, "fit", "{fit: {at_least: B}}", reading)
    return None if shape is None else Fit(shape.at_least, shape.below)


def _one_bound(
    shape_of: type[Bounded], node: Node, name: str, example: str, reading: Reading
) -> Bounded | None:
    """Read what asks for one of `at_least` and `below`."""
    _refuse_others(node, name, reading)
    inner = node.parts[name]
    shape = read_shape(shape_of, inner, reading, f"`{name}`")
    if shape is None:
        return None
    if (shape.at_least is None) is (shape.below is None):
        what = f"`{name}` needs one of `at_least` and `below`"
        reading.fault(inner, what, f"Write for example `{example}`.")
        return None
    return shape


def _timeline(node: Node, _: Scope, reading: Reading) -> Condition | None:
    _refuse_others(node, "timeline", reading)
    shape = read_shape(_TimelineShape, node.parts["timeline"], reading, "`timeline`")
    return None if shape is None else DecidesWithin(ceil(shape.decides_within / timedelta(days=1)))


def _postcode(node: Node, _: Scope, reading: Reading) -> Condition | None:
    _refuse_others(node, "postcode", reading)
    inner = node.parts["postcode"]
    shape = read_shape(_PostcodeShape, inner, reading, "`postcode`")
    if shape is None:
        return None
    country = shape.country.upper()
    if len(country) != 2 or not country.isalpha():
        what = f"`{shape.country}` is not a country's code"
        reading.fault(inner.parts["country"], what, "Write its two letters, such as `DE`.")
        return None
    first, last = plain_postcode(shape.first), plain_postcode(shape.last)
    if first[: len(last)] > last[: len(first)]:
        reading.fault(
            inner, f"no postcode lies from `{shape.first}` to `{shape.last}`", "Write the lower first."
        )
        return None
    return Postcode(country, first, last)


_SURE: Final[Mapping[str, Sure | None]] = {
    "known": Sure.TOLD,
    "guessed": Sure.GUESSED,
    "confirmed": Sure.CONFIRMED,
    "unknown": None,
}
_BANT: Final = "Write for example `{bant: {budget: known, need: confirmed}}` or `{bant: {at_least: 3}}`."


def _bant(node: Node, _: Scope, reading: Reading) -> Condition | None:
    _refuse_others(node, "bant", reading)
    inner = node.parts["bant"]
    if not isinstance(inner.value, dict) or not inner.value:
        reading.fault(inner, "`bant` asks for nothing", _BANT)
        return None
    wanted: dict[str, Sure | None] = {}
    for key, part in inner.parts.items():
        if key == "at_least" and len(inner.parts) == 1 and part.value in (1, 2, 3, 4):
            return Bant({}, int(part.value))
        if key not in FIELDS or part.value not in _SURE:
            reading.fault(part, f"`{key}: {part.value}` is nothing that `bant` can ask", _BANT)
            return None
        wanted[str(key)] = _SURE[part.value]
    return Bant(wanted)


def _in_track(node: Node, _: Scope, reading: Reading) -> Condition | None:
    shape = read_shape(_InTrackShape, node, reading, "an `in_track` condition")
    if shape is None:
        return None
    reading.named.append(Named(node.parts["in_track"], shape.in_track))
    return InTrack(shape.in_track)


_Reader = Callable[[Node, Scope, Reading], Condition | None]
QUESTIONS: Final[Mapping[str, _Reader]] = {
    "all": _all,
    "any": _any,
    "not": _not,
    "field": _field,
    "did": _did,
    "score": _score,
    "fit": _fit,
    "timeline": _timeline,
    "in_track": _in_track,
    "postcode": _postcode,
    "bant": _bant,
}
