"""What waits for a rep: offers without an answer, leads without a first touch.

Each step of a ladder is done once: its level is written with its mail in one transaction. The next step is
when custody falls due, so nothing is polled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning.calendar import local
from nurture.domain.policy.business_hours import Rung, Step, climb
from nurture.domain.policy.policy import Policy
from nurture.domain.routing.round_robin import Standing
from nurture.journey.handoff import queries
from nurture.journey.handoff.escalation import promised, told, until_answered, until_followed_up
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.handoff.recycle import expire_all
from nurture.journey.leads import snapshot
from nurture.journey.leads.changeset import Intended
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import LOOK_AGAIN_AFTER, Mover
from nurture.journey.routing.availability import presence, takes_leads
from nurture.runtime.context import House

NOT_ANSWERED: Final = "expired"
NOT_FOLLOWED_UP: Final = "lapsed"
NO_REP_OF_OURS: Final = "no rep of the policy any more"
_LEAST_TIME_TO_MAIL: Final = timedelta(hours=1)


@dataclass
class _Sweep:
    """One batch of leads that wait for their reps."""

    house: House
    mover: Mover
    team: Mapping[str, Standing]
    levels: list[tuple[int, int]] = field(default_factory=list)
    ended: list[tuple[int, str, str]] = field(default_factory=list)
    unanswered: list[Claimed] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def climb(self, lead: Claimed, one: OfferRow, ladder: tuple[Rung, ...], waits: str) -> None:
        """Do what is due for one lead, and say when the next step is."""
        away = self.away(one.rep)
        if away and ladder and ladder[-1].step is Step.TAKE_BACK:
            self.pass_on(lead, one, f"{one.rep} is {away}")
            return
        due, following = climb(ladder, one.level, self.mover.now)
        if due is not None and due.step is Step.TAKE_BACK:
            self._take_back(lead, one, f"{one.rep} did not {waits} in time")
            return
        policy, after = self.mover.book.policy, self.mover.now + LOOK_AGAIN_AFTER
        action = f"{one.rep} is to {waits}" + (
            f"; else {told(policy, one.rep, following)}" if following is not None else ""
        )
        kind = lead.view.custodian
        self.mover.keep(lead, kind, lead.ref, action, following.at if following is not None else after)
        if due is None or due.level is None:
            self.done["looked at"] += 1
            return
        until = following.at if following is not None else after
        self._mail(lead, one, due, max(until, self.mover.now + _LEAST_TIME_TO_MAIL))
        self.levels.append((one.id, due.level))
        event = "reminded" if due.step is Step.REMIND else "escalated"
        self.mover.note(lead, event, f"{one.rep} was to {waits}: {event}", None, ref=one.rep)
        self.done[event] += 1

    def away(self, rep_id: str) -> str:
        """Return why a rep is away for longer than a day, or for good; "" if they are there."""
        there = self.team.get(rep_id)
        if there is None:
            return NO_REP_OF_OURS
        return "" if there.available or there.back else there.away

    def gone(self, rep_id: str) -> str:
        """Return why a rep is away for good; "" if they are there, or will be."""
        rep, now = self.mover.book.policy.rep(rep_id), self.mover.now
        gone = rep is None or not takes_leads(rep, local(now, rep.hours.zone).date())
        return self.away(rep_id) if gone else ""

    def _mail(self, lead: Claimed, one: OfferRow, due: Rung, until: datetime) -> None:
        """Put the mail of a step into the outbox; a manager that nobody is gets none."""
        policy, now = self.mover.book.policy, self.mover.now
        rep = policy.rep(one.rep)
        manager = policy.team.manager_of(rep) if rep is not None else None
        to = one.rep if due.step is Step.REMIND else (manager.id if manager is not None else None)
        if rep is None or to is None:
            return
        self.mover.changes.intended.append(
            Intended.to_rep(
                f"sla:{one.id}:{due.level}",
                "sla",
                due.step.value,
                to,
                lead_id=lead.view.lead.id,
                offer_id=one.id,
                now=now,
                expires_at=until,
            )
        )

    def _take_back(self, lead: Claimed, one: OfferRow, because: str) -> None:
        """Take the lead from its rep: for the next one, or, at the end, to a track or the queue no-rep."""
        if one.round > self.mover.book.policy.agreement.reroute:
            self._end(one, because)
            self.unanswered.append(lead)
            return
        self.pass_on(lead, one, because)

    def _end(self, one: OfferRow, because: str) -> None:
        state = NOT_FOLLOWED_UP if one.state == "accepted" else NOT_ANSWERED
        self.ended.append((one.id, state, because))
        self.done[state] += 1

    def pass_on(self, lead: Claimed, one: OfferRow, because: str) -> None:
        """Take the lead from its rep, for the next one: who is away had no chance to answer."""
        self._end(one, because)
        moved = self.mover.keep(
            lead, Custodian.QUEUE, Queue.HAND_OFF, "offer to the next rep", self.mover.now
        )
        self.mover.note(lead, "taken_back", because, moved, ref=one.rep)

    def write(self, connection: Connection) -> None:
        """Write everything that was done, in one transaction."""
        database, now = self.house.database, self.mover.now
        expired = [(id_, state, None) for id_, state, _ in self.ended if state == NOT_ANSWERED]
        queries.answer(database, connection, expired, now)
        lapsed = [row for row in self.ended if row[1] == NOT_FOLLOWED_UP]
        queries.take_away(database, connection, lapsed)
        expire_all(self.house, connection, self.mover, self.unanswered, "expired")
        self.mover.changes.write(database, connection, now)
        queries.raise_levels(database, connection, self.levels)


def climb_batch(house: House, now: datetime, limit: int) -> Counter[str]:
    """Remind, escalate or take back at most *limit* offers that nobody answered in time."""
    database = house.database
    with database.write() as connection:
        rows = snapshot.claim_due(database, connection, [Custodian.OFFER], now, limit)
        if not rows:
            return Counter()
        sweep = _sweep(house, connection, now)
        policy = sweep.mover.book.policy
        opened = queries.open_of(database, connection, [row.lead_id for row in rows])
        for lead in snapshot.views(database, connection, rows, now, house.holidays):
            one = opened.get(lead.view.lead.id)
            if one is None:
                sweep.unanswered.append(lead)
                sweep.done[NOT_ANSWERED] += 1
                continue
            ladder = until_answered(policy, house.holidays, one.rep, one.offered_at)
            sweep.climb(lead, one, promised(ladder, one.expires_at), "answer")
        sweep.write(connection)
    return sweep.done


def _sweep(house: House, connection: Connection, now: datetime) -> _Sweep:
    book = house.rulebooks.current(connection)
    team = presence(connection, book.policy.reps, now, house.holidays)
    return _Sweep(house, Mover(book, now, "hand off"), team)


def follow_up_batch(house: House, now: datetime, limit: int) -> Counter[str]:
    """Bring at most *limit* leads to attention that reps took over, or take them back."""
    database = house.database
    with database.write() as connection:
        rows = snapshot.claim_due(database, connection, [Custodian.REP], now, limit)
        if not rows:
            return Counter()
        sweep = _sweep(house, connection, now)
        policy = sweep.mover.book.policy
        accepted = queries.accepted_of(database, connection, [row.lead_id for row in rows])
        for lead in snapshot.views(database, connection, rows, now, house.holidays):
            one = accepted.get(lead.view.lead.id)
            mine = one is not None and one.rep == lead.ref
            ladder = until_followed_up(policy, house.holidays, one) if one is not None and mine else ()
            if one is not None and ladder:
                sweep.climb(lead, one, ladder, "follow up")
            elif one is not None and mine and one.followed_up_at is None and sweep.gone(one.rep):
                sweep.pass_on(lead, one, f"{one.rep} is {sweep.gone(one.rep)}")
            elif one is not None and mine and _in_touch_until(one, policy) > now:
                sweep.mover.keep(
                    lead, Custodian.REP, lead.ref, f"{one.rep} works it", _in_touch_until(one, policy)
                )
                sweep.done["looked at"] += 1
            else:
                sweep.mover.remind(lead, "follow up", now + LOOK_AGAIN_AFTER)
                sweep.done["reminded of"] += 1
        sweep.write(connection)
    return sweep.done


def _in_touch_until(one: OfferRow, policy: Policy) -> datetime:
    """Return until when a touch of the lead is fresh; the past without any."""
    return (one.followed_up_at or one.offered_at - policy.max_silence) + policy.max_silence
