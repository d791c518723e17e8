"""Read the people of templates/sales/policy.yaml: reps, managers, pools, and their working hours."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator, ValidationInfo

from nurture.definitions.holidays import countries_with_holidays
from nurture.definitions.schema_check import InvalidValue, Reporting, Shape, read_shape
from nurture.definitions.values import Address, Day, Line, Name, Names, Zone, read_between, read_name, read_weekday
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.planning.calendar import Window
from nurture.domain.planning.conditions import Condition
from nurture.domain.policy.team import (
    EVERYONE_POOL,
    ROUND_THE_CLOCK,
    Manager,
    Pool,
    Rep,
    RotationMethod,
    Team,
    WorkingHours,
)
from nurture.errors import suggest

_HOURS: Final = re.compile(r"(?:(?P<days>[a-z ,]*[a-z]) +)?(?P<between>[\d: to-]+)")
_HOURS_HINT: Final = "Write for example `monday to friday 09:00-17:00`, or `mon, tue, thu 08:00-14:00`."
_REP_HINT: Final = "Write `- {id: mara, name: Mara Lindqvist, email: mara@example.com, capacity: 5}`."
_POOL_HINT: Final = "Write for example `everyone: {reps: [mara, tomas], rotation: round robin}` under it."
_ROTATION_METHODS: Final = tuple(method.value for method in RotationMethod)
_WORKDAYS: Final = frozenset(range(5))


def read_hours(given: Any) -> Window:
    """Read "monday to friday 09:00-17:00"; without days Monday to Friday. Public holidays are free."""
    text = " ".join(str(given).lower().split())
    found = _HOURS.fullmatch(text)
    if not found:
        raise InvalidValue(f"`{given}` does not give days and hours", _HOURS_HINT)
    try:
        opens, closes = read_between(found["between"])
        days = _WORKDAYS if found["days"] is None else _days(found["days"])
    except InvalidValue as error:
        raise InvalidValue(f"`{given}`: {error.message}", _HOURS_HINT) from None
    return Window(days, opens, closes)


def _days(text: str) -> frozenset[int]:
    """Read "monday to thursday, saturday"; "saturday to monday" wraps around the week."""
    found: set[int] = set()
    for part in text.split(","):
        ends = [read_weekday(word) for word in re.split(r" to | and ", part.strip())]
        if " to " in part:
            first, last = ends[0], ends[-1]
            found |= {(first + step) % 7 for step in range((last - first) % 7 + 1)}
        else:
            found |= set(ends)
    return frozenset(found)


def read_country(given: Any, info: ValidationInfo) -> str:
    """Read an ISO 3166 alpha-2 country code; its public holidays must be known, unless it was published."""
    code = str(given).upper()
    is_published = info.context is not None and not info.context.complete
    if not is_published and code not in countries_with_holidays():
        raise InvalidValue(
            f"the public holidays of `{given}` are not known", "Write a two-letter country code, such as `DE`."
        )
    return code


_Hours = Annotated[Window, PlainValidator(read_hours)]
_Country = Annotated[str, PlainValidator(read_country)]


class BusinessHoursShape(Shape):
    """The keys under `business_hours:`."""

    zone: Zone = Field(examples=["Europe/Berlin"])
    country: _Country = Field("", examples=["DE"])
    hours: _Hours = Field(Window(), examples=["monday to friday 09:00-17:00"])


class RepShape(Shape):
    """One salesperson."""

    id: Name = Field(examples=["mara"])
    name: Line = Field(examples=["Mara Lindqvist"])
    email: Address = Field(examples=["mara@example.com"])
    capacity: int = Field(ge=1, examples=["5"])
    max_open_leads: int | None = Field(None, ge=1, examples=["40"])
    weight: int = Field(1, ge=1, le=1_000, examples=["2"])
    zone: Zone | None = Field(None, examples=["Europe/Lisbon"])
    country: _Country | None = Field(None, examples=["PT"])
    hours: _Hours | None = Field(None, examples=["monday to thursday 08:00-16:00"])
    manager: Name | None = Field(None, examples=["lena"])
    deputy: Name | None = Field(None, examples=["tomas"])
    notify: Names = Field((), examples=["[slack-sales]"])
    partner: bool = Field(False, examples=["yes"])
    left_on: Day | None = Field(None, examples=["2027-01-31"])


class ManagerShape(Shape):
    """One manager, who gets escalations."""

    id: Name = Field(examples=["lena"])
    name: Line = Field(examples=["Lena Voss"])
    email: Address = Field(examples=["lena@example.com"])
    notify: Names = Field((), examples=["[slack-sales]"])
    digest: bool = Field(False, examples=["yes"])


class PoolShape(Shape):
    """One pool of reps who share leads."""

    reps: Names = Field(examples=["[mara, tomas]"])
    rotation: str = Field(RotationMethod.ROUND_ROBIN.value, examples=[RotationMethod.ROUND_ROBIN.value])


def read_team(node: Node, context: ParseContext) -> Team:
    """Read `business_hours:`, `reps:`, `managers:` and `pools:` of the policy."""
    business_hours = _business_hours(node.part("business_hours"), context)
    reps = _reps(node.part("reps"), business_hours, context)
    managers = _managers(node.part("managers"), context)
    _check_people(node.part("reps"), reps, {one.id for one in managers}, context)
    for part in (node.part("reps"), node.part("managers")):
        _check_twins(list_items(part), context)
    pools = _pools(node.part("pools"), {rep.id for rep in reps}, context)
    return Team(reps, managers, pools, business_hours)


def _business_hours(node: Node | None, context: ParseContext) -> WorkingHours:
    shape = read_shape(BusinessHoursShape, node, context, "`business_hours`")
    return ROUND_THE_CLOCK if shape is None else WorkingHours(shape.hours, shape.zone, shape.country)


def _reps(node: Node | None, default_hours: WorkingHours, context: ParseContext) -> tuple[Rep, ...]:
    items = list_items(node)
    if node is not None and node.value in (None, []):
        context.add_problem(node, "the policy has no reps: no lead could be handed off", _REP_HINT)
    shapes = [read_shape(RepShape, item, context, "a rep") for item in items]
    check_unique_names(items, context, "id")
    return tuple(_rep(shape, default_hours) for shape in shapes if shape is not None)


def _rep(shape: RepShape, default_hours: WorkingHours) -> Rep:
    hours = WorkingHours(
        shape.hours or default_hours.window, shape.zone or default_hours.zone, shape.country or default_hours.country
    )
    return Rep(**shape.model_dump(exclude={"hours", "zone", "country"}), hours=hours)


def _managers(node: Node | None, context: ParseContext) -> tuple[Manager, ...]:
    items = list_items(node)
    if node is not None and not isinstance(node.value, list):
        what = "`managers` is not a list"
        context.add_problem(node, what, "Write `- {id: lena, name: Lena Voss, email: lena@example.com}` under it.")
    shapes = [read_shape(ManagerShape, item, context, "a manager") for item in items]
    check_unique_names(items, context, "id")
    return tuple(Manager(**dict(one)) for one in shapes if one is not None)


def _check_people(node: Node | None, reps: Iterable[Rep], managers: Collection[str], context: ParseContext) -> None:
    """Report deputies and managers that do not exist."""
    known = {rep.id for rep in reps}
    for item in list_items(node):
        if not isinstance(item.value, dict):
            continue
        own = item.value.get("id")
        for role, people in (("deputy", known), ("manager", known | set(managers))):
            named = item.value.get(role)
            if not isinstance(named, str):
                continue
            if named == own:
                context.add_problem(item.parts[role], f"`{own}` is their own {role}", "Name somebody else.")
            elif named not in people:
                what = f"the {role} `{named}` of `{own}` is not in this policy"
                context.add_problem(item.parts[role], what, suggest(named, people))


def _check_twins(items: Iterable[Node], context: ParseContext) -> None:
    """Warn of two people with one address or name, of whom only one is meant, and of a capacity that never counts."""
    seen: dict[tuple[str, str], str] = {}
    for item in items:
        if not isinstance(item.value, dict):
            continue
        own = str(item.value.get("id"))
        for key, effect in (
            ("email", "mail, CRM owners and answers of both go to one"),
            ("name", "no page tells them apart"),
        ):
            value = item.value.get(key)
            other = seen.setdefault((key, str(value).strip().casefold()), own) if value else own
            if other != own:
                what = f"`{own}` and `{other}` have the same {key} `{value}`: {effect}"
                context.warn(item.parts[key], what, f"Write the {key} of `{own}`.")
        capacity, most = item.value.get("capacity"), item.value.get("max_open_leads")
        if isinstance(capacity, int) and isinstance(most, int) and capacity > most:
            what = f"`capacity: {capacity}` of `{own}` never counts: `max_open_leads: {most}` is less"
            context.warn(item.parts["capacity"], what, f"Write at most `capacity: {most}`.")


def _pools(node: Node | None, reps: Collection[str], context: ParseContext) -> Mapping[str, Pool]:
    if node is None:
        return {}
    if not isinstance(node.value, dict) or not node.value:
        context.add_problem(node, "`pools` has no pools", _POOL_HINT)
        return {}
    found: dict[str, Pool] = {}
    for name, part in node.parts.items():
        with Reporting(part, context):
            read_name(name)
        shape = read_shape(PoolShape, part, context, f"the pool `{name}`")
        if shape is None:
            continue
        _check_pool(str(name), part, shape, reps, context)
        if shape.rotation in _ROTATION_METHODS:
            found[str(name)] = Pool(str(name), shape.reps, RotationMethod(shape.rotation))
    return found


def _check_pool(name: str, node: Node, shape: PoolShape, reps: Collection[str], context: ParseContext) -> None:
    at = node.parts["reps"]
    for rep in shape.reps:
        if rep not in reps:
            context.add_problem(at, f"the pool `{name}` names `{rep}`, who is not a rep", suggest(rep, reps))
    twice = sorted({rep for rep in shape.reps if shape.reps.count(rep) > 1})
    if twice:
        what = f"the pool `{name}` names {', '.join(twice)} twice"
        context.add_problem(at, what, "Name each once; `weight: 2` and `rotation: weighted` give a double share.")
    if shape.rotation not in _ROTATION_METHODS:
        what = f"unknown rotation `{shape.rotation}`"
        context.add_problem(node.parts["rotation"], what, suggest(shape.rotation, _ROTATION_METHODS))


def check_pool_exists(node: Node, name: str, pools: Collection[str], context: ParseContext) -> None:
    """Report a pool that the policy does not have; the pool of everyone always exists."""
    if name not in pools and name != EVERYONE_POOL:
        context.add_problem(node, f"there is no pool `{name}`", suggest(name, {*pools, EVERYONE_POOL}))


def list_items(node: Node | None) -> list[Node]:
    """Return the entries of a list, [] for anything else."""
    return node.items() if node is not None and isinstance(node.value, list) else []


def check_repeated_conditions(
    items: Sequence[Node], conditions: Sequence[Condition | None], context: ParseContext
) -> None:
    """Warn of each rule whose condition an earlier rule has: it never applies. None is not compared."""
    first: dict[Condition, str] = {}
    for item, condition in zip(items, conditions, strict=True):
        if condition is not None:
            name = str(item.value.get("name"))
            earlier = first.setdefault(condition, name)
            if earlier != name:
                what = f"the rule `{name}` never applies: `{earlier}` before it has the same `when`"
                context.warn(item, what, "Remove one of the two, or change a condition.")


def check_unique_names(items: Iterable[Node], context: ParseContext, key: str = "name") -> None:
    """Report entries that share a name."""
    seen: set[str] = set()
    for item in items:
        name = item.value.get(key) if isinstance(item.value, dict) else None
        if isinstance(name, str) and name in seen:
            remedy = "Give each a name of its own."
            context.add_problem(item.parts[key], f"the {key} `{name}` is used twice", remedy)
        elif isinstance(name, str):
            seen.add(name)
