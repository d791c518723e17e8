"""Check due leads in queues: hand off those that asked for it, remind a person of the others."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from nurture.db.locks import Lock, acquire
from nurture.domain.lead import REROUTED_QUEUES, Custodian, Queue, is_parked
from nurture.domain.planning.conditions import earliest
from nurture.domain.planning.entry import find_entry
from nurture.domain.planning.planner import OfferToSales, decide
from nurture.domain.policy.business_hours import WorkCalendar
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.queues import REVIEW_INTERVAL
from nurture.journey.handoff.cover import Cover
from nurture.journey.handoff.waiting import queries as waiting_queries
from nurture.journey.handoff.waiting.emails import Notice, plan_emails
from nurture.journey.handoff.waiting.lists import queue_calendar
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.tracks.advance import decision_to_dict
from nurture.journey.tracks.consent_confirmation import build_confirmations
from nurture.journey.tracks.enroll import is_discarded
from nurture.runtime.context import AppContext
from nurture.runtime.redact import redact

REMIND_AFTER: Final = timedelta(days=1)
"""How often a person is reminded of a lead that asked for contact and cannot be offered yet."""


@dataclass
class _Clocks:
    """The queues of one batch: their clocks, why leads are in them, and the people to notify, each of a lead."""

    policy: Policy
    calendar: WorkCalendar
    entries: Mapping[int, datetime]
    reasons: Mapping[int, str]
    cover: Cover
    notices: dict[str, Notice] = field(default_factory=dict)

    def reminder_at(self, lead: LeadSnapshot) -> datetime | None:
        """Return when owner and deputy are notified that a lead waits too long, None if nobody works its queue."""
        rule = self.policy.queues.rule_for(lead.ref)
        return rule.reminder_at(self.entries[lead.view.lead.id], self.calendar) if rule is not None else None

    def notify(self, lead: LeadSnapshot, now: datetime, since: datetime) -> None:
        """Notify the owner of the lead's queue, and the deputy if it has waited too long, of what is so since then."""
        rule, at = self.policy.queues.rule_for(lead.ref), self.reminder_at(lead)
        if rule is not None and at is not None:
            for person in self.cover.recipients(rule, late=at <= now):
                known = self.notices.get(person)
                if known is None or known.since is None or known.since < since:
                    self.notices[person] = Notice(lead.view.lead.id, since)


def check_queue_batch(ctx: AppContext, now: datetime, limit: int) -> Counter[str]:
    """Check at most *limit* due leads in queues, except those waiting for capacity."""
    with ctx.database.write() as tx:
        rows = snapshot.claim_due(tx, [Custodian.QUEUE], now, limit, without_ref=Queue.HAND_OFF)
        if not rows:
            return Counter()
        acquire(tx, Lock.WAITING_LISTS)
        transitions = LeadTransitions(ctx.definitions.current(tx), now, "handoff")
        policy = transitions.definitions.policy
        ids = [row.lead_id for row in rows]
        entries, reasons = waiting_queries.load_entries(tx, ids), waiting_queries.load_reasons(tx, ids)
        calendar = queue_calendar(policy, ctx.holidays, now)
        clocks = _Clocks(policy, calendar, entries, reasons, Cover.load(tx, policy, now))
        claimed = snapshot.load_snapshots(ctx, tx, transitions.definitions, rows, now)
        events = Counter(_check_lead(lead, transitions, clocks) for lead in claimed)
        transitions.changes.new_messages += build_confirmations(ctx, tx, claimed, transitions.definitions, now)
        transitions.changes.write(tx, now)
        plan_emails(tx, clocks.notices, calendar, now)
    return events


