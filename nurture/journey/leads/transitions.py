"""Custody transitions of leads, shared by all use cases."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, assert_never

from nurture.domain.delivery.stops import StopAction
from nurture.domain.lead import MAX_REST, Closing, Custodian, PausedBy, Queue, Resting, is_parked
from nurture.domain.planning.callback import requested_callback
from nurture.domain.planning.conditions import evaluate
from nurture.domain.planning.entry import find_readmissions
from nurture.domain.planning.lead_view import Enrollment
from nurture.domain.planning.program import ExitKind, Previous, Program, ToClosed, ToQueue, ToTrack, TrackDestination
from nurture.domain.planning.send_time import format_time
from nurture.domain.routing.priority import QueuePriority
from nurture.journey.leads.changeset import (
    Changes,
    EnrollmentUpdate,
    NewCustomer,
    NewEnrollment,
    NewOutcome,
    PriorityUpdate,
    TouchCancellation,
)
from nurture.journey.leads.custody import CustodyUpdate, JournalEntry
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.outbox.messages import SUPERSEDED
from nurture.runtime.published import Definitions

TAKEN_OVER: Final = "taken_over"
"""The event of a lead whose track was interrupted by one of a higher priority."""

ERROR: Final = "error"
"""The event of a lead about which a decision failed."""

RETRY_AFTER_ERROR: Final = timedelta(hours=6)
"""When a lead is retried after a decision about it failed."""

REST_ACTIONS: Final = {
    Resting.CUSTOMER: "look for a track for customers",
    Resting.NO_TRACK: "look for a track",
    Resting.LATER: "classify again",
}
"""The next action of resting leads."""

_CONSENT_QUEUES: Final = (Queue.SUPPRESSED, Queue.NO_CONSENT_BASIS, Queue.NO_ADDRESS)


def find_mailing_block(lead: LeadSnapshot, now: datetime, program: Program | None = None) -> tuple[str, str] | None:
    """Return (queue, reason) if the lead may not be mailed, on the track of *program* if given; else None."""
    if lead.address_id is None:
        return Queue.NO_ADDRESS, "no email address is known"
    permission = lead.view.permission(now, program)
    if permission.allowed:
        return None
    return Queue.SUPPRESSED if permission.refusal is not None else Queue.NO_CONSENT_BASIS, permission.reason


class _Arrival(NamedTuple):
    """How a lead comes to a track: what the journal says of it, and from when on it continues there."""

    event: str
    detail: Mapping[str, Any] | None
    entered_at: datetime | None = None
    cool_off_until: datetime | None = None


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

    def add_pause(self, lead: LeadSnapshot, until: datetime, reason: str) -> None:
        """Add to the journal that mail to the lead pauses *until* then, in its own time, else in that of sales."""
        zone = lead.view.lead.zone
        sales = self.definitions.policy.business_hours.zone
        end = format_time(until, zone or sales, self.now, of="the lead's time" if zone else sales)
        self.add_journal_entry(lead, "paused", f"paused until {end}{reason}", None)

    def add_journal_entry(
        self, lead: LeadSnapshot, event: str, reason: str, custody_change: tuple[str, str] | None, **more: Any
    ) -> None:
        """Add an entry to the journal; *custody_change* as returned by `set_custody`."""
        enrollment = lead.view.enrollment
        if enrollment is not None:
            more = {"enrollment_id": enrollment.id, "track": enrollment.track, **more}
        if custody_change is not None:
            more["custody_from"], more["custody_to"] = custody_change
        self.changes.sources[lead.view.lead.id] = lead.source
        self.changes.journal_entries.append(
            JournalEntry(
                lead.view.lead.id,
                self.now,
                self.stage,
                event,
                reason,
                policy_version=self.definitions.policy.version,
                **more,
            )
        )

    def readmit(self, lead: LeadSnapshot) -> None:
        """Let the lead enter tracks that it was kept out of, and whose audience it does not fit any more."""
        if lead.view.excluded_from:
            rules = self.definitions
            tracks = find_readmissions(lead.view, rules.entries, rules.policy, self.now)
            self.changes.readmissions += [(lead.view.lead.id, track) for track in tracks]

    def retry_later(self, lead: LeadSnapshot, reason: str) -> str:
        """Keep the lead where it is, journal the error and retry later, so that it does not stop its batch."""
        due = self.now + RETRY_AFTER_ERROR
        self.set_custody(lead, lead.view.custodian, lead.ref, f"retry: {reason}", due)
        self.add_journal_entry(lead, ERROR, reason, None)
        return ERROR

    def remind(self, lead: LeadSnapshot, action: str, due: datetime, reason: str = "") -> None:
        """Journal that *action* is overdue; the next reminder comes at *due*. *reason*: why the lead is where it is."""
        next_action = f"{action}: overdue" + (f"; {reason}" if reason else "")
        self.set_custody(lead, lead.view.custodian, lead.ref, next_action, due)
        self.add_journal_entry(lead, "reminder", f"overdue for {lead.ref}: {action}", None, ref=lead.ref)

    def end_enrollment(
        self, lead: LeadSnapshot, reason: str, cancel_reason: str = "left_track", *, keep_suspended: bool = False
    ) -> None:
        """End the active enrollment, if there is one, cancel its touches, and end those that it interrupted."""
        if not keep_suspended:
            self._end_suspended(lead, lead.view.suspended)
        enrollment = lead.view.enrollment
        if enrollment is None:
            return
        self.changes.enrollment_updates.append(_update(lead, enrollment, ended_at=self.now, end_reason=reason))
        self.cancel_touches(lead, cancel_reason)

    def _end_suspended(self, lead: LeadSnapshot, stays: Iterable[Enrollment]) -> None:
        """End suspended stays that the lead does not return to."""
        ended = [_update(lead, one, ended_at=self.now, end_reason="interrupted") for one in stays]
        self.changes.enrollment_updates += ended

    def take_over(self, lead: LeadSnapshot, track: str, reason: str, detail: Mapping[str, Any] | None = None) -> None:
        """Suspend the active enrollment, and enter *track*."""
        enrollment = lead.view.enrollment
        assert enrollment is not None
        self.changes.enrollment_updates.append(_update(lead, enrollment, suspended_at=self.now))
        self.cancel_touches(lead, SUPERSEDED)
        self._enter(lead, self.definitions.programs[track], reason, _Arrival(TAKEN_OVER, detail, self.now))

    def record_exit(self, lead: LeadSnapshot, kind: ExitKind, reason: str, **more: Any) -> LeadSnapshot:
        """End the enrollment with *kind* as the reason, and journal it; return the lead without its track."""
        self.end_enrollment(lead, kind.value, keep_suspended=True)
        self.add_journal_entry(lead, kind.value, reason, None, **more)
        return replace(lead, view=replace(lead.view, enrollment=None))

    def start_cool_off(self, lead: LeadSnapshot, until: datetime) -> None:
        """Keep the open enrollment from continuing before *until*, even if the lead becomes due earlier."""
        enrollment = lead.view.enrollment
        assert enrollment is not None
        self.changes.enrollment_updates.append(_update(lead, enrollment, reached_at=until))

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
        to: TrackDestination,
        reason: str,
        *,
        event: str = "moved",
        entered_at: datetime | None = None,
        cool_off_until: datetime | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Move the lead from its track to *to*.

        If *to* is a track that is not published, or the lead may not be mailed at all, it goes to a queue. If it
        refused only what this track is about, it is classified again. A customer rests where another lead would be
        closed, placed again, mailed as a lead, or in a queue for want of consent.
        """
        if lead.view.lead.is_customer and not self._takes_customer(lead, to):
            due = self.due_after_cool_off(lead, cool_off_until)
            self.rest(lead, Resting.CUSTOMER, reason, due, event=event, detail=detail)
            return
        arrival = _Arrival(event, detail, entered_at, cool_off_until)
        match to:
            case ToTrack(track=track):
                program = self.definitions.programs.get(track)
                if program is None or program.for_customers != lead.view.lead.is_customer:
                    fault = "not published" if program is None else "for customers"
                    missing = f"{reason}; track {track} is {fault}"
                    self._move_to_queue(lead, Queue.TRACK_MISSING, missing, event, detail)
                elif (block := find_mailing_block(lead, self.now, program)) is None:
                    self._enroll(lead, program, reason, arrival)
                elif lead.view.custodian is not Custodian.INTAKE and find_mailing_block(lead, self.now) is None:
                    self._return_to_previous(lead, f"{reason}; {block[1]}", arrival)
                else:
                    self._move_to_queue(lead, block[0], f"{reason}; {block[1]}", event, detail)
            case Previous():
                self._return_to_previous(lead, reason, arrival)
            case ToQueue(queue=queue):
                self._move_to_queue(lead, queue, reason, event, detail)
            case ToClosed(closing=closing, reason=outcome_reason, again_after=again_after):
                again_at = cool_off_until if again_after is None else self.now + again_after
                more: dict[str, Any] = {"outcome_reason": outcome_reason, "event": event, "detail": detail}
                self.close(lead, closing, reason, again_at=again_at or self._not_now_until(lead), **more)
            case _:
                assert_never(to)

    def _not_now_until(self, lead: LeadSnapshot) -> datetime | None:
        """Return until when a lead that said "not now" is paused, if that outlasts its track."""
        until, by = lead.view.lead.paused_until, lead.view.lead.paused_by
        is_later = until is not None and until > self.now and by == PausedBy.NOT_NOW
        return until if is_later and self.stage == "advance" else None

    def _takes_customer(self, lead: LeadSnapshot, to: TrackDestination) -> bool:
        if isinstance(to, ToTrack):
            program = self.definitions.programs.get(to.track)
            return bool(program and program.for_customers and find_mailing_block(lead, self.now, program) is None)
        if isinstance(to, Previous):
            return self._find_previous(lead) is not None
        if isinstance(to, ToClosed):
            return to.closing is Closing.WON  # once more
        return to.queue not in _CONSENT_QUEUES

    def rest(
        self,
        lead: LeadSnapshot,
        why: Resting,
        reason: str,
        due_at: datetime | None,
        *,
        event: str = "rested",
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """End the enrollment, if there is one, and let the lead rest until *due_at*, MAX_REST at most."""
        self.end_enrollment(lead, f"resting as {why}")
        custody_change = self._set_resting(lead, why, due_at)
        if custody_change is not None:
            self.add_journal_entry(lead, event, reason, custody_change, ref=why, detail=detail)

    def _return_to_previous(self, lead: LeadSnapshot, reason: str, arrival: _Arrival) -> None:
        """Continue the last suspended stay on a track that still takes the lead; else classify it again."""
        stay = self._find_previous(lead)
        if stay is None:
            self.return_to_intake(lead, reason, arrival.event, arrival.cool_off_until, arrival.detail)
            return
        suspended = lead.view.suspended
        self._end_suspended(lead, suspended[suspended.index(stay) + 1 :])
        program = self.definitions.programs[stay.track]
        self._enroll(lead, program, reason, arrival)

    def _find_previous(self, lead: LeadSnapshot) -> Enrollment | None:
        """Return the last suspended stay on a track that still takes the lead."""
        for stay in reversed(lead.view.suspended):
            program, stop = self.definitions.programs.get(stay.track), lead.view.stops.get(stay.track)
            if program is None or program.for_customers != lead.view.lead.is_customer:
                continue
            is_retired = stop is not None and stop.action is StopAction.RETIRE
            if not is_retired and find_mailing_block(lead, self.now, program) is None:
                return stay
        return None

    def return_to_intake(
        self,
        lead: LeadSnapshot,
        reason: str,
        event: str = "returned",
        due: datetime | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """End the enrollment, if there is one, and classify the lead again at *due* (UTC), now by default."""
        self.end_enrollment(lead, "placed again")
        custody_change = self.set_custody(lead, Custodian.INTAKE, "return", "classify", due or self.now)
        self.add_journal_entry(lead, event, reason, custody_change, ref="return", detail=detail)

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
        for_good: bool = False,
        again_at: datetime | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Record how the sale ended, and close the lead.

        Unless it is closed *for_good*, a customer rests, and so does a lead that is classified again at *again_at*.
        """
        custody_change = self.end_sale(lead, closing, for_good=for_good, again_at=again_at)
        if custody_change is None and self.changes.custody_updates[-1].ref == Resting.LATER:
            return  # it rests for the same reason as before
        self.changes.new_outcomes.append(
            NewOutcome(
                lead.view.lead.id, closing.value, happened_at or self.now, amount, outcome_reason, source, self.now
            )
        )
        ref = self.changes.custody_updates[-1].ref
        self.add_journal_entry(lead, event, reason, custody_change, ref=ref, detail=detail)

    def end_sale(
        self, lead: LeadSnapshot, closing: Closing, *, for_good: bool = False, again_at: datetime | None = None
    ) -> tuple[str, str] | None:
        """End the enrollment, and set the custody of a lead whose sale has ended; return (from, to) if it changed."""
        self.end_enrollment(lead, closing.value)
        if closing is Closing.WON:
            self.changes.new_customers.append(NewCustomer(lead.view.lead.id))
        elif again_at is not None and not for_good and not lead.view.lead.is_customer:
            return self._set_resting(lead, Resting.LATER, again_at)
        elif for_good or not lead.view.lead.is_customer:
            return self.set_custody(lead, Custodian.CLOSED, closing.value, "", None)
        return self._set_resting(lead, Resting.CUSTOMER, self.now)

    def _set_resting(self, lead: LeadSnapshot, why: Resting, due_at: datetime | None) -> tuple[str, str] | None:
        """Let the lead rest until *due_at*, MAX_REST at most; return (from, to) if its custodian changed."""
        latest = self.now + MAX_REST
        return self.set_custody(lead, Custodian.RESTING, why, REST_ACTIONS[why], min(due_at or latest, latest))

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
        fit = policy.grade(lead.view.lead.condition_fields)[0] if policy.priority.fit_points else ""
        points, hot = policy.priority.points_for(rule, fit), rule in policy.priority.hot
        priority = QueuePriority(points, self.now, policy.priority.aging_interval, hot)
        self.changes.priority_updates.append(
            PriorityUpdate(lead.view.lead.id, rule, points, hot, self.now, priority.rank)
        )

    def _enroll(self, lead: LeadSnapshot, program: Program, reason: str, arrival: _Arrival) -> None:
        self.end_enrollment(lead, f"moved to {program.track}", keep_suspended=True)
        self._enter(lead, program, reason, arrival)

    def _enter(self, lead: LeadSnapshot, program: Program, reason: str, arrival: _Arrival) -> None:
        """Enroll the lead in a track; a stay there that was suspended continues at its step."""
        entered = arrival.cool_off_until or arrival.entered_at or self.now
        stay = next((one for one in lead.view.suspended if one.track == program.track), None)
        if stay is None:
            step, visit = program.resolve(0, 1)
            self.changes.new_enrollments.append(
                NewEnrollment(lead.view.lead.id, program.track, program.version, entered, step, visit, entered, entered)
            )
        else:
            self.changes.resumed_enrollments.append(_update(lead, stay, reached_at=entered, count_again=True))
            reason += f"; continues at {stay.position.step}"
        due = self.due_after_cool_off(lead, arrival.cool_off_until)
        custody_change = self.set_custody(lead, Custodian.TRACK, program.track, f"enter {program.track}", due)
        self.add_journal_entry(
            lead,
            arrival.event,
            reason,
            custody_change,
            ref=program.track,
            track=program.track,
            enrollment_id=stay.id if stay is not None else None,
            track_version=program.version,
            detail=arrival.detail,
        )

    def _move_to_queue(
        self, lead: LeadSnapshot, queue: str, reason: str, event: str, detail: Mapping[str, Any] | None
    ) -> None:
        self.end_enrollment(lead, f"queue {queue}")
        due = self.now + self.definitions.policy.queue_check_after(queue)
        due = self.due_after_cool_off(lead, due) if is_parked(queue) else due
        custody_change = self.set_custody(lead, Custodian.QUEUE, queue, f"review: {reason}", due)
        self.add_journal_entry(lead, event, reason, custody_change, ref=queue, detail=detail)


def _update(
    lead: LeadSnapshot, stay: Enrollment, *, reached_at: datetime | None = None, count_again: bool = False, **more: Any
) -> EnrollmentUpdate:
    """Return a change of *stay*. Its step is not reached before *reached_at*; with *count_again*, delays begin then."""
    at = stay.position
    reached = at.reached_at if reached_at is None else max(at.reached_at, reached_at)
    anchor = max(at.anchor, reached) if count_again else at.anchor
    return EnrollmentUpdate(stay.id, lead.view.lead.id, at.step, at.visit, anchor, reached, **more)
