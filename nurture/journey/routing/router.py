"""Route a batch of leads with a constant number of queries, and record each decision."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from nurture.db.transaction import Transaction
from nurture.domain.lead import FieldValue
from nurture.domain.planning.compiled_conditions import CompiledCondition, compile_condition
from nurture.domain.planning.conditions import WORST_FIT
from nurture.domain.planning.missing_fields import fields_used, uses_fit
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import RotationMethod
from nurture.domain.routing import routing
from nurture.domain.routing.account import AccountMatch
from nurture.domain.routing.round_robin import DEFAULT_AVAILABILITY, RepAvailability, rotation_key
from nurture.domain.routing.routing import RoutingPlan, RoutingRequest, RoutingResult, RoutingRule
from nurture.journey.accounts.company_talks import CompanyKey, CompanyTalk, CompanyTalks, company_keys
from nurture.journey.leads.queries import Origin, load_origins
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.ownership import queries as accounts_queries
from nurture.journey.ownership.lead_accounts import LeadAccounts
from nurture.journey.ownership.match.domains import company_domain, site_domain
from nurture.journey.ownership.queries import AccountLink, load_former_owners
from nurture.journey.routing import queries as store
from nurture.journey.routing.capacity import RepCapacity
from nurture.journey.routing.queries import MissingField, RoutingDecision
from nurture.journey.routing.stored_requests import to_dict
from nurture.runtime.context import AppContext


@dataclass
class Router:
    """Route one batch. It counts its own assignments, so that the next lead of the batch sees them.

    It reads and writes nothing by itself. *excluded_reps* are the reps who must not have a lead again, by lead id.
    *field_names* are the fields named in rules; *needs_fit* is whether any rule tests the fit.
    """

    policy: Policy
    now: datetime
    accounts: LeadAccounts
    team: dict[str, RepAvailability]
    excluded_reps: Mapping[int, Collection[str]]
    origins: Mapping[int, Origin]
    former_owners: Mapping[int, str]
    talks: CompanyTalks
    missing_fields: Mapping[int, Sequence[MissingField]]
    round_robin_counts: dict[str, dict[str, int]]
    field_names: tuple[str, ...] = field(init=False)
    needs_fit: bool = field(init=False)
    serialized_team: dict[str, list[Any]] = field(init=False)
    fit_rules: list[tuple[str, CompiledCondition]] = field(init=False)
    decided: list[RoutingDecision] = field(default_factory=list)
    new_links: list[AccountLink] = field(default_factory=list)
    new_missing_fields: list[MissingField] = field(default_factory=list)
    turns_taken: dict[int, tuple[str, str]] = field(default_factory=dict)
    companies: dict[int, tuple[CompanyKey, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.serialized_team = {rep: list(one) for rep, one in self.team.items()}
        self.fit_rules = [(rule.letter, compile_condition(rule.when)) for rule in self.policy.fit]
        self.field_names = _fields_in_rules(self.policy.routing)
        self.needs_fit = any(uses_fit(rule.when) for rule in self.policy.routing)

    @property
    def plan(self) -> RoutingPlan:
        """Return the policy's routing plan."""
        return self.policy.routing_plan

    def route(
        self, lead: LeadSnapshot, off_duty: Mapping[str, str], owner_wait: timedelta | None = None
    ) -> tuple[RoutingRequest, RoutingResult]:
        """Return the routing input of a lead, and the result.

        *off_duty* gives reasons why reps are unavailable, *owner_wait* limits the wait for one rep's capacity.
        """
        request = replace(self.build_request(lead), owner_wait=owner_wait)
        if off_duty:
            closed = {rep: why for rep, why in off_duty.items() if self.team[rep].available}
            team = {rep: self.team[rep]._replace(away_reason=why, away_today_only=True) for rep, why in closed.items()}
            request = replace(request, availability={**self.team, **team})
        return request, routing.route(request, self.plan)

    def build_request(self, lead: LeadSnapshot) -> RoutingRequest:
        """Return everything that the rules test about a lead."""
        id_ = lead.view.lead.id
        origin = self.origins.get(id_) or Origin(id_, None, "", self.now)
        fields = {**lead.view.lead.condition_fields, "country": origin.country or lead.view.lead.fields.get("country")}
        match = self._match(id_, fields)
        account = match.account.id if match.account is not None else None
        self.companies[id_] = tuple(company_keys(origin.email, fields.get("website"), account))
        talk = self.talks.find(id_, self.companies[id_])
        return RoutingRequest(
            {name: fields[name] for name in self.field_names if fields.get(name) is not None},
            self._fit(fields) if self.needs_fit else "",
            company_domain(origin.email or "") or site_domain(str(fields.get("website") or "")),
            match,
            self.former_owners.get(id_),
            frozenset(self.excluded_reps.get(id_, ())),
            max(self.now - origin.since, timedelta()),
            frozenset(
                one.field
                for one in self.missing_fields.get(id_, ())
                if one.due_at <= self.now or one.filled_at is not None
            ),
            self.team,
            self.round_robin_counts,
            lead.view.lead.is_customer,
            company_rep=talk.rep if talk is not None else None,
            company_lead=talk.lead_id if talk is not None else 0,
            keeps_company_rep=talk is not None and talk.is_binding and self.policy.keeps_company_rep,
        )

    def _fit(self, fields: Mapping[str, FieldValue]) -> str:
        for letter, test in self.fit_rules:
            if test(fields, "")[0]:
                return letter
        return WORST_FIT

    def _match(self, lead_id: int, fields: Mapping[str, FieldValue]) -> AccountMatch:
        found = self.accounts.find(lead_id, fields)
        if found.account is not None and not self.accounts.is_on_record(lead_id):
            self.new_links.append(AccountLink(lead_id, found.account.id, "matched", found.reason, self.now))
        return found

    def record_decision(
        self, lead: LeadSnapshot, request: RoutingRequest, routed: RoutingResult, offer_id: int | None
    ) -> None:
        """Record a decision: it counts for the next leads, and is stored with its input."""
        counted = (
            {routed.rotation_key: self.round_robin_counts.get(routed.rotation_key, {})} if routed.rotation_key else {}
        )
        self.decided.append(
            RoutingDecision(
                lead.view.lead.id,
                offer_id if routed.rep is not None else None,
                self.now,
                self.policy.version,
                routed.rule,
                routed.rep,
                routed.queue,
                list(routed.reasons),
                to_dict(request, self._serialize_team(request), counted),
            )
        )
        if routed.rep is None:
            return
        id_ = lead.view.lead.id
        self.talks.add(CompanyTalk(id_, routed.rep), self.companies.get(id_, ()))
        before = self.team.get(routed.rep, DEFAULT_AVAILABILITY)
        newest = offer_id if offer_id is not None else before.last_offer + 1
        after = before._replace(
            offers_today=before.offers_today + 1, open_leads=before.open_leads + 1, last_offer=newest
        )
        self.team[routed.rep], self.serialized_team[routed.rep] = after, list(after)
        if routed.rotation_key:
            counts = self.round_robin_counts.setdefault(routed.rotation_key, {})
            counts[routed.rep] = counts.get(routed.rep, 0) + 1
            self.turns_taken[lead.view.lead.id] = (routed.rotation_key, routed.rep)

    def _serialize_team(self, request: RoutingRequest) -> Mapping[str, list[Any]]:
        """Return the availability that this lead was routed with: some reps may be off duty for it alone."""
        if request.availability is self.team:
            return self.serialized_team
        return {rep: list(one) for rep, one in request.availability.items()}

    def require_field(self, lead: LeadSnapshot, routed: RoutingResult) -> MissingField:
        """Return the missing field with its deadline, new if it was not missing before."""
        existing = next(
            (one for one in self.missing_fields.get(lead.view.lead.id, ()) if one.field == routed.missing_field), None
        )
        if existing is not None:
            return existing
        due_at = self.now + self.plan.missing_fields.max_wait
        new = MissingField(lead.view.lead.id, routed.missing_field, routed.rule, self.now, due_at, None, None)
        self.new_missing_fields.append(new)
        return new

    def write(self, tx: Transaction, won: Collection[int]) -> None:
        """Store the decisions for the leads in *won*; the others were changed by another worker meanwhile."""
        store.record_decisions(tx, [one for one in self.decided if one.lead_id in won])
        accounts_queries.insert_links(tx, [one for one in self.new_links if one.lead_id in won])
        store.add_missing_fields(tx, [one for one in self.new_missing_fields if one.lead_id in won])
        counted = Counter(turn for lead_id, turn in self.turns_taken.items() if lead_id in won)
        rows = [(key, rep, count) for (key, rep), count in sorted(counted.items())]
        store.add_round_robin_counts(tx, rows)


