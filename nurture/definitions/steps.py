"""Read the steps of a track as a tree, each with its id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal

from pydantic import Field

from nurture.definitions.dates import After, Limit
from nurture.definitions.schema_check import Shape, read_shape
from nurture.definitions.values import MAX_NAME_LENGTH, Line, Name, Names, PositiveSpan, Spread, WaitTime
from nurture.definitions.yaml_reader import Node, ParseContext, read_yaml
from nurture.domain.planning.program import FINALLY
from nurture.errors import suggest

CONTINUE: Final = "continue"
VERBS: Final = {
    "email": "email",
    "wait_for": "wait",
    "branch": "branch",
    "split": "split",
    "repeat": "repeat",
    "hand_off": "hand-off",
    "set": "set",
    "end": "end",
}


class EmailShape(Shape):
    """`- email: 01-thanks`."""

    email: Names = Field(examples=["01-thanks"])
    after: After | None = Field(None, examples=["3 days"])
    not_after: Limit | None = Field(None, examples=["trial_ends"])
    cap: Any = Field(None, examples=["{exempt: they asked for the recording}"])
    spread: Spread = Field(timedelta(), examples=["3 days"])
    content: Literal["once", "any"] | None = Field(None, examples=["once"])
    id: Name | None = Field(None, examples=["thanks"])


class WaitShape(Shape):
    """`- wait_for: ...`."""

    wait_for: Any = Field(examples=["{did: clicked, email: 01-thanks}"])
    up_to: WaitTime = Field(examples=["14 days"])
    then: Any = Field(None, examples=["continue"])
    otherwise: Any = Field(None, examples=["continue"])
    id: Name | None = Field(None, examples=["wait-for-a-click"])


class BranchShape(Shape):
    """`- branch: ...`."""

    branch: list[Any] = Field(min_length=1, examples=["[{when: {did: clicked}, then: continue}]"])
    otherwise: Any = Field(None, examples=["continue"])
    id: Name | None = Field(None, examples=["by-title"])


class CaseShape(Shape):
    """One case of a branch."""

    when: Any = Field(examples=["{did: clicked, email: 01-thanks}"])
    then: Any = Field(None, examples=["continue"])


class SplitShape(Shape):
    """`- split: ...`."""

    split: list[Any] = Field(min_length=2, examples=["[{arm: a, weight: 50, steps: continue}, ...]"])
    id: Name | None = Field(None, examples=["story-or-numbers"])


class ArmShape(Shape):
    """One arm of a split."""

    arm: Name = Field(examples=["a"])
    weight: int = Field(gt=0, examples=["50"])
    steps: Any = Field(None, examples=["continue"])


class RepeatShape(Shape):
    """`- repeat: ...`."""

    repeat: Any
    id: Name | None = Field(None, examples=["keep-writing"])


class RoundsShape(Shape):
    """The keys under `repeat:`."""

    every: PositiveSpan = Field(examples=["30 days"])
    growth: float = Field(1.0, ge=1, le=10, allow_inf_nan=False, examples=["1.3"])
    at_most: PositiveSpan | None = Field(None, examples=["55 days"])
    times: int | None = Field(None, ge=1, le=1000, examples=["4"])
    steps: Any = Field(None, examples=["[{email: 01-news}]"])


class HandOffShape(Shape):
    """`- hand_off: ...`."""

    hand_off: Line = Field(examples=["clicked the price list twice"])
    id: Name | None = Field(None, examples=["to-sales"])


class SetShape(Shape):
    """`- set: ...`."""

    set: dict[str, Any] = Field(min_length=1, max_length=1, examples=["{interest: pricing}"])
    id: Name | None = Field(None, examples=["note-interest"])


class EndShape(Shape):
    """`- end: ...`."""

    end: Any = Field(examples=["true"])
    id: Name | None = Field(None, examples=["stop-here"])


SHAPES: Final[Mapping[str, type[Shape]]] = {
    "email": EmailShape,
    "wait_for": WaitShape,
    "branch": BranchShape,
    "split": SplitShape,
    "repeat": RepeatShape,
    "hand_off": HandOffShape,
    "set": SetShape,
    "end": EndShape,
}


def find_step_lines(file: str, text: str) -> Mapping[str, int]:
    """Return the line on which each step of a track begins, by the id of the step; none if it is not a track."""
    context = ParseContext(complete=False)
    track = read_yaml(file, text, context)
    steps = track.part("steps") if track is not None else None
    if steps is None:
        return {}
    reader = StepReader(context)
    reader.steps(steps, "")
    return {step: node.line for step, node in reader.ids.items()}


@dataclass(slots=True)
class Block:
    """Steps below a step; if empty, the lead continues after the step. *shape* is a case's or an arm's."""

    node: Node
    steps: list[Step] = field(default_factory=list)
    shape: Any = None


@dataclass(slots=True)
class Step:
    """One step as written."""

    id: str
    verb: str
    node: Node
    shape: Any
    blocks: list[Block] = field(default_factory=list)


class StepReader:
    """Reads the steps of one track and gives them ids."""

    def __init__(self, context: ParseContext) -> None:
        self._context = context
        self.ids: dict[str, Node] = {}
        self.has_unreadable_steps = False
        """Some steps could not be read, so not all emails that the track sends are known."""

    def steps(self, node: Node, before: str, *, in_repeat: bool = False) -> list[Step]:
        """Read a list of steps; *before* is the id from which the first step's id is derived."""
        if not isinstance(node.value, list):
            self._context.add_problem(node, "steps are a list", "Write each step on a line that begins with `- `.")
            self.has_unreadable_steps = True
            return []
        found: list[Step] = []
        for item in node.items():
            step = self._step(item, before, in_repeat=in_repeat)
            if step is not None:
                found.append(step)
                before = step.id
        return found

    def _step(self, node: Node, before: str, *, in_repeat: bool) -> Step | None:
        verb = self._verb(node)
        if verb is None:
            self.has_unreadable_steps = True
            return None
        shape = read_shape(SHAPES[verb], node, self._context, f"the step `{verb}`")
        step = Step(self._id(node, verb, before, shape), verb, node, shape)
        if verb == "repeat" and in_repeat:
            self._context.add_problem(
                node, "a repeat is inside a repeat", "Write out the inner steps, or move them to their own track."
            )
            self.has_unreadable_steps = True
            return None
        self._add_blocks(step, in_repeat=in_repeat)
        return step

    def _verb(self, node: Node) -> str | None:
        if not isinstance(node.value, dict):
            known = ", ".join(f"`{verb}:`" for verb in VERBS)
            self._context.add_problem(node, f"`{node.value}` is not a step", f"Begin a step with one of {known}.")
            return None
        verbs = [key for key in node.value if key in VERBS]
        if len(verbs) == 1:
            return str(verbs[0])
        if verbs:
            both = " and ".join(f"`{verb}`" for verb in verbs)
            self._context.add_problem(node, f"one step has {both}", "Begin each step with its own `- `.")
            return None
        key = next(iter(node.value), "")
        self._context.add_problem(node, f"`{key}` is not a kind of step", suggest(key, VERBS))
        return None

    def _id(self, node: Node, verb: str, before: str, shape: Shape | None) -> str:
        given = node.value.get("id") if shape is not None else None
        if isinstance(given, str):
            step = given
        elif verb == "email":
            emails = node.value["email"]
            first = emails[0] if isinstance(emails, list) and emails else emails
            step = str(first)
        else:
            step = f"{VERBS[verb]}-after-{before}" if before else f"{VERBS[verb]}-first"
        if len(step) > MAX_NAME_LENGTH:
            self._context.add_problem(
                node, f"the step's id `{step}`, made from the step before, is too long", "Give this step an `id:`."
            )
        elif step == FINALLY:
            self._context.add_problem(
                node, f"`{FINALLY}` is the id of the end of the track", "Give this step another `id:`."
            )
        elif step in self.ids:
            what = f"the step id `{step}` is used twice, first on line {self.ids[step].line}"
            self._context.add_problem(node, what, "Give this step an `id:` of its own.")
        else:
            self.ids[step] = node
        return step

    def _add_blocks(self, step: Step, *, in_repeat: bool) -> None:
        node = step.node
        match step.verb:
            case "wait_for":
                step.blocks.append(self._block(node, "then", step.id, in_repeat=in_repeat))
                step.blocks.append(self._otherwise(step, in_repeat=in_repeat))
            case "branch":
                for place, case in self._listed(node.parts["branch"]):
                    before = step.id if place == 1 else f"{step.id}-case-{place}"
                    step.blocks.append(self._read_block_item(CaseShape, case, "then", before, in_repeat=in_repeat))
                step.blocks.append(self._otherwise(step, in_repeat=in_repeat))
            case "split":
                for place, arm in self._listed(node.parts["split"]):
                    name = arm.value.get("arm", place) if isinstance(arm.value, dict) else place
                    step.blocks.append(
                        self._read_block_item(ArmShape, arm, "steps", f"{step.id}-{name}", in_repeat=in_repeat)
                    )
            case "repeat":
                rounds = node.parts["repeat"]
                step.blocks.append(self._read_block_item(RoundsShape, rounds, "steps", step.id, in_repeat=True))
            case _:
                pass

    def _listed(self, node: Node) -> Iterator[tuple[int, Node]]:
        if isinstance(node.value, list):
            yield from enumerate(node.items(), 1)

    def _read_block_item(self, model: type[Shape], node: Node, key: str, before: str, *, in_repeat: bool) -> Block:
        called = {CaseShape: "a case of the branch", ArmShape: "an arm of the split"}.get(model, "the repeat")
        shape = read_shape(model, node, self._context, called)
        if not isinstance(node.value, dict):
            return Block(node)
        block = self._block(node, key, before, in_repeat=in_repeat)
        return Block(node, block.steps, shape)

    def _otherwise(self, step: Step, *, in_repeat: bool) -> Block:
        if "otherwise" not in step.node.parts:
            return Block(step.node)
        return self._block(step.node, "otherwise", f"{step.id}-otherwise", in_repeat=in_repeat)

    def _block(self, node: Node, key: str, before: str, *, in_repeat: bool) -> Block:
        inner = node.part(key)
        if inner is None or inner.value in (None, [], ""):
            at = inner or node
            self._context.add_problem(at, f"`{key}` has no steps", f"Write steps below it, or `{key}: {CONTINUE}`.")
            return Block(at)
        if inner.value == CONTINUE:
            return Block(inner)
        if isinstance(inner.value, str):
            what = f"`{key}: {inner.value}` is not a list of steps"
            to = f"Write `{key}: {CONTINUE}`, or steps below it; to move to a track: `- end: {inner.value}`."
            self._context.add_problem(inner, what, suggest(inner.value, [CONTINUE], to))
            return Block(inner)
        return Block(inner, self.steps(inner, before, in_repeat=in_repeat))


def every_step(steps: list[Step]) -> Iterator[Step]:
    """Yield *steps* and all steps below them."""
    for step in steps:
        yield step
        for block in step.blocks:
            yield from every_step(block.steps)
