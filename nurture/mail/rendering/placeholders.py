"""Hide Jinja tags behind words that YAML, Markdown, MJML and CSS leave alone, and show them again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from jinja2 import Environment, TemplateSyntaxError

_LEXER: Final = Environment(autoescape=True)
_LITERAL_BRACE: Final = re.compile(r"\{(?=[{%#])")


@dataclass(frozen=True, slots=True)
class Tag:
    """One hidden tag: the word that stands for it, its text, the line it began on."""

    placeholder: str
    text: str
    line: int

    @property
    def is_statement(self) -> bool:
        """Tell a tag that prints nothing ({% %} or {# #}) from one that prints a value."""
        return not self.text.startswith("{{")


class Placeholders:
    """The hidden tags of one email. Each placeholder is letters and digits that are nowhere in *sources*."""

    def __init__(self, *sources: str) -> None:
        stems = (f"jt{stem}" if stem else "jt" for stem in count())
        self._stem = next(stem for stem in stems if not any(stem in source.lower() for source in sources))
        self.pattern = re.compile(rf"{self._stem}[sv]\d{{4,}}x")
        self.statement_pattern = re.compile(rf"{self._stem}s\d{{4,}}x")
        self.tags: dict[str, Tag] = {}

    def hide(self, text: str, first_line: int) -> list[tuple[int, str]]:
        """Replace every tag of *text* by its placeholder; lines come with the source line they started on.

        A text that Jinja cannot read is returned as it is: whoever compiles it reports that.
        """
        try:
            parts = list(_split_tags(text))
        except TemplateSyntaxError:
            parts = [(1, False, text)]
        lines: list[tuple[int, str]] = [(first_line, "")]
        for line, is_tag, part in parts:
            source_line = first_line + line - 1
            first, *rest = [self._placeholder_for(part, source_line)] if is_tag else part.split("\n")
            number, current = lines[-1]
            lines[-1] = (number if current else source_line, current + first)
            lines.extend((source_line + offset, piece) for offset, piece in enumerate(rest, 1))
        return lines

    def add(self, text: str) -> str:
        """Return a word that stands for *text*, a tag of our own."""
        return self._placeholder_for(text, 0)

    def restore_escaped(self, text: str) -> str:
        """Put the tags back; braces that were not a tag come out as literal braces."""
        return self.restore(_LITERAL_BRACE.sub('{{ "{" }}', text))

    def restore(self, text: str) -> str:
        """Put the tags back, and change nothing else."""
        return self.pattern.sub(lambda match: self.tags[match[0]].text, text)

    def _placeholder_for(self, text: str, line: int) -> str:
        kind = "v" if text.startswith("{{") else "s"
        placeholder = f"{self._stem}{kind}{len(self.tags):04d}x"
        self.tags[placeholder] = Tag(placeholder, text, line)
        return placeholder


def _split_tags(text: str) -> Iterator[tuple[int, bool, str]]:
    """Split *text* into plain parts and whole tags, each with its line within *text*."""
    open_tag: list[str] = []
    started = 1
    for line, kind, value in _LEXER.lex(text):
        if kind.endswith("_begin"):
            started, open_tag = line, [value]
        elif kind.endswith("_end"):
            yield started, True, "".join([*open_tag, value])
            open_tag = []
        elif open_tag:
            open_tag.append(value)
        else:
            yield line, False, value
