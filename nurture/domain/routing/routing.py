"""Which rep gets a lead, and why: the policy's rules are asked in order, the first that gives a rep decides.

Everything is an argument: the same stored input gives the same owner, whenever it is asked again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, assert_never

from nurture.domain.lead import NEEDS, Facts
from nurture.domain.planning.compiled_conditions import ALWAYS, Test, made_ready, question
from nurture.domain.planning.conditions import Condition
from nurture.domain.planning.missing_fields import hinges_on
from nurture.domain.policy.team import EVERYONE, Pool, Rep, everyone
from nurture.domain.routing.account import NO_MATCH, AccountKind, Match
from nurture.domain.routing.round_robin import (
    UNSEEN,
    Circle,
    Given,
    Standing,
    Team,
    Turned,
    has_room,
    whose_turn,
)

UNSURE: Final = "account-unsure"
"""The queue of leads of which a person must say to which account they belong."""

OWNER_GONE: Final = "account-owner"
"""The queue of customers' leads whose account nobody can take: they never go to new business."""

NO_REP: Final = "no-rep"
"""The queue of leads that no rule could place."""

ASKED_AGAIN: Final = (NO_REP, UNSURE, OWNER_GONE)
"""Queues whose leads are routed again now and then: leave ends, reps come, accounts are told apart."""


@dataclass(frozen=True, slots=True)
class AccountOwner:
    """Whoever owns the lead's account."""


@dataclass(frozen=True, slots=True)
class FormerOwner:
    """Whoever took this lead over before."""


@dataclass(frozen=True, slots=True)
class NamedAccounts:
    """The rep who is named for the lead's company, by its registrable domain."""

    reps: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ToRep:
    """One rep."""

    rep: str


@dataclass(frozen=True, slots=True)
class ToPool:
    """Whose turn it is in a pool."""

    pool: str


OWN_WAIT: Final = timedelta(days=5)
"""How long a lead waits for room with its own rep, where its rule says nothing: a working week."""

Target = AccountOwner | FormerOwner | NamedAccounts | ToRep | ToPool
OWNERS: Final = (AccountOwner, FormerOwner, NamedAccounts)
"""Targets that know the lead or its company: rules of these kinds take customers' leads too."""


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """To whom leads go for which *when* holds.

    *needs* are facts without which it cannot be asked. *territory*: sales calls it one, and no two may
    overlap. *customers*: it may take the leads of existing customers. *wait*: how long a lead waits for room
    with its own rep before the next rule is asked, None for as long as it takes.
    """

    name: str
    to: Target
    when: Condition = ALWAYS
    needs: tuple[str, ...] = ()
    territory: bool = False
    customers: bool = False
    wait: timedelta | None = None

    @property
    def takes_customers(self) -> bool:
        """Tell whether this rule may give a rep the lead of an existing customer."""
        return self.customers or isinstance(self.to, OWNERS)


@dataclass(frozen=True, slots=True)
class Missing:
    """How long a fact is waited for that is not known, and who gets the lead then."""

    wait: timedelta = timedelta(days=3)
    then: ToRep | ToPool = ToPool(EVERYONE)


