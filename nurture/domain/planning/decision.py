"""Define the planner's result: actions or a hold, the reason, the next position and the wake-up time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from nurture.domain.delivery.stops import Stop, find_stop
from nurture.domain.frozen import frozen
from nurture.domain.lead import FieldValue
from nurture.domain.planning.click_grace import ClickGrace
from nurture.domain.planning.lead_view import LeadView, Position
from nurture.domain.planning.program import ExitKind, Program, TrackDestination
from nurture.domain.policy.policy import Policy

if TYPE_CHECKING:
    from nurture.domain.planning.entry import Entries

Answer = TypeVar("Answer")


class HoldReason(StrEnum):
    """Why the planner does nothing now."""

    NOT_ENROLLED = "not_enrolled"
    CLOSED = "closed"
    WITH_SALES = "with_sales"
    PAUSED = "paused"
    STOPPED = "stopped"
    QUEUED = "queued"
    NOT_DUE = "not_due"
    WAITING = "waiting"
    CLICK_GRACE = "click_grace"
    IN_FLIGHT = "in_flight"
    SEND_WINDOW = "send_window"
    FREQUENCY_CAP = "frequency_cap"
    REPS_FULL = "reps_full"
    ACCOUNT_HOLD = "account_hold"


@frozen
class SendTouch:
    """Put an email into the outbox. It is not sent before *send_at* or after *expires_at*.

    *past_cap*: a cap would hold it, if it were not exempt.
    """

    step: str
    visit: int
    email: str
    planned_at: datetime
    send_at: datetime
    expires_at: datetime
    past_cap: bool = False


@frozen
class RecallTouch:
    """Cancel a planned touch, because the date on which it hangs moved; it may be planned again."""

    step: str
    visit: int
    reason: str


@frozen
class SkipTouch:
    """Go on without a touch that cannot be sent in time since *at*, or whose date is not known (None)."""

    step: str
    visit: int
    reason: str
    at: datetime | None


@frozen
class OfferToSales:
    """Hand off the lead; *rule* is the criterion or step that triggered it."""

    rule: str
    reason: str


@frozen
class UpdateField:
    """Set a field of the lead."""

    name: str
    value: FieldValue


@frozen
class EndEnrollment:
    """End the enrollment and move the lead to *destination*; *exit* if it leaves by an exit of its track."""

    destination: TrackDestination
    reason: str
    exit: ExitKind | None = None


@frozen
class TakeOver:
    """Suspend the enrollment: the audience of *track*, which has a higher priority, takes the lead."""

    track: str
    reason: str


SideAction = UpdateField | RecallTouch | SkipTouch
"""What may happen on the way to the outcome of a decision."""

Action = SideAction | SendTouch | OfferToSales | EndEnrollment | TakeOver


@frozen
class Decision:
    """What to do, the position afterward, when to decide again, and why.

    *wake_at* None: nothing on this track wakes the lead (it left, or sales has it). *hold* is None exactly when
    an action other than a side action happens. *move* is to which later day it holds an email, and why, "" if to none.
    *ways* are the forks that the lead passes, by step, each with the number of its way, from 0.
    """

    actions: tuple[Action, ...]
    position: Position | None
    wake_at: datetime | None
    reason: str
    hold: HoldReason | None = None
    move: str = ""
    ways: tuple[tuple[str, int], ...] = ()


@frozen
class DecisionContext:
    """The arguments of one decision, what happened so far, and when a hand-off criterion may next change.

    *current_program* is the program of the lead's track, None for a lead on no track. *grace* holds the clicks that
    are not in *view* because they are in their grace period, None if there are none.
    """

    view: LeadView
    current_program: Program | None
    policy: Policy
    now: datetime
    grace: ClickGrace | None = None
    entries: Entries | None = None
    criteria_change_at: datetime | None = None
    side_actions: tuple[SideAction, ...] = ()

    @property
    def program(self) -> Program:
        """Return the program of a lead that is on a track."""
        assert self.current_program is not None
        return self.current_program

    @property
    def track_stop(self) -> Stop | None:
        """Return what stops the mail of the lead's track, None if nothing does."""
        return find_stop(self.view.stops, self.program.track, to_lead=True)

    @property
    def zone_fallback(self) -> str:
        """Return the time zone for a lead whose own is unknown."""
        return self.current_program.zone_fallback if self.current_program is not None else "UTC"

    @property
    def zone(self) -> str:
        """Return the lead's time zone."""
        return self.view.lead.zone or self.zone_fallback

    def earliest_wake(self, until: datetime) -> datetime:
        """Return *until*, or when a hand-off criterion may change, whichever is earlier."""
        change_at = self.criteria_change_at
        return change_at if change_at is not None and self.now < change_at < until else until

    def hold(self, position: Position, hold: HoldReason, until: datetime, reason: str) -> Decision:
        """Return the decision to do nothing at a step until *until*."""
        return Decision((), position, self.earliest_wake(until), reason, hold)

    def ask(self, question: Callable[[LeadView], Answer]) -> Answer:
        """Return the answer of *question* about the lead; note whether clicks in their grace period would change it."""
        answer = question(self.view)
        if self.grace is not None and not self.grace.matters and question(self.grace.view) != answer:
            self.grace.matters = True
        return answer

    def with_field(self, update: UpdateField) -> DecisionContext:
        """Return the context after a track set a field."""
        if self.grace is not None:
            self.grace.view = self.grace.view.with_field(update.name, update.value)
        view = self.view.with_field(update.name, update.value)
        return replace(self.with_side_action(update), view=view)

    def with_side_action(self, action: SideAction) -> DecisionContext:
        """Return the context after *action*."""
        return replace(self, side_actions=(*self.side_actions, action))


def hold(view: LeadView, reason: HoldReason, until: datetime | None, explanation: str) -> Decision:
    """Return the decision to leave the lead where it is until *until*."""
    return Decision((), view.position, until, explanation, reason)


def offer_lead(offer: OfferToSales, position: Position | None) -> Decision:
    """Return the decision to hand off the lead; *position* is where it continues if sales returns it."""
    return Decision((offer,), position, None, offer.reason)


def end_enrollment(view: LeadView, destination: TrackDestination, reason: str) -> Decision:
    """Return the decision to end the enrollment where it stands."""
    return Decision((EndEnrollment(destination, reason),), view.position, None, reason)
