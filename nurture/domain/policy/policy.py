"""Define the policy that sales approved: readiness, hand-off criteria, routing, and reject reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Final

from nurture.domain.lead import Custodian, FieldValues, Lead
from nurture.domain.planning.compiled_conditions import ANY_TIME
from nurture.domain.planning.conditions import Condition, EvaluationContext, FitRule, grade_fit
from nurture.domain.planning.evidence import Evidence, needed_evidence
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.missing_fields import fields_used
from nurture.domain.planning.program import Destination, Sender
from nurture.domain.planning.requests import CriterionKind, request_kinds, request_part
from nurture.domain.policy.agreement import Agreement
from nurture.domain.policy.business_hours import SlaPolicy, WorkCalendar
from nurture.domain.policy.crm_status import SalesStatus
from nurture.domain.policy.queues import NOTIFIED_AT_ONCE, REVIEW_INTERVAL, QueuePolicy
from nurture.domain.policy.team import ROUND_THE_CLOCK, Manager, Pool, Rep, Team, WorkingHours
from nurture.domain.policy.tiers import Tier
from nurture.domain.replies import DEFAULT_ACTIONS, ReplyAction, ReplyClass
from nurture.domain.routing.priority import PriorityPolicy
from nurture.domain.routing.routing import (
    DEFAULT_RULES,
    MissingFieldPolicy,
    RoutingPlan,
    RoutingRule,
    with_company_rule,
)
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
    """What happens to a new lead that matches *when*; the first matching rule decides. *label*: see `Criterion`."""

    name: str
    when: Condition
    then: ToSales | Enroll | Destination
    label: str | None = None

    def is_spent(self, lead: Lead) -> bool:
        """Return whether it hands off for facts that a rep has answered already: no file changed any of them since."""
        if not isinstance(self.then, ToSales) or lead.signals_since is None:
            return False
        facts = fields_used(self.when)
        return bool(facts) and not facts & lead.restated


@dataclass(frozen=True, slots=True)
class Criterion:
    """When a lead is offered to sales. *kind* None: derived from its condition, see `requests`.

    *label* says to reps what the lead did, such as "asked for a demo". *evidence*: see `needed_evidence`.
    """

    name: str
    when: Condition
    kind: CriterionKind | None = None
    label: str | None = None
    evidence: Evidence | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "evidence", needed_evidence(self.when))


@dataclass(frozen=True, slots=True)
class Resume:
    """The lead resumes its track where it was held."""


WRONG_OWNER_REASONS: Final = ("not-mine", "wrong-owner")
"""The codes of reject reasons by which a rep says that a lead, or its company, is another rep's."""


