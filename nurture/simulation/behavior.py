"""The behavior model of demos and stories: leads click, reply, state dates and buy; reps answer offers.

Every choice is a hash of (seed, lead, occasion), so a seed always gives the same run. Purchase times follow the
Cahners study of business buyers: 90 % of inquirers buy in the end, at a log-normal time with a median of
11.08 months and a sigma of 1.065 (11 % by 3 months, 28 % by 6, 53 % by 12).
"""

from __future__ import annotations

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

from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import handoff as handoff_tables
from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.journey.engagement import signals
from nurture.journey.handoff import follow_up, sweep
from nurture.journey.leads.signal_queries import NewSignal
from nurture.journey.outcomes.outcomes import OutcomeReport, record_outcomes
from nurture.runtime.context import AppContext

EVENTUAL_BUYERS: Final = 0.90
MEDIAN_MONTHS: Final = 11.08
SIGMA: Final = 1.065
DAYS_PER_MONTH: Final = 30.4375

_message = table(delivery_tables.Message)
_offer = table(handoff_tables.Offer)
_lead = table(lead_tables.Lead)


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
        while self._queue and self._queue[0][0] <= now:
            _, _, event = heapq.heappop(self._queue)
            event(now)
        return self._queue[0][0] if self._queue else None

    def _schedule(self, at: datetime, action: ScheduledAction) -> None:
        self._counter += 1
        heapq.heappush(self._queue, (at, self._counter, action))

    def _schedule_reactions(self) -> None:
        query = select(_message).where(_message.c.kind == "touch", _message.c.accepted_at.is_not(None))
        if self._newest_accepted_at is not None:
            query = query.where(_message.c.accepted_at >= self._newest_accepted_at)
        with self.ctx.database.read() as tx:
            rows = tx.execute(query.order_by(_message.c.id)).all()
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
        query = select(_offer.c.id, _offer.c.lead_id, _offer.c.rep, _offer.c.offered_at)
        with self.ctx.database.read() as tx:
            rows = tx.execute(query.where(_offer.c.id > self._newest_offer_id).order_by(_offer.c.id)).all()
        for offer_id, lead_id, rep, offered_at in rows:
            self._newest_offer_id = offer_id
            if self.random_value(lead_id, offer_id, rep, "ignores") < IGNORED_OFFER_RATE:
                continue
            hours = 0.5 + 14 * self.random_value(lead_id, offer_id, "answers")
            self._schedule(offered_at + timedelta(hours=hours), self._answer_offer(offer_id, lead_id))

    def _answer_offer(self, offer_id: int, lead_id: int) -> ScheduledAction:
        def run(now: datetime) -> None:
            purchase_at = self.purchase_time(lead_id)
            buys_soon = purchase_at is not None and purchase_at - now <= timedelta(days=120)
            with suppress(InvalidState):  # the offer has expired
                if self.random_value(lead_id, offer_id, "likes") < (0.85 if buys_soon else 0.25):
                    sweep.accept(self.ctx, offer_id, now)
                    self._schedule_call(lead_id, offer_id, now)
                    self._schedule_outcome(lead_id, now, purchase_at)
                    return
                reason, date = self._choose_rejection(lead_id, offer_id, now, purchase_at)
                sweep.reject(self.ctx, offer_id, reason, now, date.date() if date else None)

        return run

    def _schedule_call(self, lead_id: int, offer_id: int, accepted_at: datetime) -> None:
        """Schedule a call by the rep within two days, except for a share of missed calls."""

        def run(now: datetime) -> None:
            with suppress(InvalidState):  # the lead was withdrawn or closed
                follow_up.record_follow_up(self.ctx, lead_id, "call", now)

        if self.random_value(lead_id, offer_id, "forgets") >= MISSED_CALL_RATE:
            hours = 0.5 + 48 * self.random_value(lead_id, offer_id, "calls") ** 2
            self._schedule(accepted_at + timedelta(hours=hours), run)

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
