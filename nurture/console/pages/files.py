"""The files of the folder of definitions, each of which opens in the editor."""

from typing import Final

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.view import View
from nurture.errors import FileUnreadable, NotFound
from nurture.publishing import editing


def _load(request: PageRequest) -> list[str]:
    try:
        return editing.list_files(request.ctx.templates)
    except FileUnreadable as error:
        raise NotFound(str(error)) from error


def _render(_view: View, files: list[str]) -> None:
    with components.block("", "p"):
        components.link("What the folder changes", "/changes")
    groups: dict[str, list[str]] = {}
    for path in files:
        groups.setdefault(path.rpartition("/")[0], []).append(path)
    with components.block("sheet"):
        for folder, paths in groups.items():
            with components.card(folder or "For all tracks"), components.block("words", "ul"):
                for path in paths:
                    with components.block("", "li"):
                        components.link(path.rpartition("/")[2], addresses.of_file(path))


PAGE: Final = Page("/edit", "Files", ALL_BUT_REPS, _load, _render)