@dataclass(frozen=True, slots=True)
class RejectReason:
    """What happens to a lead rejected for this reason: where it goes, and for how long it cools off first.

    *not_same_rep*: the rep who returned it does not get it again. *suppress*: its address gets no more mail.
    *ask_date*: the rep is asked when the lead may be called again. *ask* is what the rep is asked with this reason,
    such as when the contract elsewhere ends. If the rep names a date, a closed lead rests until *return_before* it.
    """

    code: str
    label: str
    then: Resume | Destination
    cool_off: timedelta = timedelta()
    not_same_rep: bool = True
    suppress: bool = False
    ask_date: bool = False
    ask: str = ""
    return_before: timedelta = timedelta()


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
    """How long a lead may be without contact where nothing else is said; see `silence_limit`."""
    on_expiry: RejectReason
    reject_reasons: Mapping[str, RejectReason] = field(default_factory=dict)
    next_touch_within: Mapping[str, timedelta] = field(default_factory=dict)
    """By stage (`SalesStatus`), how long a lead that a rep works may be without contact."""
    fit: tuple[FitRule, ...] = ()
    click_filtering: ClickThresholds = field(default_factory=ClickThresholds)
    business_hours: WorkingHours = ROUND_THE_CLOCK
    managers: tuple[Manager, ...] = ()
    pools: Mapping[str, Pool] = field(default_factory=dict)
    routing: tuple[RoutingRule, ...] = DEFAULT_RULES
    one_rep_per_company: timedelta | None = timedelta(days=30)
    """For how long the people of a company go to the rep who talks, or talked, to one of them; None: not at all."""
    keeps_company_rep: bool = True
    """Whether a lead that its company's rep cannot take goes to the deputy or a manager, not to the next rep."""
    overlaps_allowed: bool = False
    """Whether two territories may claim one lead; the first gets it."""
    missing_fields: MissingFieldPolicy = field(default_factory=MissingFieldPolicy)
    sla: SlaPolicy | None = None
    """The agreed times to answer and follow up; None: offers expire after `accept_within`."""
    priority: PriorityPolicy = field(default_factory=PriorityPolicy)
    replies: Mapping[ReplyClass, ReplyAction] = field(default_factory=lambda: DEFAULT_ACTIONS)
    """What each class of replies causes."""
    tiers: tuple[Tier, ...] = ()
    """Which hand-offs have another speed than `sla`; the first that takes a hand-off decides."""
    queues: QueuePolicy = field(default_factory=QueuePolicy)
    """Who works the leads in queues, and how soon."""
    agreement: Agreement | None = None
    """What marketing and sales owe each other, as limits on measures."""
    sender: Sender = field(default_factory=lambda: Sender("", "", ""))
    """The sender of email to reps and managers."""

    @cached_property
    def requests(self) -> tuple[Criterion, ...]:
        """Return the criteria reduced to their parts that are requests."""
        parts = [(one, request_part(one.when, one.kind)) for one in self.criteria]
        return tuple(Criterion(one.name, part, one.kind, one.label) for one, part in parts if part is not None)

    @cached_property
    def request_signals(self) -> frozenset[SignalKind]:
        """Return the signals by which a lead asks for a person."""
        return frozenset(kind for one in self.requests for kind in request_kinds(one.when))

    @cached_property
    def routing_plan(self) -> RoutingPlan:
        """Return how this policy routes."""
        rules = with_company_rule(self.routing) if self.one_rep_per_company is not None else self.routing
        return RoutingPlan.build(self.reps, self.pools, rules, self.missing_fields)

    @cached_property
    def effective_sla(self) -> SlaPolicy:
        """Return the SLA for open offers and accepted leads."""
        return self.sla or SlaPolicy.without_sla(self.accept_within)

    @cached_property
    def team(self) -> Team:
        """Return all salespeople whom this policy names, and their pools."""
        return Team(self.reps, self.managers, self.pools, self.business_hours)

    def silence_limit(self, stage: str | None) -> timedelta:
        """Return how long a lead at this stage may be without contact before its rep is asked."""
        return self.next_touch_within.get(stage or SalesStatus.FOLLOWED_UP, self.max_silence)

    @cached_property
    def reps_by_label(self) -> dict[str, Rep]:
        """Return each rep by each spelling of files: id, name and email address, without upper case."""
        return {label.casefold(): rep for rep in self.reps for label in (rep.name, rep.email, rep.id)}

    def sla_of(self, tier: str | None) -> SlaPolicy:
        """Return the SLA of a tier; that of all hand-offs for None, and for a tier that the policy does not have."""
        return next((one.sla for one in self.tiers if one.name == tier), self.effective_sla)

    def tier_of(self, rule: str, fields: FieldValues) -> Tier | None:
        """Return the tier of a hand-off by *rule* of a lead with these fields, None if none takes it."""
        if not self.tiers:
            return None
        fit = self.grade(fields)[0] if any(one.fit for one in self.tiers) else ""
        hot = rule in self.priority.hot
        return next((one for one in self.tiers if one.takes(rule, fit, hot=hot)), None)

    def owner_wait(self, rule: str, fields: FieldValues) -> timedelta | None:
        """Return how long a lead may wait for one rep's capacity, None for as long as the routing rule says.

        A hot lead does not wait, unless its tier says how long.
        """
        tier = self.tier_of(rule, fields)
        if tier is not None and tier.owner_wait is not None:
            return tier.owner_wait
        return timedelta() if rule in self.priority.hot else None

    def queue_check_after(self, queue: str) -> timedelta:
        """Return how long after it entered *queue* a lead is first checked; public holidays can only delay more."""
        rule = self.queues.rule_for(queue)
        if rule is None:
            return REVIEW_INTERVAL
        if queue in NOTIFIED_AT_ONCE:
            return timedelta()
        hours = self.business_hours
        return min(REVIEW_INTERVAL, rule.earliest_reminder(WorkCalendar(hours.window, hours.zone)))

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