def _check_lead(lead: LeadSnapshot, transitions: LeadTransitions, clocks: _Clocks) -> str:
    """Hand off a lead that asked for contact, or notify whoever works its queue when its time is over."""
    now, reminder = transitions.now, clocks.reminder_at(lead)
    checks = (now - lead.since) // REVIEW_INTERVAL + 1
    due = lead.since + checks * REVIEW_INTERVAL
    if reminder is not None and reminder > now:
        due = min(due, reminder)
    if lead.ref == Queue.MANAGER_DECISION:
        return _await_decision(lead, transitions, clocks, due)
    if is_parked(lead.ref):
        try:
            definitions = transitions.definitions
            decision = decide(lead.view, None, definitions.entries, definitions.policy, now)
            discarded = bool(decision.actions) and is_discarded(lead.view, transitions)
        except Exception as error:  # noqa: BLE001 - recorded in the lead's journal, and tried again
            return transitions.retry_later(lead, redact(error, lead.view.lead.fields))
        for action in decision.actions:
            if isinstance(action, OfferToSales) and not discarded:
                transitions.hand_off(lead, action.rule, action.reason, decision_to_dict(decision))
                return "hand_off"
        due = earliest((due, decision.wake_at)) or due
        if not _is_scheduled_check(lead, reminder) and not _is_taken_by_a_track(lead, transitions):
            why = clocks.reasons.get(lead.view.lead.id) or decision.reason
            transitions.set_custody(lead, Custodian.QUEUE, lead.ref, f"review: {why}", due)
            return "checked"
    elif lead.ref == Queue.AMBIGUOUS and not _is_scheduled_check(lead, reminder):
        reason = "it asked for contact, and matches two known leads"
        transitions.set_custody(
            lead, Custodian.QUEUE, lead.ref, f"choose the matching lead: {reason}", now + REMIND_AFTER
        )
        transitions.add_journal_entry(lead, "reminder", reason, None, ref=lead.ref)
        clocks.notify(lead, now, now)
        return "reminder"
    if reminder is not None and (lead.due_at or lead.since) <= reminder <= now:
        clocks.notify(lead, now, reminder)  # once: the emails of each morning list late leads again
    return _remind_or_retry(lead, transitions, due, clocks.reasons.get(lead.view.lead.id, ""))


def _await_decision(lead: LeadSnapshot, transitions: LeadTransitions, clocks: _Clocks, due: datetime) -> str:
    """Notify the manager of a lead that only a person takes further."""
    is_new = lead.due_at is None or lead.due_at == lead.since
    clocks.notify(lead, transitions.now, transitions.now if is_new else lead.due_at or lead.since)
    reason = clocks.reasons.get(lead.view.lead.id, "")
    if is_new:
        transitions.set_custody(lead, Custodian.QUEUE, lead.ref, f"a manager decides: {reason}", due)
        return "notified"
    transitions.remind(lead, "decide", due, reason)
    return "reminder"


def _is_taken_by_a_track(lead: LeadSnapshot, transitions: LeadTransitions) -> bool:
    """Return whether a lead that fitted no audience fits one now."""
    definitions = transitions.definitions
    if lead.ref != Queue.TRACK_MISSING:
        return False
    return find_entry(lead.view, definitions.entries, definitions.policy, transitions.now).program is not None


def _is_scheduled_check(lead: LeadSnapshot, reminder: datetime | None) -> bool:
    """Return whether a lead is due because of its queue, not because of a signal or a date it named."""
    waited = (lead.due_at or lead.since) - lead.since
    return lead.due_at == reminder or (bool(waited) and not waited % REVIEW_INTERVAL)


def _remind_or_retry(lead: LeadSnapshot, transitions: LeadTransitions, due: datetime, reason: str) -> str:
    """Record that a person is awaited, and check again later; a lead without a track is classified again."""
    if lead.ref == Queue.TRACK_MISSING:
        moved = transitions.set_custody(lead, Custodian.INTAKE, "return", "classify", transitions.now)
        transitions.add_journal_entry(
            lead, "returned", "classified again, as a track may match now", moved, ref="return"
        )
    elif lead.ref in (*REROUTED_QUEUES, Queue.MISSING_FIELD):
        moved = transitions.set_custody(lead, Custodian.QUEUE, Queue.HAND_OFF, "offer to a rep", transitions.now)
        transitions.add_journal_entry(lead, "returned", f"reminded again: {lead.ref}", moved, ref=Queue.HAND_OFF)
    else:
        transitions.remind(lead, "review it", due, reason)
    return "reminder"
