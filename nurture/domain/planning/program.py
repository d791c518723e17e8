"""A track as the planner sees it: a flat program of instructions with stable step ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from nurture.domain.lead import Closing, Fact
from nurture.domain.planning.calendar import Delay, Window
from nurture.domain.planning.conditions import Condition

FINALLY: Final = "finally"
"""The step id of the instruction behind the last step."""

MOST_PAUSE_DAYS: Final = 3650


@dataclass(frozen=True, slots=True)
class ToTrack:
    """The lead goes on to another track."""

    track: str


@dataclass(frozen=True, slots=True)
class ToQueue:
    """The lead waits for a person."""

    queue: str


@dataclass(frozen=True, slots=True)
class ToClosed:
    """The lead is closed, with a reason."""

    closing: Closing
    reason: str


Destination = ToTrack | ToQueue | ToClosed


@dataclass(frozen=True, slots=True)
class Email:
    """Send one of *emails* (the visit's turn) after a delay since the last touch."""

    step: str
    emails: tuple[str, ...]
    after: Delay

    def email(self, visit: int) -> str:
        """Return the email that is due at *visit*; several take turns."""
        return self.emails[(visit - 1) % len(self.emails)]


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Wait until the condition holds, at most *up_to*; then go on at one of two places."""

    step: str
    until: Condition
    up_to: Delay
    then: int
    otherwise: int


@dataclass(frozen=True, slots=True)
class Branch:
    """Go on at the first case that holds."""

    step: str
    cases: tuple[tuple[Condition, int], ...]
    otherwise: int


@dataclass(frozen=True, slots=True)
class Split:
    """Go on at an arm that is chosen by a hash of the lead, in proportion to the weights."""

    step: str
    arms: tuple[tuple[str, int, int], ...]
    """(name, weight, where to go on)"""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Go round the body; the k-th pause lasts every * growing^(k-1), at most *at_most* (days).

    A pause counts from the end of the round before. *times* None means for ever. The visit number of a
    position inside the body is the round it is in.
    """

    step: str
    every: float
    growing: float
    at_most: float
    times: int | None
    body: int
    then: int

    def pause(self, rounds_done: int) -> Delay:
        """Return the pause after *rounds_done* rounds, in whole days where it is a day or more.

        An hour at least and ten years at most, so that going round always takes time and never overflows.
        """
        try:
            days = self.every * self.growing ** (rounds_done - 1)
        except OverflowError:
            days = self.at_most
        days = min(days, self.at_most, MOST_PAUSE_DAYS)
        return Delay(days=int(days)) if days >= 1 else Delay(hours=max(days * 24, 1.0))


@dataclass(frozen=True, slots=True)
class HandOff:
    """Offer the lead to sales."""

    step: str
    because: str


@dataclass(frozen=True, slots=True)
class SetFact:
    """Note a fact about the lead."""

    step: str
    name: str
    value: Fact


@dataclass(frozen=True, slots=True)
class End:
    """Leave the track for *to*."""

    step: str
    to: Destination


@dataclass(frozen=True, slots=True)
class Jump:
    """Go on elsewhere; never rested on, so it has no id."""

    target: int


@dataclass(frozen=True, slots=True)
class Again:
    """The end of a repeat's body: the next round, at the repeat itself."""

    repeat: int


Instruction = Email | WaitFor | Branch | Split | Repeat | HandOff | SetFact | End | Jump | Again


@dataclass(frozen=True, slots=True)
class Cap:
    """At most *touches* touches to one lead in any span of *per*, over all tracks."""

    touches: int
    per: timedelta

    def __post_init__(self) -> None:
        if self.touches < 1 or self.per <= timedelta():
            raise ValueError(f"a frequency cap is one touch or more in a span, not {self.touches}/{self.per}")

    def frees(self, sent: Sequence[datetime], moment: datetime) -> datetime | None:
        """Return when a touch may follow those *sent*, None if it may at *moment*.

        A touch later than *moment* counts too: it is on its way.
        """
        if len(sent) < self.touches:
            return None
        counted = sorted(past for past in sent if past > moment - self.per)
        return counted[-self.touches] + self.per if len(counted) >= self.touches else None

    def frees_at_pace(
        self, pace: timedelta | None, sent: Sequence[datetime], moment: datetime
    ) -> datetime | None:
        """Answer as `frees`, for a lead that also asked for one touch at most in *pace*."""
        frees = self.frees(sent, moment)
        if pace is None:
            return frees
        slower = Cap(1, pace).frees(sent, moment)
        return slower if frees is None or (slower is not None and slower > frees) else frees


@dataclass(frozen=True, slots=True)
class Sender:
    """Who the mail is from."""

    name: str
    email: str
    postal_address: str
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class ReEntry:
    """Whether an audience may bring the same lead in again; None days means never."""

    after_days: int | None = None


@dataclass(frozen=True)
class Program:
    """One published version of a track."""

    track: str
    version: int
    goal: str
    instructions: tuple[Instruction, ...]
    audience: Condition | None
    priority: int
    re_entry: ReEntry
    sender: Sender
    window: Window
    grace: timedelta
    cap: Cap
    zone_fallback: str = "UTC"
    topic: str = ""
    moved: Mapping[str, str] = field(default_factory=dict)
    """Where leads go on who stand on a step that is gone."""
    calls_to_action: frozenset[str] = frozenset()
    """Emails that ask the lead to talk to sales: they are held while the reps are full."""
    index: Mapping[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        places = {
            instruction.step: number
            for number, instruction in enumerate(self.instructions)
            if not isinstance(instruction, Jump | Again)
        }
        object.__setattr__(self, "index", places)

    @property
    def first_step(self) -> str:
        """Return the id of the step on which a new enrollment stands."""
        return self.land(0, 1)[0]

    def land(self, place: int, visit: int) -> tuple[str, int]:
        """Return the step id at *place* and its visit number, with jumps followed."""
        instruction = self.instructions[place]
        while isinstance(instruction, Jump | Again):
            if isinstance(instruction, Again):
                instruction, visit = self.instructions[instruction.repeat], visit + 1
            else:
                instruction = self.instructions[instruction.target]
        return instruction.step, visit

    def place_of(self, step: str) -> int | None:
        """Return where *step* is, following `moved`; None if this version knows no such step."""
        seen: set[str] = set()
        while step not in self.index:
            if step in seen or step not in self.moved:
                return None
            seen.add(step)
            step = self.moved[step]
        return self.index[step]


def arm_of(split: Split, track: str, lead_id: int) -> tuple[str, int]:
    """Return the name and target of the arm for this lead: a hash of stable ids, so always the same."""
    digest = sha256(f"{track}:{split.step}:{lead_id}".encode()).digest()
    total = sum(weight for _, weight, _ in split.arms)
    draw = int.from_bytes(digest[:8], "big") % total
    for name, weight, target in split.arms:
        draw -= weight
        if draw < 0:
            return name, target
    raise AssertionError(total)
