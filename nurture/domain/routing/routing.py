"""Route a lead to a rep by the policy's rules: the first rule that gives a rep decides.

Everything is an argument, so the same stored request always gives the same rep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple, assert_never

from nurture.domain.lead import FieldValues, Queue, has_value
from nurture.domain.planning.compiled_conditions import ALWAYS, CompiledCondition, compile_condition, field_context
from nurture.domain.planning.conditions import Condition
from nurture.domain.planning.missing_fields import depends_on
from nurture.domain.policy.team import EVERYONE_POOL, Pool, Rep, everyone_pool
from nurture.domain.routing.account import NO_MATCH, AccountKind, AccountMatch
from nurture.domain.routing.round_robin import (
    DEFAULT_AVAILABILITY,
    RepAvailability,
    RotationCandidates,
    RotationCounts,
    RotationPick,
    TeamAvailability,
    has_capacity,
    next_rep,
)


@dataclass(frozen=True, slots=True)
class AccountOwner:
    """The owner of the lead's account."""


@dataclass(frozen=True, slots=True)
class FormerOwner:
    """The rep who had this lead before."""


@dataclass(frozen=True, slots=True)
class CompanyRep:
    """The rep who talks to another lead of the same company, or did until lately."""


@dataclass(frozen=True, slots=True)
class NamedAccounts:
    """The rep named for the lead's company, by its registrable domain."""

    reps: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ToRep:
    """One rep."""

    rep: str


@dataclass(frozen=True, slots=True)
class ToPool:
    """The next rep of a pool."""

    pool: str


DEFAULT_OWNER_WAIT: Final = timedelta(days=5)
"""How long a lead waits for its own rep's capacity if its rule does not say: a working week."""

Target = AccountOwner | FormerOwner | CompanyRep | NamedAccounts | ToRep | ToPool
OWNER_TARGETS: Final = (AccountOwner, FormerOwner, NamedAccounts)
"""Targets that know the lead or its company: rules with these targets take customers' leads too."""


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """Which leads (*when*) go to which target.

    *required_fields* must be known to evaluate the rule. *territory*: sales calls it one, and no two may
    overlap. *includes_customers*: it may take leads of existing customers. *max_wait*: how long a lead waits
    for its own rep's capacity before the next rule applies, None for no limit.
    """

    name: str
    target: Target
    when: Condition = ALWAYS
    required_fields: tuple[str, ...] = ()
    territory: bool = False
    includes_customers: bool = False
    max_wait: timedelta | None = None

    @property
    def takes_customers(self) -> bool:
        """Return whether this rule may give a rep the lead of an existing customer."""
        return self.includes_customers or isinstance(self.target, OWNER_TARGETS)


@dataclass(frozen=True, slots=True)
class MissingFieldPolicy:
    """How long to wait for a missing field, and who gets the lead then."""

    max_wait: timedelta = timedelta(days=3)
    fallback: ToRep | ToPool = ToPool(EVERYONE_POOL)


COMPANY_RULE: Final = RoutingRule("company", CompanyRep(), max_wait=DEFAULT_OWNER_WAIT)
"""Keeps one voice per company; `with_company_rule` says where it stands."""

DEFAULT_RULES: Final = (
    RoutingRule("account", AccountOwner(), max_wait=DEFAULT_OWNER_WAIT),
    RoutingRule("former", FormerOwner(), max_wait=DEFAULT_OWNER_WAIT),
    RoutingRule("everyone", ToPool(EVERYONE_POOL)),
)
"""The rules if the policy has none."""


def with_company_rule(rules: Sequence[RoutingRule]) -> tuple[RoutingRule, ...]:
    """Return *rules* with COMPANY_RULE after the first ones, as far as those name the owners of companies."""
    owned = next((at for at, rule in enumerate(rules) if not isinstance(rule.target, AccountOwner | NamedAccounts)), 0)
    return (*rules[:owned], COMPANY_RULE, *rules[owned:])


