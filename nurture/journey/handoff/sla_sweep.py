"""Escalate overdue work of reps: offers without an answer, accepted leads without a follow-up.

Each escalation step is done once: its level is stored with its mail in one transaction. Custody is due at the next
step, so nothing is polled.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning.calendar import to_local
from nurture.domain.planning.program import ToQueue
from nurture.domain.policy.business_hours import EscalationAction, EscalationLevel, EscalationStep, next_step
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.queues import REVIEW_INTERVAL
from nurture.domain.routing.round_robin import RepAvailability
from nurture.journey.handoff import queries
from nurture.journey.handoff.digest_emails import plan_digest
from nurture.journey.handoff.escalation import (
    ANSWER,
    FOLLOW_UP,
    NEXT_TOUCH,
    current_escalation,
    describe_step,
    follow_up_escalation,
    next_touch_escalation,
)
from nurture.journey.handoff.recycle import recycle_unanswered
from nurture.journey.leads import snapshot
from nurture.journey.leads.changeset import NewMessage, OfferRow
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.routing.availability import is_active, load_availability
from nurture.outbox.messages import TO_REP
from nurture.runtime.context import AppContext

NOT_ANSWERED: Final = "expired"
NOT_FOLLOWED_UP: Final = "lapsed"
REP_LEFT_POLICY: Final = "no longer in the policy"
_MIN_MAIL_WINDOW: Final = timedelta(hours=1)
_ASK_ABSENT_AGAIN: Final = timedelta(days=1)
"""How often it is checked whether an absent rep is back and can be asked how a lead stands."""


@dataclass
class _Sweep:
    """One batch of leads whose reps are due to act."""

    ctx: AppContext
    transitions: LeadTransitions
    team: Mapping[str, RepAvailability]
    levels: list[tuple[int, int]] = field(default_factory=list)
    ended: list[tuple[int, str, str]] = field(default_factory=list)
    unanswered: list[LeadSnapshot] = field(default_factory=list)
    silent: list[LeadSnapshot] = field(default_factory=list)
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
        self.run_next_step(lead, offer, current_escalation(self.policy, self.ctx.holidays, offer), ANSWER)

    def escalate_follow_up(self, lead: LeadSnapshot, offer: OfferRow | None) -> None:
        """Do what is due for a lead that a rep has; *offer* is the newest that was accepted."""
        if offer is not None and offer.rep == lead.ref:
            escalation = follow_up_escalation(self.policy, self.ctx.holidays, offer)
            if escalation:
                self.run_next_step(lead, offer, escalation, FOLLOW_UP)
                return
            if departure := self.departure_reason(offer.rep):
                end = self.return_to_queue if offer.followed_up_at is None else self.await_decision
                end(lead, offer, f"{offer.rep} is {departure}")
                return
            if offer.followed_up_at is not None and self.escalate_silence(lead, offer):
                return
        self.transitions.remind(lead, "follow up", self.transitions.now + REVIEW_INTERVAL)
        self.events["reminder"] += 1

    def escalate_silence(self, lead: LeadSnapshot, offer: OfferRow) -> bool:
        """Do what is due for a lead in work; return whether there is anything to do now or later."""
        now = self.transitions.now
        if offer.asked_at is None and self.absence_reason(offer.rep):
            back = now + _ASK_ABSENT_AGAIN
            self.transitions.set_custody(lead, Custodian.REP, lead.ref, f"{offer.rep} is away; asked later", back)
            self.events["checked"] += 1
            return True
        escalation = next_touch_escalation(self.policy, self.ctx.holidays, offer)
        due, upcoming = next_step(escalation, offer.escalation_level, now)
        if due is not None and due.level is EscalationLevel.NEXT_TOUCH_ASKED:
            after = next_touch_escalation(self.policy, self.ctx.holidays, offer._replace(asked_at=now))
            upcoming = after[0] if after else None
        if due is None and upcoming is None:
            return False
        self.do_step(lead, offer, (due, upcoming), NEXT_TOUCH)
        return True

    def run_next_step(
        self, lead: LeadSnapshot, offer: OfferRow, escalation: tuple[EscalationStep, ...], task: str
    ) -> None:
        """Do the due escalation step of one lead, and schedule the next."""
        absence = self.absence_reason(offer.rep)
        if absence and escalation and escalation[-1].action is EscalationAction.TAKE_BACK:
            self.return_to_queue(lead, offer, f"{offer.rep} is {absence}")
            return
        self.do_step(lead, offer, next_step(escalation, offer.escalation_level, self.transitions.now), task)

    def do_step(
        self,
        lead: LeadSnapshot,
        offer: OfferRow,
        steps: tuple[EscalationStep | None, EscalationStep | None],
        task: str,
    ) -> None:
        """Do the first of *steps*, if it is due, and schedule the second."""
        due, next_due = steps
        if due is not None and due.action is EscalationAction.TAKE_BACK:
            self._take_back(lead, offer, task)
            return
        action, until = f"{offer.rep} is to {task}", self.transitions.now + REVIEW_INTERVAL
        if next_due is not None:
            action, until = f"{action}; else {describe_step(self.policy, offer.rep, next_due)}", next_due.due_at
        self.transitions.set_custody(lead, lead.view.custodian, lead.ref, action, until)
        if due is None or due.level is None:
            self.events["checked"] += 1
            return
        self._plan_email(lead, offer, due, task, max(until, self.transitions.now + _MIN_MAIL_WINDOW))
        self.levels.append((offer.id, due.level))
        event = "escalated" if due.action is EscalationAction.ESCALATE else "reminded"
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
        if due.action is EscalationAction.ESCALATE and manager is not None and manager.digest and not offer.hot:
            digest = plan_digest(self.policy, self.ctx.holidays, manager, lead_id, now)
            self.transitions.changes.new_messages.append(digest)
            return
        key = f"sla:{offer.id}:{due.level}"
        if task == NEXT_TOUCH:  # asked again after each contact
            key += f":{offer.touched_at or offer.answered_at:%Y%m%dT%H%M%S}"
        email = NewMessage.due_now(key, "sla", TO_REP, lead_id, due.action.value, now, until)
        self.transitions.changes.new_messages.append(email._replace(offer_id=offer.id, rep=recipient.id, step=task))

    def _take_back(self, lead: LeadSnapshot, offer: OfferRow, task: str) -> None:
        """Take the lead from its rep: to the next rep, or after the last round to a track or the no-rep queue.

        A lead that its rep was in touch with, and that became silent, goes to no other rep.
        """
        reason = f"{offer.rep} did not {task} in time"
        if task == NEXT_TOUCH:
            self._end(offer, reason)
            self.silent.append(lead)
            return
        if offer.round > self.policy.sla_of(offer.tier).max_reroutes:
            self._end(offer, reason)
            self.unanswered.append(lead)
            return
        self.return_to_queue(lead, offer, reason)

    def _end(self, offer: OfferRow, reason: str) -> None:
        state = NOT_FOLLOWED_UP if offer.state == "accepted" else NOT_ANSWERED
        self.ended.append((offer.id, state, reason))
        self.events[state] += 1

    def await_decision(self, lead: LeadSnapshot, offer: OfferRow, reason: str) -> None:
        """Let a manager decide about a lead in work whose rep left: whoever takes it must know what was agreed."""
        self._end(offer, reason)
        contact = f"{offer.touched_at or offer.followed_up_at:%Y-%m-%d}"
        why = f"{reason}, and was in touch with it until {contact}"
        self.transitions.move_to(lead, ToQueue(Queue.MANAGER_DECISION), why, event="taken_back")

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
        queries.end_accepted_offers(tx, lapsed, now)
        recycle_unanswered(tx, self.transitions, self.unanswered, "expired")
        recycle_unanswered(tx, self.transitions, self.silent, "its rep did not say how it stands")
        self.transitions.changes.write(tx, now)
        queries.raise_escalation_levels(tx, self.levels, now)


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
        for lead in snapshot.load_snapshots(ctx, tx, definitions, rows, now):
            escalate(sweep, lead, offers.get(lead.view.lead.id))
        sweep.write(tx)
    return sweep.events
