"""Everything that a decision about one lead may look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from nurture.domain.consent.suppression import ActiveSuppression
from nurture.domain.lead import Custodian, FieldValue, Lead
from nurture.domain.signals import Signal

UNKNOWN_COUNTS_AS_SENT_AFTER: Final = timedelta(hours=72)


class TouchState(StrEnum):
    """Where a touch is, seen from the planner."""

    IN_FLIGHT = "in_flight"  # planned, claimed or sending
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Touch:
    """One email of this enrollment. *at* is when it took its state (planned for IN_FLIGHT)."""

    step: str
    visit: int
    state: TouchState
    at: datetime

    def completed_at(self, now: datetime) -> datetime | None:
        """Return when the touch stopped being in the air, or None while it is."""
        match self.state:
            case TouchState.IN_FLIGHT:
                return None
            case TouchState.UNKNOWN:
                counts_at = self.at + UNKNOWN_COUNTS_AS_SENT_AFTER
                return counts_at if counts_at <= now else None
            case TouchState.ACCEPTED | TouchState.CANCELLED | TouchState.REJECTED:
                return self.at


@dataclass(frozen=True, slots=True)
class Position:
    """Where an enrollment stands. Both times are logical: never the time of a sweep.

    *anchor* is when the last touch was accepted or cancelled (else entry); delays count from it.
    *reached_at* is when this step came to be the next one.
    """

    step: str
    visit: int
    anchor: datetime
    reached_at: datetime


@dataclass(frozen=True, slots=True)
class Enrollment:
    """One lead's stay on one track."""

    id: int
    track: str
    entered_at: datetime
    position: Position
    ended: bool = False


@dataclass(frozen=True, slots=True)
class LeadView:
    """One lead at one moment. *signals* are in order of occurrence, *touches* are this enrollment's.

    *recent_touch_times* holds the planned or accepted times of the lead's touches in every track, as far back
    as the frequency cap and the lead's pace look from when the step was reached (not from now: sweeps may be
    late). *suppressed_by* says which suppression covers this track, "" for none; *suppressions* is all that
    the lead opted out of, topics too. *reps_full_until* is when the reps are foreseen to have room, None
    while they have. *queue* names the queue that keeps the lead, "" if none does.
    """

    lead: Lead
    custodian: Custodian
    enrollment: Enrollment | None
    signals: tuple[Signal, ...] = ()
    touches: tuple[Touch, ...] = ()
    recent_touch_times: tuple[datetime, ...] = ()
    suppressed_by: str = ""
    suppressions: tuple[ActiveSuppression, ...] = ()
    reps_full_until: datetime | None = None
    queue: str = ""

    def find_touch(self, step: str, visit: int) -> Touch | None:
        """Return this enrollment's touch of *step* at *visit*, if it was planned."""
        for touch in self.touches:
            if touch.step == step and touch.visit == visit:
                return touch
        return None

    def last_accepted_at(self, step: str) -> datetime | None:
        """Return when the newest touch of *step* was accepted (or is held to be), None if none was."""
        sent = [
            touch.at
            for touch in self.touches
            if touch.step == step and touch.state in (TouchState.ACCEPTED, TouchState.UNKNOWN)
        ]
        return max(sent, default=None)

    def with_field(self, name: str, value: FieldValue) -> LeadView:
        """Return the view after a track set a fact."""
        return replace(self, lead=replace(self.lead, fields={**self.lead.fields, name: value}))
