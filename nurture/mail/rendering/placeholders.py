"""Replace Jinja tags by placeholders that YAML, Markdown, MJML and CSS keep unchanged, and restore them."""

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
    """A replaced tag: its placeholder, its text and its first line."""

    placeholder: str
    text: str
    line: int

    @property
    def is_statement(self) -> bool:
        """Return whether the tag prints nothing: {% %} or {# #}."""
        return not self.text.startswith("{{")


class Placeholders:
    """The replaced tags of one email. A placeholder consists of letters and digits and does not occur in *sources*."""

    def __init__(self, *sources: str) -> None:
        stems = (f"jt{stem}" if stem else "jt" for stem in count())
        self._stem = next(stem for stem in stems if not any(stem in source.lower() for source in sources))
        self.pattern = re.compile(rf"{self._stem}[sv]\d{{4,}}x")
        self.statement_pattern = re.compile(rf"{self._stem}s\d{{4,}}x")
        self.tags: dict[str, Tag] = {}

    def hide(self, text: str, first_line: int) -> list[tuple[int, str]]:
        """Replace every tag of *text* by a placeholder; return lines with their source line numbers.

        A text with invalid Jinja is returned unchanged: compiling it reports the error.
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
        """Return a placeholder for *text*, a tag that is not in the source."""
        return self._placeholder_for(text, 0)

    def restore_escaped(self, text: str) -> str:
        """Restore the tags; write other braces as literal braces."""
        return self.restore(_LITERAL_BRACE.sub('{{ "{" }}', text))

    def restore(self, text: str) -> str:
        """Restore the tags."""
        return self.pattern.sub(lambda match: self.tags[match[0]].text, text)

    def _placeholder_for(self, text: str, line: int) -> str:
        kind = "v" if text.startswith("{{") else "s"
        placeholder = f"{self._stem}{kind}{len(self.tags):04d}x"
        self.tags[placeholder] = Tag(placeholder, text, line)
        return placeholder


def _split_tags(text: str) -> Iterator[tuple[int, bool, str]]:
    """Split *text* into plain parts and tags; yield line, whether it is a tag, and the part."""
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
