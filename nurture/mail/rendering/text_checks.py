"""Warn of what an email would show as it stands, and its author did not mean: Markdown that is none, drafts, links."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from markdown_it import MarkdownIt

from nurture.domain.problems import Problem
from nurture.mail.rendering.email_file import ParsedEmail, Piece
from nurture.mail.rendering.foreign_tokens import blank_tags

_MARKDOWN: Final = MarkdownIt("commonmark")
_ANY_VALUE: Final = "x.x@x.x"
"""What stands for a tag: any part of a word, a page or a mailbox."""
_LINK_HINT: Final = "Write `[the words](https://www.example.com/page)`"
_DRAFT_HINT: Final = "Write what belongs here, or remove it"
_QUOTES: Final = re.compile(r"[\u201c\u201d\u201e\u201f\u00ab\u00bb].*[\u201c\u201d\u201e\u201f\u00ab\u00bb]")
_REPLY_PREFIX: Final = re.compile(r"(re|aw|fwd?|wg|sv|antw)\s?:", re.IGNORECASE)
_URL: Final = r"https?://[^\s()<>\[\]\"']+"
_DRAFTS: Final = re.compile(r"\b(?:[Ll]orem [Ii]psum|LOREM IPSUM|TODO|TBD|TBA|FIXME|XXX+)\b")
_NO_SPACE: Final = "a space is missing"
_MISTAKES: Final = tuple(
    (re.compile(pattern, re.MULTILINE), what, remedy)
    for pattern, what, remedy in (
        (
            r"\[[^\[\]\n]+\] +\((?:https?://|mailto:|tel:)[^()\n]*\)",
            "is no link: a space parts its words from its address",
            _LINK_HINT,
        ),
        (rf"\([^()\n]+\)\[{_URL}\]", "is no link: its brackets are the wrong way round", _LINK_HINT),
        (
            r"\[[^\[\]\n]+\]\((?:https?://|mailto:|tel:)[^()\s\"]* [^()\n\"]*\)",
            "is no link: its address has a space",
            "Write `%20` for each space of an address",
        ),
        (
            r"https?://https?:?/*[^\s()\"]*",
            "is no address of a page: it begins twice",
            "Remove the first `https://`",
        ),
        (
            r"https?://[^\s()./:\"{]+(?=[\s()/:\"]|$)[^\s()\"]*",
            "is an address that only your own network knows",
            "Write the address that a reader can open",
        ),
        (
            r"\[[^\[\]\n]+\]\((?:https?://|mailto:|tel:)[^()\n]*$",
            "is no link: its bracket is not closed",
            "Write `)` after the address",
        ),
        (r"(?<!!)\[\s*\]\(https?://[^()\n]*\)", "is a link without words: nobody sees it", _LINK_HINT),
        (
            r"https?://[^\s()/:\"?#{]*,[^\s()\"]*",
            "is no address of a page: it has a comma for a dot",
            "Write `.` instead",
        ),
        (
            r"https?://[^\s()?\"]+\?[^\s()?#\"]*=[^\s()?#\"]*\?[^\s()\"]*",
            "has a second `?`, so what follows is lost",
            "Write `&` between two values",
        ),
        (
            r"\[[^\[\]\n]*(?i:unsubscribe|opt out|abmelden|désinscrire|désabonner)[^\[\]\n]*\]\(https?://[^()\n]*\)",
            "is an opt-out of another page, which nothing here knows of",
            "Remove it: the layout has the link to unsubscribe",
        ),
        (
            r"\S{0,40}(?:[\u00c2\u00c3][\u0080-\u00bf\u0178\u0152\u0153\u0160\u0161\u201a-\u203a]|\u00e2\u20ac)\S{0,40}",
            "was saved in another encoding",
            "Write the word anew, and save the file as UTF-8",
        ),
        (r"mailto:[^\s()@?\"]*(?=[\s()?\"])", "is no address of a mailbox", "Write `mailto:` and a whole address"),
        (r"^ {0,3}(?:#{2,6}|#(?=\w+ ))[^\W\d_].*$", f"is no heading: {_NO_SPACE}", "Write a space after `#`"),
        (
            r"^ {0,3}[-+][^\W\d_].*$(?=\n {0,3}[-+][^\W\d_])",
            f"is no list: {_NO_SPACE}",
            "Write a space after `-` on each of its lines",
        ),
        (
            r"^ {0,3}\d{1,2}[.)][^\W\d_].*$(?=\n {0,3}\d{1,2}[.)][^\W\d_])",
            f"is no list: {_NO_SPACE}",
            "Write a space after each number",
        ),
        (_DRAFTS.pattern, "looks like a part of a draft, and would be sent as it stands", _DRAFT_HINT),
    )
)
_LINK: Final = re.compile(r"\]\([^()\n]*\)|<https?://[^<>\s]+>|^ {0,3}\[[^\]\n]+\]:.*$", re.MULTILINE)
_BARE_URL: Final = re.compile(rf"(?<![\w(/@.]){_URL}|(?<![\w(/@.:])www\.[\w-]+\.[^\s()<>\[\]\"']+")


def find_text_problems(email: ParsedEmail) -> Iterator[Problem]:
    """Yield a warning for each part of *email* that a reader would take for a mistake."""
    body = replace(email.body, text=blank_tags(email.body.text, _ANY_VALUE))
    found: set[tuple[int, int]] = set()
    for pattern, what, remedy in _MISTAKES:
        for match in pattern.finditer(body.text):
            if not any(start <= match.start() < end for start, end in found):
                found.add(match.span())
                yield _warn(body, match, what, remedy)
    for match in _BARE_URL.finditer(_LINK.sub(lambda link: " " * len(link[0]), body.text)):
        if not any(start <= match.start() < end for start, end in found):
            yield _warn(body, match, "is no link: clicks on it are not recorded", "Write `[the words](https://...)`")
    yield from _find_unclosed_bold(body)
    yield from _check_inbox_lines(email)


def _warn(piece: Piece, match: re.Match[str], what: str, remedy: str) -> Problem:
    line = piece.line + piece.text.count("\n", 0, match.start())
    return Problem(piece.file, line, f"`{match[0].strip()[:60]}` {what}", remedy, is_warning=True)


def _find_unclosed_bold(body: Piece) -> Iterator[Problem]:
    """Yield a warning for each paragraph that shows the signs of bold words."""
    for token in _MARKDOWN.parse(body.text):
        children = token.children or []
        if token.map and any(child.type == "text" and "**" in child.content for child in children):
            what = "`**` is shown as it stands: bold words begin and end with it, without a space inside"
            yield Problem(body.file, body.line + token.map[0], what, "Write `**words**`", is_warning=True)


def _check_inbox_lines(email: ParsedEmail) -> Iterator[Problem]:
    """Yield what is odd in the two lines that an inbox shows."""
    subject, preheader = email.subject, email.preheader
    for piece, label in ((subject, "subject"), (preheader, "preheader")):
        text = blank_tags(piece.text)
        if _QUOTES.fullmatch(text.strip()):
            remedy = f"Write `{label}: {piece.text.strip()[1:-1]}`, or straight quotes around it"
            what = f"the typographic quotes are part of the {label}"
            yield Problem(piece.file, piece.line, what, remedy, is_warning=True)
        for match in _DRAFTS.finditer(text):
            what = f"`{match[0]}` in the {label} looks like a part of a draft, and would be sent as it stands"
            yield Problem(piece.file, piece.line, what, _DRAFT_HINT, is_warning=True)
    if _REPLY_PREFIX.match(subject.text):
        what = f"the subject `{subject.text[:60]}` looks like an answer, which this email is not"
        yield Problem(subject.file, subject.line, what, "Remove the word before the colon", is_warning=True)
    if subject.text and subject.text.casefold() == preheader.text.casefold():
        what = f"the preheader says what the subject says: `{subject.text[:60]}`"
        yield Problem(preheader.file, preheader.line, what, "Write what the subject leaves open", is_warning=True)
