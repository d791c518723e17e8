"""Define everything that a decision about one lead depends on."""

from __future__ import annotations

from dataclasses import field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from nurture.domain.consent.permission import MailPermission, combine_refusals, may_mail
from nurture.domain.consent.statements import ConsentStatement
from nurture.domain.consent.suppression import ActiveSuppression
from nurture.domain.delivery.stops import Stops
from nurture.domain.frozen import frozen
from nurture.domain.lead import Custodian, FieldValue, Lead, is_parked
from nurture.domain.planning.frequency_cap import CountedEmail
from nurture.domain.signals import Signal

if TYPE_CHECKING:
    from nurture.domain.planning.program import Program

UNKNOWN_COUNTS_AS_SENT_AFTER: Final = timedelta(hours=72)


class TouchState(StrEnum):
    """The state of a touch as the planner sees it."""

    PLANNED = "planned"  # no worker has claimed it, and it was never given to a provider
    IN_FLIGHT = "in_flight"  # planned again, claimed or sending
    RECALLED = "recalled"  # cancelled while it was planned, because its date moved or another track began
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


@frozen
class Touch:
    """One email of this enrollment. *at* is when it entered its state (for PLANNED and IN_FLIGHT, when it is to go)."""

    step: str
    visit: int
    state: TouchState
    at: datetime

    @property
    def is_over(self) -> bool:
        """Return whether it is neither in flight nor unknown."""
        return self.state not in (TouchState.PLANNED, TouchState.IN_FLIGHT, TouchState.UNKNOWN)

    def completed_at(self, now: datetime) -> datetime | None:
        """Return when the touch stopped being in flight, or None while it is."""
        match self.state:
            case TouchState.PLANNED | TouchState.IN_FLIGHT:
                return None
            case TouchState.UNKNOWN:
                counts_at = self.at + UNKNOWN_COUNTS_AS_SENT_AFTER
                return counts_at if counts_at <= now else None
            case TouchState.ACCEPTED | TouchState.CANCELLED | TouchState.REJECTED | TouchState.RECALLED:
                return self.at


@frozen
class Position:
    """An enrollment's place in its program. Both times are logical: never the time of a run.

    *anchor* is when the last touch was accepted or cancelled (initially, when the lead enrolled); delays count
    from it. *reached_at* is when this step became the next one.
    """

    step: str
    visit: int
    anchor: datetime
    reached_at: datetime

    def at_step(self, step: str, visit: int) -> Position:
        """Return the position at another step or visit, at the same times."""
        return Position(step, visit, self.anchor, self.reached_at)

    def reached(self, at: datetime) -> Position:
        """Return the position as reached at *at*."""
        return Position(self.step, self.visit, self.anchor, at)


@frozen
class Enrollment:
    """One lead on one track."""

    id: int
    track: str
    entered_at: datetime
    position: Position
    ended: bool = False


@frozen
class PastStay:
    """A stay on a track before the present one. *left_at* is when it ended, or was suspended by another track."""

    enrollment: Enrollment
    left_at: datetime


@frozen
class LeadView:
    """One lead at one point in time. *signals* are in order of occurrence, *touches* belong to this enrollment.

    *counted_emails* are those that count for the caps, in every track, as far back as the caps and the lead's touch
    interval reach from when the step was reached (not from now: runs may be late). *statements* are the consent
    history of its address, *suppressions* everything that the lead opted out of, including topics. *reps_full_until*
    is when reps are forecast to have capacity, None if they have it now. *queue* names the queue that holds the lead,
    "" for none. *stops* are the stops of mail that are active. *past_stays* are its earlier stays on tracks, in the
    order in which it left them. It is *excluded_from* tracks whose audience it fitted already when that was published.
    *colleague_with_sales* is another lead of its company that a rep has or was offered, 0 for none.
    *received* are the pieces of content that it has had, in any track, if its track asks for them.
    """

    lead: Lead
    custodian: Custodian
    enrollment: Enrollment | None
    signals: tuple[Signal, ...] = ()
    touches: tuple[Touch, ...] = ()
    counted_emails: tuple[CountedEmail, ...] = ()
    statements: tuple[ConsentStatement, ...] = ()
    suppressions: tuple[ActiveSuppression, ...] = ()
    reps_full_until: datetime | None = None
    queue: str = ""
    stops: Stops = field(default_factory=dict)
    past_stays: tuple[PastStay, ...] = ()
    excluded_from: frozenset[str] = frozenset()
    colleague_with_sales: int = 0
    received: frozenset[str] = frozenset()

    @property
    def position(self) -> Position | None:
        """Return the position in the lead's track, None for a lead on no track."""
        return self.enrollment.position if self.enrollment is not None else None

    @property
    def is_parked(self) -> bool:
        """Return whether the lead is on no track and with nobody in sales, so that only a request of it counts."""
        return self.custodian is Custodian.RESTING or is_parked(self.queue)

    @property
    def suspended(self) -> tuple[Enrollment, ...]:
        """Return the stays that other tracks interrupted, the last one at the end."""
        return tuple(one.enrollment for one in self.past_stays if not one.enrollment.ended)

    @property
    def refusals(self) -> tuple[ActiveSuppression, ...]:
        """Return everything that the lead refused, itself or by a record."""
        return combine_refusals(self.statements, self.suppressions)

    def permission(self, at: datetime, program: Program | None = None) -> MailPermission:
        """Return whether the lead may be mailed on the track of *program*; None: whether by any track."""
        topic, track = (program.topic, program.track) if program is not None else (None, "")
        return may_mail(self.statements, self.suppressions, topic, at, track=track)

    def find_touch(self, step: str, visit: int) -> Touch | None:
        """Return this enrollment's touch of *step* at *visit*, None if it was never planned, or recalled."""
        for touch in self.touches:
            if touch.step == step and touch.visit == visit and touch.state is not TouchState.RECALLED:
                return touch
        return None

    @property
    def recalled_touches(self) -> frozenset[tuple[str, int]]:
        """Return the step and visit of the touches of this enrollment that were recalled."""
        return frozenset((one.step, one.visit) for one in self.touches if one.state is TouchState.RECALLED)

    def withdraw(self, touch: Touch, state: TouchState, at: datetime) -> LeadView:
        """Return the view after a touch that was not sent got the final *state* at *at*; no cap counts it any more."""
        withdrawn = replace(touch, state=state, at=at)
        counted = list(self.counted_emails)
        planned = next((one for one in counted if one.at == touch.at), None)
        if planned is not None:
            counted.remove(planned)
        touches = tuple(withdrawn if one == touch else one for one in self.touches)
        return replace(self, touches=touches, counted_emails=tuple(counted))

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
