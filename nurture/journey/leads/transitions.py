"""How a lead passes from one custodian to another: the same few moves for every use case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, assert_never

from nurture.domain.consent.suppression import covering, told
from nurture.domain.lead import Closing, Custodian, Queue, is_parked
from nurture.domain.planning.callback import call_of
from nurture.domain.planning.conditions import evaluate
from nurture.domain.planning.program import Destination, Program, ToClosed, ToQueue, ToTrack
from nurture.domain.routing.priority import Urgency
from nurture.journey.leads.changeset import (
    Cancelled,
    Changes,
    Custodied,
    Ended,
    Entered,
    Noted,
    Placed,
    Ranked,
)
from nurture.journey.leads.snapshot import Claimed
from nurture.runtime.published import Rulebook

LOOK_AGAIN_AFTER: Final = timedelta(days=7)
"""How often a queue's lead is brought to somebody's attention."""

TRY_FAULTY_AGAIN_AFTER: Final = timedelta(hours=6)
"""A lead on which a decision failed is kept, with the fault in its journal, and tried again."""


def barred(lead: Claimed, program: Program | None = None) -> tuple[str, str] | None:
    """Return the queue of a lead that may not be mailed (on the track of *program*), and why; else None."""
    refused = covering(lead.view.standing, program.track, program.topic) if program is not None else None
    why = lead.view.suppressed or (told(refused) if refused is not None else "")
    if why:
        return Queue.SUPPRESSED, f"suppressed: {why}"
    if lead.address_id is None:
        return Queue.NO_ADDRESS, "no email address is known"
    if not lead.view.lead.basis:
        return Queue.NO_BASIS, "no consent or other legal basis is recorded"
    return None


@dataclass
class Mover:
    """Collects the changes of one use case on one batch. Each lead may be moved once."""

    book: Rulebook
    now: datetime
    stage: str
    changes: Changes = field(default_factory=Changes)

    def keep(
        self, lead: Claimed, kind: Custodian, ref: str, next_action: str, due_at: datetime | None
    ) -> tuple[str, str] | None:
        """Write custody; return (from, to) if the custodian changed."""
        before = (lead.view.custodian.value, lead.ref)
        changed = before != (kind.value, ref)
        self.changes.custody.append(
            Custodied(
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

    def note(
        self, lead: Claimed, event: str, because: str, moved: tuple[str, str] | None, **more: Any
    ) -> None:
        """Write one line of the journal; *moved* as returned by `keep`."""
        stay = lead.view.enrollment
        more.setdefault("enrollment_id", stay.id if stay is not None else None)
        more.setdefault("track", stay.track if stay is not None else None)
        self.changes.noted.append(
            Noted(
                lead.view.lead.id,
                self.now,
                self.stage,
                event,
                because,
                policy_version=self.book.policy.version,
                custody_from=moved[0] if moved else None,
                custody_to=moved[1] if moved else None,
                **more,
            )
        )

    def fault(self, lead: Claimed, because: str) -> str:
        """Keep the lead where it is, note what failed, and try again later: it must not stop its batch."""
        due = self.now + TRY_FAULTY_AGAIN_AFTER
        self.keep(lead, lead.view.custodian, lead.ref, f"try again: {because}", due)
        self.note(lead, "fault", because, None)
        return "fault"

    def remind(self, lead: Claimed, action: str, due: datetime) -> None:
        """Note that somebody was to do *action* by now; the next reminder comes at *due*."""
        self.keep(lead, lead.view.custodian, lead.ref, f"{action}: overdue", due)
        self.note(lead, "reminder", f"{lead.ref} was to {action} by now", None, ref=lead.ref)

    def end_stay(self, lead: Claimed, reason: str, why_cancelled: str = "left") -> None:
        """End the open enrollment, if there is one, and call its touches off."""
        stay = lead.view.enrollment
        if stay is None:
            return
        at = stay.position
        self.changes.placed.append(
            Placed(stay.id, lead.view.lead.id, at.step, at.visit, at.anchor, at.reached, self.now, reason)
        )
        self.call_off(lead, why_cancelled)

    def leave_in_peace(self, lead: Claimed, until: datetime) -> None:
        """Let the open enrollment go on no sooner than *until*, whatever wakes the lead before."""
        stay = lead.view.enrollment
        assert stay is not None
        at = stay.position
        reached = max(at.reached, until)
        self.changes.placed.append(Placed(stay.id, lead.view.lead.id, at.step, at.visit, at.anchor, reached))

    def due_after(self, lead: Claimed, peace_until: datetime | None) -> datetime:
        """Return when to look at a lead left in peace: sooner if a date that it named comes before."""
        if peace_until is None:
            return self.now
        call = call_of(lead.view.lead, "UTC")
        changes = [call.at] if call is not None and call.at > self.now else []
        if lead.view.lead.timeline is not None:
            about = self.book.policy.question(lead.view, since=self.now, answered_at=self.now)
            found = [evaluate(one.when, about, self.now).changes_at for one in self.book.policy.criteria]
            changes += [moment for moment in found if moment is not None]
        return min([peace_until, *changes])

    def call_off(self, lead: Claimed, reason: str) -> None:
        """Cancel the lead's touches that have not gone yet."""
        self.changes.cancelled.append(Cancelled(lead.view.lead.id, reason))

    def send_to(
        self,
        lead: Claimed,
        to: Destination,
        because: str,
        *,
        event: str = "moved",
        entered_at: datetime | None = None,
        peace_until: datetime | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Take the lead off its track and bring it to *to*.

        A track that is not published, or on which the lead may not be mailed, becomes a queue.
        """
        match to:
            case ToTrack(track=track):
                program = self.book.programs.get(track)
                if program is None:
                    missing = f"{because}; track {track} is not published"
                    self._queue(lead, Queue.NO_TRACK, missing, event, detail)
                elif (bar := barred(lead, program)) is not None:
                    self._queue(lead, bar[0], f"{because}; {bar[1]}", event, detail)
                else:
                    self._enrol(lead, program, because, event, entered_at, peace_until, detail)
            case ToQueue(queue=queue):
                self._queue(lead, queue, because, event, detail)
            case ToClosed(closing=closing, reason=reason):
                self.close(lead, closing, because, reason=reason, event=event, detail=detail)
            case _:
                assert_never(to)

    def close(
        self,
        lead: Claimed,
        closing: Closing,
        because: str,
        *,
        reason: str = "",
        event: str = "closed",
        happened_at: datetime | None = None,
        amount: float | None = None,
        source: str = "nurture",
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Close the lead and write its outcome."""
        self.end_stay(lead, closing.value)
        moved = self.keep(lead, Custodian.CLOSED, closing.value, "", None)
        self.changes.ended.append(
            Ended(lead.view.lead.id, closing.value, happened_at or self.now, amount, reason, source, self.now)
        )
        self.note(lead, event, because, moved, ref=closing.value, detail=detail)

    def hand_off(
        self, lead: Claimed, rule: str, because: str, detail: Mapping[str, Any] | None = None
    ) -> None:
        """Put the lead into the queue for sales: no touches from now on, a rep as soon as one has room."""
        self.call_off(lead, "handed_off")
        moved = self.keep(lead, Custodian.QUEUE, Queue.HAND_OFF, f"offer to a rep: {rule}", self.now)
        stay = lead.view.enrollment
        step = stay.position.step if stay is not None else None
        self.note(lead, "hand_off", because, moved, ref=rule, step=step, detail=detail)
        self.rank(lead, rule)

    def rank(self, lead: Claimed, rule: str) -> None:
        """Give the lead its place in the queue."""
        policy = self.book.policy
        fit = policy.grade(lead.view.lead.facts)[0] if policy.pace.fit else ""
        points, hot = policy.pace.points(rule, fit), rule in policy.pace.hot
        urgency = Urgency(points, self.now, policy.pace.age, hot)
        self.changes.ranked.append(Ranked(lead.view.lead.id, rule, points, hot, self.now, urgency.rank))

    def _enrol(
        self,
        lead: Claimed,
        program: Program,
        because: str,
        event: str,
        entered_at: datetime | None,
        peace_until: datetime | None,
        detail: Mapping[str, Any] | None,
    ) -> None:
        self.end_stay(lead, f"moved to {program.track}")
        entered = peace_until or entered_at or self.now
        step, visit = program.land(0, 1)
        self.changes.entered.append(
            Entered(lead.view.lead.id, program.track, entered, step, visit, entered, entered)
        )
        due = self.due_after(lead, peace_until)
        moved = self.keep(lead, Custodian.TRACK, program.track, f"begin {program.track}", due)
        self.note(
            lead,
            event,
            because,
            moved,
            ref=program.track,
            track=program.track,
            enrollment_id=None,
            track_version=program.version,
            detail=detail,
        )

    def _queue(
        self, lead: Claimed, queue: str, because: str, event: str, detail: Mapping[str, Any] | None
    ) -> None:
        self.end_stay(lead, f"queue {queue}")
        due = self.now + LOOK_AGAIN_AFTER
        due = self.due_after(lead, due) if is_parked(queue) else due
        moved = self.keep(lead, Custodian.QUEUE, queue, f"look at it: {because}", due)
        self.note(lead, event, because, moved, ref=queue, detail=detail)
