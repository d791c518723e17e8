"""A crowd for demos and stories: leads who click, reply, decide and buy, and reps who answer.

Everything is a hash of (seed, lead, occasion), so the same seed gives the same months. When a lead buys
follows the Cahners study of business buyers: 90 % of those who ask buy in the end, at a log-normal time
with a median of 11.08 months and a sigma of 1.065 (11 % by 3 months, 28 % by 6, 53 % by 12).
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

from sqlalchemy import Row, Table, select

from nurture.db.tables import core
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import Refused
from nurture.journey.engagement import signals
from nurture.journey.handoff import follow_up, sweep
from nurture.journey.leads.signal_queries import Recorded
from nurture.journey.outcomes import close as outcomes_close
from nurture.runtime.context import House

EVENTUAL_BUYERS: Final = 0.90
MEDIAN_MONTHS: Final = 11.08
SIGMA: Final = 1.065
DAYS_PER_MONTH: Final = 30.4375

_message: Table = core.Message.__table__  # type: ignore[attr-defined]
_offer: Table = core.Offer.__table__  # type: ignore[attr-defined]
_lead: Table = core.Lead.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Odds:
    """How likely a lead reacts to one email, far from buying and close to it."""

    click: float
    reply: float
    state_a_date: float


FAR: Final = Odds(click=0.06, reply=0.004, state_a_date=0.02)
CLOSE: Final = Odds(click=0.45, reply=0.10, state_a_date=0.35)
CLOSE_DAYS: Final = 75
UNSUBSCRIBES: Final = 0.004
IGNORES: Final = 0.08
"""The share of offers that a rep lets expire."""

FORGETS: Final = 0.1
"""The share of accepted leads that a rep does not call."""

Event = Callable[[datetime], None]


@dataclass
class Crowd:
    """Watches what nurture does to its leads, and reacts in time."""

    house: House
    seed: str
    start: datetime
    _queue: list[tuple[datetime, int, Event]] = field(default_factory=list)
    _counter: int = 0
    _message_seen: datetime | None = None
    _touched: set[int] = field(default_factory=set)
    _offer_seen: int = 0

    def chance(self, *occasion: object) -> float:
        """Return a number in [0, 1) that depends on the seed and the occasion only."""
        digest = sha256(":".join(map(str, (self.seed, *occasion))).encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56

    def buys_at(self, lead_id: int) -> datetime | None:
        """Return when the lead buys, None if it never does."""
        if self.chance(lead_id, "buys") >= EVENTUAL_BUYERS:
            return None
        z = NormalDist().inv_cdf(min(max(self.chance(lead_id, "when"), 1e-6), 1 - 1e-6))
        return self.start + timedelta(days=MEDIAN_MONTHS * exp(SIGMA * z) * DAYS_PER_MONTH)

    def live(self, now: datetime) -> datetime | None:
        """Do what is due by *now*; return when the crowd does something next."""
        self._see_touches()
        self._see_offers()
        while self._queue and self._queue[0][0] <= now:
            _, _, event = heapq.heappop(self._queue)
            event(now)
        return self._queue[0][0] if self._queue else None

    def _later(self, at: datetime, event: Event) -> None:
        self._counter += 1
        heapq.heappush(self._queue, (at, self._counter, event))

    def _see_touches(self) -> None:
        wanted = select(_message).where(_message.c.kind == "touch", _message.c.accepted_at.is_not(None))
        if self._message_seen is not None:
            wanted = wanted.where(_message.c.accepted_at >= self._message_seen)
        with self.house.database.read() as connection:
            rows = connection.execute(wanted.order_by(_message.c.id)).all()
        for row in rows:
            if row.id not in self._touched:
                self._touched.add(row.id)
                self._message_seen = max(self._message_seen or row.accepted_at, row.accepted_at)
                for at, signal in self._reactions(row):
                    self._later(at, signal)

    def _reactions(self, touch: Row[tuple[object, ...]]) -> Iterator[tuple[datetime, Event]]:
        lead_id, sent = touch.lead_id, touch.accepted_at
        buys = self.buys_at(lead_id)
        close = buys is not None and timedelta() <= buys - sent <= timedelta(days=CLOSE_DAYS)
        odds = CLOSE if close else FAR
        seen = sent + timedelta(minutes=5 + 2_000 * self.chance(lead_id, touch.id, "reads") ** 2)
        if self.chance(lead_id, touch.id, "click") < odds.click:
            yield seen, self._signal(touch, SignalKind.CLICKED, None)
            if close and self.chance(lead_id, touch.id, "again") < 0.5:
                yield seen + timedelta(minutes=3), self._signal(touch, SignalKind.CLICKED, None, "again")
        if self.chance(lead_id, touch.id, "reply") < odds.reply:
            yield seen + timedelta(minutes=20), self._signal(touch, SignalKind.REPLIED, None)
        asked = "decide" in touch.email
        if asked and buys is not None and self.chance(lead_id, touch.id, "date") < 4 * odds.state_a_date:
            stated = self._signal(touch, SignalKind.DECIDING, buys.date().isoformat())
            yield seen + timedelta(minutes=10), stated
        if self.chance(lead_id, touch.id, "unsubscribe") < UNSUBSCRIBES:
            yield seen, self._signal(touch, SignalKind.UNSUBSCRIBED, None)

    def _signal(
        self, touch: Row[tuple[object, ...]], kind: SignalKind, value: str | None, again: str = ""
    ) -> Event:
        def happen(now: datetime) -> None:
            heard = Recorded(
                lead_id=touch.lead_id,
                kind=kind.value,
                occurred_at=now,
                recorded_at=now,
                natural_key=f"crowd|{touch.id}|{kind.value}|{again}",
                source="crowd",
                enrollment_id=touch.enrollment_id,
                track=touch.track,
                step=touch.step,
                link="button" if kind is SignalKind.CLICKED else None,
                message_id=touch.id,
                value=value,
            )
            signals.record(self.house, [heard], now)

        return happen

    def _see_offers(self) -> None:
        wanted = select(_offer.c.id, _offer.c.lead_id, _offer.c.rep, _offer.c.offered_at)
        with self.house.database.read() as connection:
            rows = connection.execute(
                wanted.where(_offer.c.id > self._offer_seen).order_by(_offer.c.id)
            ).all()
        for offer_id, lead_id, rep, offered_at in rows:
            self._offer_seen = offer_id
            if self.chance(lead_id, offer_id, rep, "ignores") < IGNORES:
                continue
            hours = 0.5 + 14 * self.chance(lead_id, offer_id, "answers")
            self._later(offered_at + timedelta(hours=hours), self._answer(offer_id, lead_id))

    def _answer(self, offer_id: int, lead_id: int) -> Event:
        def happen(now: datetime) -> None:
            buys = self.buys_at(lead_id)
            soon = buys is not None and buys - now <= timedelta(days=120)
            with suppress(Refused):  # it expired meanwhile
                if self.chance(lead_id, offer_id, "likes") < (0.85 if soon else 0.25):
                    sweep.accept(self.house, offer_id, now)
                    self._calls(lead_id, offer_id, now)
                    self._sale(lead_id, now, buys)
                    return
                reason, date = self._rejection(lead_id, offer_id, now, buys)
                sweep.reject(self.house, offer_id, reason, now, date.date() if date else None)

        return happen

    def _calls(self, lead_id: int, offer_id: int, accepted_at: datetime) -> None:
        """Let the rep call the lead within two days, or forget about it."""

        def happen(now: datetime) -> None:
            with suppress(Refused):  # it was taken back, or closed, meanwhile
                follow_up.followed_up(self.house, lead_id, "call", now)

        if self.chance(lead_id, offer_id, "forgets") >= FORGETS:
            hours = 0.5 + 48 * self.chance(lead_id, offer_id, "calls") ** 2
            self._later(accepted_at + timedelta(hours=hours), happen)

    def _rejection(
        self, lead_id: int, offer_id: int, now: datetime, buys: datetime | None
    ) -> tuple[str, datetime | None]:
        draw = self.chance(lead_id, offer_id, "reason")
        if draw < 0.45:
            learned = buys if buys is not None and buys > now and draw < 0.25 else None
            return "not-now", learned
        if draw < 0.65:
            return "no-answer", None
        if draw < 0.80:
            return "no-budget", None
        return ("wrong-person", None) if draw < 0.92 else ("bad-fit", None)

    def _sale(self, lead_id: int, now: datetime, buys: datetime | None) -> None:
        """Let the rep win the lead on the day it buys, or give it up after three months."""
        gives_up = now + timedelta(days=90)
        won = buys is not None and buys <= gives_up
        at = max(buys, now + timedelta(hours=4)) if won and buys is not None else gives_up
        amount = float(round(8_000 + 40_000 * self.chance(lead_id, "amount") ** 2, -2))

        def happen(moment: datetime) -> None:
            if won:
                outcomes_close.close(self.house, lead_id, Closing.WON, moment, amount=amount, source="crowd")
            else:
                outcomes_close.close(
                    self.house, lead_id, Closing.LOST, moment, reason="no decision", source="crowd"
                )

        self._later(at, happen)