DEFAULT_RULES: Final = (
    RoutingRule("account", AccountOwner(), wait=OWN_WAIT),
    RoutingRule("former", FormerOwner(), wait=OWN_WAIT),
    RoutingRule("everyone", ToPool(EVERYONE)),
)
"""What is asked where the policy writes no rules."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one version of the policy routes: its rules in their order, and who can be given leads."""

    reps: Mapping[str, Rep]
    pools: Mapping[str, Pool]
    rules: tuple[RoutingRule, ...] = DEFAULT_RULES
    missing: Missing = Missing()
    tests: tuple[Test, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tests", tuple(made_ready(rule.when) for rule in self.rules))

    @classmethod
    def of(
        cls,
        reps: Sequence[Rep],
        pools: Mapping[str, Pool],
        rules: tuple[RoutingRule, ...] = DEFAULT_RULES,
        missing: Missing | None = None,
    ) -> Plan:
        """Return the plan of these reps; there always is the pool of everyone."""
        whole = {EVERYONE: everyone(tuple(reps)), **pools}
        return cls({rep.id: rep for rep in reps}, whole, rules, missing or Missing())


@dataclass(frozen=True, slots=True)
class Asked:
    """All that the rules are asked about: nothing else may sway the answer.

    *facts* are those that some rule names, with `country` as ISO code. *domain* is the registrable domain of
    the lead's company, "" for none or public mail. *former* took the lead over before. *refused* are those
    who rejected it or let it expire. *waited* is how long it has waited for a rep. *overdue* are facts that
    were waited for in vain. *given* counts the turns of pools.
    """

    facts: Facts = field(default_factory=dict)
    fit: str = ""
    domain: str = ""
    account: Match = NO_MATCH
    former: str | None = None
    refused: Collection[str] = frozenset()
    waited: timedelta = timedelta()
    overdue: Collection[str] = frozenset()
    team: Team = field(default_factory=dict)
    given: Given = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Routed:
    """Who gets the lead, or in which queue it waits for what; neither: it waits for a rep to have room.

    *because* has one sentence for each rule that was asked. *rule* decided. *turn* is the key under which a
    turn of a pool is counted. *needs* is the fact that is waited for, *candidates* are accounts' ids.
    """

    rep: str | None
    queue: str | None
    because: tuple[str, ...]
    rule: str = ""
    turn: str = ""
    needs: str = ""
    candidates: tuple[int, ...] = ()

    @property
    def waits(self) -> bool:
        """Tell whether the lead is to wait where it is until a rep has room."""
        return self.rep is None and self.queue is None


@dataclass(frozen=True, slots=True)
class _Said:
    """What one rule says; *done* ends the asking."""

    because: str
    rep: str | None = None
    queue: str | None = None
    done: bool = False
    turn: str = ""
    needs: str = ""


def route(asked: Asked, plan: Plan) -> Routed:
    """Ask the rules in their order; the first that gives a rep, or tells the lead to wait, decides."""
    chain: list[str] = []
    for rule, test in zip(plan.rules, plan.tests, strict=True):
        said = _ask(rule, test, asked, plan)
        chain.append(f"{rule.name}: {said.because}")
        if said.done:
            ids = tuple(one.id for one in asked.account.candidates) if said.queue == UNSURE else ()
            return Routed(said.rep, said.queue, tuple(chain), rule.name, said.turn, said.needs, ids)
    owned = asked.account.account
    if owned is not None and owned.kind is AccountKind.CUSTOMER:
        chain.append("end: an existing customer's lead, and nobody who may take it can: a person decides")
        return Routed(None, OWNER_GONE, tuple(chain))
    chain.append("end: no rule gave a rep")
    return Routed(None, NO_REP, tuple(chain))


def _ask(rule: RoutingRule, test: Test, asked: Asked, plan: Plan) -> _Said:
    barred = _barred(rule, asked)
    if barred is not None:
        return barred
    lacking = [name for name in rule.needs if not is_known(asked.facts.get(name))]
    if lacking and hinges_on(rule.when, lacking, question(asked.facts, asked.fit)):
        late = [name for name in lacking if name in asked.overdue]
        if not late:
            return _Said(
                f"{lacking[0]} is not known", queue=f"{NEEDS}{lacking[0]}", done=True, needs=lacking[0]
            )
        said = _give(rule, plan.missing.then, asked, plan)
        return _because(said, f"{late[0]} is still not known, waited for in vain; {said.because}")
    yes, because = test(asked.facts, asked.fit)
    if not yes:
        return _Said(because)
    said = _give(rule, rule.to, asked, plan)
    return said if rule.when == ALWAYS else _because(said, f"{because}; {said.because}")


def _because(said: _Said, because: str) -> _Said:
    return _Said(because, said.rep, said.queue, said.done, said.turn, said.needs)


def is_known(fact: object) -> bool:
    """Tell whether a fact has a value."""
    return bool(fact.strip()) if isinstance(fact, str) else fact is not None


def _barred(rule: RoutingRule, asked: Asked) -> _Said | None:
    """Keep what is, or may be, a customer's lead from whoever sells to new ones."""
    if rule.takes_customers:
        return None
    match = asked.account
    if match.account is not None and match.account.kind is AccountKind.CUSTOMER:
        return _Said(f"not asked: account {match.account.id} is a customer")
    if any(one.kind is AccountKind.CUSTOMER for one in match.candidates):
        return _Said("it may be a customer's lead: " + _candidates(match), queue=UNSURE, done=True)
    return None


def _candidates(match: Match) -> str:
    return f"{match.because}; candidates: {', '.join(f'account {one.id}' for one in match.candidates)}"


def _give(rule: RoutingRule, to: Target, asked: Asked, plan: Plan) -> _Said:
    match to:
        case AccountOwner():
            return _account_owner(rule, asked, plan)
        case FormerOwner():
            if asked.former is None:
                return _Said("nobody had it before")
            return _own(rule, asked.former, "had it before", asked, plan)
        case NamedAccounts(reps=reps):
            named = next((reps[one] for one in _domains(asked) if one in reps), None)
            if named is None:
                return _Said("not one of the named accounts")
            return _own(rule, named, "is named for this account", asked, plan)
        case ToRep(rep=rep):
            return _own(rule, rep, "takes these", asked, plan)
        case ToPool(pool=pool):
            return _in_turn(plan.pools[pool], asked, plan)
        case _:
            assert_never(to)


def _domains(asked: Asked) -> tuple[str, ...]:
    account = asked.account.account
    return (asked.domain, *(account.domains if account is not None else ()))


def _account_owner(rule: RoutingRule, asked: Asked, plan: Plan) -> _Said:
    match = asked.account
    account = match.account
    if match.unsure:
        owners = {(one.owner, one.kind) for one in match.candidates}
        if len(owners) > 1 or not match.candidates[0].owner:
            return _Said(_candidates(match), queue=UNSURE, done=True)
        account = match.candidates[0]
        return _own(rule, account.owner, f"owns all of them ({_candidates(match)})", asked, plan)
    if account is None:
        return _Said(match.because)
    if not account.owner:
        return _Said(f"account {account.id} has no owner ({match.because})")
    return _own(rule, account.owner, f"owns account {account.id} ({match.because})", asked, plan)


def _own(rule: RoutingRule, rep_id: str, role: str, asked: Asked, plan: Plan) -> _Said:
    """Give the lead to one rep, or to whoever stands in for them; wait for their room, within the rule's."""
    told = f"{rep_id} {role}"
    asked_before: list[str] = []
    while True:
        rep, standing = plan.reps.get(rep_id), asked.team.get(rep_id, UNSEEN)
        if rep is None:
            return _Said(f"{told}, but {rep_id} is no rep of this policy")
        if rep_id in asked.refused:
            return _Said(f"{told}, but {rep_id} gave it back before")
        if standing.available or standing.back:
            return _when_free(rule, rep, standing, told, asked)
        told += f", {rep_id} is {standing.away}"
        asked_before.append(rep_id)
        if standing.deputy is None:
            return _Said(f"{told}, and has no deputy")
        if standing.deputy in asked_before:
            return _Said(f"{told}, and {standing.deputy}, who stands in, is away too")
        rep_id = standing.deputy
        told += f": {rep_id} stands in"


def _when_free(rule: RoutingRule, rep: Rep, standing: Standing, told: str, asked: Asked) -> _Said:
    if standing.available and has_room(rep, standing):
        return _Said(f"{told}, {_room(rep, standing)}", rep.id, done=True)
    why = _room(rep, standing) if standing.available else f"is away today: {standing.away}"
    if rule.wait is not None and asked.waited >= rule.wait:
        return _Said(f"{told}, {why}, waited for long enough")
    return _Said(f"{told}, {why}: it waits", done=True)


def _room(rep: Rep, standing: Standing) -> str:
    if rep.in_hand is not None and standing.in_hand >= rep.in_hand:
        return f"{standing.in_hand} of {rep.in_hand} in hand"
    return f"{standing.today} of {rep.capacity} today"


def _in_turn(pool: Pool, asked: Asked, plan: Plan) -> _Said:
    """Give the lead to whose turn it is; wait while those who could take it are full."""
    team = asked.team
    present = [one for one in pool.reps if one in plan.reps and team.get(one, UNSEEN).available]
    willing = [one for one in present if one not in asked.refused]
    passed = [one for one in pool.reps if one in asked.refused]
    told = f"pool {pool.name}"
    if passed:
        told += f", {', '.join(passed)} gave it back before"
    if not willing:
        today = [one for one in pool.reps if team.get(one, UNSEEN).back and one not in asked.refused]
        if today:
            return _Said(f"{told}, {', '.join(today)} away today: it waits", done=True)
        return _Said(f"{told}, nobody is left who is there")
    free = [one for one in willing if has_room(plan.reps[one], team.get(one, UNSEEN))]
    if not free:
        return _Said(f"{told}, no rep has room today", done=True)
    turned: Turned = whose_turn(Circle(pool, plan.reps, present, free, team), asked.given)
    rep = plan.reps[turned.rep]
    because = f"{told}, {turned.because}: it is {rep.name}'s turn, {_room(rep, team.get(rep.id, UNSEEN))}"
    return _Said(because, rep.id, done=True, turn=turned.key)


@dataclass(frozen=True, slots=True)
class Load:
    """What a rep was given: offers today, and the number of the newest one ever (0 for none)."""

    today: int = 0
    newest: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rep, and why."""

    rep: Rep
    because: str


def choose(pool: Sequence[Rep], loads: Mapping[str, Load], without: Collection[str] = ()) -> Chosen | None:
    """Choose the rep whose turn it is: the longest not served who has room today; None if nobody has.

    Reps in *without* (they refused this lead, or let it expire) are passed over.
    Same arguments, same rep; the pool's order settles ties.
    """
    free = [rep for rep in pool if rep.id not in without and loads.get(rep.id, Load()).today < rep.capacity]
    if not free:
        return None
    rep = min(free, key=lambda rep: loads.get(rep.id, Load()).newest)
    load = loads.get(rep.id, Load())
    refused = f", {len(without)} who had it before passed over" if without else ""
    because = f"round robin: it is {rep.name}'s turn, {load.today} of {rep.capacity} today{refused}"
    return Chosen(rep, because)