@dataclass(frozen=True, slots=True)
class RoutingPlan:
    """How one version of the policy routes: its rules in order, and the reps and pools."""

    reps: Mapping[str, Rep]
    pools: Mapping[str, Pool]
    rules: tuple[RoutingRule, ...] = DEFAULT_RULES
    missing_fields: MissingFieldPolicy = MissingFieldPolicy()
    compiled_conditions: tuple[CompiledCondition, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        conditions = tuple(compile_condition(rule.when) for rule in self.rules)
        object.__setattr__(self, "compiled_conditions", conditions)

    @classmethod
    def build(
        cls,
        reps: Sequence[Rep],
        pools: Mapping[str, Pool],
        rules: tuple[RoutingRule, ...] = DEFAULT_RULES,
        missing_fields: MissingFieldPolicy | None = None,
    ) -> RoutingPlan:
        """Return the plan of these reps; it always has the pool of everyone."""
        all_pools = {EVERYONE_POOL: everyone_pool(tuple(reps)), **pools}
        return cls({rep.id: rep for rep in reps}, all_pools, rules, missing_fields or MissingFieldPolicy())


@dataclass(frozen=True, slots=True)
class RoutingRequest:
    """Everything that the rules use; nothing else affects the result.

    *fields* are those that some rule names, with `country` as ISO code. *domain* is the registrable domain of
    the lead's company, "" for none or free mail. *former_owner* had the lead before. *declined_by* are reps who
    rejected it or let it expire. *waited* is how long it has waited for a rep. *overdue_fields* are those for
    which the wait is over. *rotation_counts* counts the picks of pools. *is_customer*: the lead itself is one.
    *company_rep* talks to *company_lead*, another lead of the same company, or did until lately.
    *owner_wait* limits how long it waits for one rep's capacity, whatever the rules say; None for no limit.
    *keeps_company_rep*: if *company_rep* cannot take it, the deputy does or a manager decides, and not the next rule.
    """

    fields: FieldValues = field(default_factory=dict)
    fit_letter: str = ""
    domain: str = ""
    account_match: AccountMatch = NO_MATCH
    former_owner: str | None = None
    declined_by: frozenset[str] = frozenset()
    waited: timedelta = timedelta()
    overdue_fields: frozenset[str] = frozenset()
    availability: TeamAvailability = field(default_factory=dict)
    rotation_counts: RotationCounts = field(default_factory=dict)
    is_customer: bool = False
    company_rep: str | None = None
    company_lead: int = 0
    owner_wait: timedelta | None = None
    keeps_company_rep: bool = False


@dataclass(frozen=True, slots=True)
class RoutingResult:
    """The rep who gets the lead, or the queue in which it waits; with neither, it waits for a rep's capacity.

    *reasons* has one sentence for each rule evaluated. *rule* decided. *rotation_key* is the key under which a
    pool's pick is counted. *missing_field* is the field that the lead waits for, *candidate_ids* are account
    ids.
    """

    rep: str | None
    queue: str | None
    reasons: tuple[str, ...]
    rule: str = ""
    rotation_key: str = ""
    missing_field: str = ""
    candidate_ids: tuple[int, ...] = ()

    @property
    def is_waiting(self) -> bool:
        """Return whether the lead waits where it is until a rep has capacity."""
        return self.rep is None and self.queue is None


class _RuleResult(NamedTuple):
    """The result of one rule; *final* ends the evaluation."""

    reason: str
    rep: str | None = None
    queue: str | None = None
    final: bool = False
    rotation_key: str = ""
    missing_field: str = ""


def route(request: RoutingRequest, plan: RoutingPlan) -> RoutingResult:
    """Evaluate the rules in order; the first that gives a rep, or makes the lead wait, decides."""
    reasons: list[str] = []
    for rule, condition in zip(plan.rules, plan.compiled_conditions, strict=True):
        result = _apply_rule(rule, condition, request, plan)
        if result.reason:
            reasons.append(f"{rule.name}: {result.reason}")
        if result.final:
            candidates = request.account_match.candidates if result.queue == Queue.ACCOUNT_AMBIGUOUS else ()
            return RoutingResult(
                result.rep,
                result.queue,
                tuple(reasons),
                rule.name,
                result.rotation_key,
                result.missing_field,
                tuple(one.id for one in candidates),
            )
    if _is_of_customer(request):
        reasons.append("end: a lead of an existing customer, and no rep who may take it is available: a person decides")
        return RoutingResult(None, Queue.ACCOUNT_OWNER_UNAVAILABLE, tuple(reasons))
    reasons.append("end: no rule found a rep")
    return RoutingResult(None, Queue.NO_REP, tuple(reasons))


def _apply_rule(
    rule: RoutingRule, condition: CompiledCondition, request: RoutingRequest, plan: RoutingPlan
) -> _RuleResult:
    blocked = _block_customers(rule, request)
    if blocked is not None:
        return blocked
    missing = [name for name in rule.required_fields if not has_value(request.fields.get(name))]
    if missing and depends_on(rule.when, missing, field_context(request.fields, request.fit_letter)):
        overdue = [name for name in missing if name in request.overdue_fields]
        if not overdue:
            reason = f"{missing[0]} is not known"
            return _RuleResult(reason, queue=Queue.MISSING_FIELD, final=True, missing_field=missing[0])
        result = _assign(rule, plan.missing_fields.fallback, request, plan)
        return result._replace(reason=f"{overdue[0]} is still not known after the wait; {result.reason}")
    met, reason = condition(request.fields, request.fit_letter)
    if not met:
        return _RuleResult(reason)
    result = _assign(rule, rule.target, request, plan)
    return result if rule.when == ALWAYS else result._replace(reason=f"{reason}; {result.reason}")


def _block_customers(rule: RoutingRule, request: RoutingRequest) -> _RuleResult | None:
    """Keep leads of customers, or of possible customers, from new-business reps."""
    if rule.takes_customers:
        return None
    match = request.account_match
    if _is_of_customer(request):
        owner = "the lead" if request.is_customer or match.account is None else f"account {match.account.id}"
        return _RuleResult(f"skipped: {owner} is a customer")
    if any(one.kind is AccountKind.CUSTOMER for one in match.candidates):
        return _RuleResult(
            "may be a customer's lead: " + _describe_candidates(match), queue=Queue.ACCOUNT_AMBIGUOUS, final=True
        )
    return None


def _is_of_customer(request: RoutingRequest) -> bool:
    account = request.account_match.account
    return request.is_customer or (account is not None and account.kind is AccountKind.CUSTOMER)


def _describe_candidates(match: AccountMatch) -> str:
    return f"{match.reason}; candidates: {', '.join(f'account {one.id}' for one in match.candidates)}"


def _assign(rule: RoutingRule, target: Target, request: RoutingRequest, plan: RoutingPlan) -> _RuleResult:
    match target:
        case AccountOwner():
            return _assign_to_account_owner(rule, request, plan)
        case FormerOwner():
            if request.former_owner is None:
                return _RuleResult("no rep had it before")
            return _assign_to_rep(rule, request.former_owner, "had it before", request, plan)
        case CompanyRep():
            if request.company_rep is None:
                return _RuleResult("")  # as for most leads: nothing to say
            return _assign_to_company_rep(rule, request.company_rep, request, plan)
        case NamedAccounts(reps=reps):
            named = next((reps[one] for one in _domains(request) if one in reps), None)
            if named is None:
                return _RuleResult("not one of the named accounts")
            return _assign_to_rep(rule, named, "is the named rep of this account", request, plan)
        case ToRep(rep=rep):
            return _assign_to_rep(rule, rep, "is named by the rule", request, plan)
        case ToPool(pool=pool):
            return _assign_from_pool(plan.pools[pool], request, plan)
        case _:
            assert_never(target)


def _domains(request: RoutingRequest) -> tuple[str, ...]:
    account = request.account_match.account
    return (request.domain, *(account.domains if account is not None else ()))


def _assign_to_account_owner(rule: RoutingRule, request: RoutingRequest, plan: RoutingPlan) -> _RuleResult:
    match = request.account_match
    account = match.account
    if match.is_ambiguous:
        owners = {(one.owner, one.kind) for one in match.candidates}
        if len(owners) > 1 or not match.candidates[0].owner:
            return _RuleResult(_describe_candidates(match), queue=Queue.ACCOUNT_AMBIGUOUS, final=True)
        account = match.candidates[0]
        return _assign_to_rep(rule, account.owner, f"owns all of them ({_describe_candidates(match)})", request, plan)
    if account is None:
        return _RuleResult(match.reason)
    if not account.owner:
        return _RuleResult(f"account {account.id} has no owner ({match.reason})")
    return _assign_to_rep(rule, account.owner, f"owns account {account.id} ({match.reason})", request, plan)


def _assign_to_company_rep(rule: RoutingRule, rep_id: str, request: RoutingRequest, plan: RoutingPlan) -> _RuleResult:
    """Give the lead to the rep who talks to its company, or their deputy; a manager decides if neither can take it."""
    role = f"talks to lead {request.company_lead} of the same company"
    result = _assign_to_rep(rule, rep_id, role, request, plan)
    if result.final or not request.keeps_company_rep or rep_id not in plan.reps:
        return result
    is_present = request.availability.get(rep_id, DEFAULT_AVAILABILITY).available  # else deputies were tried already
    deputy = plan.reps.get(plan.reps[rep_id].deputy or "") if is_present else None
    if deputy is not None and deputy.id not in request.declined_by:
        availability = request.availability.get(deputy.id, DEFAULT_AVAILABILITY)
        capacity = availability.away_reason or _describe_capacity(deputy, availability)
        explanation = f"{result.reason}; {deputy.id} is the deputy, {capacity}"
        if availability.available and has_capacity(deputy, availability):
            return _RuleResult(explanation, deputy.id, final=True)
        result = result._replace(reason=explanation)
    explanation = f"{result.reason}; a manager decides, so that no second rep begins to talk to this company"
    return _RuleResult(explanation, queue=Queue.MANAGER_DECISION, final=True)


def _assign_to_rep(
    rule: RoutingRule, rep_id: str, role: str, request: RoutingRequest, plan: RoutingPlan
) -> _RuleResult:
    """Give the lead to one rep or their deputy; wait for their capacity, up to the rule's *max_wait*."""
    explanation = f"{rep_id} {role}"
    tried: list[str] = []
    while True:
        rep, availability = plan.reps.get(rep_id), request.availability.get(rep_id, DEFAULT_AVAILABILITY)
        if rep is None:
            return _RuleResult(f"{explanation}, but {rep_id} is not a rep of this policy")
        if rep_id in request.declined_by:
            return _RuleResult(f"{explanation}, but {rep_id} declined it or did not answer")
        if availability.available or availability.away_today_only:
            return _assign_if_capacity(rule, rep, availability, explanation, request)
        explanation += f", {rep_id} is {availability.away_reason}"
        tried.append(rep_id)
        if availability.deputy is None:
            return _RuleResult(f"{explanation}, and has no deputy")
        if availability.deputy in tried:
            return _RuleResult(f"{explanation}, and the deputy {availability.deputy} is away too")
        rep_id = availability.deputy
        explanation += f": {rep_id} is the deputy"


def _assign_if_capacity(
    rule: RoutingRule, rep: Rep, availability: RepAvailability, explanation: str, request: RoutingRequest
) -> _RuleResult:
    if availability.available and has_capacity(rep, availability):
        return _RuleResult(f"{explanation}, {_describe_capacity(rep, availability)}", rep.id, final=True)
    capacity_reason = (
        _describe_capacity(rep, availability)
        if availability.available
        else f"is away today: {availability.away_reason}"
    )
    limits = [wait for wait in (rule.max_wait, request.owner_wait) if wait is not None]
    if limits and request.waited >= min(limits):
        return _RuleResult(f"{explanation}, {capacity_reason}, the maximum wait is over")
    return _RuleResult(f"{explanation}, {capacity_reason}: it waits", final=True)


def _describe_capacity(rep: Rep, availability: RepAvailability) -> str:
    if rep.max_open_leads is not None and availability.open_leads >= rep.max_open_leads:
        return f"{availability.open_leads} of {rep.max_open_leads} open leads"
    return f"{availability.offers_today} of {rep.capacity} today"


def _assign_from_pool(pool: Pool, request: RoutingRequest, plan: RoutingPlan) -> _RuleResult:
    """Give the lead to the pool's next rep; wait while all who could take it are full."""
    team = request.availability
    present = [one for one in pool.reps if one in plan.reps and team.get(one, DEFAULT_AVAILABILITY).available]
    eligible = [one for one in present if one not in request.declined_by]
    declined = [one for one in pool.reps if one in request.declined_by]
    explanation = f"pool {pool.name}"
    if declined:
        explanation += f", {', '.join(declined)} declined it or did not answer"
    if not eligible:
        away_today = [
            one
            for one in pool.reps
            if team.get(one, DEFAULT_AVAILABILITY).away_today_only and one not in request.declined_by
        ]
        if away_today:
            return _RuleResult(f"{explanation}, {', '.join(away_today)} away today: it waits", final=True)
        return _RuleResult(f"{explanation}, no other rep is available")
    with_capacity = [one for one in eligible if has_capacity(plan.reps[one], team.get(one, DEFAULT_AVAILABILITY))]
    if not with_capacity:
        return _RuleResult(f"{explanation}, no rep has capacity today", final=True)
    pick: RotationPick = next_rep(
        RotationCandidates(pool, plan.reps, present, with_capacity, team), request.rotation_counts
    )
    rep = plan.reps[pick.rep]
    capacity = _describe_capacity(rep, team.get(rep.id, DEFAULT_AVAILABILITY))
    reason = f"{explanation}, {pick.reason}: {rep.name} is next, {capacity}"
    return _RuleResult(reason, rep.id, final=True, rotation_key=pick.rotation_key)
