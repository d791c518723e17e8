"""Let the policy decide about leads of a file, on copies in memory: intake, classification and routing as they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Final, NamedTuple

from nurture.domain.consent.statements import ConsentStatement
from nurture.domain.consent.suppression import ActiveSuppression, normalize_ref
from nurture.domain.lead import Custodian, Lead, Queue, Timeline
from nurture.domain.planning.lead_view import Enrollment, LeadView, Position
from nurture.domain.planning.planner import OfferToSales, decide
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.policy_impact import matching_criteria
from nurture.domain.policy.team import Rep
from nurture.domain.routing import routing
from nurture.domain.routing.round_robin import RepAvailability
from nurture.domain.routing.routing import NamedAccounts, RoutingRule, ToPool, ToRep
from nurture.domain.signals import Signal, SignalKind
from nurture.formats.lead_row import LeadRow
from nurture.formats.status_mapping import ConsentBasis
from nurture.journey.accounts.company_talks import CompanyTalks
from nurture.journey.consent.suppression import OptOut
from nurture.journey.intake.interpret import ALL_MAIL, Origin
from nurture.journey.intake.match import KnownLeads, LeadPlan, match_rows
from nurture.journey.leads.queries import Origin as RoutingOrigin
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.ownership.lead_accounts import LeadAccounts
from nurture.journey.ownership.match.index import AccountIndex
from nurture.journey.routing.availability import is_active
from nurture.journey.routing.router import Router
from nurture.journey.tracks.enroll import classify_lead, is_discarded
from nurture.runtime.published import Definitions

_CONSENT_QUEUES: Final = (Queue.SUPPRESSED, Queue.NO_CONSENT_BASIS, Queue.NO_ADDRESS)
_HAND_OFF: Final = f"{Custodian.QUEUE} {Queue.HAND_OFF}"


class ReplayedLead(NamedTuple):
    """What the policy does with the lead of *line*.

    *actual* is the custody that an import and a run would give it. *place* is the same if mail to it was allowed;
    *blocked* is the queue in which it waits instead, "" for none. *rule* decided. *rep* gets it if it is handed off.
    *territory* is the routing rule by which it belongs to other reps than its owner. *owner_left*: its owner is a rep
    who left.
    """

    line: int
    actual: str
    place: str
    rule: str
    blocked: str
    rep: str = ""
    territory: str = ""
    owner_left: bool = False


class PolicyReplay:
    """The policy and the tracks, with the reps as if each of them had worked off what they got the day before.

    Each full rep begins a new day, because a file does not say when reps close what they have.
    """

    def __init__(self, definitions: Definitions, now: datetime) -> None:
        self._definitions, self._now, self._last_id = definitions, now, 0
        self._policy = definitions.policy
        self._topics = {normalize_ref(one.topic): one.topic for one in definitions.programs.values() if one.topic}
        self._reps = {label: rep.id for label, rep in self._policy.reps_by_label.items()}
        self._router = self._make_router()
        self._territories = {one.name: one for one in self._policy.routing if _names_reps(one)}

    @property
    def has_territories(self) -> bool:
        """Return whether a routing rule says to whom which leads belong."""
        return bool(self._territories)

    def decide(self, rows: Sequence[LeadRow], file: str, held_at: datetime | None) -> Iterator[ReplayedLead]:
        """Yield what becomes of each of *rows*, of which no two are of one person."""
        origin = Origin(file, self._now, held_at, self._topics, self._reps, self._definitions.sending.confirm)
        addresses = {row.email: number for number, row in enumerate(rows, 1) if row.email}
        match = match_rows(rows, KnownLeads(addresses, {}, (), {}, {}, ()), origin)
        statements: dict[int, list[ConsentStatement]] = defaultdict(list)
        for address_id, statement in match.statements:
            statements[address_id].append(statement)
        refusals: dict[int, list[ActiveSuppression]] = defaultdict(list)
        for one in match.opt_outs:
            refusals[one.address_id].append(_to_suppression(one, self._now))
        for plan in match.plans:
            if plan.row is not None:
                address_id = plan.address_id or 0
                said = tuple(statements.get(address_id, ())), tuple(refusals.get(address_id, ()))
                yield self._decide(plan, plan.row, *said)

    def _decide(
        self,
        plan: LeadPlan,
        row: LeadRow,
        statements: tuple[ConsentStatement, ...],
        refusals: tuple[ActiveSuppression, ...],
    ) -> ReplayedLead:
        self._last_id += 1
        lead = _to_snapshot(plan, self._last_id, statements, refusals, self._now)
        custody, rule = self._place(lead)
        place, blocked = custody, ""
        if lead.view.custodian is Custodian.QUEUE and lead.ref in _CONSENT_QUEUES and custody != _HAND_OFF:
            place, rule = self._place(_with_consent(lead, self._now))
            blocked = lead.ref
        rep = ""
        self._router.origins = {self._last_id: RoutingOrigin(self._last_id, row.email, plan.country, self._now)}
        if custody == _HAND_OFF:
            rep = self._route(lead)
        owner = self._policy.reps_by_label.get((row.owner or "").strip().casefold())
        has_left = owner is not None and not is_active(owner, self._now.date())
        territory = self._find_territory(lead, owner.id) if self._territories and owner is not None else ""
        return ReplayedLead(row.line, custody, place, rule, blocked, rep, territory, has_left)

    def _place(self, lead: LeadSnapshot) -> tuple[str, str]:
        """Return the custody of a lead after a run, up to its hand-off, and the rule that decided."""
        transitions, view, program = LeadTransitions(self._definitions, self._now, "replay"), lead.view, None
        place, rule = f"{view.custodian} {lead.ref}", ""
        if view.custodian in (Custodian.INTAKE, Custodian.RESTING):
            rule = classify_lead(lead, transitions)
            last = transitions.changes.custody_updates[-1]
            place = f"{last.kind} {last.ref}"
            if last.kind != Custodian.TRACK:
                return place, rule
            new = transitions.changes.new_enrollments[-1]
            position = Position(new.step, new.visit, new.anchor_at, new.reached_at)
            stay = Enrollment(1, new.track, new.entered_at, position)
            view = replace(view, custodian=Custodian.TRACK, enrollment=stay)
            program = self._definitions.programs[new.track]
            if not any(matching_criteria(self._policy, view, self._now)):  # spares the plan of its first touch
                return place, rule
        elif not view.is_parked:
            return place, rule
        decision = decide(view, program, self._definitions.entries, self._policy, self._now)
        offer = next((one for one in decision.actions if isinstance(one, OfferToSales)), None)
        if offer is None or (program is None and is_discarded(view, transitions)):
            return place, rule
        return _HAND_OFF, offer.rule

    def _route(self, lead: LeadSnapshot) -> str:
        """Return the rep whom the router gives the lead, "" if none of them."""
        router = self._router
        request, routed = router.route(lead, {})
        if routed.is_waiting:
            self._start_day()
            request, routed = router.route(lead, {})
        router.record_decision(lead, request, routed, None)
        for collected in (router.decided, router.new_links, router.turns_taken, router.companies):
            collected.clear()  # nothing is written, and a file may be large
        return routed.rep or ""

    def _start_day(self) -> None:
        for rep, one in self._router.team.items():
            self._router.team[rep] = fresh = one._replace(offers_today=0, open_leads=0)
            self._router.serialized_team[rep] = list(fresh)

    def _find_territory(self, lead: LeadSnapshot, owner: str) -> str:
        """Return the rule by which the lead belongs to other reps than *owner*, "" if none does."""
        free = replace(self._router.build_request(lead), availability={}, company_rep=None)
        routed = routing.route(free, self._router.plan)
        rule = self._territories.get(routed.rule)
        if rule is None or routed.rep is None or owner in self._reps_of(rule, routed.rep):
            return ""
        return rule.name

    def _reps_of(self, rule: RoutingRule, routed: str) -> Sequence[str]:
        return self._router.plan.pools[rule.target.pool].reps if isinstance(rule.target, ToPool) else (routed,)

    def _make_router(self) -> Router:
        today = self._now.date()
        team = {rep.id: _availability(rep, today) for rep in self._policy.reps}
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        accounts = LeadAccounts({}, AccountIndex([]))
        return Router(self._policy, self._now, accounts, team, {}, {}, {}, CompanyTalks(), {}, counts)


def count_days(reps: Mapping[str, int], policy: Policy) -> int:
    """Return the least number of days in which *reps*, by id, can take as many leads each, by their capacity."""
    capacities = {rep.id: rep.capacity for rep in policy.reps}
    return max((-(-count // max(capacities.get(rep, 1), 1)) for rep, count in reps.items()), default=0)


def _availability(rep: Rep, today: date) -> RepAvailability:
    """Return whether the rep still works; leave and public holidays delay a hand-off only by days."""
    return (
        RepAvailability() if is_active(rep, today) else RepAvailability(f"gone since {rep.left_on}", deputy=rep.deputy)
    )


def _names_reps(rule: RoutingRule) -> bool:
    return isinstance(rule.target, NamedAccounts) or (rule.territory and isinstance(rule.target, ToRep | ToPool))


def _to_suppression(opt_out: OptOut, now: datetime) -> ActiveSuppression:
    at = opt_out.at or now
    return ActiveSuppression(opt_out.scope, opt_out.ref, opt_out.source, at, at)


def _with_consent(lead: LeadSnapshot, now: datetime) -> LeadSnapshot:
    """Return a copy of a lead that waits only for consent or an address, as if it could be mailed."""
    said = ConsentStatement(*ALL_MAIL, str(ConsentBasis.CONSENT), True, "replay", None, now, "", "")
    view = replace(lead.view, custodian=Custodian.INTAKE, queue="", statements=(said,), suppressions=())
    return replace(lead, view=view, ref="import", address_id=lead.address_id or -1)


def _to_snapshot(
    plan: LeadPlan,
    lead_id: int,
    statements: tuple[ConsentStatement, ...],
    refusals: tuple[ActiveSuppression, ...],
    now: datetime,
) -> LeadSnapshot:
    """Return the lead of *plan* as it would be read from the database after the import."""
    in_order = sorted(plan.signals, key=lambda one: one[0].occurred_at)
    signals = tuple(Signal(one.kind, one.occurred_at, value=one.value, recorded_at=now) for one, _, _ in in_order)
    decisions = [
        one for one, _, is_answered in in_order if one.kind is SignalKind.DECIDING and one.value and not is_answered
    ]
    timeline = Timeline(date.fromisoformat(decisions[-1].value or ""), decisions[-1].occurred_at) if decisions else None
    kind, ref, _, due_at, _ = plan.custody
    custodian = Custodian(kind)
    lead = Lead(
        lead_id,
        plan.fields,
        plan.zone,
        timeline=timeline,
        signals_since=now if plan.is_customer else None,  # as `mark_customers` stores it
        first_contact_at=plan.first_contact_at,
        is_customer=plan.is_customer,
    )
    queue = ref if custodian is Custodian.QUEUE else ""
    view = LeadView(lead, custodian, None, signals, statements=statements, suppressions=refusals, queue=queue)
    source = plan.row.source if plan.row is not None else ""
    return LeadSnapshot(view, 1, ref, plan.address_id, source, plan.since, due_at)
