"""Define everything that a decision about one lead depends on."""

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
    """The state of a touch as the planner sees it."""

    IN_FLIGHT = "in_flight"  # planned, claimed or sending
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Touch:
    """One email of this enrollment. *at* is when it entered its state (for IN_FLIGHT, when it was planned)."""

    step: str
    visit: int
    state: TouchState
    at: datetime

    def completed_at(self, now: datetime) -> datetime | None:
        """Return when the touch stopped being in flight, or None while it is."""
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
    """An enrollment's place in its program. Both times are logical: never the time of a run.

    *anchor* is when the last touch was accepted or cancelled (initially, when the lead enrolled); delays count
    from it. *reached_at* is when this step became the next one.
    """

    step: str
    visit: int
    anchor: datetime
    reached_at: datetime


@dataclass(frozen=True, slots=True)
class Enrollment:
    """One lead on one track."""

    id: int
    track: str
    entered_at: datetime
    position: Position
    ended: bool = False


@dataclass(frozen=True, slots=True)
class LeadView:
    """One lead at one point in time. *signals* are in order of occurrence, *touches* belong to this enrollment.

    *recent_touch_times* holds the planned or accepted times of the lead's touches in every track, as far back
    as the frequency cap and the lead's touch interval reach from when the step was reached (not from now: runs
    may be late). *suppressed_by* names the suppression that covers this track, "" for none; *suppressions* is
    everything that the lead opted out of, including topics. *reps_full_until* is when reps are forecast to have
    capacity, None if they have it now. *queue* names the queue that holds the lead, "" for none.
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
        """Return this enrollment's touch of *step* at *visit*, None if it was never planned."""
        for touch in self.touches:
            if touch.step == step and touch.visit == visit:
                return touch
        return None

    def last_accepted_at(self, step: str) -> datetime | None:
        """Return when the newest touch of *step* was accepted (unknown counts as accepted), None if none was."""
        sent = [
            touch.at
            for touch in self.touches
            if touch.step == step and touch.state in (TouchState.ACCEPTED, TouchState.UNKNOWN)
        ]
        return max(sent, default=None)

    def with_field(self, name: str, value: FieldValue) -> LeadView:
        """Return the view after a track set a field."""
        return replace(self, lead=replace(self.lead, fields={**self.lead.fields, name: value}))
