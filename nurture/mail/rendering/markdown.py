"""Convert an email's Markdown to HTML: check links, build buttons, keep Jinja statements on their own lines."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from nurture.domain.problems import Problem
from nurture.mail.rendering.email_file import Piece
from nurture.mail.rendering.link_rules import LINK_ADVICE, is_safe_url
from nurture.mail.rendering.pictures import find_image_problems, set_image_widths
from nurture.mail.rendering.placeholders import Placeholders
from nurture.mail.rendering.table_checks import find_table_problems
from nurture.mail.rendering.tag_nesting import find_crossing_tags

_MARKDOWN: Final = MarkdownIt("commonmark").enable("table")
# The library's check drops an unsafe link silently; ours reports it.
_MARKDOWN.validateLink = lambda url: bool(url) or True  # type: ignore[method-assign]
_NO_HTML: Final = "Write Markdown, or put the HTML into the layout"
_BUTTON_CELL: Final = '<td class="{0}"><a class="{0}" href="{1}"{3}>{2}</a></td>'
_NO_TRACK: Final = "no-track"
_BUTTON_GAP: Final = '<td class="gap" width="12"></td>'
_BUTTON_TABLE: Final = '<table class="buttons" role="presentation" border="0" cellpadding="0" cellspacing="0">'
_BUTTONS: Final = f"{_BUTTON_TABLE}<tr>{{}}</tr></table>\n"
_COLUMNS_TABLE: Final = '<table class="columns" role="presentation" border="0" cellpadding="0" cellspacing="0">'


@dataclass(frozen=True, slots=True)
class RenderedBody:
    """The HTML of an email's body, with placeholders, and its problems."""

    html: str
    problems: list[Problem]


def render_body(body: Piece, placeholders: Placeholders, *, in_columns: bool = False) -> RenderedBody:
    """Convert *body* to HTML, with *placeholders* for its Jinja tags; *in_columns* puts its parts side by side."""
    lines = _isolate_statements(placeholders.hide(body.text, body.line), placeholders)
    tokens = _MARKDOWN.parse("\n".join(line for _, line in lines))
    _mark_no_track_links(tokens)
    problems: list[Problem] = []
    for token in tokens:
        first, end = token.map or (0, 1)
        for written, message, suggestion in _find_token_problems(token, placeholders):
            places = (number for number, line in lines[first:end] if written in line)
            problems.append(Problem(body.file, next(places, lines[first][0]), message, suggestion))
    problems += [Problem(body.file, *found) for found in find_table_problems(tokens, lines)]
    if in_columns and not any(_begins_column(token) for token in tokens):
        message, suggestion = "nothing stands side by side: the text has no headings", "Write `## ` before each"
        problems.append(Problem(body.file, body.line, message, suggestion, is_warning=True))
    set_image_widths(tokens)
    rendered = _render_columns(tokens, placeholders) if in_columns else _render_blocks(tokens, placeholders)
    html = _merge_repeated_lists(rendered, placeholders)
    return RenderedBody(html, problems + find_crossing_tags(body.file, html, placeholders))


def _isolate_statements(lines: list[tuple[int, str]], placeholders: Placeholders) -> list[tuple[int, str]]:
    """Add blank lines around lines that contain only statements, to keep them between paragraphs."""
    spaced: list[tuple[int, str]] = []
    for number, line in lines:
        is_statement = _is_only_statements(line, placeholders)
        spaced.extend([(number, ""), (number, line), (number, "")] if is_statement else [(number, line)])
    return spaced


def _is_only_statements(text: str, placeholders: Placeholders) -> bool:
    return bool(text.strip()) and not placeholders.statement_pattern.sub("", text).strip()


def _find_token_problems(token: Token, placeholders: Placeholders) -> Iterator[tuple[str, str, str]]:
    """Yield source text, message and remedy of each problem."""
    for part in [token, *(token.children or [])]:
        written = part.content.strip().split("\n")[0]
        if part.type.startswith("html_") and not written.startswith(("<!--", "</")):
            yield written, f"HTML in an email's text: {placeholders.restore_escaped(written)[:60]}", _NO_HTML
        if part.type == "image":
            yield from find_image_problems(part, placeholders)
        url = str(part.attrGet("href") or part.attrGet("src") or "")
        if part.type in ("link_open", "image") and not placeholders.pattern.match(url) and not is_safe_url(url):
            yield (url, f"the link `{placeholders.restore_escaped(url)[:80]}` is not allowed in an email", LINK_ADVICE)


