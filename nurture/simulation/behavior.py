"""The behavior model of demos and stories: leads click, reply, state dates and buy; reps and managers answer.

Reps work in their own hours, and mostly in the time that the policy gives them.

Every choice is a hash of (seed, lead, occasion), so a seed always gives the same run. Purchase times follow the
Cahners study of business buyers: 90 % of inquirers buy in the end, at a log-normal time with a median of
11.08 months and a sigma of 1.065 (11 % by 3 months, 28 % by 6, 53 % by 12).
"""

import heapq
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from math import exp
from statistics import NormalDist
from typing import Final

from sqlalchemy import Row, select

from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import custody
from nurture.domain.lead import Closing, Custodian, Queue
from nurture.domain.policy.business_hours import SlaDuration, add_working_time
from nurture.domain.policy.policy import Policy
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.journey.engagement import signals
from nurture.journey.handoff import follow_up, responses
from nurture.journey.handoff.waiting.decisions import Decision, DecisionKind, decide_waiting
from nurture.journey.leads.changeset import OfferRow
from nurture.journey.leads.signal_queries import NewSignal
from nurture.journey.outcomes.outcomes import OutcomeReport, record_outcomes
from nurture.journey.routing.capacity import working_time
from nurture.runtime.context import AppContext

EVENTUAL_BUYERS: Final = 0.90
MEDIAN_MONTHS: Final = 11.08
SIGMA: Final = 1.065
DAYS_PER_MONTH: Final = 30.4375


@dataclass(frozen=True, slots=True)
class ReactionRates:
    """Probabilities of a lead's reactions to one email."""

    click: float
    reply: float
    state_date: float


RATES_FAR_FROM_BUYING: Final = ReactionRates(click=0.06, reply=0.004, state_date=0.02)
RATES_NEAR_BUYING: Final = ReactionRates(click=0.45, reply=0.10, state_date=0.35)
NEAR_BUYING_DAYS: Final = 75
UNSUBSCRIBE_RATE: Final = 0.004
IGNORED_OFFER_RATE: Final = 0.08
"""The share of offers that a rep lets expire."""

MISSED_CALL_RATE: Final = 0.1
"""The share of accepted leads that a rep does not call."""

LATE_ANSWER_RATE: Final = 0.03
"""The share of answers that come after the offer was taken back."""

REPS_CALL_WITHIN: Final = timedelta(hours=8)
"""Working time in which reps call, where the policy takes no lead back that is not called."""

DECIDED_QUEUES: Final = (Queue.MANAGER_DECISION.value, "wrong-person", "needs-a-look")
"""The queues that managers empty."""

DECISIONS: Final = ((0.55, DecisionKind.ASSIGN), (0.85, DecisionKind.NURTURE), (1.0, DecisionKind.DISCARD))
"""What managers decide about leads that nobody answered: cumulative shares."""

ScheduledAction = Callable[[datetime], None]


