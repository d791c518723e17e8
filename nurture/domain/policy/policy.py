"""Define the policy that sales approved: readiness, hand-off criteria, routing, and reject reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property

from nurture.domain.lead import Custodian, FieldValues, Lead
from nurture.domain.planning.compiled_conditions import ANY_TIME
from nurture.domain.planning.conditions import Condition, EvaluationContext, FitRule, grade_fit
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.program import Destination, Sender
from nurture.domain.planning.requests import CriterionKind, request_kinds, request_part
from nurture.domain.policy.business_hours import SlaPolicy
from nurture.domain.policy.team import ROUND_THE_CLOCK, Manager, Pool, Rep, Team, WorkingHours
from nurture.domain.routing.priority import PriorityPolicy
from nurture.domain.routing.routing import DEFAULT_RULES, MissingFieldPolicy, RoutingPlan, RoutingRule
from nurture.domain.scoring.click_filtering import ClickThresholds
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import SignalKind


@dataclass(frozen=True, slots=True)
class ToSales:
    """A new lead goes directly to sales."""


@dataclass(frozen=True, slots=True)
class Enroll:
    """A new lead goes to the track whose audience matches, the highest priority first."""


@dataclass(frozen=True, slots=True)
class ReadinessRule:
    """What happens to a new lead that matches *when*; the first matching rule decides."""

    name: str
    when: Condition
    then: ToSales | Enroll | Destination


@dataclass(frozen=True, slots=True)
class Criterion:
    """When a lead is offered to sales. *kind* None: derived from its condition, see `requests`."""

    name: str
    when: Condition
    kind: CriterionKind | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """The lead resumes its track where it was held."""


@dataclass(frozen=True, slots=True)
class RejectReason:
    """What happens to a lead rejected for this reason: where it goes, and for how long it cools off first.

    *not_same_rep*: the rep who returned it does not get it again. *suppress*: its address gets no more mail.
    *ask_date*: the rep is asked when the lead may be called again.
    """

    code: str
    label: str
    then: Resume | Destination
    cool_off: timedelta = timedelta()
    not_same_rep: bool = True
    suppress: bool = False
    ask_date: bool = False


@dataclass(frozen=True)
class Policy:
    """One published version of the policy that sales approved."""

    version: int
    approved_by: str
    approved_on: date
    points: Points
    readiness: tuple[ReadinessRule, ...]
    criteria: tuple[Criterion, ...]
    reps: tuple[Rep, ...]
    accept_within: timedelta
    follow_up_within: timedelta
    max_silence: timedelta
    on_expiry: RejectReason
    reject_reasons: Mapping[str, RejectReason] = field(default_factory=dict)
    fit: tuple[FitRule, ...] = ()
    click_filtering: ClickThresholds = field(default_factory=ClickThresholds)
    business_hours: WorkingHours = ROUND_THE_CLOCK
    managers: tuple[Manager, ...] = ()
    pools: Mapping[str, Pool] = field(default_factory=dict)
    routing: tuple[RoutingRule, ...] = DEFAULT_RULES
    missing_fields: MissingFieldPolicy = field(default_factory=MissingFieldPolicy)
    sla: SlaPolicy | None = None
    """The agreed times to answer and follow up; None: offers expire after `accept_within`."""
    priority: PriorityPolicy = field(default_factory=PriorityPolicy)
    sender: Sender = field(default_factory=lambda: Sender("", "", ""))
    """The sender of email to reps and managers."""

    @cached_property
    def requests(self) -> tuple[Criterion, ...]:
        """Return the criteria reduced to their parts that are requests."""
        parts = [(one, request_part(one.when, one.kind)) for one in self.criteria]
        return tuple(Criterion(one.name, part, one.kind) for one, part in parts if part is not None)

    @cached_property
    def request_signals(self) -> frozenset[SignalKind]:
        """Return the signals by which a lead asks for a person."""
        return frozenset(kind for one in self.requests for kind in request_kinds(one.when))

    @cached_property
    def routing_plan(self) -> RoutingPlan:
        """Return how this policy routes."""
        return RoutingPlan.build(self.reps, self.pools, self.routing, self.missing_fields)

    @cached_property
    def effective_sla(self) -> SlaPolicy:
        """Return the SLA for open offers and accepted leads."""
        return self.sla or SlaPolicy.without_sla(self.accept_within)

    @cached_property
    def team(self) -> Team:
        """Return all salespeople whom this policy names, and their pools."""
        return Team(self.reps, self.managers, self.pools, self.business_hours)

    def rep(self, rep_id: str) -> Rep | None:
        """Return the rep with this id, None if there is none."""
        return self.team.rep(rep_id)

    def evaluation_context(
        self,
        view: LeadView,
        *,
        since: datetime | None = None,
        answered_at: datetime | None = None,
        newer_than: datetime | None = None,
    ) -> EvaluationContext:
        """Return a context to evaluate conditions with this policy's points and fit rules."""
        return EvaluationContext(view, self.points, since, answered_at, self.fit, newer_than)

    def grade(self, fields: FieldValues) -> tuple[str, str]:
        """Return the fit letter of a lead with these fields, and why; ("", "") without fit rules."""
        if not self.fit:
            return "", ""
        return grade_fit(self.evaluation_context(LeadView(Lead(0, fields), Custodian.TRACK, None)), ANY_TIME)
