"""Decide once about leads that are alike: those of one file, or that got an email in one batch, are due together."""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Final, Generic, TypeVar

from nurture.domain.consent.suppression import SuppressionScope
from nurture.domain.lead import FieldValue
from nurture.domain.planning.conditions import Condition, FieldCondition, compare_field, leaves
from nurture.domain.planning.date_conditions import InactiveFor
from nurture.domain.planning.dates import FIRST_CONTACT
from nurture.domain.planning.decision import Decision
from nurture.domain.planning.entry import Entries
from nurture.domain.planning.lead_view import LeadView, PastStay
from nurture.domain.planning.missing_fields import fields_used
from nurture.domain.planning.planner import decide
from nurture.domain.planning.program import Email, Program, SetField, Split, conditions_of, dates_used
from nurture.domain.policy.policy import Policy
from nurture.domain.scoring.bant import ANSWER_FIELDS, BANT_FIELDS, BantCondition

Description = TypeVar("Description")

_BANT_NAMES: Final = (*ANSWER_FIELDS, *(f"{name}_{part}" for name in BANT_FIELDS for part in ("stated_on", "source")))
_MAX_CACHED_ANSWERS: Final = 10_000


@dataclass(frozen=True)
class DecisionInputs:
    """What decisions about a lead use besides its place and its mail.

    *conditions* are those without parts. The values of *fields* matter; of the fields in *comparisons* only what these
    conditions say. On *own_tracks* the id of the lead matters: it draws an arm, or a minute.
    """

    conditions: tuple[Condition, ...]
    fields: tuple[str, ...]
    comparisons: Mapping[str, Sequence[FieldCondition]]
    first_contact: bool
    own_tracks: frozenset[str]
    _answers: dict[str, dict[tuple[type, FieldValue], int]] = field(default_factory=dict)
    """By field and its value, the number of what the conditions say; few values differ."""
    _numbers: dict[Hashable, int] = field(default_factory=dict)

    @classmethod
    def of(cls, programs: Collection[Program], policy: Policy) -> "DecisionInputs":
        """Return what *programs* and *policy* use."""
        rules = [one.when for part in (policy.criteria, policy.readiness, policy.fit) for one in part]
        tracks = chain.from_iterable(map(conditions_of, programs))
        conditions = tuple(one for when in chain(rules, tracks) for one in leaves(when))
        others = (one for one in conditions if not isinstance(one, FieldCondition))
        names = {name for one in others for name in fields_used(one)}.union(*map(dates_used, programs))
        steps = chain.from_iterable(one.instructions for one in programs)
        names |= {one.name for one in steps if isinstance(one, SetField)}
        names |= {*_BANT_NAMES} if any(isinstance(one, BantCondition) for one in conditions) else set()
        asked: dict[str, list[FieldCondition]] = defaultdict(list)
        for one in conditions:
            if isinstance(one, FieldCondition) and one.name not in names and one not in asked[one.name]:
                asked[one.name].append(one)
        first_contact = FIRST_CONTACT in names or any(isinstance(one, InactiveFor) for one in conditions)
        own = frozenset(one.track for one in programs if has_spread(one) or _has_split(one))
        return cls(conditions, tuple(sorted(names)), asked, first_contact, own, {name: {} for name in asked})

    def key(self, view: LeadView, program: Program, now: datetime) -> Hashable | None:
        """Return a key that is equal only for leads about which `decide` says the same at *now*; None for no other.

        A lead that did something, or asked for something, is like no other.
        """
        lead, enrollment = view.lead, view.enrollment
        if enrollment is None or view.signals or view.suppressions or program.track in self.own_tracks:
            return None
        if lead.engagement.as_of is not None or lead.timeline is not None or lead.call_on is not None:
            return None
        if lead.paused_until is not None or view.colleague_with_sales:
            return None
        at, values = enrollment.position, tuple(map(lead.fields.get, self.fields))
        answers = []
        for name, known in self._answers.items():
            value = lead.fields.get(name)
            number = known.get((value.__class__, value))
            answers.append(self._answer(name, value) if number is None else number)
        return (
            (program.track, at.step, at.visit, at.anchor, at.reached_at, enrollment.entered_at, enrollment.ended),
            tuple(answers),
            values,
            tuple(map(type, values)),  # 1, 1.0 and yes are equal
            (lead.zone, id(lead.holidays), lead.owner, lead.is_customer, lead.touch_interval),
            (lead.signals_since, lead.restated, lead.engagement.points_key),
            lead.first_contact_at if self.first_contact else None,
            (view.custodian, view.queue, view.reps_full_until, view.excluded_from, view.received),
            view.touches,
            view.counted_emails,
            _is_granted(view, now) or view.statements,
            tuple(map(stay_key, view.past_stays)),
        )

    def _answer(self, name: str, value: FieldValue) -> int:
        """Return a number that is equal only for values of a field of which the conditions say the same."""
        said = tuple(compare_field(one, value) for one in self.comparisons[name])
        known = self._answers[name]
        if len(known) >= _MAX_CACHED_ANSWERS:
            known.clear()
        number = known[value.__class__, value] = self._numbers.setdefault((name, said), len(self._numbers))
        return number


@dataclass
class Decider(Generic[Description]):
    """Decides about the leads of one batch: about the first of those that are alike. *inputs* belong to the rules.

    *describe* makes of a decision what is stored of it.
    """

    inputs: DecisionInputs
    entries: Entries
    policy: Policy
    now: datetime
    describe: Callable[[Decision], Description]
    _known: dict[Hashable, tuple[Decision, Description]] = field(default_factory=dict)

    def decide(self, view: LeadView, program: Program) -> tuple[Decision, Description]:
        """Return what `planner.decide` returns, and its description. The views of a batch must live as long as it."""
        key = self.inputs.key(view, program, self.now)
        found = self._known.get(key) if key is not None else None
        if found is None:
            decision = decide(view, program, self.entries, self.policy, self.now)
            found = decision, self.describe(decision)
            if key is not None:
                self._known[key] = found
        return found


def has_spread(program: Program) -> bool:
    """Return whether a track gives each lead a minute of its own."""
    return bool(program.spread) or any(isinstance(one, Email) and one.spread for one in program.instructions)


def _has_split(program: Program) -> bool:
    return any(isinstance(one, Split) for one in program.instructions)


def _is_granted(view: LeadView, now: datetime) -> bool:
    """Return whether all mail is allowed by the only statement: when and why it was granted then does not matter."""
    if len(view.statements) != 1:
        return False
    (only,) = view.statements
    return only.granted and only.scope == SuppressionScope.GLOBAL and only.at <= now


def stay_key(past: PastStay) -> Hashable:
    """Return what matters of an earlier stay on a track."""
    stay = past.enrollment
    return stay.track, stay.position, stay.ended, past.left_at
