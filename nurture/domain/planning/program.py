"""Define a track as the planner runs it: a flat list of instructions with stable step ids."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Final, assert_never

from nurture.domain.consent.suppression import normalize_ref
from nurture.domain.lead import Closing, FieldValue
from nurture.domain.planning.calendar import Delay, Schedule, Window, start_of_day
from nurture.domain.planning.conditions import Condition, leaves
from nurture.domain.planning.date_conditions import DateCondition
from nurture.domain.planning.dates import DateOffset
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
    """Close the lead, with a reason; with *again_after* it rests for this time, and is then classified again."""

    closing: Closing
    reason: str
    again_after: timedelta | None = None


Destination = ToTrack | ToQueue | ToClosed


@dataclass(frozen=True, slots=True)
class Previous:
    """Continue the track that this one interrupted.

    Without one, classify the lead again: by the readiness rules, then by audience, without what it refused.
    """


TrackDestination = Destination | Previous
"""Where a lead goes from a track."""


@dataclass(frozen=True, slots=True)
class Email:
    """Send one of *emails*, rotating by visit: after a delay since the last touch, or by a date of the lead.

    It is not sent when the day or time of *not_after* is over; a date that is not known sets no limit. *exempt* is why
    no cap holds it, "" if caps do. The leads that are due together get it within *spread*. *once* skips what the lead
    has had, in any track.
    """

    step: str
    emails: tuple[str, ...]
    after: Delay | DateOffset
    exempt: str = ""
    not_after: date | DateOffset | None = None
    spread: timedelta = timedelta()
    once: bool = False

    @property
    def has_date(self) -> bool:
        """Return whether a date of the lead or of the calendar decides whether it is sent."""
        return isinstance(self.after, DateOffset) or self.not_after is not None

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
    destination: TrackDestination


@dataclass(frozen=True, slots=True)
class Jump:
    """Continue elsewhere; no lead rests on it, so it has no id."""

    target: int


@dataclass(frozen=True, slots=True)
class NextRound:
    """End of a repeat's body: start the next round, at the repeat itself."""

    repeat: int


Instruction = Email | WaitFor | Branch | Split | Repeat | HandOff | SetField | End | Jump | NextRound


class ExitKind(StrEnum):
    """Why a lead leaves a track before the last step; also the reason with which its enrollment ends."""

    GOAL = "goal"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Exit:
    """Leave the track for *destination* as soon as *condition* holds."""

    kind: ExitKind
    condition: Condition
    destination: TrackDestination


@dataclass(frozen=True, slots=True)
class Sender:
    """The From header of a track's emails, their postal address and reply address.

    *owner* puts the name and reply address of the lead's rep in place of both, if the rep is known.
    """

    name: str
    email: str
    postal_address: str
    reply_to: str = ""
    owner: bool = False


@dataclass(frozen=True, slots=True)
class ReEntry:
    """After how many days an audience may enroll the same lead again; None means never."""

    after_days: int | None = None


