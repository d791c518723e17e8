"""Compile the tree of a track's steps into the flat instructions that the planner runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from nurture.definitions.conditions import Scope, read_condition, read_fact
from nurture.definitions.destinations import read_place
from nurture.definitions.schema_check import Wrong
from nurture.definitions.steps import Block, Step, every_step
from nurture.definitions.values import LONGEST_DAYS
from nurture.definitions.yaml_reader import Node, Reading, nearest
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.conditions import Condition, Every
from nurture.domain.planning.program import (
    FINALLY,
    Again,
    Branch,
    Destination,
    Email,
    End,
    HandOff,
    Instruction,
    Jump,
    Repeat,
    SetFact,
    Split,
    ToTrack,
    WaitFor,
)

_DAY: Final = timedelta(days=1)
_NOWHERE: Final = Every(())


@dataclass(frozen=True, slots=True)
class Compiler:
    """Compiles the steps of one track. What cannot be read is noted as a fault and stands in as a blank."""

    track: str
    scope: Scope
    finally_: Destination
    reading: Reading

    def program(self, steps: list[Step]) -> tuple[Instruction, ...]:
        """Return the instructions of *steps* and, behind them, the end of the track."""
        return (*self._all(steps, 0, in_repeat=False), End(FINALLY, self.finally_))

    def _all(self, steps: list[Step], at: int, *, in_repeat: bool) -> list[Instruction]:
        found: list[Instruction] = []
        for step in steps:
            found.extend(self._one(step, at + len(found), in_repeat=in_repeat))
        return found

    def _one(self, step: Step, at: int, *, in_repeat: bool) -> list[Instruction]:
        shape = step.shape
        match step.verb:
            case "wait_for" | "branch" | "split":
                return self._fork(step, at, in_repeat=in_repeat)
            case "repeat":
                return self._repeat(step, at)
            case _ if shape is None:
                return [Email(step.id, ("",), Delay())]
            case "email":
                if len(shape.email) > 1 and not in_repeat:
                    what = f"the emails of `{step.id}` take turns in no repeat: only the first would ever go"
                    self.reading.fault(
                        step.node, what, "Put the step into a `repeat:`, or write one step for each email."
                    )
                return [Email(step.id, shape.email, shape.after or Delay())]
            case "hand_off":
                return [HandOff(step.id, shape.hand_off)]
            case "set":
                return [self._set(step)]
            case _:
                return [self._end(step)]

    def _set(self, step: Step) -> Instruction:
        ((name, value),) = step.shape.set.items()
        try:
            return SetFact(step.id, name, read_fact(value))
        except Wrong as wrong:
            self.reading.fault(step.node, f"`set: {name}`: {wrong.what}", wrong.instead)
            return SetFact(step.id, name, None)

    def _end(self, step: Step) -> Instruction:
        if step.shape.end is True:
            return End(step.id, self.finally_)
        because = f"the track {self.track} ended at {step.id}"
        to = read_place(
            step.node.parts["end"],
            self.reading,
            because,
            "Write `end: true` to go where `finally` says, "
            "a track's name, `{queue: a-queue}` or `{close: unreachable}`.",
        )
        if to == ToTrack(self.track):
            self.reading.fault(
                step.node,
                "this step ends the track and begins it again",
                "Use `repeat:`, or name another track.",
            )
        return End(step.id, to or self.finally_)

    def _condition(self, node: Node | None) -> Condition:
        return (read_condition(node, self.scope, self.reading) if node is not None else None) or _NOWHERE

    def _fork(self, step: Step, at: int, *, in_repeat: bool) -> list[Instruction]:
        """Lay the blocks out behind the fork, each with a jump to what follows. An empty block is that."""
        body: list[Instruction] = []
        starts: list[int | None] = []
        jumps: list[int] = []
        for block in step.blocks:
            starts.append(at + 1 + len(body) if block.steps else None)
            if block.steps:
                body.extend(self._all(block.steps, at + 1 + len(body), in_repeat=in_repeat))
                jumps.append(len(body))
                body.append(Jump(0))
        after = at + 1 + len(body)
        for place in jumps:
            body[place] = Jump(after)
        return [self._fork_itself(step, [after if start is None else start for start in starts]), *body]

    def _fork_itself(self, step: Step, starts: list[int]) -> Instruction:
        if step.verb == "wait_for":
            until = self._condition(step.node.part("wait_for"))
            up_to = step.shape.up_to if step.shape is not None else Delay()
            return WaitFor(step.id, until, up_to, *starts)
        if step.verb == "branch":
            conditions = [
                self._condition(block_part(block, "when", step, place))
                for place, block in enumerate(step.blocks[:-1])
            ]
            return Branch(step.id, tuple(zip(conditions, starts, strict=False)), starts[-1])
        arms = [
            (block.shape.arm, block.shape.weight, start)
            for block, start in zip(step.blocks, starts, strict=True)
            if block.shape is not None
        ]
        names = [name for name, _, _ in arms]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.reading.fault(
                step.node, f"two arms of the split are called `{name}`", "Give each arm a name of its own."
            )
        return Split(step.id, tuple(arms))

    def _repeat(self, step: Step, at: int) -> list[Instruction]:
        block = step.blocks[0]
        body = self._all(block.steps, at + 1, in_repeat=True)
        after = at + 2 + len(body)
        rounds = block.shape
        if rounds is None:
            return [Repeat(step.id, 1, 1, 1, None, at + 1, after), *body, Again(at)]
        every = rounds.every / _DAY
        repeat = Repeat(step.id, every, rounds.growing, self._most(step, rounds), rounds.times, at + 1, after)
        return [repeat, *body, Again(at)]

    def _most(self, step: Step, rounds: Any) -> float:
        every = rounds.every / _DAY
        if rounds.at_most is not None:
            most = float(rounds.at_most / _DAY)
            if most < every:
                self.reading.fault(
                    step.node, "`at_most` is shorter than `every`", "Make it longer, or take it out."
                )
        elif rounds.times is None and rounds.growing > 1:
            what = "a repeat without end grows without end"
            self.reading.fault(step.node, what, "Write for example `at_most: 55 days`.")
            return float(every)
        else:
            most = float(every) * min(float(rounds.growing) ** min((rounds.times or 1) - 1, 200), 1e6)
        if most > LONGEST_DAYS:
            what = f"its pauses grow to over {LONGEST_DAYS} days"
            self.reading.fault(step.node, what, f"Write `at_most:`, at most {LONGEST_DAYS} days.")
        return most


def block_part(block: Block, key: str, step: Step, place: int) -> Node | None:
    """Return the part *key* of the case that *block* came from."""
    case = step.node.parts["branch"].parts.get(place, block.node)
    return case.part(key)


def check_program(instructions: tuple[Instruction, ...], steps: list[Step], reading: Reading) -> None:
    """Note steps that no lead ever reaches, and repeats that can go round without an email."""
    nodes = {step.id: step.node for step in every_step(steps)}
    reached = set(_walk(instructions, 0, through_emails=True))
    lost_before = False
    for place, instruction in enumerate(instructions):
        if isinstance(instruction, Jump | Again) or instruction.step not in nodes:
            continue
        lost = place not in reached
        if lost and not lost_before:
            what = f"the step `{instruction.step}` is never reached: what is before it ends or goes round"
            reading.fault(
                nodes[instruction.step], what, "Move it further up, or give the repeat before it `times:`."
            )
        lost_before = lost
        if isinstance(instruction, Repeat):
            quiet = (instructions[at] for at in _walk(instructions, instruction.body, through_emails=False))
            if any(isinstance(other, Again) and other.repeat == place for other in quiet):
                what = f"a round of `{instruction.step}` can pass without an email"
                reading.fault(nodes[instruction.step], what, "Put an email on each way through it.")


def tracks_without_an_email(instructions: tuple[Instruction, ...]) -> set[str]:
    """Return the tracks to which a lead can go on from here without having got an email."""
    ends = (instructions[place] for place in _walk(instructions, 0, through_emails=False))
    return {end.to.track for end in ends if isinstance(end, End) and isinstance(end.to, ToTrack)}


def _walk(instructions: tuple[Instruction, ...], start: int, *, through_emails: bool) -> Iterator[int]:
    """Yield the places that can be reached from *start*."""
    seen: set[int] = set()
    coming = [start]
    while coming:
        place = coming.pop()
        if place in seen:
            continue
        seen.add(place)
        yield place
        if through_emails or not isinstance(instructions[place], Email):
            coming.extend(_next(instructions, place))


def _next(instructions: tuple[Instruction, ...], place: int) -> tuple[int, ...]:
    instruction = instructions[place]
    match instruction:
        case Jump(target=target):
            return (target,)
        case Again(repeat=repeat):
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
        case _:
            return (place + 1,)


def email_steps(steps: list[Step]) -> Mapping[str, str]:
    """Map what people may call an email in a condition (its file, its step id) to the step's id."""
    called: dict[str, str] = {}
    for step in every_step(steps):
        if step.verb == "email" and step.shape is not None:
            for email in step.shape.email:
                called.setdefault(email, step.id)
    called.update({step.id: step.id for step in every_step(steps) if step.verb == "email"})
    return called


def check_moves(moved: Mapping[str, Any], node: Node, ids: Mapping[str, Node], reading: Reading) -> None:
    """Note entries of `moved_to` that move a step which is there, or to one which is not."""
    for old, new in moved.items():
        at = node.parts[old]
        if old in ids or old == FINALLY:
            reading.fault(
                at,
                f"`moved_to` moves `{old}`, which is still a step",
                "Take the line out, or rename the step.",
            )
        if not isinstance(new, str):
            reading.fault(at, f"`moved_to: {old}` does not name a step", f"Write `{old}: the-new-step`.")
        elif new not in ids and new not in moved and new != FINALLY:
            reading.fault(
                at, f"`moved_to` leads to `{new}`, which is not a step", nearest(new, [*ids, FINALLY])
            )
        elif _goes_round(old, moved):
            reading.fault(at, f"`moved_to` leads `{old}` round in a circle", "Name a step of this track.")


def _goes_round(old: str, moved: Mapping[str, str]) -> bool:
    seen: set[str] = set()
    while old in moved:
        if old in seen:
            return True
        seen.add(old)
        old = moved[old]
    return False
