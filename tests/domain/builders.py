"""Build leads, tracks and policies for tests, and simulate a lead with a small world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any

from nurture.domain.consent.statements import grant
from nurture.domain.consent.suppression import ActiveSuppression, SuppressionScope, SuppressionSource
from nurture.domain.lead import Custodian, Engagement, Lead
from nurture.domain.planning import calendar
from nurture.domain.planning.calendar import Delay, Window
from nurture.domain.planning.conditions import Condition
from nurture.domain.planning.dates import DateOffset
from nurture.domain.planning.decision import SideAction
from nurture.domain.planning.entry import Entries
from nurture.domain.planning.frequency_cap import CountedEmail, FrequencyCap
from nurture.domain.planning.lead_view import Enrollment, LeadView, Position, Touch, TouchState
from nurture.domain.planning.planner import (
    Decision,
    EndEnrollment,
    HoldReason,
    OfferToSales,
    RecallTouch,
    SendTouch,
    UpdateField,
    apply_decision,
    decide,
)
from nurture.domain.planning.program import (
    FINALLY,
    Branch,
    Email,
    End,
    HandOff,
    Instruction,
    Jump,
    NextRound,
    Program,
    ReEntry,
    Repeat,
    Sender,
    SetField,
    Split,
    ToQueue,
    WaitFor,
)
from nurture.domain.planning.touch_timing import latest_time
from nurture.domain.policy.policy import Criterion, Policy, RejectReason, Resume
from nurture.domain.scoring import scoring
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import Signal, SignalKind

AT_ONCE = Delay()
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ALWAYS = Window(frozenset(range(7)), datetime.min.time(), datetime.min.time(), skip_holidays=False)
OFFICE = Window()
NO_CAP = FrequencyCap(1000, HOUR)
NO_ENTRIES = Entries()
POINTS = Points({SignalKind.CLICKED: 5.0, SignalKind.VISITED: 1.0, SignalKind.REPLIED: 20.0}, (30.0,))
START = datetime(2026, 6, 1, 8, tzinfo=UTC)  # a Monday


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    """Return a time in June 2026, which begins on a Monday."""
    return datetime(2026, 6, 1, hour, minute, tzinfo=UTC) + (day - 1) * DAY


def signal(kind: SignalKind, when: datetime, step: str | None = None, **more: Any) -> Signal:
    return Signal(kind, when, step=step, **more)


# Nested steps as a marketer writes them; `track` compiles them into a flat program.


@dataclass(frozen=True)
class Mail:
    after: Delay | DateOffset = AT_ONCE
    emails: tuple[str, ...] = ("mail",)
    step: str = ""
    not_after: date | DateOffset | None = None


@dataclass(frozen=True)
class Wait:
    until: Condition
    up_to: Delay
    then: tuple[Any, ...] = ()
    otherwise: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Fork:
    when: Condition
    then: tuple[Any, ...] = ()
    otherwise: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Arms:
    arms: tuple[tuple[int, tuple[Any, ...]], ...]


@dataclass(frozen=True)
class Round:
    body: tuple[Any, ...]
    every: float = 7
    growth: float = 1.0
    at_most: float = 60
    times: int | None = None


@dataclass(frozen=True)
class Offer:
    reason: str = "the track says so"


@dataclass(frozen=True)
class Note:
    name: str
    value: Any


@dataclass(frozen=True)
class Stop:
    queue: str = "stopped"


def track(*steps: Any, **settings: Any) -> Program:
    """Return the program of *steps*; a step's id is "s" and its index unless it has its own."""
    flat: list[Any] = []
    _flatten(steps, flat)
    flat.append(End(FINALLY, ToQueue("done")))
    return program(*flat, **settings)


