"""What deeds are worth, how well a lead fits, and when a click is believed: three parts of policy.yaml."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from nurture.definitions.conditions import FIT_LETTERS, Scope, read_condition, read_kind
from nurture.definitions.schema_check import M, Shape, Wrong, read_shape
from nurture.definitions.values import read_name, read_positive_span
from nurture.definitions.yaml_reader import Node, Reading, nearest
from nurture.domain.planning.conditions import Any as AnyOf
from nurture.domain.planning.conditions import Condition, Did, Every, Fit, FitRule, Not
from nurture.domain.planning.conditions import Field as FactTest
from nurture.domain.scoring.bant import Bant
from nurture.domain.scoring.click_filtering import Thresholds
from nurture.domain.scoring.scoring import MOST_HALF_LIVES, NEVER_WORTH, Points
from nurture.domain.signals import SignalKind

_DAY: Final = timedelta(days=1)
_MOST_POINTS: Final = 1_000_000
_EXAMPLE: Final = "Write for example `half_lives: {fast: 7 days, slow: 90 days}`."
_MOMENT: Final = re.compile(r"(\d+(?:\.\d+)?) *(second|minute|hour)s?")
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3600}
_LONGEST_MOMENT: Final = timedelta(hours=1)
_MOMENTS: Final = "Write for example `90 seconds` or `15 minutes`; one hour is the most."
_FIT_EXAMPLE: Final = "Write for example `A: {field: employees, at_least: 200}` under it."


def read_points(node: Node | None, reading: Reading) -> Points:
    """Read `points:`: lines of `kind: number` or `kind: {points: number, half_life: name}`."""
    if node is None:
        return Points()
    if not isinstance(node.value, dict):
        reading.fault(
            node,
            "`points` is not a list of `kind: number` lines",
            "Write for example `clicked: 10` under it.",
        )
        return Points()
    names, spans = _half_lives(node, reading)
    worth: dict[SignalKind, float] = {}
    slots: dict[SignalKind, int] = {}
    low: set[SignalKind] = set()
    for key, part in node.parts.items():
        if key in ("half_life", "half_lives"):
            continue
        try:
            kind = read_kind(str(key))
            worth[kind], name = _worth(part.value, kind)
            if isinstance(part.value, dict) and _is_low(part.value.get("intent", "high")):
                low.add(kind)
            if name is not None:
                slots[kind] = _slot(name, names)
        except Wrong as wrong:
            reading.fault(part, f"`{key}`: {wrong.what}", wrong.instead)
    return Points(worth, spans, slots, names, frozenset(low))


def _half_lives(node: Node, reading: Reading) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return names and days; the one of `half_life:` has no name."""
    one, several = node.parts.get("half_life"), node.parts.get("half_lives")
    if one is not None and several is not None:
        reading.fault(
            one, "`half_life` stands beside `half_lives`", "Keep one of them: both say how points fade."
        )
    if several is None:
        days = _days(one, "half_life", reading) if one is not None else None
        return ("",), Points().half_lives if days is None else (days,)
    if not isinstance(several.value, dict) or not several.value:
        reading.fault(several, "`half_lives` has no half-lives", _EXAMPLE)
        return ("",), Points().half_lives
    if len(several.parts) > MOST_HALF_LIVES:
        what = f"`half_lives` has {len(several.parts)} half-lives, and {MOST_HALF_LIVES} are the most"
        reading.fault(several, what, "Give deeds that fade alike the same one.")
        return ("",), Points().half_lives
    found: dict[str, float] = {}
    for name, part in several.parts.items():
        try:
            read_name(name)
        except Wrong as wrong:
            reading.fault(part, wrong.what, wrong.instead)
        found[str(name)] = _days(part, str(name), reading) or 1.0
    return tuple(found), tuple(found.values())


def _days(part: Node, key: str, reading: Reading) -> float | None:
    try:
        return read_positive_span(part.value) / _DAY
    except Wrong as wrong:
        reading.fault(part, f"`{key}`: {wrong.what}", wrong.instead)
        return None


def _worth(given: Any, kind: SignalKind) -> tuple[float, str | None]:
    """Return the points of a kind and the name of its half-life, None for the first."""
    name = None
    if isinstance(given, dict):
        unknown = [key for key in given if key not in ("points", "half_life", "intent")]
        if unknown or "points" not in given:
            what = f"`{unknown[0]}` is not a key of points" if unknown else "`points` is missing"
            raise Wrong(what, f"Write for example `{kind}: {{points: 10, half_life: fast}}`.")
        name, given = given.get("half_life"), given["points"]
    number = float(given) if isinstance(given, int | float) and not isinstance(given, bool) else float("nan")
    if not abs(number) <= _MOST_POINTS:
        raise Wrong(f"`{given}` is not a number of points", f"Write for example `{kind}: 10`.")
    if number < 0:
        raise Wrong(
            f"`{given}` takes points away, and no deed does",
            "Ask for it in a condition: `{not: {did: ...}}`.",
        )
    if number and kind in NEVER_WORTH:
        raise Wrong("mail programs open mail by themselves: it has no points", "Take this line out.")
    return number, None if name is None else str(name)