def _mark_no_track_links(tokens: Sequence[Token]) -> None:
    """Mark links titled "no-track", alone or with "button", as not tracked."""
    for link in (part for token in tokens for part in token.children or [] if part.type == "link_open"):
        title = str(link.attrGet("title") or "").split()
        if _NO_TRACK in title:
            link.attrs.pop("title")
            title_words = " ".join(word for word in title if word != _NO_TRACK)
            if title_words:
                link.attrSet("title", title_words)
            link.attrSet(f"data-{_NO_TRACK}", "")


def _render_blocks(tokens: Sequence[Token], placeholders: Placeholders) -> str:
    """Render block by block, because buttons and statements replace a paragraph."""
    rendered: list[str] = []
    remaining = list(tokens)
    while remaining:
        special = _render_special(remaining[1], placeholders) if remaining[0].type == "paragraph_open" else ""
        if special:
            rendered.append(special)
            del remaining[:3]  # the paragraph's opening, text and closing
        else:
            rendered.append(_render(remaining[:1]))
            del remaining[0]
    return "".join(rendered)


def _begins_column(token: Token) -> bool:
    return token.type == "heading_open" and token.tag == "h2" and token.level == 0


def _render_columns(tokens: Sequence[Token], placeholders: Placeholders) -> str:
    """Put the part below each heading of level 2 into a cell, two in a row; a line `---` ends the columns."""
    rendered: list[str] = []
    cells: list[str] = []
    part: list[Token] = []
    in_cell = False

    def end_part(*, ends_row: bool) -> None:
        html = _render_blocks(part, placeholders)
        (cells if in_cell else rendered).append(html)
        part.clear()
        if ends_row and cells:
            rows = [cells[index : index + 2] for index in range(0, len(cells), 2)]
            rendered.append(f"{_COLUMNS_TABLE}{''.join(map(_render_row, rows))}</table>\n")
            cells.clear()

    for token in tokens:
        ends = token.type == "hr" and token.level == 0 and in_cell
        if ends or _begins_column(token):
            end_part(ends_row=ends)
            in_cell = not ends
        if not ends:
            part.append(token)
    end_part(ends_row=True)
    return "".join(rendered)


def _render_row(cells: Sequence[str]) -> str:
    if len(cells) == 1:
        return f'<tr><td class="column wide" colspan="2">{cells[0]}</td></tr>'
    return f'<tr><td class="column">{cells[0]}</td><td class="column right">{cells[1]}</td></tr>'


def _render(tokens: Sequence[Token]) -> str:
    """Render *tokens* without comments, the only HTML that is left at this point."""
    tokens = [token for token in tokens if token.type != "html_block"]
    for token in tokens:
        token.children = [part for part in token.children or [] if part.type != "html_inline"]
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _render_special(inline: Token, placeholders: Placeholders) -> str:
    return _render_buttons(inline) or (
        inline.content.strip() if _is_only_statements(inline.content, placeholders) else ""
    )


def _merge_repeated_lists(html: str, placeholders: Placeholders) -> str:
    """Turn a list inside a loop into one list with repeated items."""
    word = placeholders.statement_pattern.pattern
    repeated = re.compile(rf"({word})(<[uo]l>\n)((?:(?!{word}).)*)(</[uo]l>\n)({word})", re.DOTALL)

    def merge(found: re.Match[str]) -> str:
        loop, opening, items, closing, end = found.groups()
        is_loop = placeholders.tags[loop].text.strip("{%- ").startswith("for ")
        return f"{opening}{loop}{items}{end}{closing}" if is_loop else found[0]

    return repeated.sub(merge, html)


def _render_buttons(inline: Token) -> str:
    """Return buttons for a paragraph that has only links titled "button" or "button quiet", else ""."""
    parts = inline.children or []
    remaining = [part for part in parts if part.type != "softbreak" and (part.content.strip() or part.nesting)]
    cells: list[str] = []
    while remaining:
        title = str(remaining[0].attrGet("title") or "").lower() if remaining[0].type == "link_open" else ""
        if title not in ("button", "button quiet"):
            return ""
        end = next(index for index, part in enumerate(remaining) if part.type == "link_close")
        url = escape(str(remaining[0].attrGet("href") or ""))
        no_track = f' data-{_NO_TRACK}=""' if remaining[0].attrGet(f"data-{_NO_TRACK}") is not None else ""
        cells.append(_BUTTON_CELL.format(title, url, _render(remaining[1:end]), no_track))
        remaining = remaining[end + 1 :]
    return _BUTTONS.format(_BUTTON_GAP.join(cells)) if cells else ""
