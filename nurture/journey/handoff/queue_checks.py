"""Check due leads in queues: hand off those that asked for it, remind a person of the others."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.lead import MISSING_FIELD_QUEUE_PREFIX, REROUTED_QUEUES, Custodian, Queue, is_parked
from nurture.domain.planning.conditions import earliest
from nurture.domain.planning.planner import OfferToSales, decide
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import QUEUE_REVIEW_INTERVAL, LeadTransitions
from nurture.journey.tracks.advance import decision_to_dict
from nurture.journey.tracks.enroll import is_discarded
from nurture.runtime.context import AppContext
from nurture.runtime.redact import redact

REMIND_AFTER: Final = timedelta(days=1)
"""How often a person is reminded of a lead that asked for contact and cannot be offered yet."""


def check_queue_batch(ctx: AppContext, now: datetime, limit: int) -> Counter[str]:
    """Check at most *limit* due leads in queues, except those waiting for capacity."""
    with ctx.database.write() as tx:
        rows = snapshot.claim_due(tx, [Custodian.QUEUE], now, limit, without_ref=Queue.HAND_OFF)
        if not rows:
            return Counter()
        transitions = LeadTransitions(ctx.definitions.current(tx), now, "handoff")
        claimed = snapshot.load_snapshots(tx, rows, now, ctx.holidays)
        events = Counter(_check_lead(lead, transitions) for lead in claimed)
        transitions.changes.write(tx, now)
    return events


def _check_lead(lead: LeadSnapshot, transitions: LeadTransitions) -> str:
    """Hand off a lead that asked for contact, or record that its queue needs a review."""
    checks = (transitions.now - lead.since) // QUEUE_REVIEW_INTERVAL + 1
    due = lead.since + checks * QUEUE_REVIEW_INTERVAL
    if is_parked(lead.ref):
        try:
            decision = decide(lead.view, None, transitions.definitions.policy, transitions.now)
            discarded = bool(decision.actions) and is_discarded(lead.view, transitions)
        except Exception as error:  # noqa: BLE001 - recorded in the lead's journal, and tried again
            return transitions.retry_later(lead, redact(error, lead.view.lead.fields))
        for action in decision.actions:
            if isinstance(action, OfferToSales) and not discarded:
                transitions.hand_off(lead, action.rule, action.reason, decision_to_dict(decision))
                return "hand_off"
        due = earliest((due, decision.wake_at)) or due
        if not _is_scheduled_check(lead):
            transitions.set_custody(lead, Custodian.QUEUE, lead.ref, f"review: {decision.reason}", due)
            return "checked"
    elif lead.ref == Queue.AMBIGUOUS and not _is_scheduled_check(lead):
        reason = "it asked for contact, and matches two known leads"
        transitions.set_custody(
            lead, Custodian.QUEUE, lead.ref, f"choose the matching lead: {reason}", transitions.now + REMIND_AFTER
        )
        transitions.add_journal_entry(lead, "reminder", reason, None, ref=lead.ref)
        return "reminder"
    return _remind_or_retry(lead, transitions, due)


def _is_scheduled_check(lead: LeadSnapshot) -> bool:
    """Return whether a lead is due because of its queue, not because of a signal or a date it named."""
    waited = (lead.due_at or lead.since) - lead.since
    return bool(waited) and not waited % QUEUE_REVIEW_INTERVAL


def _remind_or_retry(lead: LeadSnapshot, transitions: LeadTransitions, due: datetime) -> str:
    """Record that a person is awaited, and check again later; a lead without a track is classified again."""
    if lead.ref == Queue.NO_TRACK:
        moved = transitions.set_custody(lead, Custodian.INTAKE, "return", "classify", transitions.now)
        transitions.add_journal_entry(
            lead, "returned", "classified again, as a track may match now", moved, ref="return"
        )
    elif lead.ref in REROUTED_QUEUES or (lead.ref.startswith(MISSING_FIELD_QUEUE_PREFIX) and not is_parked(lead.ref)):
        moved = transitions.set_custody(lead, Custodian.QUEUE, Queue.HAND_OFF, "offer to a rep", transitions.now)
        transitions.add_journal_entry(lead, "returned", f"reminded again: {lead.ref}", moved, ref=Queue.HAND_OFF)
    else:
        transitions.remind(lead, "review it", due)
    return "reminder"
