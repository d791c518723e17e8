"""Laws of takeover and return: one track at a time, no step is lost, and no touch comes twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.lead import Custodian, Lead
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import AllOf, FieldCondition
from nurture.domain.planning.entry import Entries
from nurture.domain.planning.lead_view import Enrollment, LeadView, PastStay, Position, Touch, TouchState
from nurture.domain.planning.planner import Decision, EndEnrollment, HoldReason, SendTouch, TakeOver, decide
from nurture.domain.planning.program import FINALLY, Email, End, Previous, Program, ReEntry, ToTrack
from tests.domain.builders import CONSENT, HOUR, START, Delay, lead, policy, program

RULES = policy()
STEPS = ("a", "b", "c")
KEEP, TRIAL, RENEWAL = "keep", "trial", "renewal"
RANKS = {KEEP: 0, TRIAL: 10, RENEWAL: 20}


def _track(name: str, to: Previous | ToTrack, re_entry: ReEntry) -> Program:
    mails = [Email(step, (step,), Delay(days=1)) for step in STEPS]
    fits = FieldCondition(name, Comparison.IS, True) if name != KEEP else AllOf(())
    more = {"track": name, "audience": fits, "priority": RANKS[name], "re_entry": re_entry}
    return program(*mails, End(FINALLY, to), **more)


@dataclass
class Stays:
    """A lead on tracks that interrupt each other, moved by what the planner decides, as the sweep moves it."""

    programs: dict[str, Program]
    lead: Lead = field(default_factory=lead)
    active: Enrollment | None = None
    past: tuple[PastStay, ...] = ()
    touches: dict[int, list[Touch]] = field(default_factory=dict)
    sent: Counter[tuple[int, str]] = field(default_factory=Counter)
    number: int = 0
    log: list[tuple[datetime, int | None, Decision]] = field(default_factory=list)

    def enter(self, track: str, now: datetime) -> None:
        suspended = next((one for one in self.past if not one.enrollment.ended and one.enrollment.track == track), None)
        if suspended is None:
            self.number += 1
            position = Position(self.programs[track].first_step, 1, now, now)
            self.active = Enrollment(self.number, track, now, position)
            return
        self.past = tuple(one for one in self.past if one is not suspended)
        at = suspended.enrollment.position
        self.active = replace(suspended.enrollment, position=at.reached(max(at.reached_at, now)))

    def leave(self, now: datetime, *, ended: bool) -> None:
        assert self.active is not None
        self.past = (*self.past, PastStay(replace(self.active, ended=ended), now))
        if not ended:  # superseded touches count as never planned
            kept = [one for one in self.touches.get(self.active.id, []) if one.state is not TouchState.PLANNED]
            self.touches[self.active.id] = kept
        self.active = None

    def view(self) -> LeadView:
        touches = tuple(self.touches.get(self.active.id, ())) if self.active is not None else ()
        return LeadView(self.lead, Custodian.TRACK, self.active, (), touches, (), CONSENT, past_stays=self.past)

    def deliver(self, state: TouchState, now: datetime) -> None:
        """Give planned touches to the provider, or let those that are with it be accepted."""
        old = TouchState.PLANNED if state is TouchState.IN_FLIGHT else TouchState.IN_FLIGHT
        for stay, touches in self.touches.items():
            self.sent.update((stay, one.step) for one in touches if one.state is old and old is TouchState.PLANNED)
            self.touches[stay] = [replace(one, state=state, at=now) if one.state is old else one for one in touches]

    def apply(self, happened: object, now: datetime) -> datetime:
        """Let a field change, the provider act or hours pass; return the time after it."""
        match happened:
            case (str(name), value):
                self.lead = replace(self.lead, fields={**self.lead.fields, name: value})
            case TouchState():
                self.deliver(happened, now)
            case int(hours):
                return now + hours * HOUR
        return now

    def decide(self, now: datetime) -> Decision:
        assert self.active is not None
        track = self.programs[self.active.track]
        decision = decide(self.view(), track, Entries(self.programs.values()), RULES, now)
        self.log.append((now, self.active.id, decision))
        assert decision.position is not None
        self.active = replace(self.active, position=decision.position)
        for action in decision.actions:
            match action:
                case SendTouch():
                    touch = Touch(action.step, action.visit, TouchState.PLANNED, now)
                    self.touches.setdefault(self.active.id, []).append(touch)
                case TakeOver(track=to):
                    self.leave(now, ended=False)
                    self.enter(to, now)
                case EndEnrollment(destination=to):
                    self.leave(now, ended=True)
                    suspended = self.view().suspended
                    back = suspended[-1].track if suspended else KEEP
                    self.enter(to.track if isinstance(to, ToTrack) else back, now)
                case _:
                    raise AssertionError(action)
        return decision


_EVENTS = st.sampled_from(
    [
        *((name, fits) for name in (TRIAL, RENEWAL) for fits in (True, False)),
        *(TouchState.IN_FLIGHT, TouchState.ACCEPTED) * 3,
        *(1, 25, 25, 25),
    ]
)
_RE_ENTRIES = st.sampled_from([ReEntry(), ReEntry(0), ReEntry(3)])


@given(st.lists(_EVENTS, min_size=20, max_size=80), _RE_ENTRIES, st.sampled_from([Previous(), ToTrack(KEEP)]))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_takeover_and_return_lose_no_step_and_repeat_no_touch(
    events: list[object], re_entry: ReEntry, to: Previous | ToTrack
) -> None:
    programs = {
        KEEP: _track(KEEP, Previous(), ReEntry(0)),
        TRIAL: _track(TRIAL, to, re_entry),
        RENEWAL: _track(RENEWAL, to, re_entry),
    }
    now, stays = START, Stays(programs)
    stays.enter(KEEP, now)
    for happened in [*events, *[TouchState.IN_FLIGHT, TouchState.ACCEPTED, 25] * 15]:
        now = stays.apply(happened, now)
        for _ in range(8):
            if stays.decide(now).hold is not None:
                break
        tracks = [one.track for one in stays.view().suspended]
        assert stays.active is not None
        assert len({*tracks, stays.active.track}) == len(tracks) + 1, "a track occurs once, active or suspended"
    assert max(stays.sent.values(), default=0) <= 1, "no touch comes twice"
    for stay in (*stays.past, PastStay(stays.active, now)):
        steps = [step for number, step in stays.sent if number == stay.enrollment.id]
        assert steps == list(STEPS[: len(steps)]), "no step is lost"
        if stay.enrollment.ended:
            planned = [one.step for one in stays.touches.get(stay.enrollment.id, [])]
            assert planned == list(STEPS), "whoever reached the end had every step"


@given(st.lists(_EVENTS, min_size=10, max_size=40))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_no_touch_is_with_the_provider_when_another_track_begins(events: list[object]) -> None:
    programs = {name: _track(name, Previous(), ReEntry(0)) for name in RANKS}
    now, stays = START, Stays(programs)
    stays.enter(KEEP, now)
    for happened in events:
        now = stays.apply(happened, now)
        in_flight = {
            stay for stay, touches in stays.touches.items() if any(one.state is TouchState.IN_FLIGHT for one in touches)
        }
        assert stays.active is not None
        before = stays.active.id
        decision = stays.decide(now)
        if any(isinstance(action, TakeOver) for action in decision.actions):
            assert before not in in_flight
        if before in in_flight:
            assert decision.hold is HoldReason.IN_FLIGHT
