"""The parts that pages are made of: headings, figures, cards, tables, and buttons that carry out an action.

Everything is a plain HTML element in the style of console.css. Text is always escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Final, NamedTuple

from markupsafe import Markup, escape
from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement


class Link(NamedTuple):
    """A text that leads to the page at *href*."""

    text: str
    href: str


class Time(NamedTuple):
    """A time in UTC, which browsers show in the zone of the viewer."""

    at: datetime


Cell = str | int | float | Link | Time | None


_LONG_WORD: Final = 40
_OWN_ADDRESSES: Final = ("/", "https://", "mailto:", "#")


def _check_address(href: str) -> str:
    """Return *href* if following it runs no script. Raises ValueError."""
    if not href.startswith(_OWN_ADDRESSES) or href.startswith("//"):
        raise ValueError("a link of the console leads to one of its pages, to https or to an address")
    return href


def write(tag: str, content: str, classes: str = "") -> TextElement:
    """Draw an element that holds only text."""
    return TextElement(tag=tag, text=content).classes(classes)


def heading(content: str, level: int = 2) -> Element:
    """Draw a heading. The frame draws the one of level 1."""
    return write(f"h{level}", content)


def paragraph(content: str, classes: str = "") -> Element:
    """Draw a paragraph."""
    return write("p", content, classes)


def block(classes: str, tag: str = "div") -> AbstractContextManager[Element]:
    """Return an element of a style, for others to be drawn in with `with`."""
    return ui.element(tag).classes(classes)


def card(title: str = "", classes: str = "") -> AbstractContextManager[Element]:
    """Return a card for others to be drawn in, with a heading of level 2 if *title* is given."""
    drawn = ui.element("section").classes(f"card {classes}".strip())
    if title:
        with drawn:
            heading(title)
    return drawn


def link(content: str, href: str, classes: str = "") -> Element:
    """Draw a link to a page of ours."""
    drawn = write("a", content, classes)
    drawn.props["href"] = _check_address(href)
    return drawn


def figure(label: str, value: str, before: str = "", href: str = "") -> None:
    """Draw a number with its label and the number *before*; with *href* it leads to the people behind it."""
    with ui.element("a" if href else "div").classes("figure") as drawn:
        write("span", value, "figure-value")
        write("span", label, "figure-label")
        if before:
            write("span", before, "figure-before")
    if href:
        drawn.props["href"] = _check_address(href)


def time(at: datetime, classes: str = "") -> Element:
    """Draw a time in UTC, which browsers show in the zone of the viewer."""
    drawn = write("time", _utc_text(at), classes)
    drawn.props["datetime"] = at.isoformat()
    return drawn


def _utc_text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def select(name: str, label: str, value: str, options: Mapping[str, str]) -> None:
    """Draw a choice of a filter, the texts of *options* by value; "" stands for any, and a *value* not listed stays."""
    unlisted = {value: value} if value and value not in options else {}
    with block("field"):
        write("label", label).props["for"] = f"filter-{name}"
        with ui.element("select").props(f"id=filter-{name} name={name}"):
            for key, text in {"": "any", **options, **unlisted}.items():
                option(key, text, is_chosen=key == value)


def option(value: str, label: str, *, is_chosen: bool) -> None:
    """Draw one option of a choice."""
    drawn = write("option", label)
    drawn.props["value"] = value
    if is_chosen:
        drawn.props("selected")


def notice(content: str, kind: str = "note") -> Element:
    """Draw a message in a box: *kind* is ``note``, ``warning``, ``problem`` or ``success``."""
    drawn = paragraph(content, f"notice {kind}")
    if kind == "problem":
        drawn.props["role"] = "alert"
    return drawn


def empty(content: str) -> None:
    """Draw what a list shows that has no entries: why, and what to do next."""
    paragraph(content, "empty")


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, caption: str, right: Sequence[str] = ()) -> None:
    """Draw a table; *caption* names it for screen readers, *right* are the columns of numbers.

    It is one element of HTML, so that a long list costs the server little.
    """
    classes = {position: ' class="number"' for position, name in enumerate(columns) if name in right}
    head = "".join(f'<th scope="col"{classes.get(at, "")}>{escape(name)}</th>' for at, name in enumerate(columns))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{classes.get(at) or _class_of(cell)} data-label="{escape(columns[at])}">{_cell(cell)}</td>'
            for at, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    content = (
        f'<table><caption class="unseen">{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
    wide = ui.html(content, sanitize=False).classes("wide")  # every value in it is escaped above
    wide.props("tabindex=0 role=region")
    wide.props["aria-label"] = caption


def _class_of(value: Cell) -> str:
    """Return the class of a cell with a word that would push the other columns out of sight."""
    content = value.text if isinstance(value, Link) else value
    is_long = isinstance(content, str) and any(len(word) > _LONG_WORD for word in content.split())
    return ' class="long"' if is_long else ""


def _cell(value: Cell) -> str:
    match value:
        case None:
            return ""
        case Link():
            return Markup('<a href="{}">{}</a>').format(_check_address(value.href), value.text)
        case Time():
            return Markup('<time datetime="{}">{}</time>').format(value.at.isoformat(), _utc_text(value.at))
        case int():
            return f"{value:,}"
        case _:
            return escape(value)
