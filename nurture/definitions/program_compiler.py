"""Compile a track's tree of steps into the flat instructions that the planner runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from nurture.definitions.caps import read_exemption
from nurture.definitions.conditions import KnownEmails, read_condition, read_field_value
from nurture.definitions.destinations import read_track_destination
from nurture.definitions.schema_check import Reporting
from nurture.definitions.steps import Block, Step, every_step
from nurture.definitions.values import MAX_DELAY_DAYS
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import AllOf, Condition, FieldCondition
from nurture.domain.planning.dates import DateOffset
from nurture.domain.planning.exits import needs_new_signal
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
    Repeat,
    SetField,
    Split,
    ToTrack,
    TrackDestination,
    WaitFor,
    reachable,
)
from nurture.errors import suggest

_DAY: Final = timedelta(days=1)
_PLACEHOLDER_CONDITION: Final = AllOf(())


@dataclass(frozen=True, slots=True)
class ProgramCompiler:
    """Compiles the steps of one track. Invalid parts are reported and replaced by placeholders."""

    track: str
    known_emails: KnownEmails
    finally_: TrackDestination
    context: ParseContext
    once: bool = False
    """Whether steps send nothing that a lead has had, unless they say otherwise."""

    def program(self, steps: list[Step]) -> tuple[Instruction, ...]:
        """Return the instructions of *steps*, followed by the end of the track."""
        return (*self._compile_steps(steps, 0, in_repeat=False), End(FINALLY, self.finally_))

    def _compile_steps(self, steps: list[Step], at: int, *, in_repeat: bool) -> list[Instruction]:
        found: list[Instruction] = []
        for step in steps:
            found.extend(self._compile_step(step, at + len(found), in_repeat=in_repeat))
        return found

    def _compile_step(self, step: Step, at: int, *, in_repeat: bool) -> list[Instruction]:
        shape = step.shape
        match step.verb:
            case "wait_for" | "branch" | "split":
                return self._compile_fork(step, at, in_repeat=in_repeat)
            case "repeat":
                return self._compile_repeat(step, at)
            case _ if shape is None:
                return [Email(step.id, ("",), Delay())]
            case "email":
                once = shape.content == "once" or (self.once and shape.content is None)
                if len(shape.email) > 1 and not in_repeat and not once:
                    what = f"`{step.id}` has several emails outside a repeat: only the first would ever be sent"
                    self.context.add_problem(
                        step.node, what, "Put the step into a `repeat:`, or write one step for each email."
                    )
                for key, when in (("after", shape.after), ("not_after", shape.not_after)):
                    if isinstance(when, DateOffset):
                        self.context.date_references.append((step.node.parts[key], when.name))
                exempt = read_exemption(step.node.part("cap"), self.context)
                return [
                    Email(step.id, shape.email, shape.after or Delay(), exempt, shape.not_after, shape.spread, once)
                ]
            case "hand_off":
                return [HandOff(step.id, shape.hand_off)]
            case "set":
                return [self._compile_set(step)]
            case _:
                return [self._compile_end(step)]

    def _compile_set(self, step: Step) -> Instruction:
        ((name, value),) = step.shape.set.items()
        with Reporting(step.node, self.context, f"`set: {name}`"):
            written = read_field_value(value)
            self.context.field_conditions.append((step.node, FieldCondition(name, Comparison.IS, written)))
            return SetField(step.id, name, written)
        return SetField(step.id, name, None)

    def _compile_end(self, step: Step) -> Instruction:
        if step.shape.end is True:
            return End(step.id, self.finally_)
        reason = f"the track {self.track} ended at {step.id}"
        to = read_track_destination(
            step.node.parts["end"],
            self.context,
            reason,
            "Write `end: true` to go where `finally` says, "
            "a track's name, `previous`, `{queue: a-queue}` or `{close: unreachable}`.",
        )
        if to == ToTrack(self.track):
            self.context.add_problem(
                step.node, "this step ends the track and starts it again", "Use `repeat:`, or name another track."
            )
        return End(step.id, to or self.finally_)

    def _condition(self, node: Node | None) -> Condition:
        return (
            read_condition(node, self.known_emails, self.context) if node is not None else None
        ) or _PLACEHOLDER_CONDITION

    def _compile_fork(self, step: Step, at: int, *, in_repeat: bool) -> list[Instruction]:
        """Place the blocks after the fork, each followed by a jump to the end. An empty block goes to the end."""
        body: list[Instruction] = []
        starts: list[int | None] = []
        jumps: list[int] = []
        for block in step.blocks:
            starts.append(at + 1 + len(body) if block.steps else None)
            if block.steps:
                body.extend(self._compile_steps(block.steps, at + 1 + len(body), in_repeat=in_repeat))
                jumps.append(len(body))
                body.append(Jump(0))
        after = at + 1 + len(body)
        for place in jumps:
            body[place] = Jump(after)
        return [self._fork_instruction(step, [after if start is None else start for start in starts]), *body]

    def _fork_instruction(self, step: Step, starts: list[int]) -> Instruction:
        if step.verb == "wait_for":
            until = self._condition(step.node.part("wait_for"))
            up_to = step.shape.up_to if step.shape is not None else Delay()
            return WaitFor(step.id, until, up_to, *starts)
        if step.verb == "branch":
            conditions = [
                self._condition(case_part(block, "when", step, place)) for place, block in enumerate(step.blocks[:-1])
            ]
            return Branch(step.id, tuple(zip(conditions, starts, strict=False)), starts[-1])
        arms = [
            (block.shape.arm, block.shape.weight, start)
            for block, start in zip(step.blocks, starts, strict=True)
            if block.shape is not None
        ]
        names = [name for name, _, _ in arms]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.context.add_problem(
                step.node, f"two arms of the split are called `{name}`", "Give each arm its own name."
            )
        return Split(step.id, tuple(arms))

    def _compile_repeat(self, step: Step, at: int) -> list[Instruction]:
        block = step.blocks[0]
        body = self._compile_steps(block.steps, at + 1, in_repeat=True)
        after = at + 2 + len(body)
        rounds = block.shape
        if rounds is None:
            return [Repeat(step.id, 1, 1, 1, None, at + 1, after), *body, NextRound(at)]
        every = rounds.every / _DAY
        repeat = Repeat(step.id, every, rounds.growth, self._max_pause(step, rounds), rounds.times, at + 1, after)
        return [repeat, *body, NextRound(at)]

    def _max_pause(self, step: Step, rounds: Any) -> float:
        every = rounds.every / _DAY
        if rounds.at_most is not None:
            most = float(rounds.at_most / _DAY)
            if most < every:
                self.context.add_problem(
                    step.node, "`at_most` is shorter than `every`", "Make it longer, or remove it."
                )
        elif rounds.times is None and rounds.growth > 1:
            what = "the pauses of an endless repeat grow without limit"
            self.context.add_problem(step.node, what, "Write for example `at_most: 55 days`.")
            return float(every)
        else:
            most = float(every) * min(float(rounds.growth) ** min((rounds.times or 1) - 1, 200), 1e6)
        if most > MAX_DELAY_DAYS:
            what = f"its pauses grow to over {MAX_DELAY_DAYS} days"
            self.context.add_problem(step.node, what, f"Write `at_most:`, at most {MAX_DELAY_DAYS} days.")
        return most


def case_part(block: Block, key: str, step: Step, place: int) -> Node | None:
    """Return the part *key* of the case from which *block* was read."""
    case = step.node.parts["branch"].parts.get(place, block.node)
    return case.part(key)


def check_program(instructions: tuple[Instruction, ...], steps: list[Step], context: ParseContext) -> None:
    """Report steps that no lead can reach, and repeats with a round without an email."""
    nodes = {step.id: step.node for step in every_step(steps)}
    reached = set(reachable(instructions, 0, through_emails=True))
    previous_unreachable = False
    for place, instruction in enumerate(instructions):
        if isinstance(instruction, Jump | NextRound) or instruction.step not in nodes:
            continue
        unreachable = place not in reached
        if unreachable and not previous_unreachable:
            what = f"the step `{instruction.step}` is never reached: the steps before it end or repeat forever"
            context.add_problem(nodes[instruction.step], what, "Move it up, or give the repeat before it `times:`.")
        previous_unreachable = unreachable
        if isinstance(instruction, Repeat):
            without_email = (instructions[at] for at in reachable(instructions, instruction.body, through_emails=False))
            if any(isinstance(other, NextRound) and other.repeat == place for other in without_email):
                what = f"a round of `{instruction.step}` can end without an email"
                context.add_problem(nodes[instruction.step], what, "Add an email on each path through it.")


def tracks_reached(program: Program, *, through_emails: bool) -> set[str]:
    """Return the tracks to which the steps lead; or without an email, or a signal of the lead, first."""
    instructions = program.instructions
    reached = (instructions[place] for place in reachable(instructions, 0, through_emails=through_emails))
    ends = [end.destination for end in reached if isinstance(end, End)]
    ends += [one.destination for one in program.exits if through_emails or not needs_new_signal(one.condition)]
    return {to.track for to in ends if isinstance(to, ToTrack)}


def email_steps(steps: list[Step]) -> Mapping[str, str]:
    """Return the step id by each name that a condition may use for an email: its file or its step id."""
    called: dict[str, str] = {}
    for step in every_step(steps):
        if step.verb == "email" and step.shape is not None:
            for email in step.shape.email:
                called.setdefault(email, step.id)
    called.update({step.id: step.id for step in every_step(steps) if step.verb == "email"})
    return called


def check_moved_steps(
    moved_steps: Mapping[str, Any], node: Node, ids: Mapping[str, Node], context: ParseContext
) -> None:
    """Report entries of `moved_to` that move an existing step, or move to a missing one."""
    for old, new in moved_steps.items():
        at = node.parts[old]
        if old in ids or old == FINALLY:
            context.add_problem(
                at, f"`moved_to` moves `{old}`, which is still a step", "Remove the line, or rename the step."
            )
        if not isinstance(new, str):
            context.add_problem(at, f"`moved_to: {old}` does not name a step", f"Write `{old}: the-new-step`.")
        elif new not in ids and new not in moved_steps and new != FINALLY:
            context.add_problem(at, f"`moved_to` moves to `{new}`, which is not a step", suggest(new, [*ids, FINALLY]))
        elif _has_cycle(old, moved_steps):
            context.add_problem(at, f"`moved_to` moves `{old}` in a cycle", "Name a step of this track.")


def _has_cycle(old: str, moved: Mapping[str, str]) -> bool:
    seen: set[str] = set()
    while old in moved:
        if old in seen:
            return True
        seen.add(old)
        old = moved[old]
    return False
