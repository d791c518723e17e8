"""How simulated reps and managers work: in their own hours, and mostly in the time that the policy gives them."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from nurture.domain.lead import Closing, Queue
from nurture.domain.policy.business_hours import SlaDuration, add_working_time
from nurture.domain.policy.policy import Policy
from nurture.errors import InvalidState
from nurture.journey.handoff import follow_up, responses
from nurture.journey.handoff.waiting.decisions import Decision, DecisionKind, decide_waiting
from nurture.journey.outcomes.outcomes import OutcomeReport, record_outcomes
from nurture.journey.routing.capacity import working_time
from nurture.runtime.context import AppContext
from nurture.simulation import queries
from nurture.simulation.queries import HeldOffer, WaitingLead

REPS_CALL_WITHIN: Final = timedelta(hours=8)
"""Working time in which reps call, where the policy takes no lead back that is not called."""

GIVES_UP_AFTER: Final = timedelta(days=90)
"""When a rep reports a lead as lost that has not bought."""

UNDECIDED_QUEUES: Final = (Queue.HAND_OFF.value, Queue.MISSING_FIELD.value)
"""The queues in which a rep's capacity or an answer is awaited, and no person; their owners empty all others."""

UNMAILED_QUEUES: Final = (Queue.SUPPRESSED, Queue.NO_CONSENT_BASIS, Queue.NO_ADDRESS)
"""The queues of leads that may not be mailed: their owners let them go."""

DECISIONS: Final = ((0.55, DecisionKind.ASSIGN), (0.85, DecisionKind.NURTURE), (1.0, DecisionKind.DISCARD))
"""What managers decide about leads that nobody answered: cumulative shares."""

REJECTIONS: Final = (
    (0.45, "not-now"),
    (0.65, "no-answer"),
    (0.80, "no-budget"),
    (0.92, "wrong-person"),
    (1.0, "bad-fit"),
)
"""Why reps give leads back: cumulative shares. A reason that the policy does not have is replaced by one of its own."""


@dataclass(frozen=True, slots=True)
class SalesRates:
    """The shares of offers that reps let expire or answer too late, and of accepted leads that they do not call."""

    ignored: float
    late: float
    not_called: float


AS_USUAL: Final = SalesRates(ignored=0.08, late=0.03, not_called=0.1)
ANSWERS: Final = SalesRates(ignored=0.0, late=0.0, not_called=0.0)

PurchaseTime = Callable[[int], datetime | None]
_Action = tuple[datetime, Callable[[datetime], object]]


