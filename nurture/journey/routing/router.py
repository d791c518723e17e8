"""Route a batch of leads: everything is read in sets, each lead is asked about, and it is kept why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from nurture.db.engine import Database
from nurture.domain.lead import Fact
from nurture.domain.planning.compiled_conditions import Test, made_ready
from nurture.domain.planning.conditions import WORST_FIT
from nurture.domain.planning.missing_fields import asks_fit, facts_named
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Turn
from nurture.domain.routing.account import NO_MATCH, Match
from nurture.domain.routing.round_robin import UNSEEN, Standing, turn_key
from nurture.domain.routing.routing import Asked, Plan, Routed, RoutingRule, route
from nurture.domain.routing.routing_snapshot import plain, standing
from nurture.journey.accounts import queries as accounts_queries
from nurture.journey.accounts.index_cache import as_account, current_index
from nurture.journey.accounts.match.domains import company_domain
from nurture.journey.accounts.match.index import Directory
from nurture.journey.accounts.queries import Linked
from nurture.journey.leads import origin_queries
from nurture.journey.leads.origin_queries import Origin
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.routing import queries as store
from nurture.journey.routing.capacity import Room
from nurture.journey.routing.queries import Decided, WantedRow
from nurture.runtime.context import House


@dataclass
class Router:
    """Routes one batch; it remembers what it gave, so that the next lead of the batch is asked rightly.

    *refused* are the reps who must not have a lead again, by lead id. *names* are the facts that rules name,
    *grades* tells whether any asks for the fit letter.
    """

    house: House
    policy: Policy
    now: datetime
    directory: Directory
    team: dict[str, Standing]
    refused: Mapping[int, Collection[str]]
    origins: Mapping[int, Origin]
    linked: Mapping[int, Linked]
    owned: Mapping[int, Match]
    former: Mapping[int, str]
    wanted: Mapping[int, Sequence[WantedRow]]
    given: dict[str, dict[str, int]]
    names: tuple[str, ...]
    grades: bool
    told: dict[str, list[Any]] = field(init=False)
    letters: list[tuple[str, Test]] = field(init=False)
    decided: list[Decided] = field(default_factory=list)
    links: list[Linked] = field(default_factory=list)
    wants: list[WantedRow] = field(default_factory=list)
    turns: dict[int, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.told = {rep: standing(one) for rep, one in self.team.items()}
        self.letters = [(rule.letter, made_ready(rule.when)) for rule in self.policy.fit]

    @property
    def plan(self) -> Plan:
        """Return how the policy routes."""
        return self.policy.plan

    def route(self, lead: Claimed, resting: Mapping[str, str]) -> tuple[Asked, Routed]:
        """Return what was asked about a lead, and who gets it: nobody who rests for now, and why they do."""
        asked = self.asked(lead)
        if resting:
            closed = {rep: why for rep, why in resting.items() if self.team[rep].available}
            team = {rep: replace(self.team[rep], away=why, back=True) for rep, why in closed.items()}
            asked = replace(asked, team={**self.team, **team})
        return asked, route(asked, self.plan)

    def asked(self, lead: Claimed) -> Asked:
        """Return all that the rules are asked about a lead."""
        id_ = lead.view.lead.id
        origin = self.origins.get(id_) or Origin(id_, None, "", self.now)
        facts = {**lead.view.lead.facts, "country": origin.country or lead.view.lead.facts.get("country")}
        match = self._match(id_, origin, facts)
        return Asked(
            {name: facts[name] for name in self.names if facts.get(name) is not None},
            self._fit(facts) if self.grades else "",
            company_domain(origin.email or "") or company_domain(str(facts.get("website") or "")),
            match,
            self.former.get(id_),
            frozenset(self.refused.get(id_, ())),
            max(self.now - origin.since, self.now - self.now),
            frozenset(
                one.field
                for one in self.wanted.get(id_, ())
                if one.overdue_at <= self.now or one.filled_at is not None
            ),
            self.team,
            self.given,
        )

    def _fit(self, facts: Mapping[str, Fact]) -> str:
        for letter, test in self.letters:
            if test(facts, "")[0]:
                return letter
        return WORST_FIT

    def _match(self, lead_id: int, origin: Origin, facts: Mapping[str, Fact]) -> Match:
        settled = self.linked.get(lead_id)
        if settled is not None:
            return self.owned.get(lead_id, NO_MATCH) if settled.account_id is not None else _NONE_SETTLED
        company, website = facts.get("company"), facts.get("website")
        found = self.directory.match(origin.email or "", str(company or ""), str(website or ""))
        if found.account is not None:
            self.links.append(Linked(lead_id, found.account.id, "matched", found.because, self.now))
        return found

    def keep(self, lead: Claimed, asked: Asked, routed: Routed, offer_id: int | None) -> None:
        """Keep a decision: it counts for the next leads, and is stored with all that was asked."""
        counted = {routed.turn: self.given.get(routed.turn, {})} if routed.turn else {}
        self.decided.append(
            Decided(
                lead.view.lead.id,
                offer_id if routed.rep is not None else None,
                self.now,
                self.policy.version,
                routed.rule,
                routed.rep,
                routed.queue,
                list(routed.because),
                plain(asked, self._told(asked), counted),
            )
        )
        if routed.rep is None:
            return
        before = self.team.get(routed.rep, UNSEEN)
        newest = offer_id if offer_id is not None else before.newest + 1
        now = Standing(before.away, before.back, before.deputy, before.today + 1, before.in_hand + 1, newest)
        self.team[routed.rep], self.told[routed.rep] = now, standing(now)
        if routed.turn:
            turn = self.given.setdefault(routed.turn, {})
            turn[routed.rep] = turn.get(routed.rep, 0) + 1
            self.turns[lead.view.lead.id] = (routed.turn, routed.rep)

    def _told(self, asked: Asked) -> Mapping[str, list[Any]]:
        """Return where the reps stood as this lead was told: some may have rested for it alone."""
        if asked.team is self.team:
            return self.told
        return {rep: standing(one) for rep, one in asked.team.items()}

    def want(self, lead: Claimed, routed: Routed) -> WantedRow:
        """Note that a fact is waited for; return since when, and until when."""
        known = next(
            (one for one in self.wanted.get(lead.view.lead.id, ()) if one.field == routed.needs), None
        )
        if known is not None:
            return known
        until = self.now + self.plan.missing.wait
        new = WantedRow(lead.view.lead.id, routed.needs, routed.rule, self.now, until, None, None)
        self.wants.append(new)
        return new

    def write(self, database: Database, connection: Connection, won: Collection[int]) -> None:
        """Write what was decided for the leads of *won*; the others went elsewhere meanwhile."""
        store.record(database, connection, [one for one in self.decided if one.lead_id in won])
        accounts_queries.link(database, connection, [one for one in self.links if one.lead_id in won])
        store.want(database, connection, [one for one in self.wants if one.lead_id in won])
        counted = Counter(turn for lead_id, turn in self.turns.items() if lead_id in won)
        rows = [(key, rep, count) for (key, rep), count in sorted(counted.items())]
        store.count_turns(database, connection, rows)


_NONE_SETTLED = replace(NO_MATCH, because="somebody settled that it belongs to no account")


def router(
    house: House,
    connection: Connection,
    policy: Policy,
    lead_ids: Sequence[int],
    room: Room,
    refused: Mapping[int, Collection[str]],
) -> Router:
    """Read all that routing these leads asks about, in a constant number of statements.

    The *room* of the reps was counted by whoever is alone in giving them leads, and is kept up.
    """
    database, team = house.database, room.team
    linked = accounts_queries.linked(database, connection, lead_ids)
    return Router(
        house,
        policy,
        room.now,
        current_index(house.account_index, connection),
        team,
        refused,
        origin_queries.origins(database, connection, lead_ids),
        linked,
        _owned(database, connection, linked),
        store.former_owners(database, connection, lead_ids),
        store.wanted(database, connection, lead_ids),
        defaultdict(dict, store.turns(connection, _turn_keys(policy.plan, team, room.resting()))),
        _facts_of(policy.routing),
        any(asks_fit(rule.when) for rule in policy.routing),
    )


def _owned(database: Database, connection: Connection, linked: Mapping[int, Linked]) -> dict[int, Match]:
    ids = [one.account_id for one in linked.values() if one.account_id is not None]
    found = accounts_queries.find(database, connection, ids)
    return {
        lead_id: Match(as_account(found[one.account_id]), (), one.because)
        for lead_id, one in linked.items()
        if one.account_id in found
    }


def _turn_keys(plan: Plan, team: Mapping[str, Standing], resting: Collection[str]) -> list[str]:
    """Return the keys of the turns that can be taken now: of each weighted pool, by who is there.

    Those who rest are there for what cannot wait, and for nothing else.
    """
    keys = set()
    for pool in plan.pools.values():
        if pool.by is Turn.WEIGHTED:
            there = [rep for rep in pool.reps if rep in plan.reps and team.get(rep, UNSEEN).available]
            for present in (there, [rep for rep in there if rep not in resting]):
                keys.add(turn_key(pool.name, {rep: plan.reps[rep].weight for rep in present}))
    return sorted(keys)


def _facts_of(rules: Sequence[RoutingRule]) -> tuple[str, ...]:
    """Return the facts that any rule names."""
    named: set[str] = set()
    for rule in rules:
        named |= facts_named(rule.when) | set(rule.needs)
    return tuple(sorted(named))
