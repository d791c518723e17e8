"""What the planner answers: actions, or a hold with its reason, where the lead stands then, until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nurture.domain.lead import FieldValue
from nurture.domain.planning.lead_view import LeadView, Position
from nurture.domain.planning.program import Destination, Program
from nurture.domain.policy.policy import Policy


class HoldReason(StrEnum):
    """Why nothing happens now."""

    NOT_ENROLLED = "not_enrolled"
    CLOSED = "closed"
    WITH_SALES = "with_sales"
    PAUSED = "paused"
    QUEUED = "queued"
    NOT_DUE = "not_due"
    WAITING = "waiting"
    CLICK_GRACE = "click_grace"
    IN_FLIGHT = "in_flight"
    SEND_WINDOW = "send_window"
    FREQUENCY_CAP = "frequency_cap"
    REPS_FULL = "reps_full"


@dataclass(frozen=True, slots=True)
class SendTouch:
    """Put an email into the outbox. It is not sent before *send_at* nor after *expires_at*."""

    step: str
    visit: int
    email: str
    planned_at: datetime
    send_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OfferToSales:
    """Hand the lead off; *rule* is the criterion or step that says so."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateField:
    """Write a fact of the lead."""

    name: str
    value: FieldValue


@dataclass(frozen=True, slots=True)
class EndEnrollment:
    """End the enrollment; the lead goes to *destination*."""

    destination: Destination
    reason: str


Action = SendTouch | OfferToSales | UpdateField | EndEnrollment


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, where the lead stands then, when to look again, and why.

    *wake_at* None: nothing on this track wakes the lead (it left, or sales has it). *hold* is None
    exactly when something other than a note happens.
    """

    actions: tuple[Action, ...]
    position: Position | None
    wake_at: datetime | None
    reason: str
    hold: HoldReason | None = None


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """The arguments of one decision, and the next moment at which a hand-off criterion may change.

    *current_program* is the program of the lead's track, None for a lead on no track.
    """

    view: LeadView
    current_program: Program | None
    policy: Policy
    now: datetime
    criteria_change_at: datetime | None = None

    @property
    def program(self) -> Program:
        """Return the program of a lead that is on a track."""
        assert self.current_program is not None
        return self.current_program

    @property
    def zone_fallback(self) -> str:
        """Return the zone of a lead whose own is not known."""
        return self.current_program.zone_fallback if self.current_program is not None else "UTC"

    @property
    def zone(self) -> str:
        """Return the zone in which the lead lives."""
        return self.view.lead.zone or self.zone_fallback

    def earliest_wake(self, until: datetime) -> datetime:
        """Return *until*, or when a hand-off criterion may change, whichever is first."""
        change_at = self.criteria_change_at
        return change_at if change_at is not None and self.now < change_at < until else until


def format_minute(at: datetime) -> str:
    """Write a moment (UTC) as reasons do."""
    return f"{at.isoformat(' ', 'minutes')[:16]} UTC"
