"""Escalate overdue work of reps: offers without an answer, accepted leads without a follow-up.

Each escalation step is done once: its level is stored with its mail in one transaction. Custody is due at the next
step, so nothing is polled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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

    @property
    def policy(self) -> Policy:
        """Return the policy in force."""
        return self.transitions.definitions.policy

    def escalate_offer(self, lead: LeadSnapshot, offer: OfferRow | None) -> None:
        """Do what is due for a lead with an open offer."""
        if offer is None:
            self.unanswered.append(lead)
            self.events[NOT_ANSWERED] += 1
            return
        escalation = answer_escalation(self.policy, self.ctx.holidays, offer.rep, offer.offered_at)
        self.run_next_step(lead, offer, with_promised_deadline(escalation, offer.expires_at), ANSWER)

    def escalate_follow_up(self, lead: LeadSnapshot, offer: OfferRow | None) -> None:
        """Do what is due for a lead that a rep has; *offer* is the newest that was accepted."""
        if offer is not None and offer.rep == lead.ref:
            escalation = follow_up_escalation(self.policy, self.ctx.holidays, offer)
            valid_until = _follow_up_valid_until(offer, self.policy)
            if escalation:
                self.run_next_step(lead, offer, escalation, FOLLOW_UP)
                return
            if offer.followed_up_at is None and (departure := self.departure_reason(offer.rep)):
                self.return_to_queue(lead, offer, f"{offer.rep} is {departure}")
                return
            if valid_until > self.transitions.now:
                self.transitions.set_custody(lead, Custodian.REP, lead.ref, f"{offer.rep} works on it", valid_until)
                self.events["checked"] += 1
                return
        self.transitions.remind(lead, "follow up", self.transitions.now + QUEUE_REVIEW_INTERVAL)
        self.events["reminder"] += 1

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
        action, until = f"{offer.rep} is to {task}", self.transitions.now + QUEUE_REVIEW_INTERVAL
        if next_due is not None:
            action, until = f"{action}; else {describe_step(self.policy, offer.rep, next_due)}", next_due.due_at
        self.transitions.set_custody(lead, lead.view.custodian, lead.ref, action, until)
        if due is None or due.level is None:
            self.events["checked"] += 1
            return
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
        rep, now = self.policy.rep(rep_id), self.transitions.now
        has_left = rep is None or not is_active(rep, to_local(now, rep.hours.zone).date())
        return self.absence_reason(rep_id) if has_left else ""

    def _plan_email(self, lead: LeadSnapshot, offer: OfferRow, due: EscalationStep, task: str, until: datetime) -> None:
        """Plan the mail of a step; without a manager there is no escalation mail."""
        rep = self.policy.rep(offer.rep)
        manager = self.policy.team.manager_of(rep) if rep is not None else None
        recipient = rep if due.action is EscalationAction.REMIND else manager
        if rep is None or recipient is None:
            return
        now, lead_id = self.transitions.now, lead.view.lead.id
        email = NewMessage.due_now(f"sla:{offer.id}:{due.level}", "sla", TO_REP, lead_id, due.action.value, now, until)
        self.transitions.changes.new_messages.append(email._replace(offer_id=offer.id, rep=recipient.id, step=task))

    def _take_back(self, lead: LeadSnapshot, offer: OfferRow, reason: str) -> None:
        """Take the lead from its rep: to the next rep, or after the last round to a track or the no-rep queue."""
        if offer.round > self.policy.effective_sla.max_reroutes:
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
        now = self.transitions.now
        expired = [(id_, state, None) for id_, state, _ in self.ended if state == NOT_ANSWERED]
        queries.record_answers(tx, expired, now)
        lapsed = [row for row in self.ended if row[1] == NOT_FOLLOWED_UP]
        queries.end_accepted_offers(tx, lapsed)
        recycle_unanswered(tx, self.transitions, self.unanswered, "expired")
        self.transitions.changes.write(tx, now)
        queries.raise_escalation_levels(tx, self.levels)


def escalate_offers(ctx: AppContext, now: datetime, limit: int) -> Counter[str]:
    """Remind, escalate or take back at most *limit* offers without an answer in time."""
    return _sweep_due(ctx, now, limit, Custodian.OFFER, queries.load_open_offers, _Sweep.escalate_offer)


def escalate_follow_ups(ctx: AppContext, now: datetime, limit: int) -> Counter[str]:
    """Remind, escalate or take back at most *limit* accepted leads without a follow-up in time."""
    return _sweep_due(ctx, now, limit, Custodian.REP, queries.load_accepted_offers, _Sweep.escalate_follow_up)


def _sweep_due(
    ctx: AppContext,
    now: datetime,
    limit: int,
    custodian: Custodian,
    load_offers: Callable[[Transaction, Sequence[int]], Mapping[int, OfferRow]],
    escalate: Callable[[_Sweep, LeadSnapshot, OfferRow | None], None],
) -> Counter[str]:
    with ctx.database.write() as tx:
        rows = snapshot.claim_due(tx, [custodian], now, limit)
        if not rows:
            return Counter()
        definitions = ctx.definitions.current(tx)
        team = load_availability(tx, definitions.policy.reps, now, ctx.holidays)
        sweep = _Sweep(ctx, LeadTransitions(definitions, now, "handoff"), team)
        offers = load_offers(tx, [row.lead_id for row in rows])
        for lead in snapshot.load_snapshots(tx, rows, now, ctx.holidays):
            escalate(sweep, lead, offers.get(lead.view.lead.id))
        sweep.write(tx)
    return sweep.events


def _follow_up_valid_until(offer: OfferRow, policy: Policy) -> datetime:
    """Return until when the newest contact with the lead counts as fresh; the past if there was none."""
    return (offer.followed_up_at or offer.offered_at - policy.max_silence) + policy.max_silence
