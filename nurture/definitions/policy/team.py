"""The people in templates/sales/policy.yaml: reps, managers, pools, and the hours in which they work."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Final

import holidays
from pydantic import Field, PlainValidator

from nurture.definitions.schema_check import Shape, Wrong, read_shape
from nurture.definitions.values import (
    Address,
    Day,
    Line,
    Name,
    Names,
    Zone,
    read_between,
    read_name,
    read_weekday,
)
from nurture.definitions.yaml_reader import Node, Reading, nearest
from nurture.domain.planning.calendar import Window
from nurture.domain.policy.team import EVERYONE, Desk, Hours, Manager, Pool, Rep, Team, Turn

_HOURS: Final = re.compile(r"(?:(?P<days>[a-z ,]*[a-z]) +)?(?P<between>[\d: to-]+)")
_HOURS_LIKE: Final = "Write for example `monday to friday 09:00-17:00`, or `mon, tue, thu 08:00-14:00`."
_REP_LIKE: Final = "Write `- {id: mara, name: Mara Lindqvist, email: mara@example.com, capacity: 5}`."
_POOL_LIKE: Final = "Write for example `everyone: {reps: [mara, tomas], by: round robin}` under it."
_TURNS: Final = tuple(turn.value for turn in Turn)
_WORKDAYS: Final = frozenset(range(5))


def read_hours(given: Any) -> Window:
    """Read "monday to friday 09:00-17:00"; days left out are Monday to Friday. Public holidays are free."""
    text = " ".join(str(given).lower().split())
    found = _HOURS.fullmatch(text)
    if not found:
        raise Wrong(f"`{given}` does not say when somebody works", _HOURS_LIKE)
    try:
        opens, closes = read_between(found["between"])
        days = _WORKDAYS if found["days"] is None else _days(found["days"])
    except Wrong as wrong:
        raise Wrong(f"`{given}`: {wrong.what}", _HOURS_LIKE) from None
    return Window(days, opens, closes)


def _days(text: str) -> frozenset[int]:
    """Read "monday to thursday, saturday"; "saturday to monday" goes round the week."""
    found: set[int] = set()
    for part in text.split(","):
        ends = [read_weekday(word) for word in re.split(r" to | and ", part.strip())]
        if " to " in part:
            first, last = ends[0], ends[-1]
            found |= {(first + step) % 7 for step in range((last - first) % 7 + 1)}
        else:
            found |= set(ends)
    return frozenset(found)


def read_country(given: Any) -> str:
    """Read a country whose public holidays are known, as ISO 3166 alpha-2."""
    code = str(given).upper()
    if code not in _countries():
        raise Wrong(
            f"the public holidays of `{given}` are not known", "Write a country's two letters, such as `DE`."
        )
    return code


@cache
def _countries() -> frozenset[str]:
    return frozenset(holidays.list_supported_countries())


_Hours = Annotated[Window, PlainValidator(read_hours)]
_Country = Annotated[str, PlainValidator(read_country)]


class DeskShape(Shape):
    """What stands under `desk:`."""

    zone: Zone = Field(examples=["Europe/Berlin"])
    country: _Country = Field("", examples=["DE"])
    hours: _Hours = Field(Window(), examples=["monday to friday 09:00-17:00"])


class RepShape(Shape):
    """One salesperson."""

    id: Name = Field(examples=["mara"])
    name: Line = Field(examples=["Mara Lindqvist"])
    email: Address = Field(examples=["mara@example.com"])
    capacity: int = Field(ge=1, examples=["5"])
    in_hand: int | None = Field(None, ge=1, examples=["40"])
    weight: int = Field(1, ge=1, le=1_000, examples=["2"])
    zone: Zone | None = Field(None, examples=["Europe/Lisbon"])
    country: _Country | None = Field(None, examples=["PT"])
    hours: _Hours | None = Field(None, examples=["monday to thursday 08:00-16:00"])
    manager: Name | None = Field(None, examples=["lena"])
    deputy: Name | None = Field(None, examples=["tomas"])
    tell: Names = Field((), examples=["[slack-sales]"])
    partner: bool = Field(False, examples=["yes"])
    left_on: Day | None = Field(None, examples=["2027-01-31"])


class ManagerShape(Shape):
    """Who hears of hand-offs that nobody answers."""

    id: Name = Field(examples=["lena"])
    name: Line = Field(examples=["Lena Voss"])
    email: Address = Field(examples=["lena@example.com"])
    tell: Names = Field((), examples=["[slack-sales]"])


class PoolShape(Shape):
    """Reps who share leads."""

    reps: Names = Field(examples=["[mara, tomas]"])
    by: str = Field(Turn.ROUND_ROBIN.value, examples=[Turn.ROUND_ROBIN.value])


def read_team(node: Node, reading: Reading) -> Team:
    """Read `desk:`, `reps:`, `managers:` and `pools:` of the policy."""
    desk = _desk(node.part("desk"), reading)
    reps = _reps(node.part("reps"), desk.hours, reading)
    managers = _managers(node.part("managers"), reading)
    _check_people(node.part("reps"), reps, {one.id for one in managers}, reading)
    pools = _pools(node.part("pools"), {rep.id for rep in reps}, reading)
    return Team(reps, managers, pools, desk)


def _desk(node: Node | None, reading: Reading) -> Desk:
    shape = None if node is None else read_shape(DeskShape, node, reading, "`desk`")
    return Desk() if shape is None else Desk(Hours(shape.hours, shape.zone, shape.country))


def _reps(node: Node | None, desk: Hours, reading: Reading) -> tuple[Rep, ...]:
    items = listed(node)
    if node is not None and node.value in (None, []):
        reading.fault(node, "the policy has no reps: nobody could be handed a lead", _REP_LIKE)
    shapes = [read_shape(RepShape, item, reading, "a rep") for item in items]
    check_names(items, reading, "id")
    return tuple(_rep(shape, desk) for shape in shapes if shape is not None)


def _rep(shape: RepShape, desk: Hours) -> Rep:
    return Rep(
        id=shape.id,
        name=shape.name,
        email=shape.email,
        capacity=shape.capacity,
        in_hand=shape.in_hand,
        weight=shape.weight,
        hours=Hours(shape.hours or desk.window, shape.zone or desk.zone, shape.country or desk.country),
        manager=shape.manager,
        deputy=shape.deputy,
        tell=shape.tell,
        partner=shape.partner,
        left_on=shape.left_on,
    )


def _managers(node: Node | None, reading: Reading) -> tuple[Manager, ...]:
    items = listed(node)
    if node is not None and not isinstance(node.value, list):
        what = "`managers` is not a list"
        reading.fault(node, what, "Write `- {id: lena, name: Lena Voss, email: lena@example.com}` under it.")
    shapes = [read_shape(ManagerShape, item, reading, "a manager") for item in items]
    check_names(items, reading, "id")
    return tuple(Manager(one.id, one.name, one.email, one.tell) for one in shapes if one is not None)


def _check_people(
    node: Node | None, reps: Iterable[Rep], managers: Collection[str], reading: Reading
) -> None:
    """Note the deputies and managers that nobody is."""
    known = {rep.id for rep in reps}
    for item in listed(node):
        if not isinstance(item.value, dict):
            continue
        own = item.value.get("id")
        for role, people in (("deputy", known), ("manager", known | set(managers))):
            named = item.value.get(role)
            if not isinstance(named, str):
                continue
            if named == own:
                reading.fault(item.parts[role], f"`{own}` is their own {role}", "Name somebody else.")
            elif named not in people:
                what = f"the {role} `{named}` of `{own}` is nobody in this policy"
                reading.fault(item.parts[role], what, nearest(named, people))


def _pools(node: Node | None, reps: Collection[str], reading: Reading) -> Mapping[str, Pool]:
    if node is None:
        return {}
    if not isinstance(node.value, dict) or not node.value:
        reading.fault(node, "`pools` has no pools", _POOL_LIKE)
        return {}
    found: dict[str, Pool] = {}
    for name, part in node.parts.items():
        try:
            read_name(name)
        except Wrong as wrong:
            reading.fault(part, wrong.what, wrong.instead)
        shape = read_shape(PoolShape, part, reading, f"the pool `{name}`")
        if shape is None:
            continue
        _check_pool(str(name), part, shape, reps, reading)
        if shape.by in _TURNS:
            found[str(name)] = Pool(str(name), shape.reps, Turn(shape.by))
    return found


def _check_pool(name: str, node: Node, shape: PoolShape, reps: Collection[str], reading: Reading) -> None:
    at = node.parts["reps"]
    for rep in shape.reps:
        if rep not in reps:
            reading.fault(at, f"the pool `{name}` names `{rep}`, who is no rep", nearest(rep, reps))
    twice = sorted({rep for rep in shape.reps if shape.reps.count(rep) > 1})
    if twice:
        what = f"the pool `{name}` names {', '.join(twice)} twice"
        reading.fault(at, what, "Name each once; `weight: 2` and `by: weighted` give a double share.")
    if shape.by not in _TURNS:
        what = f"a pool does not take turns by `{shape.by}`"
        reading.fault(node.parts["by"], what, nearest(shape.by, _TURNS))


def check_pool_named(node: Node, name: str, pools: Collection[str], reading: Reading) -> None:
    """Note a pool that the policy does not have; there always is one of everyone."""
    if name not in pools and name != EVERYONE:
        reading.fault(node, f"there is no pool `{name}`", nearest(name, {*pools, EVERYONE}))


def listed(node: Node | None) -> list[Node]:
    """Return the entries of a list, none of what is not a list."""
    return node.items() if node is not None and isinstance(node.value, list) else []


def check_names(items: Iterable[Node], reading: Reading, key: str = "name") -> None:
    """Note entries that share a name."""
    seen: set[str] = set()
    for item in items:
        name = item.value.get(key) if isinstance(item.value, dict) else None
        if isinstance(name, str) and name in seen:
            remedy = "Give each a name of its own."
            reading.fault(item.parts[key], f"the {key} `{name}` is used twice", remedy)
        elif isinstance(name, str):
            seen.add(name)
