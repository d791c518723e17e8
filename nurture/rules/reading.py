"""YAML with line numbers, and the collecting of faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarstring import ScalarString

from nurture.domain.faults import Fault

_MOST_VALUES: Final = 20_000
_DEEPEST: Final = 40
_WORDS: Final = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a YAML file: plain Python, with the line it stands on and its parts."""

    file: str
    line: int
    value: Any
    parts: Mapping[str | int, Node] = field(default_factory=dict)

    def part(self, key: str | int) -> Node | None:
        """Return the part under *key*, None if there is none."""
        return self.parts.get(key)

    def deepest(self, path: Iterable[str | int]) -> Node:
        """Return the part at *path*, or the last one on the way that exists."""
        node = self
        for key in path:
            found = node.parts.get(key)
            if found is None:
                return node
            node = found
        return node

    def items(self) -> list[Node]:
        """Return the parts of a list, in order."""
        return list(self.parts.values())


@dataclass(frozen=True, slots=True)
class Named:
    """A place that names another track."""

    at: Node
    track: str


@dataclass(slots=True)
class Reading:
    """What reading has found so far: faults, and the tracks that were named."""

    faults: list[Fault] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)

    def fault(self, at: Node, what: str, instead: str) -> None:
        """Note a fault at the line of *at*."""
        self.faults.append(Fault(at.file, at.line, what, instead.removesuffix(".")))


def nearest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Say which of the *known* names may have been meant."""
    options = sorted(known)
    near = get_close_matches(name, options, n=1, cutoff=0.6)
    if near:
        return f"Did you mean `{near[0]}`?"
    return otherwise or f"Known: {', '.join(options) or 'none yet'}."


def read_yaml(file: str, text: str, reading: Reading) -> Node | None:
    """Read *text* as one YAML mapping; None, with one fault, where it is not."""
    try:
        yaml = YAML(typ="rt")
        yaml.preserve_quotes = True
        node = _Converter(file).node(yaml.load(text), 1, 0)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reading.faults.append(Fault(file, mark.line + 1 if mark else 1, *_explained(error)))
        return None
    except (YAMLError, ValueError, RecursionError) as error:
        what = f"this is not YAML: {str(error).splitlines()[0].rstrip('.')}"
        reading.faults.append(
            Fault(file, 1, what, "Save the file as plain UTF-8 text without control characters")
        )
        return None
    if not isinstance(node.value, dict):
        what = "the file is empty" if node.value is None else "the file is not a list of `key: value` lines"
        reading.fault(node, what, "Copy a file of this kind from another folder and change it.")
        return None
    return node


def _explained(error: MarkedYAMLError) -> tuple[str, str]:
    problem = str(error.problem or error.context or "").strip()
    if "duplicate key" in problem:
        key = problem.split('"')[1] if '"' in problem else problem
        return f"the key `{key}` is written twice", "Keep one of the two"
    if "\\t" in problem or "tab" in problem:
        return "a tab is used to indent", "Indent with spaces: YAML allows no tabs"
    return (
        f"this is not YAML: {problem}",
        "Check the indentation, the colons and the quotes here and on the line above",
    )


class _Converter:
    """Turns what the YAML library loads into nodes; refuses files that unfold without end."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0

    def node(self, loaded: Any, line: int, depth: int) -> Node:
        self._count += 1
        if self._count > _MOST_VALUES or depth > _DEEPEST:
            raise ValueError("it nests too deep or unfolds into too many values")
        parts: dict[str | int, Node] = {}
        if isinstance(loaded, CommentedMap):
            for key, value in loaded.items():
                parts[str(key)] = self.node(_meant(value), loaded.lc.key(key)[0] + 1, depth + 1)
            return Node(self._file, line, {key: part.value for key, part in parts.items()}, parts)
        if isinstance(loaded, CommentedSeq):
            for place, value in enumerate(loaded):
                parts[place] = self.node(value, loaded.lc.item(place)[0] + 1, depth + 1)
            return Node(self._file, line, [part.value for part in parts.values()], parts)
        return Node(self._file, line, _plain(loaded))


def _meant(value: Any) -> Any:
    """Read a bare yes or no as true or false; in quotes, or in a list, it is a word (Norway is NO)."""
    return (
        _WORDS.get(value, value) if isinstance(value, str) and not isinstance(value, ScalarString) else value
    )


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)
