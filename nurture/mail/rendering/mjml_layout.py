"""Put an email's body into its MJML layout and make the HTML that mail clients want."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from html import escape, unescape
from typing import Final

import css_inline
from mjml import mjml2html

from nurture.domain.problems import Fault
from nurture.mail.rendering.email_file import Piece
from nurture.mail.rendering.link_rules import ADVICE, is_safe
from nurture.mail.rendering.placeholders import Masks
from nurture.mail.rendering.tag_nesting import crossing_faults

SLOTS: Final = ("subject", "preheader", "body")
_SLOT: Final = re.compile(r"\{\{-?\s*(subject|preheader|body)\s*-?\}\}")
_ELEMENT: Final = re.compile(r"<[a-zA-Z][^<>]*>")
_STYLE: Final = re.compile(r"<mj-style[^>]*>(.*?)</mj-style>", re.DOTALL)
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
_SIZED: Final = re.compile(r"\s([\w-]*(?:width|height)|padding[\w-]*)=(\"[^\"]*\"|'[^']*')")
_MJML_ADVICE: Final = "Check that every element is closed and that attributes are in quotes"
_LINK: Final = re.compile(r"(\s(?:href|src|background|action)=\")([^\"]*)\"")
_LONG_TAG: Final = re.compile(r"<(table|td|div|p|a|li) ")


@dataclass(frozen=True, slots=True)
class Frame:
    """A compiled layout with its tags still hidden, and the words of its slots."""

    html: str
    slots: dict[str, str]
    faults: list[Fault]


def compile_layout(layout: Piece, masks: Masks) -> Frame:
    """Compile the MJML of *layout* once, its tags hidden by *masks*."""
    before = set(masks.tags)
    lines = masks.hide(layout.text, layout.line)
    source = "\n".join(line for _, line in lines)
    own = {word: tag for word, tag in masks.tags.items() if word not in before}
    slots = {found[1]: word for word, tag in own.items() if (found := _SLOT.fullmatch(tag.text))}
    faults = _markup_faults(layout, source, masks)
    if "body" not in slots:
        advice = "Write {{ body }} inside an mj-text"
        faults.append(Fault(layout.file, layout.line, "the layout has no place for the body", advice))
    try:
        html = mjml2html(source, fonts={})
    except ValueError as error:
        what = f"the MJML cannot be read: {error}"
        return Frame("", slots, [*faults, Fault(layout.file, layout.line, what, _MJML_ADVICE)])
    faulted = {fault.line for fault in faults}
    for word, tag in own.items():
        if word not in html and tag.line not in faulted:
            what = f"the tag {tag.text} does not survive MJML"
            advice = "Put it inside an mj-text or mj-raw, or write the value itself"
            faults.append(Fault(layout.file, tag.line, what, advice))
    faults += _link_faults(layout, html, masks) + crossing_faults(layout.file, html, masks)
    return Frame(html, slots, faults)


def fill(frame: Frame, contents: dict[str, str], masks: Masks) -> tuple[str, bool]:
    """Put masked *contents* into the slots and inline the CSS; also say whether every tag kept its place."""
    html = frame.html
    for slot, word in frame.slots.items():
        html = html.replace(word, contents[slot])
    inlined = css_inline.inline(html, keep_at_rules=True, load_remote_stylesheets=False)
    return inlined, _tags_in_body(html, masks) == _tags_in_body(inlined, masks)


def break_lines(html: str) -> str:
    """Break lines inside tags, where white space means nothing: mail allows 998 octets a line."""
    return _LONG_TAG.sub(r"<\1\n", html)


def as_text(piece: Piece, masks: Masks) -> str:
    """Hide the tags of a one-line *piece* and escape the rest for HTML."""
    return escape(" ".join(line for _, line in masks.hide(piece.text, piece.line)))


def guard_links(html: str, masks: Masks, trusted: Collection[str] = ()) -> str:
    """Have each link that begins with a tag checked when rendered: escaping does not stop `javascript:`.

    Not those that begin with one of the *trusted* words: these are checked by what the words stand for.
    """
    opening, closing = masks.add("{% filter safe_link %}"), masks.add("{% endfilter %}")

    def guarded(link: re.Match[str]) -> str:
        name, url = link.groups()
        word = masks.word.match(url)
        return f'{name}{opening}{url}{closing}"' if word and word[0] not in trusted else link[0]

    return _LINK.sub(guarded, html)


def _markup_faults(layout: Piece, source: str, masks: Masks) -> list[Fault]:
    """Name the tags that stand where no engine keeps them."""

    def fault(word: str, what: str, instead: str) -> Fault:
        tag = masks.tags[word]
        return Fault(layout.file, tag.line, what.format(tag.text), instead)

    styled = masks.word.findall(" ".join(_STYLE.findall(source)))
    faults = [fault(word, "a style cannot hold the tag {0}", "Write the value itself") for word in styled]
    for element in _ELEMENT.findall(source):
        advice = "Put it inside an attribute's quotes, or around the element"
        outside = masks.word.findall(_QUOTED.sub("", element))
        faults += [fault(word, "the tag {0} stands between attributes", advice) for word in outside]
        for name, value in _SIZED.findall(element):
            words = masks.word.findall(value)
            faults += [
                fault(word, f"`{name}` cannot hold the tag {{0}}", "Write the size, like 120px")
                for word in words
            ]
    return faults


def _link_faults(layout: Piece, html: str, masks: Masks) -> list[Fault]:
    faults: list[Fault] = []
    for _, url in _LINK.findall(html):
        if not masks.word.match(url) and not is_safe(unescape(url)):
            shown = masks.show(unescape(url))[:80]
            lines = enumerate(layout.text.split("\n"), layout.line)
            line = next((number for number, text in lines if shown in text), layout.line)
            faults.append(
                Fault(layout.file, line, f"the link `{shown}` is not one an email may carry", ADVICE)
            )
    return faults


def _tags_in_body(html: str, masks: Masks) -> list[str]:
    """List the hidden tags in order, attributes apart: inlining sorts those within an element."""
    body = html[html.find("<body") :]
    attributes = " ".join(_ELEMENT.findall(body))
    return masks.word.findall(_ELEMENT.sub("", body)) + sorted(masks.word.findall(attributes))
