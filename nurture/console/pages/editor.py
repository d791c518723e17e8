"""The editor: one file of the folder of definitions, with its faults as you type and the email as a lead gets it."""

import json
from asyncio import Lock
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.codemirror import CodeMirror
from nicegui.events import ValueChangeEventArguments

from nurture.console import actions, components
from nurture.console.action_list import ACTIONS
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.changes import draw_problems
from nurture.console.view import View
from nurture.errors import NotFound, NurtureError
from nurture.publishing import editing
from nurture.publishing.editing import DraftCheck, FileChanged, OpenedFile
from nurture.reporting.wording import pluralize

_LANGUAGES: Final[Mapping[str, Literal["Markdown", "YAML", "HTML"]]] = {
    "md": "Markdown",
    "yaml": "YAML",
    "yml": "YAML",
    "mjml": "HTML",
}
_DEBOUNCE_SECONDS: Final = 0.8
_SAVE: Final = "save_file"


@dataclass(frozen=True, slots=True)
class EditorPage:
    """The file, its check, and the words that the editor completes."""

    file: OpenedFile
    check: DraftCheck
    words: list[str]


def _load(request: PageRequest) -> EditorPage:
    root, path = request.ctx.templates, request.values["path"]
    try:
        file = editing.open_file(root, path)
        sources = editing.read_sources(root)
    except NotFound:
        raise
    except NurtureError as error:
        raise NotFound(str(error)) from error
    return EditorPage(file, editing.check_draft(root, path, file.text), editing.list_words(sources, path))


@dataclass(slots=True)
class _Draft:
    """What a viewer edits: the *text*, the *digest* of what was opened, and where check and preview are drawn."""

    view: View
    path: str
    text: str
    digest: str
    lock: Lock
    editor: CodeMirror | None = None
    problems: Element | None = None
    preview: Element | None = None
    status: Element | None = None

    async def check(self) -> None:
        """Check the text and draw the result; of several changes at once, only the newest is drawn."""
        text = self.text
        async with self.lock:
            if text != self.text:
                return
            try:
                found = await self.view.ask(lambda request: editing.check_draft(request.ctx.templates, self.path, text))
            except NurtureError as error:
                self._say(str(error), "problem")
                return
            self.draw(found)

    def draw(self, found: DraftCheck) -> None:
        """Draw problems and preview."""
        assert self.problems is not None
        assert self.preview is not None
        if self.editor is not None:
            lines = {one.line: f"{one.message}. {one.suggestion}" for one in reversed(found.problems)}
            # Not by properties: with them goes the text that the server knows, over what is being typed.
            self.editor.client.run_javascript(f"markInEditor({self.editor.id}, {json.dumps(lines)})")
        self.problems.clear()
        with self.problems:
            if not found.problems:
                components.paragraph("No fault in this file.")
            draw_problems(found.problems)
            if found.elsewhere:
                others = pluralize(found.elsewhere, "problem")
                components.paragraph(f"{others} in other files: the page Changes lists them.", "soft")
        self.preview.clear()
        with self.preview:
            if found.email is None:
                components.empty(found.no_preview)
                return
            with components.block("inbox-line"):
                components.write("strong", found.email.subject)
            with components.block("mail desktop"):
                frame = ui.element("iframe").props("referrerpolicy=no-referrer")
                frame.props["sandbox"] = ""
                frame.props["title"] = f"Email: {found.email.subject}"
                frame.props["srcdoc"] = found.email.html

    async def save(self) -> None:
        """Save the text over what was opened, or show both texts if the file changed on disk."""
        text = self.text
        try:
            done = await self.view.perform(ACTIONS[_SAVE], self.path, {"text": text, "seen": self.digest})
        except FileChanged as error:
            self._say(str(error), "problem")
            assert self.status is not None
            with self.status, components.card("On disk now"):
                components.write("pre", error.text, "mail-text").props("tabindex=0")
        except NurtureError as error:
            self._say(str(error), "problem")
        else:
            self.digest = editing.digest_of(text)
            self._say(done, "success")

    def _say(self, text: str, kind: str) -> None:
        assert self.status is not None
        self.status.clear()
        with self.status:
            components.notice(text, kind)


def _render(view: View, page: EditorPage) -> None:
    file = page.file
    with components.block("", "p"):
        components.link("All files", "/edit")
        components.write("span", " · ")
        components.link("What the folder changes", "/changes")
    may_save = actions.may_see_action(ACTIONS[_SAVE], view.user) and file.is_writable
    if not file.is_writable:
        components.notice("The folder of templates cannot be written here, so this page only shows it.", "warning")
    draft = _Draft(view, file.path, file.text, file.digest, Lock())
    with components.block("editor-columns"):
        with components.block("editor"):
            _draw_editor(draft, page, may_save=may_save)
            draft.status = ui.element("div").props("role=status")
        with components.block("editor-side"):
            with components.card("Check"):
                draft.problems = ui.element("div")
            with components.card("Preview"):
                draft.preview = ui.element("div")
    draft.draw(page.check)


def _draw_editor(draft: _Draft, page: EditorPage, *, may_save: bool) -> None:
    editor = ui.codemirror(draft.text, indent="  ", line_wrapping=True, theme="githubLight")
    editor.set_language(_LANGUAGES[draft.path.rpartition(".")[2]])
    editor.classes("code")
    draft.editor = editor
    label, words = json.dumps(draft.path), json.dumps(page.words)
    ui.run_javascript(f"completeInEditor({editor.id}, {label}, {words})")
    if not may_save:
        editor.disable()
        return
    timer = ui.timer(_DEBOUNCE_SECONDS, draft.check, active=False, once=False)

    def note(event: ValueChangeEventArguments[str]) -> None:
        draft.text = str(event.value or "")
        timer.deactivate()
        timer.activate()

    async def check_once() -> None:
        timer.deactivate()
        await draft.check()

    timer.callback = check_once
    editor.on_value_change(note)
    with components.block("buttons"):
        components.write("button", "Save").props("type=button").on("click", draft.save)


def _name(page: EditorPage) -> str:
    return page.file.path


PAGE: Final = Page("/edit/{path:path}", "Editor", ALL_BUT_REPS, _load, _render, name=_name)
