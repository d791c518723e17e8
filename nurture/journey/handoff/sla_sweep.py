"""Escalate overdue work of reps: offers without an answer, accepted leads without a follow-up.

Each escalation step is done once: its level is stored with its mail in one transaction. Custody is due at the next
step, so nothing is polled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning.calendar import to_local
from nurture.domain.policy.business_hours import EscalationAction, EscalationStep, next_step
from nurture.domain.policy.policy import Policy
from nurture.domain.routing.round_robin import RepAvailability
from nurture.journey.handoff import queries
from nurture.journey.handoff.escalation import (
    ANSWER,
    FOLLOW_UP,
    answer_escalation,
    describe_step,
    follow_up_escalation,
    with_promised_deadline,
)
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.handoff.recycle import recycle_unanswered
from nurture.journey.leads import snapshot
from nurture.journey.leads.changeset import NewMessage
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import QUEUE_REVIEW_INTERVAL, LeadTransitions
from nurture.journey.routing.availability import is_active, load_availability
from nurture.outbox.messages import TO_REP
from nurture.runtime.context import AppContext

NOT_ANSWERED: Final = "expired"
NOT_FOLLOWED_UP: Final = "lapsed"
REP_LEFT_POLICY: Final = "no longer in the policy"
_MIN_MAIL_WINDOW: Final = timedelta(hours=1)


@dataclass
class _Sweep:
    """One batch of leads whose reps are due to act."""

    ctx: AppContext
    transitions: LeadTransitions
    team: Mapping[str, RepAvailability]
    levels: list[tuple[int, int]] = field(default_factory=list)
    ended: list[tuple[int, str, str]] = field(default_factory=list)
    unanswered: list[LeadSnapshot] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)

    def run_next_step(
        self, lead: LeadSnapshot, offer: OfferRow, escalation: tuple[EscalationStep, ...], task: str
    ) -> None:
        """Do the due escalation step of one lead, and schedule the next."""
        absence = self.absence_reason(offer.rep)
        if absence and escalation and escalation[-1].action is EscalationAction.TAKE_BACK:
            self.return_to_queue(lead, offer, f"{offer.rep} is {absence}")
            return
        due, next_due = next_step(escalation, offer.escalation_level, self.transitions.now)
        if due is not None and due.action is EscalationAction.TAKE_BACK:
            self._take_back(lead, offer, f"{offer.rep} did not {task} in time")
            return
        policy, after = self.transitions.definitions.policy, self.transitions.now + QUEUE_REVIEW_INTERVAL
        action = f"{offer.rep} is to {task}" + (
            f"; else {describe_step(policy, offer.rep, next_due)}" if next_due is not None else ""
        )
        custodian = lead.view.custodian
        self.transitions.set_custody(
            lead, custodian, lead.ref, action, next_due.due_at if next_due is not None else after
        )
        if due is None or due.level is None:
            self.events["checked"] += 1
            return
        until = next_due.due_at if next_due is not None else after
        self._plan_email(lead, offer, due, task, max(until, self.transitions.now + _MIN_MAIL_WINDOW))
        self.levels.append((offer.id, due.level))
        event = "reminded" if due.action is EscalationAction.REMIND else "escalated"
        self.transitions.add_journal_entry(lead, event, f"{offer.rep} was to {task}: {event}", None, ref=offer.rep)
        self.events[event] += 1

    def absence_reason(self, rep_id: str) -> str:
        """Return why a rep is away for more than a day or has left, "" if neither."""
        availability = self.team.get(rep_id)
        if availability is None:
            return REP_LEFT_POLICY
        return "" if availability.available or availability.away_today_only else availability.away_reason

    def departure_reason(self, rep_id: str) -> str:
        """Return why a rep has left, "" if not."""
        rep, now = self.transitions.definitions.policy.rep(rep_id), self.transitions.now
        has_left = rep is None or not is_active(rep, to_local(now, rep.hours.zone).date())
        return self.absence_reason(rep_id) if has_left else ""

    def _plan_email(self, lead: LeadSnapshot, offer: OfferRow, due: EscalationStep, task: str, until: datetime) -> None:
        """Plan the mail of a step; without a manager there is no escalation mail."""
        policy, now = self.transitions.definitions.policy, self.transitions.now
        rep = policy.rep(offer.rep)
        manager = policy.team.manager_of(rep) if rep is not None else None
        recipient = (
            offer.rep if due.action is EscalationAction.REMIND else (manager.id if manager is not None else None)
        )
        if rep is None or recipient is None:
            return
        email = NewMessage.due_now(
            f"sla:{offer.id}:{due.level}", "sla", TO_REP, lead.view.lead.id, due.action.value, now, until
        )
        self.transitions.changes.new_messages.append(email._replace(offer_id=offer.id, rep=recipient, step=task))

    def _take_back(self, lead: LeadSnapshot, offer: OfferRow, reason: str) -> None:
        """Take the lead from its rep: to the next rep, or after the last round to a track or the no-rep queue."""
        if offer.round > self.transitions.definitions.policy.effective_sla.max_reroutes:
            self._end(offer, reason)
            self.unanswered.append(lead)
            return
        self.return_to_queue(lead, offer, reason)

    def _end(self, offer: OfferRow, reason: str) -> None:
        state = NOT_FOLLOWED_UP if offer.state == "accepted" else NOT_ANSWERED
        self.ended.append((offer.id, state, reason))
        self.events[state] += 1

    def return_to_queue(self, lead: LeadSnapshot, offer: OfferRow, reason: str) -> None:
        """Take the lead from its rep for the next one. An absent rep could not answer, so no round is counted."""
        self._end(offer, reason)
        moved = self.transitions.set_custody(
            lead, Custodian.QUEUE, Queue.HAND_OFF, "offer to the next rep", self.transitions.now
        )
        self.transitions.add_journal_entry(lead, "taken_back", reason, moved, ref=offer.rep)

    def write(self, tx: Transaction) -> None:
        """Write all changes in one transaction."""
        _database, now = self.ctx.database, self.transitions.now
        expired = [(id_, state, None) for id_, state, _ in self.ended if state == NOT_ANSWERED]
        queries.record_answers(tx, expired, now)
        lapsed = [row for row in self.ended if row[1] == NOT_FOLLOWED_UP]
        queries.end_accepted_offers(tx, lapsed)
        recycle_unanswered(tx, self.transitions, self.unanswered, "expired")
        self.transitions.changes.write(tx, now)
        queries.raise_escalation_levels(tx, self.levels)


def escalate_offers(ctx: AppContext, now: datetime, limit: int) -> Counter[str]:
    """Remind, escalate or take back at most *limit* offers without an answer in time."""
    with ctx.database.write() as tx:
        rows = snapshot.claim_due(tx, [Custodian.OFFER], now, limit)
        if not rows:
            return Counter()
        sweep = _start_sweep(ctx, tx, now)
        policy = sweep.transitions.definitions.policy
        open_offers = queries.load_open_offers(tx, [row.lead_id for row in rows])
        for lead in snapshot.load_snapshots(tx, rows, now, ctx.holidays):
            one = open_offers.get(lead.view.lead.id)
            if one is None:
                sweep.unanswered.append(lead)
                sweep.events[NOT_ANSWERED] += 1
                continue
            escalation = answer_escalation(policy, ctx.holidays, one.rep, one.offered_at)
            sweep.run_next_step(lead, one, with_promised_deadline(escalation, one.expires_at), ANSWER)
        sweep.write(tx)
    return sweep.events


def _start_sweep(ctx: AppContext, tx: Transaction, now: datetime) -> _Sweep:
    definitions = ctx.definitions.current(tx)
    team = load_availability(tx, definitions.policy.reps, now, ctx.holidays)
    return _Sweep(ctx, LeadTransitions(definitions, now, "handoff"), team)


def escalate_follow_ups(ctx: AppContext, now: datetime, limit: int) -> Counter[str]:
    """Remind, escalate or take back at most *limit* accepted leads without a follow-up in time."""
    with ctx.database.write() as tx:
        rows = snapshot.claim_due(tx, [Custodian.REP], now, limit)
        if not rows:
            return Counter()
        sweep = _start_sweep(ctx, tx, now)
        policy = sweep.transitions.definitions.policy
        accepted = queries.load_accepted_offers(tx, [row.lead_id for row in rows])
        for lead in snapshot.load_snapshots(tx, rows, now, ctx.holidays):
            one = accepted.get(lead.view.lead.id)
            is_same_rep = one is not None and one.rep == lead.ref
            escalation = follow_up_escalation(policy, ctx.holidays, one) if one is not None and is_same_rep else ()
            if one is not None and escalation:
                sweep.run_next_step(lead, one, escalation, FOLLOW_UP)
            elif one is not None and is_same_rep and one.followed_up_at is None and sweep.departure_reason(one.rep):
                sweep.return_to_queue(lead, one, f"{one.rep} is {sweep.departure_reason(one.rep)}")
            elif one is not None and is_same_rep and _follow_up_valid_until(one, policy) > now:
                sweep.transitions.set_custody(
                    lead, Custodian.REP, lead.ref, f"{one.rep} works on it", _follow_up_valid_until(one, policy)
                )
                sweep.events["checked"] += 1
            else:
                sweep.transitions.remind(lead, "follow up", now + QUEUE_REVIEW_INTERVAL)
                sweep.events["reminder"] += 1
        sweep.write(tx)
    return sweep.events


def _follow_up_valid_until(offer: OfferRow, policy: Policy) -> datetime:
    """Return until when the newest contact with the lead counts as fresh; the past if there was none."""
    return (offer.followed_up_at or offer.offered_at - policy.max_silence) + policy.max_silence
