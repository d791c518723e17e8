"""Recycle leads that sales rejected or did not answer."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning.criteria import unanswered_request
from nurture.domain.planning.program import ToQueue, ToTrack
from nurture.domain.policy.policy import RejectReason, Resume
from nurture.journey.handoff.waiting import queries as waiting_queries
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions, find_mailing_block
from nurture.journey.tracks import enroll
from nurture.runtime.redact import redact


def recycle_unanswered(
    tx: Transaction, transitions: LeadTransitions, leads: Sequence[LeadSnapshot], reason: str
) -> None:
    """Recycle leads that no rep answered in time; a manager decides about those that are hot or asked for contact.

    Silence spends nothing of these. The score of the others is reset; dates that they named stay.
    """
    recyclable: list[tuple[LeadSnapshot, RejectReason]] = []
    hot = waiting_queries.load_hot_leads(tx, [lead.view.lead.id for lead in leads]) if leads else set()
    for lead in leads:
        request = unanswered_request(lead.view, transitions.definitions.policy, transitions.now)
        if request or lead.view.lead.id in hot:
            why = f"{reason}; {request or 'it is hot'}"
            transitions.move_to(lead, ToQueue(Queue.MANAGER_DECISION), why, event="recycled")
        else:
            recyclable.append((lead, transitions.definitions.policy.on_expiry))
    recycle_leads(tx, transitions, recyclable, reason, answered=False)


def recycle_leads(
    tx: Transaction,
    transitions: LeadTransitions,
    leads: list[tuple[LeadSnapshot, RejectReason]],
    reason: str,
    *,
    answered: bool = True,
) -> None:
    """Recycle leads from sales. Their score is reset: only new signals count.

    Dates that they named stay unless a rep *answered*.
    """
    if not leads:
        return
    ids = [lead.view.lead.id for lead, _ in leads]
    leads_queries.reset_engagement(tx, ids, transitions.now, clear_dates=answered)
    for lead, reject_reason in leads:
        cool_off_until = transitions.now + reject_reason.cool_off if reject_reason.cool_off else None
        full_reason = f"{reason} ({reject_reason.label})"
        enrollment = lead.view.enrollment
        program = transitions.definitions.programs.get(enrollment.track) if enrollment is not None else None
        block = find_mailing_block(lead, transitions.now, program)
        if not isinstance(reject_reason.then, Resume):
            transitions.move_to(lead, reject_reason.then, full_reason, event="recycled", cool_off_until=cool_off_until)
        elif block is not None and program is not None:  # refused: `move_to` decides by what else it refused
            to = ToTrack(program.track)
            transitions.move_to(lead, to, full_reason, event="recycled", cool_off_until=cool_off_until)
        elif block is not None:
            transitions.move_to(lead, ToQueue(block[0]), f"{full_reason}; {block[1]}", event="recycled")
        elif enrollment is not None:
            if cool_off_until is not None:
                transitions.start_cool_off(lead, cool_off_until)
            due = transitions.due_after_cool_off(lead, cool_off_until)
            moved = transitions.set_custody(lead, Custodian.TRACK, enrollment.track, "the track continues", due)
            transitions.add_journal_entry(lead, "resumed", full_reason, moved, ref=enrollment.track)
        else:
            _enroll_or_queue(lead, transitions, full_reason, cool_off_until)


def _enroll_or_queue(
    lead: LeadSnapshot, transitions: LeadTransitions, reason: str, cool_off_until: datetime | None
) -> None:
    """Enroll a lead that was on no track, also where it was before; if that fails, queue it for a person."""
    lead = replace(lead, view=replace(lead.view, past_stays=()))  # sales returned it: `re_entry` does not count
    try:
        enroll.enroll_by_audience(lead, transitions, reason, event="recycled", cool_off_until=cool_off_until)
    except Exception as error:  # noqa: BLE001 - recorded in the lead's journal
        failure = f"{reason}; {redact(error, lead.view.lead.fields)}"
        transitions.move_to(lead, ToQueue(Queue.TRACK_MISSING), failure, event="recycled")