def draw(seed: str, *occasion: object) -> float:
    """Return a number in [0, 1) that depends on the seed and the occasion only."""
    digest = sha256(":".join(map(str, (seed, *occasion))).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


@dataclass
class SalesBehavior:
    """Answers offers, calls, reports outcomes, and decides about leads that wait.

    What is to be done is read from the database each time: doing it ends the state from which it follows.
    """

    ctx: AppContext
    seed: str
    rates: SalesRates
    purchase_time: PurchaseTime
    _actions: list[_Action] = field(default_factory=list)
    _times: dict[tuple[object, ...], datetime | None] = field(default_factory=dict)

    def advance_to(self, now: datetime, *, look: bool = True) -> datetime | None:
        """Do what is due at *now*; return the time of the next action, None if there is none.

        Without *look* nothing has happened since the last call.
        """
        if look:
            self._actions = self._find_actions()
        for _, act in sorted((one for one in self._actions if one[0] <= now), key=lambda one: one[0]):
            with suppress(InvalidState):  # the offer has expired, or the lead was withdrawn, closed or decided about
                act(now)
        return min((at for at, _ in self._actions if at > now), default=None)

    def _find_actions(self) -> list[_Action]:
        with self.ctx.database.read() as tx:
            policy = self.ctx.definitions.current(tx).policy
            offers = queries.load_held_offers(tx)
            waiting = queries.load_waiting(tx, UNDECIDED_QUEUES)
        return [
            *(action for one in offers for action in self._next_actions(policy, one)),
            *(action for one in waiting for action in self._decision(policy, one)),
        ]

    def _draw(self, *occasion: object) -> float:
        return draw(self.seed, *occasion)

    def _next_actions(self, policy: Policy, one: HeldOffer) -> Iterator[_Action]:
        if one.state == "offered":
            at = self._remembered((one.id, "answer"), lambda: self._answer_at(policy, one))
            if at is not None:
                yield at, lambda now: self._answer(policy, one, now)
            return
        accepted_at = one.answered_at or one.offered_at
        if one.followed_up_at is None:
            at = self._remembered((one.id, "call"), lambda: self._call_at(policy, one, accepted_at))
            if at is not None:
                yield at, lambda now: follow_up.record_follow_up(self.ctx, one.lead_id, "call", now)
        purchase_at, gives_up = self.purchase_time(one.lead_id), accepted_at + GIVES_UP_AFTER
        won = purchase_at is not None and purchase_at <= gives_up
        at = max(purchase_at, accepted_at + timedelta(hours=4)) if won and purchase_at is not None else gives_up
        yield at, lambda now: self._report(one.lead_id, now, won=won)

    def _remembered(self, key: tuple[object, ...], find: Callable[[], datetime | None]) -> datetime | None:
        if key not in self._times:
            self._times[key] = find()
        return self._times[key]

    def _answer_at(self, policy: Policy, one: HeldOffer) -> datetime | None:
        if self._draw(one.lead_id, one.id, one.rep, "ignores") < self.rates.ignored:
            return None
        is_late = self._draw(one.lead_id, one.id, "late") < self.rates.late
        share = 1.2 if is_late else 0.05 + 0.85 * self._draw(one.lead_id, one.id, "answers") ** 1.5
        within = policy.sla_of(one.tier).accept.take_back
        return self._in_working_time(policy, one.rep, one.offered_at, within, share)

    def _call_at(self, policy: Policy, one: HeldOffer, accepted_at: datetime) -> datetime | None:
        if self._draw(one.lead_id, one.id, "forgets") < self.rates.not_called:
            return None
        share = 0.05 + 0.8 * self._draw(one.lead_id, one.id, "calls") ** 2
        within = policy.sla_of(one.tier).follow_up.take_back
        return self._in_working_time(policy, one.rep, accepted_at, within, share)

    def _in_working_time(
        self, policy: Policy, rep_id: str, since: datetime, within: SlaDuration | None, share: float
    ) -> datetime:
        """Return when *share* of the duration *within* has passed since *since* in the hours of the rep."""
        rep = policy.rep(rep_id)
        hours = rep.hours if rep is not None else policy.business_hours
        calendar = working_time(hours, self.ctx.holidays, since)
        length = within.length(calendar) if within is not None else REPS_CALL_WITHIN
        return add_working_time(calendar, since, share * length)

    def _answer(self, policy: Policy, one: HeldOffer, now: datetime) -> None:
        purchase_at = self.purchase_time(one.lead_id)
        buys_soon = purchase_at is not None and purchase_at - now <= timedelta(days=120)
        if self._draw(one.lead_id, one.id, "likes") < (0.85 if buys_soon else 0.25):
            responses.accept(self.ctx, one.id, now)
            return
        value = self._draw(one.lead_id, one.id, "reason")
        reason = next(code for limit, code in REJECTIONS if value < limit)
        if reason not in policy.reject_reasons:
            known = sorted(policy.reject_reasons)
            reason = known[int(len(known) * value)] if known else reason
        states_date = reason == "not-now" and value < 0.25 and purchase_at is not None and purchase_at > now
        date = purchase_at.date() if states_date and purchase_at is not None else None
        responses.reject(self.ctx, one.id, reason, now, date)

    def _report(self, lead_id: int, now: datetime, *, won: bool) -> None:
        """Report a win when the lead buys, or a loss when the rep gives up."""
        amount = float(round(8_000 + 40_000 * self._draw(lead_id, "amount") ** 2, -2))
        closing, reason = (Closing.WON, "") if won else (Closing.LOST, "no decision")
        report = OutcomeReport(lead_id, closing, amount=amount if won else None, reason=reason)
        record_outcomes(self.ctx, [report], "simulated", now)

    def _decision(self, policy: Policy, one: WaitingLead) -> Iterator[_Action]:
        """Yield what the owner of a queue decides about a lead in it, within the time of the queue."""
        rule = policy.queues.rule_for(one.ref)
        if rule is None or not policy.reps:
            return
        value = self._draw(one.lead_id, one.since, "decides")
        share = 0.1 + 0.8 * value**2
        at = self._remembered(
            (one.lead_id, one.since), lambda: self._in_working_time(policy, rule.owner, one.since, rule.within, share)
        )
        assert at is not None
        kind = next(kind for limit, kind in DECISIONS if self._draw(one.lead_id, one.since, "kind") < limit)
        if one.ref in UNMAILED_QUEUES:
            kind = DecisionKind.DISCARD
        rep = policy.reps[int(len(policy.reps) * self._draw(one.lead_id, one.since, "whom"))].id
        decision = Decision(kind, rule.owner, rep, "decided in the weekly meeting")
        yield at, lambda now: decide_waiting(self.ctx, one.lead_id, decision, now)