@dataclass(frozen=True)
class Program:
    """One published version of a track; with a *schedule*, of a broadcast: its *track* is then `broadcasts/NAME`.

    *caps* are the general one, then those of its topic and of the track itself. *exempt* is why only the last holds its
    emails, "" if all do.
    """

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
    caps: tuple[FrequencyCap, ...]
    exempt: str = ""
    spread: timedelta = timedelta()
    """Over how long the first touches of leads that are due together are spread."""
    per_hour: int | None = None
    """How many emails of the track may go in one clock hour (UTC)."""
    zone_fallback: str = "UTC"
    topic: str = ""
    moved_steps: Mapping[str, str] = field(default_factory=dict)
    """Where leads continue whose step no longer exists."""
    calls_to_action: frozenset[str] = frozenset()
    """Emails that ask the lead to talk to sales: they are held while the reps are full."""
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    """What emails show for a missing field, by field."""
    exits: tuple[Exit, ...] = ()
    """What ends an enrollment before the last step, the goal first."""
    takes_over: bool = True
    """Whether its audience takes leads from tracks of lower priority."""
    for_customers: bool = False
    """Whether it takes customers, and no other leads."""
    starts_on: date | None = None
    ends_on: date | None = None
    """The first and the last day, in the lead's zone, on which the track takes leads and sends."""
    utm: Mapping[str, str] = field(default_factory=dict)
    """The utm parameters of links by name, without those of `utm_parameters`; empty for none."""
    language: str = "en"
    """The language of its emails; those in `languages` also have others, by email."""
    languages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pieces: Mapping[str, str] = field(default_factory=dict)
    """The piece of content that an email sends, where it names one; several emails may send the same."""
    schedule: Schedule | None = None
    batch: bool = False
    """Whether its emails may share requests to the provider."""
    index: Mapping[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        index = {
            instruction.step: position
            for position, instruction in enumerate(self.instructions)
            if not isinstance(instruction, Jump | NextRound)
        }
        object.__setattr__(self, "index", index)

    @property
    def name(self) -> str:
        """Return the name of the track or of the broadcast."""
        return self.track.rpartition("/")[2]

    @property
    def for_whom(self) -> str:
        """Return whom it takes: customers or leads."""
        return "customers" if self.for_customers else "leads"

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

    def starts_at(self, zone: str) -> datetime | None:
        """Return when its first day begins for a lead in *zone* ("": unknown), None without one."""
        return start_of_day(self.starts_on, zone or self.zone_fallback) if self.starts_on is not None else None

    def ends_at(self, zone: str) -> datetime | None:
        """Return when its last day is over for a lead in *zone* ("": unknown), None without one."""
        if self.ends_on is None:
            return None
        return start_of_day(self.ends_on + timedelta(days=1), zone or self.zone_fallback)

    @property
    def has_no_end(self) -> bool:
        """Return whether it has neither a goal nor an exit nor a last day."""
        return not self.exits and self.ends_on is None

    @cached_property
    def topic_key(self) -> str:
        """Return its topic in the normal form in which topics are matched, "" without one."""
        return normalize_ref(self.topic)

    def caps_of(self, step: str) -> tuple[FrequencyCap, ...]:
        """Return the caps that hold the email of *step*: all, if it is no email of the track."""
        place = self.index.get(step)
        email = self.instructions[place] if place is not None else None
        if isinstance(email, Email) and email.exempt:
            return ()
        return tuple(cap for cap in self.caps if cap.track) if self.exempt else self.caps

    @cached_property
    def later_emails(self) -> Mapping[str, int]:
        """Return how many other emails, whose time counts from it, may follow each email."""
        emails = {place: one for place, one in enumerate(self.instructions) if isinstance(one, Email)}
        counting = {place for place, one in emails.items() if not isinstance(one.after, DateOffset)}
        return {
            one.step: len((counting & set(reachable(self.instructions, place + 1))) - {place})
            for place, one in emails.items()
        }

    @property
    def destination(self) -> TrackDestination:
        """Return where its leads go when no step is left."""
        last = self.instructions[self.index[FINALLY]]
        assert isinstance(last, End)
        return last.destination

    def index_of(self, step: str) -> int | None:
        """Return the index of *step*, following `moved_steps`; None if this version does not have it."""
        seen: set[str] = set()
        while step not in self.index:
            if step in seen or step not in self.moved_steps:
                return None
            seen.add(step)
            step = self.moved_steps[step]
        return self.index[step]


def reachable(instructions: tuple[Instruction, ...], start: int, *, through_emails: bool = True) -> Iterator[int]:
    """Yield the indexes that can be reached from *start*; *through_emails*: also those behind an email.

    An email that hangs on a date may be skipped, so it lets the lead through.
    """
    seen: set[int] = set()
    pending = [start]
    while pending:
        place = pending.pop()
        if place in seen:
            continue
        seen.add(place)
        yield place
        instruction = instructions[place]
        if through_emails or not isinstance(instruction, Email) or instruction.has_date:
            pending.extend(successors(instructions, place))


def successors(instructions: tuple[Instruction, ...], place: int) -> tuple[int, ...]:
    """Return the indexes that may run after that at *place*."""
    instruction = instructions[place]
    match instruction:
        case Jump(target=target):
            return (target,)
        case NextRound(repeat=repeat):
            rounds = instructions[repeat]
            assert isinstance(rounds, Repeat)
            return (rounds.body,) if rounds.times is None else (rounds.body, rounds.then)
        case Repeat(body=body):
            return (body,)
        case WaitFor(then=then, otherwise=otherwise):
            return (then, otherwise)
        case Branch(cases=cases, otherwise=otherwise):
            return (*(target for _, target in cases), otherwise)
        case Split(arms=arms):
            return tuple(target for _, _, target in arms)
        case End():
            return ()
        case Email() | HandOff() | SetField():
            return (place + 1,)


def conditions_of(program: Program) -> Iterator[Condition]:
    """Yield the conditions of the audience, the exits and the steps of *program*."""
    if program.audience is not None:
        yield program.audience
    yield from (one.condition for one in program.exits)
    for step in program.instructions:
        match step:
            case WaitFor(until=until):
                yield until
            case Branch(cases=cases):
                yield from (when for when, _ in cases)
            case Email() | Split() | Repeat() | HandOff() | SetField() | End() | Jump() | NextRound():
                pass
            case _:
                assert_never(step)


def dates_used(program: Program) -> frozenset[str]:
    """Return the dates of leads on which the emails, conditions and exits of *program* depend."""
    emails = [one for one in program.instructions if isinstance(one, Email)]
    names = {one.name for email in emails for one in (email.after, email.not_after) if isinstance(one, DateOffset)}
    conditions = (one for when in conditions_of(program) for one in leaves(when))
    return frozenset(names | {one.name for one in conditions if isinstance(one, DateCondition)})


def choose_arm(split: Split, track: str, lead_id: int) -> tuple[str, int]:
    """Return the name and target of this lead's arm: a hash of stable ids, so always the same."""
    total = sum(weight for _, weight, _ in split.arms)
    drawn = draw(total, track, split.step, lead_id)
    for name, weight, target in split.arms:
        drawn -= weight
        if drawn < 0:
            return name, target
    raise AssertionError(total)


def draw(total: int, track: str, step: str, lead_id: int) -> int:
    """Return a number from 0 to *total* - 1 for a lead at a step: a hash of stable ids, so always the same."""
    return int.from_bytes(sha256(f"{track}:{step}:{lead_id}".encode()).digest()[:8], "big") % total