def make_router(
    ctx: AppContext,
    tx: Transaction,
    policy: Policy,
    lead_ids: Sequence[int],
    capacity: RepCapacity,
    excluded_reps: Mapping[int, Collection[str]],
) -> Router:
    """Read everything that routing these leads needs, in a constant number of statements.

    *capacity* was loaded under `Lock.OFFERS`, and is updated with each assignment.
    """
    team = capacity.team
    window = policy.one_rep_per_company
    talks = CompanyTalks() if window is None else CompanyTalks.load(tx, capacity.now - window)
    return Router(
        policy,
        capacity.now,
        LeadAccounts.load(ctx.account_index, tx, lead_ids),
        team,
        excluded_reps,
        load_origins(tx, lead_ids),
        load_former_owners(tx, lead_ids),
        talks,
        store.load_missing_fields(tx, lead_ids),
        defaultdict(
            dict,
            store.load_round_robin_counts(tx, _round_robin_keys(policy.routing_plan, team, capacity.off_duty_reps())),
        ),
    )


def _round_robin_keys(plan: RoutingPlan, team: Mapping[str, RepAvailability], off_duty: Collection[str]) -> list[str]:
    """Return the rotation keys possible now, of each weighted pool by its available reps.

    Off-duty reps are available for hot leads only.
    """
    keys = set()
    for pool in plan.pools.values():
        if pool.rotation is RotationMethod.WEIGHTED:
            available = [rep for rep in pool.reps if rep in plan.reps and team.get(rep, DEFAULT_AVAILABILITY).available]
            for present in (available, [rep for rep in available if rep not in off_duty]):
                keys.add(rotation_key(pool.name, {rep: plan.reps[rep].weight for rep in present}))
    return sorted(keys)


def _fields_in_rules(rules: Sequence[RoutingRule]) -> tuple[str, ...]:
    """Return the fields that any rule names."""
    names: set[str] = set()
    for rule in rules:
        names |= fields_used(rule.when) | set(rule.required_fields)
    return tuple(sorted(names))