@dataclass
class BehaviorModel:
    """Reacts to sent touches and to offers, on the virtual clock."""

    ctx: AppContext
    seed: str
    start: datetime
    _queue: list[tuple[datetime, int, ScheduledAction]] = field(default_factory=list)
    _counter: int = 0
    _newest_accepted_at: datetime | None = None
    _touch_ids: set[int] = field(default_factory=set)
    _newest_offer_id: int = 0
    _decisions: set[tuple[int, datetime]] = field(default_factory=set)

    def random_value(self, *occasion: object) -> float:
        """Return a number in [0, 1) that depends on the seed and the occasion only."""
        digest = sha256(":".join(map(str, (self.seed, *occasion))).encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56

    def purchase_time(self, lead_id: int) -> datetime | None:
        """Return when the lead buys, None if it never does."""
        if self.random_value(lead_id, "buys") >= EVENTUAL_BUYERS:
            return None
        z = NormalDist().inv_cdf(min(max(self.random_value(lead_id, "when"), 1e-6), 1 - 1e-6))
        return self.start + timedelta(days=MEDIAN_MONTHS * exp(SIGMA * z) * DAYS_PER_MONTH)

    def advance_to(self, now: datetime) -> datetime | None:
        """Do the reactions that are due at *now*; return the time of the next one."""
        self._schedule_reactions()
        self._schedule_answers()
        self._schedule_decisions()
        while self._queue and self._queue[0][0] <= now:
            _, _, event = heapq.heappop(self._queue)
            event(now)
        return self._queue[0][0] if self._queue else None

    def _schedule(self, at: datetime, action: ScheduledAction) -> None:
        self._counter += 1
        heapq.heappush(self._queue, (at, self._counter, action))

    def _schedule_reactions(self) -> None:
        query = select(message).where(message.c.kind == "touch", message.c.accepted_at.is_not(None))
        if self._newest_accepted_at is not None:
            query = query.where(message.c.accepted_at >= self._newest_accepted_at)
        with self.ctx.database.read() as tx:
            rows = tx.execute(query.order_by(message.c.id)).all()
        for row in rows:
            if row.id not in self._touch_ids:
                self._touch_ids.add(row.id)
                self._newest_accepted_at = max(self._newest_accepted_at or row.accepted_at, row.accepted_at)
                for at, signal in self._reactions(row):
                    self._schedule(at, signal)

    def _reactions(self, touch: Row[tuple[object, ...]]) -> Iterator[tuple[datetime, ScheduledAction]]:
        lead_id, sent = touch.lead_id, touch.accepted_at
        purchase_at = self.purchase_time(lead_id)
        close = purchase_at is not None and timedelta() <= purchase_at - sent <= timedelta(days=NEAR_BUYING_DAYS)
        rates = RATES_NEAR_BUYING if close else RATES_FAR_FROM_BUYING
        read_at = sent + timedelta(minutes=5 + 2_000 * self.random_value(lead_id, touch.id, "reads") ** 2)
        if self.random_value(lead_id, touch.id, "click") < rates.click:
            yield read_at, self._record_signal(touch, SignalKind.CLICKED, None)
            if close and self.random_value(lead_id, touch.id, "again") < 0.5:
                yield (read_at + timedelta(minutes=3), self._record_signal(touch, SignalKind.CLICKED, None, "again"))
        if self.random_value(lead_id, touch.id, "reply") < rates.reply:
            yield read_at + timedelta(minutes=20), self._record_signal(touch, SignalKind.REPLIED, None)
        asks_for_date = "decide" in touch.email
        if (
            asks_for_date
            and purchase_at is not None
            and self.random_value(lead_id, touch.id, "date") < 4 * rates.state_date
        ):
            signal = self._record_signal(touch, SignalKind.DECIDING, purchase_at.date().isoformat())
            yield read_at + timedelta(minutes=10), signal
        if self.random_value(lead_id, touch.id, "unsubscribe") < UNSUBSCRIBE_RATE:
            yield read_at, self._record_signal(touch, SignalKind.UNSUBSCRIBED, None)

    def _record_signal(
        self, touch: Row[tuple[object, ...]], kind: SignalKind, value: str | None, suffix: str = ""
    ) -> ScheduledAction:
        def run(now: datetime) -> None:
            signal = NewSignal(
                lead_id=touch.lead_id,
                kind=kind.value,
                occurred_at=now,
                recorded_at=now,
                natural_key=f"simulated|{touch.id}|{kind.value}|{suffix}",
                source="simulated",
                enrollment_id=touch.enrollment_id,
                track=touch.track,
                step=touch.step,
                link="button" if kind is SignalKind.CLICKED else None,
                message_id=touch.id,
                value=value,
            )
            signals.record(self.ctx, [signal], now)

        return run

    def _schedule_answers(self) -> None:
        query = select(offer.c.id, offer.c.lead_id, offer.c.rep, offer.c.offered_at, offer.c.tier)
        with self.ctx.database.read() as tx:
            policy = self.ctx.definitions.current(tx).policy
            rows = tx.execute(query.where(offer.c.id > self._newest_offer_id).order_by(offer.c.id)).all()
        for offer_id, lead_id, rep, offered_at, tier in rows:
            self._newest_offer_id = offer_id
            if self.random_value(lead_id, offer_id, rep, "ignores") < IGNORED_OFFER_RATE:
                continue
            draw = self.random_value(lead_id, offer_id, "answers")
            is_late = self.random_value(lead_id, offer_id, "late") < LATE_ANSWER_RATE
            within = policy.sla_of(tier).accept.take_back
            share = 1.2 if is_late else 0.05 + 0.85 * draw**1.5
            at = self._in_working_time(policy, rep, offered_at, within, share)
            self._schedule(at, self._answer_offer(offer_id, lead_id))

    def _in_working_time(
        self, policy: Policy, rep_id: str, since: datetime, within: SlaDuration | None, share: float
    ) -> datetime:
        """Return when *share* of the duration *within* has passed since *since* in the hours of the rep."""
        rep = policy.rep(rep_id)
        hours = rep.hours if rep is not None else policy.business_hours
        calendar = working_time(hours, self.ctx.holidays, since)
        length = within.length(calendar) if within is not None else REPS_CALL_WITHIN
        return add_working_time(calendar, since, share * length)

    def _schedule_decisions(self) -> None:
        """Schedule what a manager decides about each lead that came to them."""
        with self.ctx.database.read() as tx:
            policy = self.ctx.definitions.current(tx).policy
            came = select(custody.c.lead_id, custody.c.since).where(custody.c.ref.in_(DECIDED_QUEUES))
            rows = tx.execute(came.where(custody.c.kind == Custodian.QUEUE.value).order_by(custody.c.lead_id)).all()
        rule = policy.queues.rule_for(Queue.MANAGER_DECISION)
        for lead_id, since in rows:
            if rule is None or (lead_id, since) in self._decisions:
                continue
            self._decisions.add((lead_id, since))
            draw = self.random_value(lead_id, since, "decides")
            at = self._in_working_time(policy, rule.owner, since, rule.within, 0.1 + 1.1 * draw**2)
            kind = next(kind for limit, kind in DECISIONS if self.random_value(lead_id, since, "kind") < limit)
            rep = policy.reps[int(len(policy.reps) * self.random_value(lead_id, since, "whom"))].id
            decision = Decision(kind, rule.owner, rep, "decided in the weekly meeting")
            self._schedule(at, self._decide(lead_id, decision))

    def _decide(self, lead_id: int, decision: Decision) -> ScheduledAction:
        def run(now: datetime) -> None:
            with suppress(InvalidState):  # the lead left the queue
                decide_waiting(self.ctx, lead_id, decision, now)

        return run

    def _answer_offer(self, offer_id: int, lead_id: int) -> ScheduledAction:
        def run(now: datetime) -> None:
            purchase_at = self.purchase_time(lead_id)
            buys_soon = purchase_at is not None and purchase_at - now <= timedelta(days=120)
            with suppress(InvalidState):  # the offer has expired
                if self.random_value(lead_id, offer_id, "likes") < (0.85 if buys_soon else 0.25):
                    accepted = responses.accept(self.ctx, offer_id, now)
                    self._schedule_call(lead_id, offer_id, accepted, now)
                    self._schedule_outcome(lead_id, now, purchase_at)
                    return
                reason, date = self._choose_rejection(lead_id, offer_id, now, purchase_at)
                responses.reject(self.ctx, offer_id, reason, now, date.date() if date else None)

        return run

    def _schedule_call(self, lead_id: int, offer_id: int, accepted: OfferRow, accepted_at: datetime) -> None:
        """Schedule a call by the rep in working time, except for a share of missed calls."""

        def run(now: datetime) -> None:
            with suppress(InvalidState):  # the lead was withdrawn or closed
                follow_up.record_follow_up(self.ctx, lead_id, "call", now)

        if self.random_value(lead_id, offer_id, "forgets") >= MISSED_CALL_RATE:
            with self.ctx.database.read() as tx:
                policy = self.ctx.definitions.current(tx).policy
            within = policy.sla_of(accepted.tier).follow_up.take_back
            share = 0.05 + 0.8 * self.random_value(lead_id, offer_id, "calls") ** 2
            self._schedule(self._in_working_time(policy, accepted.rep, accepted_at, within, share), run)

    def _choose_rejection(
        self, lead_id: int, offer_id: int, now: datetime, purchase_at: datetime | None
    ) -> tuple[str, datetime | None]:
        draw = self.random_value(lead_id, offer_id, "reason")
        if draw < 0.45:
            stated_date = purchase_at if purchase_at is not None and purchase_at > now and draw < 0.25 else None
            return "not-now", stated_date
        if draw < 0.65:
            return "no-answer", None
        if draw < 0.80:
            return "no-budget", None
        return ("wrong-person", None) if draw < 0.92 else ("bad-fit", None)

    def _schedule_outcome(self, lead_id: int, now: datetime, purchase_at: datetime | None) -> None:
        """Schedule a win when the lead buys, or a loss after 90 days."""
        gives_up = now + timedelta(days=90)
        won = purchase_at is not None and purchase_at <= gives_up
        at = max(purchase_at, now + timedelta(hours=4)) if won and purchase_at is not None else gives_up
        amount = float(round(8_000 + 40_000 * self.random_value(lead_id, "amount") ** 2, -2))

        def run(happened_at: datetime) -> None:
            closing, reason = (Closing.WON, "") if won else (Closing.LOST, "no decision")
            report = OutcomeReport(lead_id, closing, amount=amount if won else None, reason=reason)
            record_outcomes(self.ctx, [report], "simulated", happened_at)

        self._schedule(at, run)
