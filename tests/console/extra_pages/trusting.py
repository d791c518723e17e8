"""A page that forgets every check: it offers each action to everybody, on the object that the browser names."""

from __future__ import annotations

from typing import Any, Final

from nicegui import ui
from nicegui.events import GenericEventArguments

from nurture.console import components
from nurture.console.action_list import ACTIONS
from nurture.console.page import EVERYBODY, Page, PageRequest
from nurture.console.view import View
from nurture.errors import NurtureError


def _load(request: PageRequest) -> None:
    return None


def _render(view: View, _: None) -> None:
    said = components.paragraph("")

    async def act(event: GenericEventArguments) -> None:
        asked: dict[str, Any] = event.args
        try:
            outcome = await view.perform(ACTIONS[asked["action"]], asked["object"], asked["values"])
        except NurtureError as error:
            outcome = type(error).__name__
        said.text = f"{asked['number']} {outcome}"  # type: ignore[attr-defined]

    ui.element("button").props("id=act").on("act", act)


PAGE: Final = Page("/trusting", "Trusting", EVERYBODY, _load, _render)