def _is_low(given: Any) -> bool:
    if given not in ("low", "high"):
        raise Wrong(f"`intent: {given}` is neither low nor high", "Write `intent: low`, or take it out.")
    return bool(given == "low")


def _slot(name: str, names: tuple[str, ...]) -> int:
    if name in names:
        return names.index(name)
    raise Wrong(f"there is no half-life `{name}`", _EXAMPLE if names == ("",) else nearest(name, names))


def read_fit(node: Node | None, reading: Reading) -> tuple[FitRule, ...]:
    """Read `fit:`: which facts give the letters A, B and C. D is for the rest."""
    if node is None:
        return ()
    letters = FIT_LETTERS[:-1]
    if not isinstance(node.value, dict) or not node.value:
        reading.fault(node, "`fit` has no letters", _FIT_EXAMPLE)
        return ()
    rules: dict[str, FitRule] = {}
    scope = Scope(None, no_emails_because="fit is about who a lead is, not about what it did")
    for key, part in node.parts.items():
        letter = str(key)
        if letter not in letters:
            remedy = "D is everybody else: take it out." if letter == FIT_LETTERS[-1] else _FIT_EXAMPLE
            reading.fault(part, f"`fit` gives the letters A, B and C, not `{letter}`", remedy)
            continue
        when = read_condition(part, scope, reading)
        if when is not None and not _is_about_facts(when):
            reading.fault(
                part,
                f"fit {letter} asks for more than facts",
                "Ask only `field`, `all`, `any` and `not`: what a lead did belongs into `points`.",
            )
        elif when is not None:
            rules[letter] = FitRule(letter, when)
    return tuple(rules[letter] for letter in letters if letter in rules)


def asks_fit(when: Condition) -> bool:
    """Tell whether the condition asks for the fit letter anywhere."""
    match when:
        case Fit():
            return True
        case Every(parts=parts) | AnyOf(parts=parts):
            return any(asks_fit(part) for part in parts)
        case Not(part=part):
            return asks_fit(part)
        case _:
            return False


def rests_on_low(when: Condition, low: Collection[SignalKind]) -> bool:
    """Tell whether deeds of low intent, with nothing else that a lead did or said, can make it hold."""
    match when:
        case Did(kind=kind):
            return kind in low
        case AnyOf(parts=parts):
            return any(rests_on_low(part, low) for part in parts)
        case Every(parts=parts):
            said = [part for part in parts if not isinstance(part, FactTest | Fit | Not)]
            return bool(said) and all(rests_on_low(part, low) for part in said)
        case _:
            return False


def _is_about_facts(when: Condition) -> bool:
    match when:
        case FactTest() | Bant():
            return True
        case Every(parts=parts) | AnyOf(parts=parts):
            return all(_is_about_facts(part) for part in parts)
        case Not(part=part):
            return _is_about_facts(part)
        case _:
            return False


def _read_moment(given: Any) -> timedelta:
    """Read "90 seconds"."""
    found = _MOMENT.fullmatch(" ".join(str(given).split()))
    span = timedelta(seconds=float(found[1]) * _UNITS[found[2]]) if found else None
    if span is None or span > _LONGEST_MOMENT:
        raise Wrong(f"`{given}` is not a short length of time", _MOMENTS)
    return span


_Moment = Annotated[timedelta, PlainValidator(_read_moment)]


class _LinksShape(Shape):
    links: int = Field(ge=2, examples=["2"])
    within: _Moment = Field(examples=["2 seconds"])


class _CompanyShape(Shape):
    leads: int = Field(ge=2, examples=["3"])
    within: _Moment = Field(examples=["10 seconds"])


class EvidenceShape(Shape):
    """What stands under `evidence:`."""

    settle: _Moment = Field(Thresholds().settle, examples=["90 seconds"])
    too_soon: _Moment = Field(Thresholds().too_soon, examples=["10 seconds"])
    links_at_once: Any = Field(None, examples=["{links: 2, within: 2 seconds}"])
    company_at_once: Any = Field(None, examples=["{leads: 3, within: 10 seconds}"])
    after_bot: _Moment = Field(Thresholds().after_bot, examples=["15 minutes"])


def read_evidence(node: Node | None, reading: Reading) -> Thresholds:
    """Read `evidence:`: when a click is believed; what is not written is as built in."""
    usual = Thresholds()
    shape = read_shape(EvidenceShape, node, reading, "`evidence`") if node is not None else None
    if node is None or shape is None:
        return usual
    links = _part(_LinksShape, node, "links_at_once", reading)
    company = _part(_CompanyShape, node, "company_at_once", reading)
    return Thresholds(
        settle=shape.settle,
        too_soon=shape.too_soon,
        links=links.links if links else usual.links,
        links_within=links.within if links else usual.links_within,
        leads=company.leads if company else usual.leads,
        leads_within=company.within if company else usual.leads_within,
        after_bot=shape.after_bot,
    )


def _part(model: type[M], node: Node, key: str, reading: Reading) -> M | None:
    inner = node.part(key)
    return None if inner is None else read_shape(model, inner, reading, f"`{key}`")