def program(*instructions: Instruction, **settings: Any) -> Program:
    """Return a program that may always send, unless *settings* say otherwise."""
    values: dict[str, Any] = {
        "track": "warm",
        "version": 1,
        "goal": "a talk",
        "audience": None,
        "priority": 0,
        "re_entry": ReEntry(),
        "sender": Sender("Ada", "ada@example.com", "1 Example Street"),
        "window": ALWAYS,
        "grace": 4 * HOUR,
    }
    if "caps" not in settings:
        settings["caps"] = (settings.pop("cap", NO_CAP),)
    return Program(instructions=instructions, **(values | settings))


def _flatten(steps: Iterable[Any], flat: list[Any]) -> None:
    for written in steps:
        place, step = len(flat), f"s{len(flat)}"
        match written:
            case Mail():
                flat.append(Email(written.step or step, written.emails, written.after, not_after=written.not_after))
            case Note():
                flat.append(SetField(step, written.name, written.value))
            case Offer():
                flat.append(HandOff(step, written.reason))
            case Stop():
                flat.append(End(step, ToQueue(written.queue)))
            case Round():
                flat.append(None)
                _flatten(written.body, flat)
                flat.append(NextRound(place))
                flat[place] = Repeat(
                    step, written.every, written.growth, written.at_most, written.times, place + 1, len(flat)
                )
            case Wait() | Fork():
                then, otherwise = _fork(flat, (written.then, written.otherwise))
                if isinstance(written, Wait):
                    flat[place] = WaitFor(step, written.until, written.up_to, then, otherwise)
                else:
                    flat[place] = Branch(step, ((written.when, then),), otherwise)
            case Arms():
                targets = _fork(flat, [arm for _, arm in written.arms])
                weights = [weight for weight, _ in written.arms]
                named = zip("abcdef", weights, targets, strict=False)
                flat[place] = Split(step, tuple(named))
            case _:
                raise AssertionError(written)


def _fork(flat: list[Any], blocks: Sequence[Sequence[Any]]) -> list[int]:
    flat.append(None)
    starts, jumps = [], []
    for block in blocks:
        starts.append(len(flat))
        _flatten(block, flat)
        jumps.append(len(flat))
        flat.append(None)
    for jump in jumps:
        flat[jump] = Jump(len(flat))
    return starts


def policy(*criteria: Condition, points: Points = POINTS, **more: Any) -> Policy:
    return Policy(
        version=1,
        approved_by="sales",
        approved_on=date(2026, 1, 1),
        points=points,
        readiness=(),
        criteria=tuple(Criterion(f"c{number}", when) for number, when in enumerate(criteria)),
        reps=(),
        accept_within=DAY,
        follow_up_within=DAY,
        max_silence=60 * DAY,
        on_expiry=RejectReason("expired", "nobody answered", Resume()),
        **more,
    )


UNSUBSCRIBED = (ActiveSuppression(SuppressionScope.GLOBAL, "", SuppressionSource.PAGE, START, START),)
CONSENT = (grant("consent", "the form", None, START - 2_000 * DAY),)  # before every drawn start


def lead(**fields: Any) -> Lead:
    return Lead(**({"id": 1, "zone": "UTC"} | fields))


def view(at_step: str, **settings: Any) -> LeadView:
    """Return a lead at *at_step* since START, without touches or signals; *sent_at*: emails that caps count."""
    values: dict[str, Any] = {"lead": lead(), "statements": CONSENT, "custodian": Custodian.TRACK}
    values |= {"visit": 1, "reached": START} | settings
    values.setdefault("counted_emails", tuple(map(CountedEmail, values.pop("sent_at", ()))))
    reached, visit = values.pop("reached"), values.pop("visit")
    anchor = values.pop("anchor", reached)
    enrollment = Enrollment(1, "warm", START, Position(at_step, visit, anchor, reached))
    return LeadView(enrollment=enrollment, **values)


# The world: it makes decisions, applies them, delivers mail and lets reps answer.

Delivery = tuple[TouchState, timedelta]
ARRIVES: Delivery = (TouchState.ACCEPTED, timedelta())


