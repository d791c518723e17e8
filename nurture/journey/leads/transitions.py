"""Custody transitions of leads, shared by all use cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, assert_never

from nurture.domain.consent.suppression import describe_suppression, find_covering
from nurture.domain.lead import Closing, Custodian, Queue, is_parked
from nurture.domain.planning.callback import requested_callback
from nurture.domain.planning.conditions import evaluate
from nurture.domain.planning.program import Destination, Program, ToClosed, ToQueue, ToTrack
from nurture.domain.routing.priority import QueuePriority
from nurture.journey.leads.changeset import (
    Changes,
    EnrollmentUpdate,
    NewEnrollment,
    NewOutcome,
    PriorityUpdate,
    TouchCancellation,
)
from nurture.journey.leads.custody import CustodyUpdate
from nurture.journey.leads.journal import JournalEntry
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.runtime.published import Definitions

QUEUE_REVIEW_INTERVAL: Final = timedelta(days=7)
"""How often a lead in a queue is due for review."""

RETRY_AFTER_ERROR: Final = timedelta(hours=6)
"""When a lead is retried after a decision about it failed."""


def find_mailing_block(lead: LeadSnapshot, program: Program | None = None) -> tuple[str, str] | None:
    """Return (queue, reason) if the lead may not be mailed, on the track of *program* if given; else None."""
    suppression = find_covering(lead.view.suppressions, program.track, program.topic) if program is not None else None
    reason = lead.view.suppressed_by or (describe_suppression(suppression) if suppression is not None else "")
    if reason:
        return Queue.SUPPRESSED, f"suppressed: {reason}"
    if lead.address_id is None:
        return Queue.NO_ADDRESS, "no email address is known"
    if not lead.view.lead.consent_basis:
        return Queue.NO_CONSENT_BASIS, "no consent or other legal basis is recorded"
    return None


@dataclass
class LeadTransitions:
    """The changes of one use case on one batch. Move each lead at most once."""

    definitions: Definitions
    now: datetime
    stage: str
    changes: Changes = field(default_factory=Changes)

    def set_custody(
        self, lead: LeadSnapshot, kind: Custodian, ref: str, next_action: str, due_at: datetime | None
    ) -> tuple[str, str] | None:
        """Set custody; return (from, to) if the kind or ref of the custodian changed."""
        before = (lead.view.custodian.value, lead.ref)
        changed = before != (kind.value, ref)
        self.changes.custody_updates.append(
            CustodyUpdate(
                lead.view.lead.id,
                lead.version,
                kind.value,
                ref,
                self.now if changed else None,
                next_action[:200],
                due_at,
            )
        )
        return (before[0], kind.value) if changed else None

    def add_journal_entry(
        self, lead: LeadSnapshot, event: str, reason: str, custody_change: tuple[str, str] | None, **more: Any
    ) -> None:
        """Add an entry to the journal; *custody_change* as returned by `set_custody`."""
        enrollment = lead.view.enrollment
        more.setdefault("enrollment_id", enrollment.id if enrollment is not None else None)
        more.setdefault("track", enrollment.track if enrollment is not None else None)
        self.changes.journal_entries.append(
            JournalEntry(
                lead.view.lead.id,
                self.now,
                self.stage,
                event,
                reason,
                policy_version=self.definitions.policy.version,
                custody_from=custody_change[0] if custody_change else None,
                custody_to=custody_change[1] if custody_change else None,
                **more,
            )
        )

    def retry_later(self, lead: LeadSnapshot, reason: str) -> str:
        """Keep the lead where it is, journal the error and retry later, so that it does not stop its batch."""
        due = self.now + RETRY_AFTER_ERROR
        self.set_custody(lead, lead.view.custodian, lead.ref, f"retry: {reason}", due)
        self.add_journal_entry(lead, "error", reason, None)
        return "error"

    def remind(self, lead: LeadSnapshot, action: str, due: datetime) -> None:
        """Journal that *action* is overdue; the next reminder comes at *due*."""
        self.set_custody(lead, lead.view.custodian, lead.ref, f"{action}: overdue", due)
        self.add_journal_entry(lead, "reminder", f"overdue for {lead.ref}: {action}", None, ref=lead.ref)

    def end_enrollment(self, lead: LeadSnapshot, reason: str, cancel_reason: str = "left_track") -> None:
        """End the open enrollment, if there is one, and cancel its touches."""
        enrollment = lead.view.enrollment
        if enrollment is None:
            return
        position = enrollment.position
        self.changes.enrollment_updates.append(
            EnrollmentUpdate(
                enrollment.id,
                lead.view.lead.id,
                position.step,
                position.visit,
                position.anchor,
                position.reached_at,
                self.now,
                reason,
            )
        )
        self.cancel_touches(lead, cancel_reason)

    def start_cool_off(self, lead: LeadSnapshot, until: datetime) -> None:
        """Keep the open enrollment from continuing before *until*, even if the lead becomes due earlier."""
        enrollment = lead.view.enrollment
        assert enrollment is not None
        position = enrollment.position
        reached = max(position.reached_at, until)
        self.changes.enrollment_updates.append(
            EnrollmentUpdate(enrollment.id, lead.view.lead.id, position.step, position.visit, position.anchor, reached)
        )

    def due_after_cool_off(self, lead: LeadSnapshot, cool_off_until: datetime | None) -> datetime:
        """Return when a lead in cool-off is due: at its end, or before it at a date that the lead named."""
        if cool_off_until is None:
            return self.now
        call = requested_callback(lead.view.lead, "UTC")
        changes = [call.at] if call is not None and call.at > self.now else []
        if lead.view.lead.timeline is not None:
            context = self.definitions.policy.evaluation_context(lead.view, since=self.now, answered_at=self.now)
            change_times = [
                evaluate(one.when, context, self.now).changes_at for one in self.definitions.policy.criteria
            ]
            changes += [at for at in change_times if at is not None]
        return min([cool_off_until, *changes])

    def cancel_touches(self, lead: LeadSnapshot, reason: str) -> None:
        """Cancel the lead's unsent touches."""
        self.changes.cancellations.append(TouchCancellation(lead.view.lead.id, reason))

    def move_to(
        self,
        lead: LeadSnapshot,
        to: Destination,
        reason: str,
        *,
        event: str = "moved",
        entered_at: datetime | None = None,
        cool_off_until: datetime | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Move the lead from its track to *to*.

        If *to* is a track that is not published, or on which the lead may not be mailed, the lead goes to a queue.
        """
        match to:
            case ToTrack(track=track):
                program = self.definitions.programs.get(track)
                if program is None:
                    missing = f"{reason}; track {track} is not published"
                    self._move_to_queue(lead, Queue.NO_TRACK, missing, event, detail)
                elif (block := find_mailing_block(lead, program)) is not None:
                    self._move_to_queue(lead, block[0], f"{reason}; {block[1]}", event, detail)
                else:
                    self._enroll(lead, program, reason, event, entered_at, cool_off_until, detail)
            case ToQueue(queue=queue):
                self._move_to_queue(lead, queue, reason, event, detail)
            case ToClosed(closing=closing, reason=outcome_reason):
                self.close(lead, closing, reason, outcome_reason=outcome_reason, event=event, detail=detail)
            case _:
                assert_never(to)

    def close(
        self,
        lead: LeadSnapshot,
        closing: Closing,
        reason: str,
        *,
        outcome_reason: str = "",
        event: str = "closed",
        happened_at: datetime | None = None,
        amount: float | None = None,
        source: str = "nurture",
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Close the lead and record its outcome."""
        self.end_enrollment(lead, closing.value)
        custody_change = self.set_custody(lead, Custodian.CLOSED, closing.value, "", None)
        self.changes.new_outcomes.append(
            NewOutcome(
                lead.view.lead.id, closing.value, happened_at or self.now, amount, outcome_reason, source, self.now
            )
        )
        self.add_journal_entry(lead, event, reason, custody_change, ref=closing.value, detail=detail)

    def hand_off(self, lead: LeadSnapshot, rule: str, reason: str, detail: Mapping[str, Any] | None = None) -> None:
        """Move the lead to the hand-off queue: cancel its touches, and offer it as soon as a rep has capacity."""
        self.cancel_touches(lead, "handed_off")
        custody_change = self.set_custody(lead, Custodian.QUEUE, Queue.HAND_OFF, f"offer to a rep: {rule}", self.now)
        enrollment = lead.view.enrollment
        step = enrollment.position.step if enrollment is not None else None
        self.add_journal_entry(lead, "hand_off", reason, custody_change, ref=rule, step=step, detail=detail)
        self.set_priority(lead, rule)

    def set_priority(self, lead: LeadSnapshot, rule: str) -> None:
        """Set the lead's priority in the hand-off queue."""
        policy = self.definitions.policy
        fit = policy.grade(lead.view.lead.fields)[0] if policy.priority.fit_points else ""
        points, hot = policy.priority.points_for(rule, fit), rule in policy.priority.hot
        priority = QueuePriority(points, self.now, policy.priority.aging_interval, hot)
        self.changes.priority_updates.append(
            PriorityUpdate(lead.view.lead.id, rule, points, hot, self.now, priority.rank)
        )

    def _enroll(
        self,
        lead: LeadSnapshot,
        program: Program,
        reason: str,
        event: str,
        entered_at: datetime | None,
        cool_off_until: datetime | None,
        detail: Mapping[str, Any] | None,
    ) -> None:
        self.end_enrollment(lead, f"moved to {program.track}")
        entered = cool_off_until or entered_at or self.now
        step, visit = program.resolve(0, 1)
        self.changes.new_enrollments.append(
            NewEnrollment(lead.view.lead.id, program.track, entered, step, visit, entered, entered)
        )
        due = self.due_after_cool_off(lead, cool_off_until)
        custody_change = self.set_custody(lead, Custodian.TRACK, program.track, f"enter {program.track}", due)
        self.add_journal_entry(
            lead,
            event,
            reason,
            custody_change,
            ref=program.track,
            track=program.track,
            enrollment_id=None,
            track_version=program.version,
            detail=detail,
        )

    def _move_to_queue(
        self, lead: LeadSnapshot, queue: str, reason: str, event: str, detail: Mapping[str, Any] | None
    ) -> None:
        self.end_enrollment(lead, f"queue {queue}")
        due = self.now + QUEUE_REVIEW_INTERVAL
        due = self.due_after_cool_off(lead, due) if is_parked(queue) else due
        custody_change = self.set_custody(lead, Custodian.QUEUE, queue, f"review: {reason}", due)
        self.add_journal_entry(lead, event, reason, custody_change, ref=queue, detail=detail)
