"""The frame of every page: head, search box, navigation, theme, and the place for the page's content."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from nicegui import ui
from nicegui.element import Element

from nurture.console import components
from nurture.console.access.sessions import User
from nurture.console.page import Page
from nurture.web.templates import TOKENS

Pages = Sequence[Page[Any]]

THEMES: Final = {"": "As the system", "light": "Light", "dark": "Dark"}
_SEARCH_PATH: Final = "/leads"
_DARK: Final = ":root { --of-code: invert(.92) hue-rotate(180deg) }"
"""Makes the editor dark, which has colors of its own."""

_FOLDER: Final = Path(__file__).parent


@cache
def _style(theme: str) -> str:
    """Return the style of a theme; "" follows the system, as the public pages do."""
    tokens = TOKENS.read_text("utf-8")
    light, _, dark = tokens.partition("@media (prefers-color-scheme: dark)")
    if theme == "dark":
        own = dark.strip().removeprefix("{").rstrip().removesuffix("}")
        tokens = f"{light}{own}{_DARK}:root {{ color-scheme: dark }}\n"
    elif theme == "light":
        tokens = f"{light}:root {{ color-scheme: light }}\n"
    else:
        tokens += f"@media (prefers-color-scheme: dark) {{ {_DARK} }}\n"
    tokens += f"@media print {{ {light} :root {{ color-scheme: light; --of-code: none }} }}\n"  # paper is white
    return tokens + (_FOLDER / "console.css").read_text("utf-8")


@cache
def _script() -> str:
    return (_FOLDER / "console.js").read_text("utf-8")


class Places(NamedTuple):
    """Where a page draws: its content, and what an action has just done, which screen readers announce."""

    content: Element
    status: Element
    clock: Element | None
    """Where a page on a virtual clock shows its time."""


def draw(title: str, user: User, pages: Pages, path: str, theme: str, *, is_practice: bool) -> Places:
    """Draw the frame and return its places. *is_practice*: time is virtual."""
    theme = theme if theme in THEMES else ""
    ui.page_title(f"{title} - nurture")
    ui.add_head_html(f"<style>{_style(theme)}</style><script>{_script()}</script>")
    ui.dark_mode({"light": False, "dark": True}.get(theme))
    components.link("Skip to the content", "#content", "skip")
    clock = ui.element("section").classes("practice").props("aria-label=Clock") if is_practice else None
    with components.block("top", "header"):
        components.link("nurture", "/", "brand")
        if any(page.path == _SEARCH_PATH and user.role in page.roles for page in pages):
            _draw_search()
        _draw_account(user, path, theme)
    with components.block("navigation", "nav") as navigation:
        navigation.props["aria-label"] = "Pages"
        here = path.partition("?")[0]
        for page in pages:
            if page.navigation and user.role in page.roles:
                drawn = components.link(page.navigation, page.path)
                if _is_part_of(here, page.path):
                    drawn.props["aria-current"] = "page"
    page_slot = ui.context.client.content.parent_slot
    if page_slot is not None:
        page_slot.parent.props("role=presentation")  # Quasar's page would be a second <main>
    with ui.element("main").props("id=content tabindex=-1"):
        components.heading(title, 1)
        status = ui.element("div").classes("status").props("role=status")
        places = Places(ui.element("div").classes("content"), status, clock)
        components.paragraph("Times are those of UTC.", "zone soft")
        return places


def _is_part_of(here: str, page: str) -> bool:
    """Return whether the address *here* belongs to a page of the navigation; the editor is a part of Changes."""
    inside = (page, "/edit") if page == "/changes" else (page,)
    return any(here == one or (one != "/" and here.startswith(f"{one}/")) for one in inside)


def draw_clock(now: datetime) -> None:
    """Draw the time of a virtual clock."""
    with components.block("practice-time", "p"):
        components.write("strong", "Practice")
        components.time(now)
        components.write("span", "· No mail leaves it.")


def _draw_search() -> None:
    with ui.element("form").classes("search").props(f"action={_SEARCH_PATH} method=get role=search"):
        field = ui.element("input").props("type=search name=find autocomplete=off maxlength=200")
        field.props["aria-label"] = "Search people and companies"
        field.props["placeholder"] = "Name, company or address"


def _draw_account(user: User, path: str, theme: str) -> None:
    with components.block("account", "details"):
        components.write("summary", user.login)
        with components.block("menu"):
            components.paragraph(f"Role: {user.role.replace('_', ' ')}")
            components.paragraph("Colors", "soft")
            for value, label in THEMES.items():
                href = f"/theme/{value or 'auto'}?next={quote(path, safe='')}"
                drawn = components.link(label, href)
                if value == theme:
                    drawn.props["aria-current"] = "true"
            with ui.element("form").props("action=/sign-out method=post"):
                components.write("button", "Sign out", "quiet").props("type=submit")
