"""What sales approved: who is ready, who gets whom, and what a rejection means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Final

from nurture.domain.lead import Custodian, Facts, Lead
from nurture.domain.planning.conditions import Condition, FitRule, Question, graded
from nurture.domain.planning.lead_view import View
from nurture.domain.planning.program import Destination
from nurture.domain.planning.requests import CriterionKind, request_part, request_signals
from nurture.domain.policy.business_hours import Agreement
from nurture.domain.policy.team import Desk, Manager, Pool, Rep, Team
from nurture.domain.routing.priority import Pace
from nurture.domain.routing.routing import DEFAULT_RULES, Missing, Plan, RoutingRule
from nurture.domain.scoring.click_filtering import Thresholds
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import SignalKind

_ANY_TIME: Final = datetime.min.replace(tzinfo=UTC)  # facts have no time


@dataclass(frozen=True, slots=True)
class Ready:
    """A new lead goes straight to sales."""


@dataclass(frozen=True, slots=True)
class Enrol:
    """A new lead goes to the track whose audience fits, the highest priority first."""


@dataclass(frozen=True, slots=True)
class ReadinessRule:
    """What happens to a new lead for which *when* holds; the first rule that holds decides."""

    name: str
    when: Condition
    then: Ready | Enrol | Destination


@dataclass(frozen=True, slots=True)
class Criterion:
    """When a lead is offered to sales. *kind* None: as its condition tells, see `requests`."""

    name: str
    when: Condition
    kind: CriterionKind | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """The lead goes on where its track was held."""


@dataclass(frozen=True, slots=True)
class RejectReason:
    """What a reason means for the lead: where it goes, and how long it is left in peace first.

    *not_same_rep*: whoever gave it back does not get it again. *suppress*: its address gets no more mail.
    *ask_date*: the rep is to say when the lead may be called again.
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
    """One published version of what sales approved."""

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
    evidence: Thresholds = field(default_factory=Thresholds)
    desk: Desk = field(default_factory=Desk)
    managers: tuple[Manager, ...] = ()
    pools: Mapping[str, Pool] = field(default_factory=dict)
    routing: tuple[RoutingRule, ...] = DEFAULT_RULES
    missing: Missing = field(default_factory=Missing)
    sla: Agreement | None = None
    """What was agreed of answering and following up; None: offers expire after `accept_within`."""
    pace: Pace = field(default_factory=Pace)

    @cached_property
    def requests(self) -> tuple[Criterion, ...]:
        """Return the criteria as far as they rest on what a lead asks for."""
        parts = [(one, request_part(one.when, one.kind)) for one in self.criteria]
        return tuple(Criterion(one.name, part, one.kind) for one, part in parts if part is not None)

    @cached_property
    def request_signals(self) -> frozenset[SignalKind]:
        """Return the signals by which a lead asks for a person."""
        return frozenset(kind for one in self.requests for kind in request_signals(one.when))

    @cached_property
    def plan(self) -> Plan:
        """Return how this policy routes."""
        return Plan.of(self.reps, self.pools, self.routing, self.missing)

    @cached_property
    def agreement(self) -> Agreement:
        """Return what holds for open offers and accepted leads."""
        return self.sla or Agreement.plain(self.accept_within)

    @cached_property
    def team(self) -> Team:
        """Return everybody whom this policy names in sales, and their pools."""
        return Team(self.reps, self.managers, self.pools, self.desk)

    def rep(self, rep_id: str) -> Rep | None:
        """Return the rep of this id, None if the policy names none."""
        return self.team.rep(rep_id)

    def question(
        self,
        view: View,
        *,
        since: datetime | None = None,
        answered_at: datetime | None = None,
        newer_than: datetime | None = None,
    ) -> Question:
        """Return what conditions are asked about, by what this policy counts."""
        return Question(view, self.points, since, answered_at, self.fit, newer_than)

    def grade(self, facts: Facts) -> tuple[str, str]:
        """Return the fit letter of a lead with these facts, and why; ("", "") where no rule gives letters."""
        if not self.fit:
            return "", ""
        return graded(self.question(View(Lead(0, facts), Custodian.TRACK, None)), _ANY_TIME)