@dataclass
class World:
    """One lead on one track. *deliveries* give the outcome of the n-th touch, and how long after its time."""

    program: Program
    policy: Policy
    lead: Lead
    start: datetime = START
    deliveries: Sequence[Delivery] = (ARRIVES,)
    answers_after: timedelta | None = None
    accepts_when_planned: bool = False
    waits: timedelta = timedelta()
    """How long mail that is due waits in the outbox until a worker takes it."""
    custodian: Custodian = Custodian.TRACK
    suppressions: tuple[ActiveSuppression, ...] = ()
    signals: tuple[Signal, ...] = ()
    touches: dict[tuple[str, int], Touch] = field(default_factory=dict)
    other_emails: tuple[CountedEmail, ...] = ()
    sent: list[SendTouch] = field(default_factory=list)
    claimed: list[tuple[datetime, SendTouch, Lead]] = field(default_factory=list)
    """What a worker took, when, and what was known of the lead then."""
    happened: list[tuple[datetime, Any]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    wake_at: datetime | None = None
    events: list[tuple[datetime, int, Callable[[], None]]] = field(default_factory=list)
    numbers: count[int] = field(default_factory=count)
    now: datetime = START

    def __post_init__(self) -> None:
        position = Position(self.program.first_step, 1, self.start, self.start)
        self.entered = Enrollment(1, self.program.track, self.start, position)
        self.enrollment, self.wake_at = self.entered, self.start

    def at(self, when: datetime, event: Callable[[], None]) -> None:
        heappush(self.events, (when, next(self.numbers), event))

    def receives(self, signals: Iterable[Signal], late: timedelta = timedelta()) -> World:
        for one in signals:
            self.at(one.occurred_at + late, lambda one=one: self._record(one))
        return self

    def view(self) -> LeadView:
        gone = (TouchState.CANCELLED, TouchState.REJECTED, TouchState.RECALLED)
        touches = tuple(self.touches.values())
        topic = self.program.topic_key
        sent = [CountedEmail(touch.at, self.program.track, topic) for touch in touches if touch.state not in gone]
        counted = (*self.other_emails, *sent)
        return LeadView(
            self.lead, self.custodian, self.enrollment, self.signals, touches, counted, CONSENT, self.suppressions
        )

    def run(self, until: datetime, extra: Iterable[datetime] = ()) -> World:
        """Simulate until *until*: decide when the lead wakes, when something happens, and at *extra* times."""
        for when in extra:
            self.at(when, lambda: None)
        while True:
            upcoming = [when for when in (self.wake_at, self.events[0][0] if self.events else None) if when]
            if not upcoming or min(upcoming) > until:
                return self
            self.now = min(upcoming)
            while self.events and self.events[0][0] <= self.now:
                heappop(self.events)[2]()
            self._sweep()

    def run_swept_at(self, sweeps: Iterable[datetime]) -> World:
        """Simulate with decisions only at these times: nothing wakes the lead."""
        for now in sweeps:
            self.now = now
            while self.events and self.events[0][0] <= now:
                heappop(self.events)[2]()
            while self._sweep():
                pass
        return self

    def _sweep(self) -> bool:
        now, seen = self.now, self.view()
        decision = decide(seen, self.program, NO_ENTRIES, self.policy, now)
        assert decision == decide(seen, self.program, NO_ENTRIES, self.policy, now)
        self._must_keep_the_laws(decision)
        self.decisions.append(decision)
        self.enrollment = apply_decision(self.enrollment, decision)
        self.wake_at = decision.wake_at
        for action in decision.actions:
            self.happened.append((now, action))
            match action:
                case SendTouch():
                    self._send(action)
                case OfferToSales():
                    self.custodian = Custodian.OFFER
                    self._cancel()
                    if self.answers_after is not None:
                        self.at(now + self.answers_after, self._reject)
                case UpdateField(name=name, value=value):
                    self.set_field(name, value)
                case RecallTouch():
                    key = action.step, action.visit
                    assert self.touches[key].state is TouchState.PLANNED, "only what no worker claimed is recalled"
                    self.touches[key] = replace(self.touches[key], state=TouchState.RECALLED, at=now)
                case EndEnrollment():
                    self._cancel()
        return any(isinstance(action, SendTouch) for action in decision.actions)

    def _must_keep_the_laws(self, decision: Decision) -> None:
        ours = [action for action in decision.actions if not isinstance(action, SideAction)]
        assert (decision.hold is None) == bool(ours)
        ends = any(isinstance(action, OfferToSales | EndEnrollment) for action in ours)
        asleep = ends or decision.hold in (HoldReason.NOT_ENROLLED, HoldReason.CLOSED, HoldReason.WITH_SALES)
        assert (decision.wake_at is None) == asleep
        assert decision.wake_at is None or decision.wake_at > self.now
        for action in ours:
            if isinstance(action, SendTouch):
                self._must_be_allowed(action)

    def _must_be_allowed(self, send: SendTouch) -> None:
        assert self.custodian is Custodian.TRACK
        assert not self.enrollment.ended
        assert not self.suppressions
        assert all(touch.completed_at(self.now) for touch in self.touches.values()), "one touch in flight"
        known = self.touches.get((send.step, send.visit))
        assert known is None or known.state is TouchState.RECALLED
        zone, holidays = self.lead.zone or self.program.zone_fallback, self.lead.holidays
        for when in (send.planned_at, send.send_at):
            assert calendar.is_open(self.program.window, zone, holidays, when)
        assert send.planned_at <= self.now <= send.send_at < send.expires_at
        assert send.planned_at >= self.now - self.program.grace
        assert send.send_at == calendar.next_open(self.program.window, zone, holidays, self.now)

    def _send(self, send: SendTouch) -> None:
        state, lag = self.deliveries[len(self.sent) % len(self.deliveries)]
        self.sent.append(send)
        key = send.step, send.visit
        self.touches[key] = Touch(send.step, send.visit, TouchState.PLANNED, send.send_at)
        if self.accepts_when_planned:
            self.touches[key] = Touch(send.step, send.visit, TouchState.ACCEPTED, send.planned_at)
            self.at(self.now, lambda: None)
            return
        self.at(send.send_at + self.waits, lambda: self._claim(key, send))
        self.at(send.send_at + self.waits + lag, lambda: self._complete(key, state, send))

    def set_field(self, name: str, value: Any) -> None:
        self.lead = replace(self.lead, fields={**self.lead.fields, name: value})

    def _claim(self, key: tuple[str, int], send: SendTouch) -> None:
        if self.touches[key] == Touch(*key, TouchState.PLANNED, send.send_at):
            email = self.program.instructions[self.program.index[send.step]]
            assert isinstance(email, Email)
            over_at = latest_time(email, self.program, self.lead)
            if self.now > send.expires_at or (over_at is not None and over_at <= self.now):
                self._complete(key, TouchState.CANCELLED)
                return
            self.touches[key] = replace(self.touches[key], state=TouchState.IN_FLIGHT)
            self.claimed.append((self.now, send, self.lead))

    def _complete(self, key: tuple[str, int], state: TouchState, send: SendTouch | None = None) -> None:
        touch = self.touches[key]
        if touch.state in (TouchState.PLANNED, TouchState.IN_FLIGHT) and (send is None or touch.at == send.send_at):
            self.touches[key] = replace(touch, state=state, at=self.now)

    def _cancel(self) -> None:
        for key in self.touches:
            self._complete(key, TouchState.CANCELLED)

    def _reject(self) -> None:
        self.custodian = Custodian.TRACK
        self.lead = replace(self.lead, signals_since=self.now, engagement=Engagement())

    def _record(self, one: Signal) -> None:
        self.signals = tuple(sorted((*self.signals, one), key=lambda known: known.occurred_at))
        since = self.lead.signals_since
        if since is None or one.occurred_at >= since:
            engagement = scoring.add_signals(self.lead.engagement, self.policy.points, (one,))
            self.lead = replace(self.lead, engagement=engagement)
