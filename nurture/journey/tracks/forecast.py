"""Forecast what leads get when nobody acts: the decisions of the sweeps, carried out in memory on a virtual clock.

The code that decides is that of the sweeps (`advance_lead`, `classify_lead`); here its changes are applied to the
snapshot of the lead instead of the database. A forecast ends where people act: with sales, in a queue, or closed. What
couples leads is left out: ceilings of an hour, limits of sender domains, and reps who fill up later. Times are UTC.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Final, NamedTuple

from nurture.domain.delivery.stops import find_stop
from nurture.domain.lead import Custodian
from nurture.domain.planning.calendar import Holidays
from nurture.domain.planning.content import piece_of
from nurture.domain.planning.frequency_cap import CountedEmail
from nurture.domain.planning.lead_view import Enrollment, LeadView, PastStay, Position, Touch, TouchState
from nurture.domain.planning.program import Email
from nurture.journey.leads.changeset import Changes, EnrollmentUpdate, NewMessage, TouchCancellation
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.tracks.advance import advance_lead
from nurture.journey.tracks.enroll import classify_lead
from nurture.outbox.messages import REPLANNABLE
from nurture.runtime.published import Definitions

EMAIL: Final = "email"
"""The event of an email; other events are custodians: where the lead goes."""

_SWEPT: Final = (Custodian.INTAKE, Custodian.RESTING, Custodian.TRACK)
_NOT_SENT: Final = (TouchState.PLANNED, TouchState.IN_FLIGHT)
_MAX_DECISIONS_AT_ONCE: Final = 50


class ForecastEvent(NamedTuple):
    """An email of *track*, whose file is *name*, or a change of the custodian to *name*.

    *step* and *visit* are its place on *track*, the track that the lead was on.
    """

    at: datetime
    what: str
    name: str
    track: str
    step: str = ""
    visit: int = 1


class ForecastMove(NamedTuple):
    """An email of *track* that comes at *at* and not on the day before; *text* says to which day and why."""

    at: datetime
    track: str
    text: str


class Forecast(NamedTuple):
    """What happens to one lead, in order, how it stands at the end, and which emails another day gets."""

    events: tuple[ForecastEvent, ...]
    end: LeadSnapshot
    moves: tuple[ForecastMove, ...] = ()


@dataclass(slots=True)
class _Sweep:
    """One lead on the virtual clock."""

    lead: LeadSnapshot
    country: str
    definitions: Definitions
    holidays: Holidays
    events: list[ForecastEvent]
    moves: dict[tuple[str, str, int], ForecastMove] = field(default_factory=dict)
    """By track, step and visit: a decision is repeated while an email waits."""
    planned: NewMessage | None = None
    """The email that was planned last, unless it is that of the snapshot."""
    piece: str = ""
    """The piece of content that the lead gets with it for the first time, "" for none."""

    def next_at(self) -> datetime | None:
        """Return when the next sweep has something to do for the lead, None if never."""
        view, due = self.lead.view, self.lead.due_at
        times = [due] if due is not None and view.custodian in _SWEPT else []
        if (touch := self._deliverable()) is not None:
            times.append(touch.at)
        return min(times, default=None)

    def run_at(self, now: datetime) -> None:
        """Decide about the lead if it is due, otherwise send its planned email."""
        due = self.lead.due_at
        if due is not None and due <= now and self.lead.view.custodian in _SWEPT:
            self._decide(now)
        elif (touch := self._deliverable()) is not None:
            self._deliver(touch, now)

    def _decide(self, now: datetime) -> None:
        before = self.lead
        view = _refresh(before.view, self.holidays(self.country, now), now)
        before = replace(before, view=view) if view is not before.view else before
        transitions = _Transitions(self.definitions, now, "forecast")
        moved = Counter[str]()
        if view.custodian is Custodian.TRACK:
            advance_lead(before, transitions, moved)
        else:
            classify_lead(before, transitions)
        self.lead = apply_changes(before, transitions.changes, now)
        self._note_moves(moved, transitions.changes)
        self._note_content(transitions.changes)
        moved_to = (self.lead.view.custodian, self.lead.ref)
        if moved_to != (view.custodian, before.ref) and moved_to[0] is not Custodian.INTAKE:
            position = view.position
            step, visit = (position.step, position.visit) if position is not None else ("", 1)
            track = view.enrollment.track if view.enrollment is not None else ""
            self.events.append(ForecastEvent(now, moved_to[0], moved_to[1], track, step, visit))

    def _note_moves(self, moved: Counter[str], changes: Changes) -> None:
        enrollment = self.lead.view.enrollment
        for text in moved if enrollment is not None else ():
            assert enrollment is not None  # as above
            at = next((one.send_at for one in changes.new_messages), self.lead.due_at)
            if at is not None:
                key = enrollment.track, enrollment.position.step, enrollment.position.visit
                self.moves[key] = ForecastMove(at, enrollment.track, text)

    def _note_content(self, changes: Changes) -> None:
        """Note the piece of content of a planned email, or that it was cancelled before it went."""
        received = self.lead.view.received
        if changes.cancellations and self.piece:
            received, self.piece = received - {self.piece}, ""
        for message in changes.new_messages:
            program = self.definitions.programs.get(message.track or "")
            if message.kind == "touch" and program is not None:
                piece = piece_of(program, message.email)
                self.planned, self.piece = message, "" if piece in received else piece
                received |= {piece}
        if received is not self.lead.view.received:
            self.lead = replace(self.lead, view=replace(self.lead.view, received=received))

    def _deliverable(self) -> Touch | None:
        """Return the planned email, None if there is none, or its track is stopped."""
        view = self.lead.view
        touch = next((one for one in view.touches if one.state in _NOT_SENT), None)
        if touch is None or view.enrollment is None:
            return None
        return None if find_stop(view.stops, view.enrollment.track, to_lead=True) is not None else touch

    def _deliver(self, touch: Touch, now: datetime) -> None:
        view = self.lead.view
        assert view.enrollment is not None
        track = view.enrollment.track
        sent = replace(touch, state=TouchState.ACCEPTED, at=now)
        touches = tuple(sent if one is touch else one for one in view.touches)
        counted = [one for one in view.counted_emails if one != CountedEmail(touch.at, track, one.topic)]
        program = self.definitions.programs[track]
        counted.append(CountedEmail(now, track, program.topic_key))
        view = replace(view, touches=touches, counted_emails=tuple(counted))
        self.lead = replace(self.lead, view=view, due_at=min(self.lead.due_at or now, now))
        is_planned = self.planned is not None and (self.planned.step, self.planned.visit) == (touch.step, touch.visit)
        email = self.planned.email if is_planned and self.planned else find_email(self.definitions, track, touch)
        self.planned, self.piece = None, ""
        self.events.append(ForecastEvent(now, EMAIL, email, track, touch.step, touch.visit))


class _Transitions(LeadTransitions):
    """The changes without the journal, which nobody reads."""

    def add_journal_entry(self, *_: object, **__: object) -> None:
        """Add nothing."""


def forecast(
    lead: LeadSnapshot, country: str, definitions: Definitions, now: datetime, until: datetime, holidays: Holidays
) -> Forecast:
    """Return what happens to *lead* from *now* to *until* when nobody acts. Same arguments, same answer.

    *country* is its ISO code, for the holidays.
    """
    sweep = _Sweep(lead, country, definitions, holidays, [])
    at, decided = now, 0
    while (next_at := sweep.next_at()) is not None and next_at <= until and decided < _MAX_DECISIONS_AT_ONCE:
        at, decided = (next_at, 0) if next_at > at else (at, decided + 1)
        sweep.run_at(at)
    return Forecast(tuple(sweep.events), sweep.lead, tuple(sweep.moves.values()))


def find_email(definitions: Definitions, track: str, touch: Touch) -> str:
    """Return the file of a touch of *track*, or its step if the track does not have that any more."""
    program = definitions.programs.get(track)
    place = program.index.get(touch.step) if program is not None else None
    instruction = program.instructions[place] if program is not None and place is not None else None
    return instruction.email(touch.visit) if isinstance(instruction, Email) else touch.step


def _refresh(view: LeadView, holidays: Collection[object], now: datetime) -> LeadView:
    """Return the view with the holidays around *now*, and reps who have capacity again when that was forecast."""
    if view.lead.holidays is not holidays:
        view = replace(view, lead=replace(view.lead, holidays=holidays))  # type: ignore[arg-type]
    if view.reps_full_until is not None and view.reps_full_until <= now:
        view = replace(view, reps_full_until=None)
    return view


_new_ids: Final = count(-1, -1)
"""Enrollments that are not in the database have negative ids."""


def apply_changes(lead: LeadSnapshot, changes: Changes, now: datetime) -> LeadSnapshot:
    """Return the lead after *changes*, which are of this lead alone, as it would be read again at *now*."""
    view = lead.view
    for cancellation in changes.cancellations:
        view = _cancel(view, cancellation, now)
    view, suspended_touches = _change_stays(view, dict(lead.suspended_touches), changes)
    for message in changes.new_messages:
        if message.kind == "touch":
            view = _plan(view, message)
    for updated in changes.field_updates:
        view = replace(view, lead=replace(view.lead, fields=updated.fields))
    if changes.new_customers:
        view = replace(view, lead=replace(view.lead, is_customer=True))
    if changes.readmissions:
        readmitted = {track for _, track in changes.readmissions}
        view = replace(view, excluded_from=view.excluded_from - readmitted)
    lead = replace(lead, suspended_touches=suspended_touches)
    for custody in changes.custody_updates:
        kind = Custodian(custody.kind)
        view = replace(view, custodian=kind, queue=custody.ref if kind is Custodian.QUEUE else "")
        lead = replace(lead, ref=custody.ref, due_at=custody.due_at)
    return replace(lead, view=view)


def _cancel(view: LeadView, cancellation: TouchCancellation, now: datetime) -> LeadView:
    state = TouchState.RECALLED if cancellation.reason in REPLANNABLE else TouchState.CANCELLED
    for touch in view.touches:
        if touch.state in _NOT_SENT:
            view = view.withdraw(touch, state, now)
    return view


def _plan(view: LeadView, message: NewMessage) -> LeadView:
    planned = Touch(message.step, message.visit, TouchState.PLANNED, message.send_at)
    others = (one for one in view.touches if (one.step, one.visit) != (message.step, message.visit))
    counted = CountedEmail(message.send_at, message.track or "", message.topic or "")
    return replace(view, touches=(*others, planned), counted_emails=(*view.counted_emails, counted))


def _change_stays(
    view: LeadView, stored: dict[int, tuple[Touch, ...]], changes: Changes
) -> tuple[LeadView, dict[int, tuple[Touch, ...]]]:
    """Return the view after its enrollments changed, and the touches of the suspended ones."""
    enrollment, touches, stays = view.enrollment, view.touches, {one.enrollment.id: one for one in view.past_stays}
    for update in changes.enrollment_updates:
        if enrollment is not None and enrollment.id == update.id:
            moved = _move(enrollment, update)
            if update.ended_at is None and update.suspended_at is None:
                enrollment = moved
                continue
            stored[moved.id] = touches
            enrollment, touches = None, ()
        else:
            moved = _move(stays.pop(update.id).enrollment, update)
        left_at = update.ended_at or update.suspended_at
        assert left_at is not None  # an enrollment that is not the present one only ends
        stays[moved.id] = PastStay(moved, left_at)
        if moved.ended:
            stored.pop(moved.id, None)
    for update in changes.resumed_enrollments:
        enrollment = _move(stays.pop(update.id).enrollment, update)
        touches = stored.pop(update.id, ())
    for new in changes.new_enrollments:
        position = Position(new.step, new.visit, new.anchor_at, new.reached_at)
        enrollment, touches = Enrollment(next(_new_ids), new.track, new.entered_at, position), ()
    return replace(view, enrollment=enrollment, touches=touches, past_stays=tuple(stays.values())), stored


def _move(enrollment: Enrollment, update: EnrollmentUpdate) -> Enrollment:
    position = Position(update.step, update.visit, update.anchor_at, update.reached_at)
    return replace(enrollment, position=position, ended=enrollment.ended or update.ended_at is not None)
