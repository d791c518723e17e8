"""`routing:` and `missing:` in templates/sales/policy.yaml: which rep gets a lead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from nurture.definitions.conditions import Scope, read_condition
from nurture.definitions.policy.team import check_names, check_pool_named, listed
from nurture.definitions.schema_check import Shape, read_shape
from nurture.definitions.values import Name, Names, PositiveSpan
from nurture.definitions.yaml_reader import Node, Reading, nearest
from nurture.domain.delivery.sending_limits import normalise_domain
from nurture.domain.planning.compiled_conditions import ALWAYS as ALL
from nurture.domain.planning.conditions import Any as AnyOf
from nurture.domain.planning.conditions import Condition, DecidesWithin, Did, Every, InTrack, Not, Score
from nurture.domain.planning.missing_fields import asks_fit
from nurture.domain.policy.team import EVERYONE, Team
from nurture.domain.routing.routing import (
    DEFAULT_RULES,
    OWN_WAIT,
    OWNERS,
    AccountOwner,
    FormerOwner,
    Missing,
    NamedAccounts,
    RoutingRule,
    Target,
    ToPool,
    ToRep,
)

_RULE_LIKE: Final = "Write for example `- {name: rest, when: always, to: {pool: everyone}}`."
_TO: Final = "Write `account owner`, `former owner`, `{pool: a-pool}` or `{rep: an-id}`."
_OWNERS: Final[dict[str, Target]] = {"account owner": AccountOwner(), "former owner": FormerOwner()}
_CHANGING: Final = (Did, Score, DecidesWithin, InTrack)


class RuleShape(Shape):
    """One routing rule."""

    name: Name = Field(examples=["dach"])
    to: Any = Field(None, examples=["{pool: everyone}"])
    accounts: Any = Field(None, examples=["{contoso.example: mara}"])
    when: Any = Field(None, examples=["{field: country, is: [DE, AT, CH]}"])
    needs: Names = Field((), examples=["[country]"])
    territory: bool = Field(False, examples=["yes"])
    customers: bool = Field(False, examples=["yes"])
    wait: PositiveSpan = Field(OWN_WAIT, examples=["5 days"])


class MissingShape(Shape):
    """What stands under `missing:`."""

    wait: PositiveSpan = Field(Missing().wait, examples=["3 days"])
    then: Any = Field(None, examples=["{pool: everyone}"])


@dataclass(frozen=True, slots=True)
class Routing:
    """What the policy says of routing; *asks_fit*: some rule asks for the fit letter."""

    rules: tuple[RoutingRule, ...]
    missing: Missing
    asks_fit: bool = False


def read_routing(node: Node, team: Team, reading: Reading) -> Routing:
    """Read `routing:` and `missing:` of the policy; where they are left out, owners come before everyone."""
    part = node.part("routing")
    rules = DEFAULT_RULES if part is None else tuple(_rules(part, team, reading))
    missing = _missing(node.part("missing"), team, reading)
    return Routing(rules, missing, any(asks_fit(rule.when) for rule in rules))


def _rules(node: Node, team: Team, reading: Reading) -> list[RoutingRule]:
    if not isinstance(node.value, list) or not node.value:
        reading.fault(node, "`routing` has no rules: nobody would get a lead", _RULE_LIKE)
        return []
    items = listed(node)
    check_names(items, reading)
    found = [rule for item in items if (rule := _rule(item, team, reading)) is not None]
    if len(found) == len(items):
        _check_order(items, found, reading)
    return found


def _rule(item: Node, team: Team, reading: Reading) -> RoutingRule | None:
    shape = read_shape(RuleShape, item, reading, "a routing rule")
    if shape is None:
        return None
    to = _target(item, shape.name, team, reading)
    when = _when(item.part("when"), reading)
    if to is None or when is None:
        return None
    wait = None if isinstance(to, ToPool) else shape.wait
    return RoutingRule(shape.name, to, when, shape.needs, shape.territory, shape.customers, wait)


def _target(item: Node, name: str, team: Team, reading: Reading) -> Target | None:
    to, accounts = item.part("to"), item.part("accounts")
    if (to is None) is (accounts is None):
        both = "both `to` and `accounts`" if to is not None else "neither `to` nor `accounts`"
        reading.fault(item, f"the rule `{name}` has {both}", f"Keep one of them. {_TO}")
        return None
    if accounts is not None:
        return _named(accounts, name, team, reading)
    assert to is not None
    return _to(to, f"the rule `{name}`", team, reading, owners=True)


def _to(node: Node, called: str, team: Team, reading: Reading, *, owners: bool) -> Target | None:
    value = node.value
    if owners and isinstance(value, str) and " ".join(value.lower().split()) in _OWNERS:
        return _OWNERS[" ".join(value.lower().split())]
    if isinstance(value, dict) and len(value) == 1:
        (key, name), (part,) = next(iter(value.items())), node.parts.values()
        if key == "pool" and isinstance(name, str):
            check_pool_named(part, name, team.pools, reading)
            return ToPool(name) if name in team.pools or name == EVERYONE else None
        if key == "rep" and isinstance(name, str):
            return ToRep(name) if _is_rep(part, name, called, team, reading) else None
    reading.fault(node, f"`to: {value}` of {called} names nobody", _TO)
    return None


def _is_rep(node: Node, name: str, called: str, team: Team, reading: Reading) -> bool:
    known = [rep.id for rep in team.reps]
    if name not in known:
        reading.fault(node, f"{called} names `{name}`, who is no rep", nearest(name, known))
    return name in known


def _named(node: Node, name: str, team: Team, reading: Reading) -> NamedAccounts | None:
    if not isinstance(node.value, dict) or not node.value:
        what = f"`accounts` of the rule `{name}` names no account"
        reading.fault(node, what, "Write for example `accounts: {contoso.example: mara}`.")
        return None
    reps: dict[str, str] = {}
    for told, part in node.parts.items():
        domain = normalise_domain(str(told)).removeprefix("www.")
        if "." not in domain.strip(".") or "@" in domain or "/" in domain:
            reading.fault(part, f"`{told}` is not a company's domain", "Write for example `contoso.example`.")
        elif domain in reps:
            reading.fault(part, f"`{domain}` is named twice", "Keep one of the two.")
        elif _is_rep(part, str(part.value), f"the account `{domain}`", team, reading):
            reps[domain] = str(part.value)
    return NamedAccounts(reps)


def _when(node: Node | None, reading: Reading) -> Condition | None:
    if node is None:
        return ALL
    scope = Scope(None, no_emails_because="routing asks about facts")
    when = read_condition(node, scope, reading)
    if when is not None and any(isinstance(part, _CHANGING) for part in _within(when)):
        what = "routing asks what a lead did, or what changes by itself: tomorrow the answer would be another"
        reading.fault(node, what, "Ask `field`, `fit` or `postcode`.")
        return None
    return when


def _within(condition: Condition) -> Iterator[Condition]:
    yield condition
    match condition:
        case Every(parts=parts) | AnyOf(parts=parts):
            for part in parts:
                yield from _within(part)
        case Not(part=part):
            yield from _within(part)
        case _:
            pass


def _check_order(items: list[Node], rules: list[RoutingRule], reading: Reading) -> None:
    """Note what the order of the rules makes impossible."""
    if not any(isinstance(rule.to, AccountOwner) for rule in rules):
        what = "nobody is asked who owns the account: customers' leads would all wait for a person"
        reading.fault(items[0], what, "Begin with `- {name: account, to: account owner}`.")
    last = rules[-1]
    if last.when != ALL or not isinstance(last.to, ToPool | ToRep):
        what = "a lead for which no routing rule holds gets no rep"
        reading.fault(items[-1], what, "End with `- {name: rest, when: always, to: {pool: everyone}}`.")
    for item, rule in zip(items, rules, strict=True):
        if rule.needs and isinstance(rule.to, OWNERS):
            what = f"the rule `{rule.name}` needs {rule.needs[0]}, and finds its rep without it"
            reading.fault(item.parts["needs"], what, "Take `needs` out.")
        if "wait" in item.parts and isinstance(rule.to, ToPool):
            what = f"the rule `{rule.name}` has `wait`: a pool's leads wait until somebody has room"
            reading.fault(item.parts["wait"], what, "Take it out; it is for rules that name one rep.")


def _missing(node: Node | None, team: Team, reading: Reading) -> Missing:
    if node is None:
        return Missing()
    shape = read_shape(MissingShape, node, reading, "`missing`")
    then = node.part("then") if isinstance(node.value, dict) else None
    to = None if then is None else _to(then, "`missing`", team, reading, owners=False)
    wait = shape.wait if shape is not None else Missing().wait
    return Missing(wait, to) if isinstance(to, ToPool | ToRep) else Missing(wait)
