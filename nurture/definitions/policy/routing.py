"""Read `routing:` and `missing_fields:` of templates/sales/policy.yaml: which rep gets a lead."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from typing import Any, Final, Literal

from pydantic import Field

from nurture.definitions.conditions import KnownEmails, read_condition
from nurture.definitions.policy.team import (
    check_pool_exists,
    check_repeated_conditions,
    check_unique_names,
    list_items,
)
from nurture.definitions.schema_check import Reporting, Shape, read_shape
from nurture.definitions.values import Name, Names, PositiveSpan, read_positive_span
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.delivery.sending_limits import normalize_domain
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.compiled_conditions import ALWAYS
from nurture.domain.planning.conditions import (
    Condition,
    DecidesWithin,
    FieldCondition,
    InTrack,
    ScoreCondition,
    SignalCondition,
    leaves,
)
from nurture.domain.planning.date_conditions import DateCondition, InactiveFor
from nurture.domain.planning.missing_fields import uses_fit
from nurture.domain.policy.team import EVERYONE_POOL, Team
from nurture.domain.routing.routing import (
    DEFAULT_OWNER_WAIT,
    DEFAULT_RULES,
    OWNER_TARGETS,
    AccountOwner,
    FormerOwner,
    MissingFieldPolicy,
    NamedAccounts,
    RoutingRule,
    Target,
    ToPool,
    ToRep,
)
from nurture.errors import suggest

_RULE_HINT: Final = "Write for example `- {name: rest, when: always, to: {pool: everyone}}`."
_TARGET_HINT: Final = "Write `account owner`, `former owner`, `{pool: a-pool}` or `{rep: an-id}`."
_OWNER_TARGETS: Final[dict[str, Target]] = {"account owner": AccountOwner(), "former owner": FormerOwner()}
_COMPANY_KEEPS_REP: Final = timedelta(days=30)
_TIME_DEPENDENT: Final = (SignalCondition, ScoreCondition, DecidesWithin, DateCondition, InactiveFor, InTrack)


class RoutingRuleShape(Shape):
    """One routing rule."""

    name: Name = Field(examples=["dach"])
    to: Any = Field(None, examples=["{pool: everyone}"])
    accounts: Any = Field(None, examples=["{contoso.example: mara}"])
    when: Any = Field(None, examples=["{field: country, is: [DE, AT, CH]}"])
    required_fields: Names = Field((), examples=["[country]"])
    territory: bool = Field(False, examples=["yes"])
    customers: bool = Field(False, examples=["yes"])
    wait: PositiveSpan = Field(DEFAULT_OWNER_WAIT, examples=["5 days"])


class CompanyShape(Shape):
    """The keys under `one_rep_per_company:`."""

    window: PositiveSpan = Field(alias="for", examples=["30 days"])
    when_unavailable: Literal["manager", "next rep"] = Field("manager", examples=["next rep"])


class MissingFieldsShape(Shape):
    """The keys under `missing_fields:`."""

    wait: PositiveSpan = Field(MissingFieldPolicy().max_wait, examples=["3 days"])
    then: Any = Field(None, examples=["{pool: everyone}"])


@dataclass(frozen=True, slots=True)
class RoutingDefinition:
    """The routing part of the policy; *needs_fit*: some rule uses the fit letter. See `Policy.one_rep_per_company`."""

    rules: tuple[RoutingRule, ...]
    missing_fields: MissingFieldPolicy
    one_rep_per_company: timedelta | None
    keeps_company_rep: bool
    needs_fit: bool = False
    overlaps_allowed: bool = False


def read_routing(node: Node, team: Team, context: ParseContext) -> RoutingDefinition:
    """Read `routing:` and `missing_fields:` of the policy; by default owners come before everyone."""
    part = node.part("routing")
    rules = DEFAULT_RULES if part is None else tuple(_rules(part, team, context))
    overlaps = node.part("overlaps")
    allowed = overlaps is not None and overlaps.value == "allowed"
    if part is not None and not allowed:
        _check_territories(list_items(part), rules, context)
    missing = _missing_fields(node.part("missing_fields"), team, context)
    if part is not None:
        _check_pools_used(node.part("pools"), rules, missing, context)
    window, keeps = _one_rep_per_company(node.part("one_rep_per_company"), context)
    return RoutingDefinition(rules, missing, window, keeps, any(uses_fit(rule.when) for rule in rules), allowed)


def _check_pools_used(
    pools: Node | None, rules: Iterable[RoutingRule], missing: MissingFieldPolicy, context: ParseContext
) -> None:
    """Warn of each pool to which no rule leads."""
    used = {to.pool for to in (*(rule.target for rule in rules), missing.fallback) if isinstance(to, ToPool)}
    for name, part in pools.parts.items() if pools is not None else ():
        if name not in used and name != EVERYONE_POOL:
            what = f"the pool `{name}` gets no lead: no rule of `routing` leads to it"
            context.warn(part, what, f"Write `to: {{pool: {name}}}` in a rule, or remove it.")


def _one_rep_per_company(node: Node | None, context: ParseContext) -> tuple[timedelta | None, bool]:
    """Return for how long a company keeps its rep, None for `no`, and whether also if that rep is unavailable."""
    if node is None or node.value in (False, "no"):
        return None if node is not None else _COMPANY_KEEPS_REP, True
    if isinstance(node.value, dict):
        shape = read_shape(CompanyShape, node, context, "`one_rep_per_company`")
        return (shape.window, shape.when_unavailable == "manager") if shape is not None else (_COMPANY_KEEPS_REP, True)
    with Reporting(node, context):
        return read_positive_span(node.value), True
    return _COMPANY_KEEPS_REP, True


def _rules(node: Node, team: Team, context: ParseContext) -> list[RoutingRule]:
    if not isinstance(node.value, list) or not node.value:
        context.add_problem(node, "`routing` has no rules: no rep would get a lead", _RULE_HINT)
        return []
    items = list_items(node)
    check_unique_names(items, context)
    found = [rule for item in items if (rule := _rule(item, team, context)) is not None]
    if len(found) == len(items):
        _check_order(items, found, context)
    return found


def _rule(item: Node, team: Team, context: ParseContext) -> RoutingRule | None:
    shape = read_shape(RoutingRuleShape, item, context, "a routing rule")
    if shape is None:
        return None
    to = _target(item, shape.name, team, context)
    when = _when(item.part("when"), context)
    if to is None or when is None:
        return None
    wait = None if isinstance(to, ToPool) else shape.wait
    for name in shape.required_fields:
        known = FieldCondition(name, Comparison.EXISTS, value=True)
        context.field_conditions.append((item.parts["required_fields"], known))
    return RoutingRule(shape.name, to, when, shape.required_fields, shape.territory, shape.customers, wait)


def _target(item: Node, name: str, team: Team, context: ParseContext) -> Target | None:
    to, accounts = item.part("to"), item.part("accounts")
    if (to is None) is (accounts is None):
        both = "both `to` and `accounts`" if to is not None else "neither `to` nor `accounts`"
        context.add_problem(item, f"the rule `{name}` has {both}", f"Keep one of them. {_TARGET_HINT}")
        return None
    if accounts is not None:
        return _named_accounts(accounts, name, team, context)
    assert to is not None
    return _read_target(to, f"the rule `{name}`", team, context, allow_owners=True)


def _read_target(node: Node, called: str, team: Team, context: ParseContext, *, allow_owners: bool) -> Target | None:
    value = node.value
    if allow_owners and isinstance(value, str) and " ".join(value.lower().split()) in _OWNER_TARGETS:
        return _OWNER_TARGETS[" ".join(value.lower().split())]
    if isinstance(value, dict) and len(value) == 1:
        (key, name), (part,) = next(iter(value.items())), node.parts.values()
        if key == "pool" and isinstance(name, str):
            check_pool_exists(part, name, team.pools, context)
            return ToPool(name) if name in team.pools or name == EVERYONE_POOL else None
        if key == "rep" and isinstance(name, str):
            return ToRep(name) if _is_rep(part, name, called, team, context) else None
    context.add_problem(node, f"`to: {value}` of {called} is not a target", _TARGET_HINT)
    return None


def _is_rep(node: Node, name: str, called: str, team: Team, context: ParseContext) -> bool:
    known = [rep.id for rep in team.reps]
    if name not in known:
        context.add_problem(node, f"{called} names `{name}`, who is not a rep", suggest(name, known))
    return name in known


def _named_accounts(node: Node, name: str, team: Team, context: ParseContext) -> NamedAccounts | None:
    if not isinstance(node.value, dict) or not node.value:
        what = f"`accounts` of the rule `{name}` names no account"
        context.add_problem(node, what, "Write for example `accounts: {contoso.example: mara}`.")
        return None
    reps: dict[str, str] = {}
    for written, part in node.parts.items():
        domain = normalize_domain(str(written)).removeprefix("www.")
        if "." not in domain.strip(".") or "@" in domain or "/" in domain:
            context.add_problem(part, f"`{written}` is not a company's domain", "Write for example `contoso.example`.")
        elif domain in reps:
            context.add_problem(part, f"`{domain}` is named twice", "Keep one of the two.")
        elif _is_rep(part, str(part.value), f"the account `{domain}`", team, context):
            reps[domain] = str(part.value)
    return NamedAccounts(reps)


def _when(node: Node | None, context: ParseContext) -> Condition | None:
    if node is None:
        return ALWAYS
    known_emails = KnownEmails(None, unavailable_reason="routing conditions use fields only")
    when = read_condition(node, known_emails, context)
    if when is not None and any(isinstance(part, _TIME_DEPENDENT) for part in leaves(when)):
        what = "a routing rule uses signals or a condition that changes with time: its result would not be repeatable"
        context.add_problem(node, what, "Use `field`, `fit` or `postcode`.")
        return None
    return when


def _check_order(items: list[Node], rules: list[RoutingRule], context: ParseContext) -> None:
    """Report rules that can never apply because of their order."""
    if not any(isinstance(rule.target, AccountOwner) for rule in rules):
        what = "no rule goes to the account owner: customers' leads would all wait for a person"
        context.add_problem(items[0], what, "Begin with `- {name: account, to: account owner}`.")
    check_repeated_conditions(items, [None if rule.when == ALWAYS else rule.when for rule in rules], context)
    for item, rule in zip(items[:-1], rules, strict=False):
        if rule.when == ALWAYS and isinstance(rule.target, ToPool) and not rule.required_fields:
            what = f"the rules after `{rule.name}`, which takes every lead, never apply"
            context.warn(item, what, "Move it to the end, or give it a `when`.")
    last = rules[-1]
    if last.when != ALWAYS or not isinstance(last.target, ToPool | ToRep):
        what = "a lead that matches no routing rule gets no rep"
        context.add_problem(items[-1], what, "End with `- {name: rest, when: always, to: {pool: everyone}}`.")
    for item, rule in zip(items, rules, strict=True):
        if rule.required_fields and isinstance(rule.target, OWNER_TARGETS):
            what = f"the rule `{rule.name}` requires {rule.required_fields[0]}, but its target does not depend on it"
            context.add_problem(item.parts["required_fields"], what, "Remove `required_fields`.")
        if "wait" in item.parts and isinstance(rule.target, ToPool):
            what = f"the rule `{rule.name}` has `wait`: a pool's leads wait until a rep has capacity"
            context.add_problem(item.parts["wait"], what, "Remove it; it is for rules that name one rep.")


def _check_territories(items: list[Node], rules: tuple[RoutingRule, ...], context: ParseContext) -> None:
    """Report territories that name the same value of the same field; `policy check` finds the other overlaps."""
    names = {item.value.get("name"): item for item in items if isinstance(item.value, dict)}
    territories = [(rule, rule.when) for rule in rules if rule.territory and isinstance(rule.when, FieldCondition)]
    for (first, one), (second, other) in combinations(territories, 2):
        common = sorted(_listed(one) & _listed(other)) if one.name == other.name else []
        if common:
            what = f"the territories `{first.name}` and `{second.name}` both claim {one.name} {', '.join(common)}"
            remedy = "Name it in one of them, or write `overlaps: allowed` if the first is meant to get these leads."
            context.add_problem(names[second.name], what, remedy)


def _listed(condition: FieldCondition) -> set[str]:
    if condition.comparison not in (Comparison.IS, Comparison.IN):
        return set()
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    return {str(value) for value in values}


def _missing_fields(node: Node | None, team: Team, context: ParseContext) -> MissingFieldPolicy:
    if node is None:
        return MissingFieldPolicy()
    shape = read_shape(MissingFieldsShape, node, context, "`missing_fields`")
    then = node.part("then") if isinstance(node.value, dict) else None
    to = None if then is None else _read_target(then, "`missing_fields`", team, context, allow_owners=False)
    wait = shape.wait if shape is not None else MissingFieldPolicy().max_wait
    return MissingFieldPolicy(wait, to) if isinstance(to, ToPool | ToRep) else MissingFieldPolicy(wait)
