"""Detect regular expressions that may take more than linear time, from their structure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final

MAX_TRIES: Final = 100
"""The allowed number of backtracking steps at one position."""

_ALPHABET: Final = [*map(chr, range(128)), *"äéłßñ\u00a0\u2028"]
_BACKTRACKING: Final = (c.MAX_REPEAT, c.MIN_REPEAT)
_REPEATS: Final = (*_BACKTRACKING, c.POSSESSIVE_REPEAT)
_LOOKAROUNDS: Final = (c.AT, c.ASSERT, c.ASSERT_NOT)


def hazards(pattern: re.Pattern[Any]) -> list[str]:
    """Return the parts of a pattern that may take more than linear time in a search."""
    tree = parser.parse(
        pattern.pattern, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    )
    return [*_unbounded(tree), *_nested(tree), *_repeated_starts(list(tree), _ReadBefore())]


def _children(op: Any, argument: Any) -> Iterator[Any]:
    if op in _REPEATS:
        yield argument[2]
    elif op is c.BRANCH:
        yield from argument[1]
    elif op is c.SUBPATTERN:
        yield argument[3]
    elif op is c.ATOMIC_GROUP:
        yield argument
    elif op in (c.ASSERT, c.ASSERT_NOT):
        yield argument[1]
    elif op is c.GROUPREF_EXISTS:
        yield from (child for child in argument[1:] if child is not None)


def _nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    for op, argument in tree:
        yield op, argument
        for child in _children(op, argument):
            yield from _nodes(child)


def _unbounded(tree: Any) -> Iterator[str]:
    """Find backtracking repetitions without a small maximum."""
    for op, argument in _nodes(tree):
        if op in _BACKTRACKING and argument[1] > MAX_TRIES:
            yield f"backtracks up to {argument[1]} times: {argument[2]}"


def _nested(tree: Any) -> Iterator[str]:
    """Find nested repetitions whose maximums multiply."""
    for op, argument in _nodes(tree):
        if op in _BACKTRACKING and argument[1] > 1:
            inner = [node[1][1] for node in _nodes(argument[2]) if node[0] in _REPEATS and node[1][1] > 1]
            if any(argument[1] * maximum > MAX_TRIES for maximum in inner):
                yield f"nested repetition: {argument[2]}"


class _ReadBefore:
    """The sets of characters that may precede a position; *guarded* if a lookbehind or anchor precedes it."""

    def __init__(self, sets: Sequence[frozenset[str]] = (), *, guarded: bool = False) -> None:
        self.sets = tuple(sets)
        self.guarded = guarded

    def then(self, chars: frozenset[str]) -> _ReadBefore:
        return _ReadBefore((*self.sets, chars), guarded=self.guarded)


def _repeated_starts(nodes: list[tuple[Any, Any]], before: _ReadBefore) -> Iterator[str]:
    """Find unbounded repetitions that a search restarts at each character that they match.

    They are harmless if nothing after them can fail, or if they cannot match the preceding character.
    """
    for position, (op, argument) in enumerate(nodes):
        rest = nodes[position + 1 :]
        if op is c.AT and argument in (c.AT_BEGINNING, c.AT_BEGINNING_STRING):
            before = _ReadBefore(before.sets, guarded=True)
        elif op in (c.ASSERT, c.ASSERT_NOT):
            before = _ReadBefore(before.sets, guarded=before.guarded or argument[0] < 0)
        elif op in _REPEATS and argument[1] > MAX_TRIES:
            chars = _chars(argument[2])
            if not before.guarded and all(chars_before & chars for chars_before in before.sets) and _can_fail(rest):
                yield f"restarts at each character: {argument[2]}"
            before = before.then(chars)
        elif op in _REPEATS:
            if argument[0]:
                before = before.then(_chars(argument[2]))
        elif op in (c.BRANCH, c.SUBPATTERN, c.ATOMIC_GROUP):
            for child in _children(op, argument):
                yield from _repeated_starts([*child, *rest], before)
            return
        elif op not in _LOOKAROUNDS:
            before = before.then(_chars([(op, argument)]))


def _can_fail(nodes: list[tuple[Any, Any]]) -> bool:
    return any(op not in _REPEATS or argument[0] > 0 for op, argument in nodes if op is not c.SUBPATTERN or argument)


def _chars(tree: Any) -> frozenset[str]:
    """Return an approximation of the characters that may be matched first and last."""
    found: set[str] = set()
    for op, argument in _nodes(tree):
        if op in (c.LITERAL, c.NOT_LITERAL, c.IN, c.ANY):
            found |= {character for character in _ALPHABET if _reads(op, argument, character)}
    return frozenset(found)


def _reads(op: Any, argument: Any, character: str) -> bool:
    match op:
        case c.LITERAL:
            return ord(character) == argument or ord(character.swapcase()[0]) == argument
        case c.NOT_LITERAL:
            return ord(character) != argument
        case c.ANY:
            return character != "\n"
    negated = argument[0][0] is c.NEGATE
    return negated != any(_is_in(*each, character) for each in argument if each[0] is not c.NEGATE)


def _is_in(op: Any, argument: Any, character: str) -> bool:
    match op:
        case c.LITERAL:
            return ord(character) == argument
        case c.RANGE:
            return argument[0] <= ord(character) <= argument[1]
    categories = {
        c.CATEGORY_SPACE: r"\s", c.CATEGORY_NOT_SPACE: r"\S", c.CATEGORY_WORD: r"\w",
        c.CATEGORY_NOT_WORD: r"\W", c.CATEGORY_DIGIT: r"\d", c.CATEGORY_NOT_DIGIT: r"\D",
    }  # fmt: skip
    return re.match(categories[argument], character) is not None
