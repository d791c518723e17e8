"""Read YAML with line numbers, and collect problems."""

# The library only parses. This module converts unquoted words, so that no value gets an unexpected type, and tags
# have no effect.

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from nurture.domain.fields import Fields
from nurture.domain.planning.conditions import FieldCondition
from nurture.domain.problems import Problem

_MAX_VALUES: Final = 20_000
_MAX_DEPTH: Final = 40
_MAX_OPEN: Final = 5 * _MAX_DEPTH
"""Brackets that may be open, also in texts: the time to parse them grows with their square."""

_BRACKET: Final = re.compile(r"[\[\]{}]")
_TOO_DEEP: Final = f"it nests more than {_MAX_DEPTH} levels"
_BARE_WORDS: Final = {
    "": None, "~": None, "null": None, "true": True, "True": True, "false": False, "False": False,
}  # fmt: skip
_YES_NO: Final = {"yes": True, "no": False}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}")
_THOUSANDS: Final = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_COLOR: Final = re.compile(r": +#[0-9a-fA-F]{3,6}\b")
"""A color without quotes."""

_READ_DIFFERENTLY: Final = re.compile("[&\x85\u2028\u2029\ufeff]|[|>][0-9-]*\\+")
"""What the C parser reads differently, found with random texts: anchors, special line breaks, `|+`."""


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a YAML file: plain Python, with its line and its parts."""

    file: str
    line: int
    value: Any
    parts: Mapping[str | int, Node] = field(default_factory=dict)

    def part(self, key: str | int) -> Node | None:
        """Return the part under *key*, None if there is none."""
        return self.parts.get(key)

    def deepest(self, path: Iterable[str | int]) -> Node:
        """Return the part at *path*, or the deepest one that exists."""
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
class TrackReference:
    """A reference to another track. *enters*: leads may go to it from here."""

    node: Node
    track: str
    enters: bool = True


@dataclass(slots=True)
class ParseContext:
    """What reading has found so far: problems, and references to tracks.

    Not *complete*: the text was already published, so it is not checked again for content. *field_conditions*,
    *date_references* and *capped_topics* are checked at the end, when all fields and tracks are known.
    """

    complete: bool = True
    fields: Fields = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    track_references: list[TrackReference] = field(default_factory=list)
    queue_references: list[tuple[Node, str]] = field(default_factory=list)
    field_conditions: list[tuple[Node, FieldCondition]] = field(default_factory=list)
    capped_topics: dict[str, Node] = field(default_factory=dict)
    date_references: list[tuple[Node, str]] = field(default_factory=list)

    def add_problem(self, node: Node, message: str, suggestion: str, *, is_warning: bool = False) -> None:
        """Report a problem at the line of *node*."""
        self.problems.append(Problem(node.file, node.line, message, suggestion.removesuffix("."), is_warning))

    def warn(self, node: Node, message: str, suggestion: str) -> None:
        """Report what is valid, but probably not meant. A published text is not warned about again."""
        if self.complete:
            self.add_problem(node, message, suggestion, is_warning=True)


def read_yaml(file: str, text: str, context: ParseContext) -> Node | None:
    """Read *text* as one YAML mapping; None, with one problem reported, if it is not one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = _parse(text, context)
        node = _Converter(file, context).node(parsed, 1, 0)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = text.rstrip().count("\n") + 1
        line = min(mark.line + 1, last) if mark else 1
        what, remedy = _explain(error)
        if _COLOR.search("\n".join(text.split("\n")[max(line - 4, 0) : line])):
            remedy = 'Put colors in quotes, such as "#0b5cad": `#` begins a comment'
        context.add_problem(Node(file, line, None), what, remedy)
        return None
    except (YAMLError, ValueError, RecursionError) as error:
        is_too_deep = isinstance(error, RecursionError) or str(error) == _TOO_DEEP
        said = _TOO_DEEP if is_too_deep else str(error).splitlines()[0].rstrip(".")
        remedy = "Save the file as plain UTF-8 text without control characters"
        remedy = "Close the brackets, and indent by two spaces" if is_too_deep else remedy
        context.add_problem(Node(file, 1, None), f"this is not YAML: {said}", remedy)
        return None
    if not isinstance(node.value, dict):
        what = "the file is empty" if node.value is None else "the file is not a list of `key: value` lines"
        context.add_problem(node, what, "Copy a file of this kind from another folder and change it.")
        return None
    return node


