"""Define a track as the planner runs it: a flat list of instructions with stable step ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Final

from nurture.domain.lead import Closing, FieldValue
from nurture.domain.planning.calendar import Delay, Window
from nurture.domain.planning.conditions import Condition
from nurture.domain.planning.frequency_cap import FrequencyCap

FINALLY: Final = "finally"
"""The step id of the instruction after the last step."""

MAX_PAUSE_DAYS: Final = 3650


@dataclass(frozen=True, slots=True)
class ToTrack:
    """Move the lead to another track."""

    track: str


@dataclass(frozen=True, slots=True)
class ToQueue:
    """Move the lead to a queue for a person."""

    queue: str


@dataclass(frozen=True, slots=True)
class ToClosed:
    """Close the lead, with a reason."""

    closing: Closing
    reason: str


Destination = ToTrack | ToQueue | ToClosed


@dataclass(frozen=True, slots=True)
class Email:
    """Send one of *emails*, rotating by visit, after a delay since the last touch."""

    step: str
    emails: tuple[str, ...]
    after: Delay

    def email(self, visit: int) -> str:
        """Return the email that is due at *visit*."""
        return self.emails[(visit - 1) % len(self.emails)]


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Wait until the condition holds, at most *up_to*; then continue at *then* or *otherwise*."""

    step: str
    until: Condition
    up_to: Delay
    then: int
    otherwise: int


@dataclass(frozen=True, slots=True)
class Branch:
    """Continue at the first case that holds."""

    step: str
    cases: tuple[tuple[Condition, int], ...]
    otherwise: int


@dataclass(frozen=True, slots=True)
class Split:
    """Continue at an arm that is chosen by a hash of the lead, in proportion to the weights."""

    step: str
    arms: tuple[tuple[str, int, int], ...]
    """(name, weight, index of the next instruction)"""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Repeat the body; the k-th pause lasts every * growth^(k-1), at most *max_pause* (days).

    A pause counts from the end of the previous round. *times* None means without end. The visit number of a
    position inside the body is the number of its round.
    """

    step: str
    every: float
    growth: float
    max_pause: float
    times: int | None
    body: int
    then: int

    def pause(self, rounds_done: int) -> Delay:
        """Return the pause after *rounds_done* rounds, in whole days if it is a day or more.

        At least one hour and at most ten years, so that a round always takes time and never overflows.
        """
        try:
            days = self.every * self.growth ** (rounds_done - 1)
        except OverflowError:
            days = self.max_pause
        days = min(days, self.max_pause, MAX_PAUSE_DAYS)
        return Delay(days=int(days)) if days >= 1 else Delay(hours=max(days * 24, 1.0))


@dataclass(frozen=True, slots=True)
class HandOff:
    """Offer the lead to sales."""

    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class SetField:
    """Set a field of the lead."""

    step: str
    name: str
    value: FieldValue


@dataclass(frozen=True, slots=True)
class End:
    """Leave the track for *destination*."""

    step: str
    destination: Destination


@dataclass(frozen=True, slots=True)
class Jump:
    """Continue elsewhere; no lead rests on it, so it has no id."""

    target: int


@dataclass(frozen=True, slots=True)
class NextRound:
    """End of a repeat's body: start the next round, at the repeat itself."""

    repeat: int


Instruction = Email | WaitFor | Branch | Split | Repeat | HandOff | SetField | End | Jump | NextRound


@dataclass(frozen=True, slots=True)
class Sender:
    """The From header of a track's emails, their postal address and reply address."""

    name: str
    email: str
    postal_address: str
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class ReEntry:
    """After how many days an audience may enroll the same lead again; None means never."""

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
    cap: FrequencyCap
    zone_fallback: str = "UTC"
    topic: str = ""
    moved_steps: Mapping[str, str] = field(default_factory=dict)
    """Where leads continue whose step no longer exists."""
    calls_to_action: frozenset[str] = frozenset()
    """Emails that ask the lead to talk to sales: they are held while the reps are full."""
    index: Mapping[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        index = {
            instruction.step: position
            for position, instruction in enumerate(self.instructions)
            if not isinstance(instruction, Jump | NextRound)
        }
        object.__setattr__(self, "index", index)

    @property
    def first_step(self) -> str:
        """Return the id of the step at which a new enrollment starts."""
        return self.resolve(0, 1)[0]

    def resolve(self, index: int, visit: int) -> tuple[str, int]:
        """Return the step id at *index* and its visit number, following jumps."""
        instruction = self.instructions[index]
        while isinstance(instruction, Jump | NextRound):
            if isinstance(instruction, NextRound):
                instruction, visit = self.instructions[instruction.repeat], visit + 1
            else:
                instruction = self.instructions[instruction.target]
        return instruction.step, visit

    def index_of(self, step: str) -> int | None:
        """Return the index of *step*, following `moved_steps`; None if this version does not have it."""
        seen: set[str] = set()
        while step not in self.index:
            if step in seen or step not in self.moved_steps:
                return None
            seen.add(step)
            step = self.moved_steps[step]
        return self.index[step]


def choose_arm(split: Split, track: str, lead_id: int) -> tuple[str, int]:
    """Return the name and target of this lead's arm: a hash of stable ids, so always the same."""
    digest = sha256(f"{track}:{split.step}:{lead_id}".encode()).digest()
    total = sum(weight for _, weight, _ in split.arms)
    draw = int.from_bytes(digest[:8], "big") % total
    for name, weight, target in split.arms:
        draw -= weight
        if draw < 0:
            return name, target
    raise AssertionError(total)
