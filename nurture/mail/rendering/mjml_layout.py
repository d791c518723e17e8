"""Compile MJML layouts, insert the body and inline the CSS."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from html import escape, unescape
from typing import Final

import css_inline
from mjml import mjml2html

from nurture.domain.problems import Problem
from nurture.mail.rendering.email_file import Piece
from nurture.mail.rendering.link_rules import LINK_ADVICE, is_safe_url
from nurture.mail.rendering.placeholders import Placeholders
from nurture.mail.rendering.tag_nesting import find_crossing_tags

SLOTS: Final = ("subject", "preheader", "body", "columns", "image", "image_alt")
_SLOT: Final = re.compile(rf"\{{\{{-?\s*({'|'.join(SLOTS)})\s*-?\}}\}}")
_ELEMENT: Final = re.compile(r"<[a-zA-Z][^<>]*>")
_STYLE: Final = re.compile(r"<mj-style[^>]*>(.*?)</mj-style>", re.DOTALL)
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
_SIZE_ATTRIBUTE: Final = re.compile(r"\s([\w-]*(?:width|height)|padding[\w-]*)=(\"[^\"]*\"|'[^']*')")
_MJML_ADVICE: Final = "Check that every element is closed and that attributes are in quotes"
_LINK: Final = re.compile(r"(\s(?:href|src|background|action)=\")([^\"]*)\"")
_LONG_TAG: Final = re.compile(r"<(table|td|div|p|a|li) ")


@dataclass(frozen=True, slots=True)
class CompiledLayout:
    """A compiled layout with placeholders; *slots* maps each slot to its placeholder."""

    html: str
    slots: dict[str, str]
    problems: list[Problem]


def compile_layout(layout: Piece, placeholders: Placeholders) -> CompiledLayout:
    """Compile the MJML of *layout*, with *placeholders* for its Jinja tags."""
    known_tags = set(placeholders.tags)
    lines = placeholders.hide(layout.text, layout.line)
    source = "\n".join(line for _, line in lines)
    layout_tags = {word: tag for word, tag in placeholders.tags.items() if word not in known_tags}
    slots = {match[1]: word for word, tag in layout_tags.items() if (match := _SLOT.fullmatch(tag.text))}
    problems = _find_markup_problems(layout, source, placeholders)
    if not {"body", "columns"} & slots.keys():
        advice = "Write {{ body }}, or {{ columns }}, inside an mj-text"
        problems.append(Problem(layout.file, layout.line, "the layout has no slot for the body", advice))
    try:
        html = mjml2html(source, fonts={})
    except ValueError as error:
        message = f"the MJML is invalid: {error}"
        return CompiledLayout("", slots, [*problems, Problem(layout.file, layout.line, message, _MJML_ADVICE)])
    lines_with_problems = {problem.line for problem in problems}
    for word, tag in layout_tags.items():
        if word not in html and tag.line not in lines_with_problems:
            message = f"MJML drops the tag {tag.text}"
            advice = "Put it inside an mj-text or mj-raw, or write the value itself"
            problems.append(Problem(layout.file, tag.line, message, advice))
    problems += _find_link_problems(layout, html, placeholders) + find_crossing_tags(layout.file, html, placeholders)
    return CompiledLayout(html, slots, problems)


def fill_layout(layout: CompiledLayout, contents: dict[str, str], placeholders: Placeholders) -> tuple[str, bool]:
    """Insert *contents* with placeholders and inline the CSS; also return whether every tag kept its place."""
    html = layout.html
    for slot, word in layout.slots.items():
        html = html.replace(word, contents[slot])
    inlined = css_inline.inline(html, keep_at_rules=True, load_remote_stylesheets=False)
    return inlined, _tags_in_body(html, placeholders) == _tags_in_body(inlined, placeholders)


def break_lines(html: str) -> str:
    """Break lines inside tags, where white space has no effect: mail allows 998 bytes per line."""
    return _LONG_TAG.sub(r"<\1\n", html)


def escape_text(piece: Piece, placeholders: Placeholders) -> str:
    """Replace the tags of a one-line *piece* by placeholders and escape the rest for HTML."""
    return escape(" ".join(line for _, line in placeholders.hide(piece.text, piece.line)))


def guard_links(html: str, placeholders: Placeholders, trusted: Collection[str] = ()) -> str:
    """Apply `safe_link` to each link that begins with a tag: escaping does not stop `javascript:`.

    Skip links that begin with a *trusted* placeholder, whose own tag checks them.
    """
    opening, closing = placeholders.add("{% filter safe_link %}"), placeholders.add("{% endfilter %}")

    def guard(link: re.Match[str]) -> str:
        name, url = link.groups()
        word = placeholders.pattern.match(url)
        return f'{name}{opening}{url}{closing}"' if word and word[0] not in trusted else link[0]

    return _LINK.sub(guard, html)


def _find_markup_problems(layout: Piece, source: str, placeholders: Placeholders) -> list[Problem]:
    """Return a problem for each tag at a position where MJML or CSS inlining drops it."""

    def problem(word: str, message: str, suggestion: str) -> Problem:
        tag = placeholders.tags[word]
        return Problem(layout.file, tag.line, message.format(tag.text), suggestion)

    style_words = placeholders.pattern.findall(" ".join(_STYLE.findall(source)))
    problems = [problem(word, "a style cannot contain the tag {0}", "Write the value itself") for word in style_words]
    for element in _ELEMENT.findall(source):
        advice = "Put it inside an attribute's quotes, or around the element"
        outside = placeholders.pattern.findall(_QUOTED.sub("", element))
        problems += [problem(word, "the tag {0} is between attributes", advice) for word in outside]
        for name, value in _SIZE_ATTRIBUTE.findall(element):
            words = placeholders.pattern.findall(value)
            problems += [
                problem(word, f"`{name}` cannot contain the tag {{0}}", "Write the size, like 120px") for word in words
            ]
    return problems


def _find_link_problems(layout: Piece, html: str, placeholders: Placeholders) -> list[Problem]:
    problems: list[Problem] = []
    for _, url in _LINK.findall(html):
        if not placeholders.pattern.match(url) and not is_safe_url(unescape(url)):
            displayed = placeholders.restore_escaped(unescape(url))[:80]
            lines = enumerate(layout.text.split("\n"), layout.line)
            line = next((number for number, text in lines if displayed in text), layout.line)
            problems.append(
                Problem(layout.file, line, f"the link `{displayed}` is not allowed in an email", LINK_ADVICE)
            )
    return problems


def _tags_in_body(html: str, placeholders: Placeholders) -> list[str]:
    """Return the placeholders in order, those in attributes sorted: CSS inlining reorders attributes."""
    body = html[html.find("<body") :]
    attributes = " ".join(_ELEMENT.findall(body))
    return placeholders.pattern.findall(_ELEMENT.sub("", body)) + sorted(placeholders.pattern.findall(attributes))