def _parse(text: str, context: ParseContext) -> Any:
    opened = 0
    for bracket in _BRACKET.findall(text):
        opened = opened + 1 if bracket in "[{" else max(opened - 1, 0)
        if opened > _MAX_OPEN:
            raise ValueError(_TOO_DEEP)
    # The C parser is seven times as fast, but its messages are worse, and deep nesting would crash the process.
    if not context.complete and not _READ_DIFFERENTLY.search(text):
        with suppress(YAMLError):
            return YAML(typ="safe").compose(text)
    return YAML(typ="safe", pure=True).compose(text)


def _explain(error: MarkedYAMLError) -> tuple[str, str]:
    problem = str(error.problem or error.context or "").strip()
    if "\\t" in problem or "tab" in problem:
        return "a tab is used to indent", "Indent with spaces: YAML allows no tabs"
    return (
        f"this is not YAML: {problem}",
        "Check the indentation, the colons and the quotes here and on the line above",
    )


class _Converter:
    """Converts parsed YAML into nodes; rejects files that expand without limit."""

    def __init__(self, file: str, context: ParseContext) -> None:
        self._file = file
        self._context = context
        self._count = 0

    def node(self, parsed: Any, line: int, depth: int) -> Node:
        self._count += 1
        if self._count > _MAX_VALUES or depth > _MAX_DEPTH:
            raise ValueError(_TOO_DEEP if depth > _MAX_DEPTH else f"it expands into more than {_MAX_VALUES:,} values")
        match parsed:
            case MappingNode():
                parts = self._mapping(parsed, depth)
                return Node(self._file, line, {key: part.value for key, part in parts.items()}, parts)
            case SequenceNode():
                listed: dict[str | int, Node] = {
                    place: self.node(item, item.start_mark.line + 1, depth + 1)
                    for place, item in enumerate(parsed.value)
                }
                return Node(self._file, line, [part.value for part in listed.values()], listed)
            case ScalarNode():
                found = Node(self._file, line, _scalar(parsed))
                if not parsed.style and _THOUSANDS.fullmatch(parsed.value):
                    what = f"`{parsed.value}` is {found.value:g}: no sign parts thousands"
                    self._context.warn(found, what, f"Write `{parsed.value.replace('.', '')}`, if you mean that.")
                return found
            case _:
                return Node(self._file, line, None)

    def _mapping(self, parsed: MappingNode, depth: int) -> dict[str | int, Node]:
        parts: dict[str | int, Node] = {}
        for key_node, value in parsed.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, ScalarNode) else "?"
            if key in parts:
                here = Node(self._file, line, None)
                self._context.add_problem(here, f"the key `{key}` occurs twice", "Keep one of the two.")
            part = self.node(value, line, depth + 1)
            # An unquoted yes or no is a boolean; in quotes, or in a list, it is a word (Norway is NO).
            if isinstance(value, ScalarNode) and not value.style and value.value in _YES_NO:
                part = Node(self._file, line, _YES_NO[value.value])
            parts[key] = part
        return parts


def _scalar(parsed: ScalarNode) -> str | int | float | bool | date | None:
    text = str(parsed.value)
    if parsed.style:
        return text
    if text in _BARE_WORDS:
        return _BARE_WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    if _DATE.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            return text
    return text


def line_numbers(file: str, text: str) -> Mapping[tuple[str, str], int]:
    """Return the line of each part of a valid file, as ("routing", "") or ("routing", "dach").

    The second is the key below the part, or the name or id of an entry of its list.
    """
    node = read_yaml(file, text, ParseContext())
    found: dict[tuple[str, str], int] = {}
    for key, part in node.parts.items() if node is not None else ():
        found[str(key), ""] = part.line
        for below, inner in part.parts.items():
            named = inner.value if isinstance(inner.value, dict) else {}
            called = named.get("name") or named.get("id") if isinstance(below, int) else below
            found[str(key), str(called)] = inner.line
    return found
