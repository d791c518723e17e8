"""Turn an email's Markdown into HTML: links checked, buttons drawn, tags on their own line left standing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from nurture.domain.problems import Fault
from nurture.mail.rendering.email_file import Piece
from nurture.mail.rendering.link_rules import ADVICE, is_safe
from nurture.mail.rendering.placeholders import Masks
from nurture.mail.rendering.tag_nesting import crossing_faults

_MARKDOWN: Final = MarkdownIt("commonmark")
# Its own check drops a bad link silently; ours reports it.
_MARKDOWN.validateLink = lambda url: bool(url) or True  # type: ignore[method-assign]
_NO_HTML: Final = "Write Markdown, or put the HTML into the layout"
_CELL: Final = '<td class="{0}"><a class="{0}" href="{1}"{3}>{2}</a></td>'
_NO_TRACK: Final = "no-track"
_GAP: Final = '<td class="gap" width="12"></td>'
_TABLE: Final = '<table class="buttons" role="presentation" border="0" cellpadding="0" cellspacing="0">'
_BUTTONS: Final = f"{_TABLE}<tr>{{}}</tr></table>\n"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The HTML of an email's body, with its tags still hidden, and its faults."""

    html: str
    faults: list[Fault]


def render_body(body: Piece, masks: Masks) -> Rendered:
    """Turn *body* into HTML with its Jinja tags hidden by *masks*."""
    lines = _stand_alone(masks.hide(body.text, body.line), masks)
    tokens = _MARKDOWN.parse("\n".join(line for _, line in lines))
    _leave_alone(tokens)
    faults: list[Fault] = []
    for token in tokens:
        first, end = token.map or (0, 1)
        for written, what, instead in _complaints(token, masks):
            places = (number for number, line in lines[first:end] if written in line)
            faults.append(Fault(body.file, next(places, lines[first][0]), what, instead))
    html = _one_list(_html(tokens, masks), masks)
    return Rendered(html, faults + crossing_faults(body.file, html, masks))


def _stand_alone(lines: list[tuple[int, str]], masks: Masks) -> list[tuple[int, str]]:
    """Set blank lines around each line that holds statements only, so that they stand between paragraphs."""
    spaced: list[tuple[int, str]] = []
    for number, line in lines:
        alone = _is_statements(line, masks)
        spaced.extend([(number, ""), (number, line), (number, "")] if alone else [(number, line)])
    return spaced


def _is_statements(text: str, masks: Masks) -> bool:
    return bool(text.strip()) and not masks.statement.sub("", text).strip()


def _complaints(token: Token, masks: Masks) -> Iterator[tuple[str, str, str]]:
    """Yield what was written, what is wrong with it, and what to do."""
    for part in [token, *(token.children or [])]:
        written = part.content.strip().split("\n")[0]
        if part.type.startswith("html_") and not written.startswith(("<!--", "</")):
            yield written, f"HTML in an email's text: {masks.show(written)[:60]}", _NO_HTML
        url = str(part.attrGet("href") or part.attrGet("src") or "")
        if part.type in ("link_open", "image") and not masks.word.match(url) and not is_safe(url):
            yield url, f"the link `{masks.show(url)[:80]}` is not one an email may carry", ADVICE


def _leave_alone(tokens: Sequence[Token]) -> None:
    """Mark the links titled "no-track", alone or beside "button": clicks on them are nobody's business."""
    for link in (part for token in tokens for part in token.children or [] if part.type == "link_open"):
        title = str(link.attrGet("title") or "").split()
        if _NO_TRACK in title:
            link.attrs.pop("title")
            rest = " ".join(word for word in title if word != _NO_TRACK)
            if rest:
                link.attrSet("title", rest)
            link.attrSet(f"data-{_NO_TRACK}", "")


def _html(tokens: Sequence[Token], masks: Masks) -> str:
    """Render block by block, because buttons and standing tags take a paragraph's place."""
    out: list[str] = []
    rest = list(tokens)
    while rest:
        special = _special(rest[1], masks) if rest[0].type == "paragraph_open" else ""
        if special:
            out.append(special)
            del rest[:3]  # the paragraph's opening, text and closing
        else:
            out.append(_render(rest[:1]))
            del rest[0]
    return "".join(out)


def _render(tokens: Sequence[Token]) -> str:
    """Render *tokens* without comments, the only HTML that gets here: notes are not for the reader."""
    tokens = [token for token in tokens if token.type != "html_block"]
    for token in tokens:
        token.children = [part for part in token.children or [] if part.type != "html_inline"]
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _special(inline: Token, masks: Masks) -> str:
    return _buttons(inline) or (inline.content.strip() if _is_statements(inline.content, masks) else "")


def _one_list(html: str, masks: Masks) -> str:
    """Make a list that a loop repeats one list with repeated items."""
    word = masks.statement.pattern
    repeated = re.compile(rf"({word})(<[uo]l>\n)((?:(?!{word}).)*)(</[uo]l>\n)({word})", re.DOTALL)

    def joined(found: re.Match[str]) -> str:
        loop, opening, items, closing, end = found.groups()
        is_loop = masks.tags[loop].text.strip("{%- ").startswith("for ")
        return f"{opening}{loop}{items}{end}{closing}" if is_loop else found[0]

    return repeated.sub(joined, html)


def _buttons(inline: Token) -> str:
    """Draw a paragraph of nothing but links titled "button" or "button quiet" as buttons; else say ""."""
    parts = inline.children or []
    rest = [part for part in parts if part.type != "softbreak" and (part.content.strip() or part.nesting)]
    cells: list[str] = []
    while rest:
        title = str(rest[0].attrGet("title") or "") if rest[0].type == "link_open" else ""
        if title not in ("button", "button quiet"):
            return ""
        end = next(place for place, part in enumerate(rest) if part.type == "link_close")
        url = escape(str(rest[0].attrGet("href") or ""))
        alone = f' data-{_NO_TRACK}=""' if rest[0].attrGet(f"data-{_NO_TRACK}") is not None else ""
        cells.append(_CELL.format(title, url, _render(rest[1:end]), alone))
        rest = rest[end + 1 :]
    return _BUTTONS.format(_GAP.join(cells)) if cells else ""
