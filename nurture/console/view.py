"""Draw one page for one viewer: the frame, the page's data, its buttons, and what is shown when something fails."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar
from urllib.parse import quote

from nicegui import ui
from nicegui.element import Element
from nicegui.events import GenericEventArguments
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from nurture.console import actions, components, frame
from nurture.console.access import sessions, teams
from nurture.console.access.guard import USER
from nurture.console.access.sessions import User
from nurture.console.action_list import ACTIONS
from nurture.console.actions import Action, Field, FieldKind, Refused, SignedOut
from nurture.console.clock_actions import SPANS, WORLD
from nurture.console.page import Page, PageRequest
from nurture.console.site import THEME_COOKIE, Site
from nurture.errors import DatabaseUnavailable, NotFound, NurtureError, format_error_chain

T = TypeVar("T")

_SUBMIT: Final = """(event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  emit(Object.fromEntries([...form.keys()].map((name) => [name, form.getAll(name).join("\\n")])));
}"""
_CHOICES: Final = (FieldKind.CHOICE, FieldKind.MANY)
_log: Final = logging.getLogger(__name__)


class View:
    """One page as one viewer sees it. Pages draw with it in `render`, and call nothing else that reads or acts."""

    def __init__(self, site: Site, page: Page[Any], request: Request) -> None:
        self._site = site
        self._page = page
        self._path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self._url = site.url or str(request.base_url).rstrip("/")
        self._theme = request.cookies.get(THEME_COOKIE, "")
        self.user: User = request.scope[USER]
        self.values: Mapping[str, str] = {**request.query_params, **request.path_params}
        self._places: frame.Places | None = None

    async def show(self, pages: frame.Pages) -> int | Response:
        """Draw the page; return the status of the response, or a redirection to the first page of the viewer's role."""
        status, data = 200, None
        own = [page.path for page in pages if page.navigation and self.user.role in page.roles]
        if self._page.path == "/" and own and "/" not in own:
            return RedirectResponse(own[0], 303)
        if self.user.role not in self._page.roles:
            status = 403
        else:
            status, data = await self._load()
        is_practice = not self._site.clock.is_live
        name = self._page.name
        title = name(data) if name is not None and status == 200 else self._page.title
        self._places = frame.draw(title, self.user, pages, self._path, self._theme, is_practice=is_practice)
        await self._draw(self._places, status, data)
        return status

    async def _draw(self, places: frame.Places, status: int, data: Any) -> None:
        now = await self._site.in_thread(self._site.clock.now)  # first: a timer in the content ends with it
        for place in (places.content, places.status, *((places.clock,) if places.clock is not None else ())):
            place.clear()
        if places.clock is not None:
            with places.clock:
                frame.draw_clock(now)
                self._draw_clock_buttons(places)
        with places.content:
            self._render(status, data)

    async def reload(self, done: str = "") -> None:
        """Read the data again, and draw the page's content anew; *done* is what the viewer has just done."""
        status, data = await self._load()
        if self._places is None:
            return
        await self._draw(self._places, status, data)
        if done:
            with self._places.status:
                components.notice(done, "success")

    async def _load(self) -> tuple[int, Any]:
        try:
            return 200, await self._site.in_thread(self._read)
        except SignedOut:
            return 401, None
        except NotFound as error:
            return 404, error.reason
        except Refused:
            return 403, None
        except DatabaseUnavailable:
            return 503, None
        except Exception as error:  # noqa: BLE001 - no message may reach the viewer
            _log.error("page_failed %s: %s", self._page.path, format_error_chain(error))
            return 500, None

    def _read(self) -> Any:
        """Read the page's data. Runs in a thread."""
        return self._page.load(self._request())

    def _request(self) -> PageRequest:
        """Read the session again; return the request of the user. Raises SignedOut and Refused."""
        site = self._site
        with site.database.read() as tx:
            user = sessions.find_user(tx, self.user.session, site.real_now())
        if user is None:
            raise SignedOut
        if user.role not in self._page.roles:
            raise Refused
        with site.database.read() as tx:
            user = teams.with_team(site.ctx, tx, user)
        return PageRequest(site.ctx, user, self.values, site.clock.now(), site.settings)

    def _render(self, status: int, data: Any) -> None:
        match status:
            case 200:
                self._page.render(self, data)
            case 401:
                components.notice("Your session has ended.", "problem")
                components.link("Sign in again", f"/sign-in?next={quote(self._path)}", "button")
            case 403:
                components.notice("Your role does not show this page. An admin can change your role.", "warning")
            case 404:
                components.notice(data or "There is nothing at this address.", "warning")
            case 500:
                components.notice("This page failed. Nothing was changed, and the error was logged.", "problem")
            case _:
                components.notice("The database does not answer. Nothing was changed. Reload in a minute.", "problem")

    def read_again_in(self, seconds: float) -> None:
        """Read the data again after some time: for a page that shows what is going on."""
        ui.timer(seconds, self.reload, once=True)

    def action_button(
        self, name: str, target: str, label: str = "", choices: Mapping[str, tuple[str, ...]] = {}, about: str = ""
    ) -> None:
        """Draw the button of an action on the object *target*, if the viewer's role allows the action.

        *choices* are the options of fields that depend on the data; *about* tells buttons of one label apart for
        screen readers. The button opens a dialog with the action's
        fields; the server checks role and object when it is confirmed.
        """
        action = ACTIONS[name]
        if not actions.may_see_action(action, self.user):
            return
        button = components.write("button", label or action.label, "grave" if action.is_grave else "quiet")
        button.props("type=button")
        if about:
            button.props["aria-label"] = f"{label or action.label}: {about}"
        button.on("click", lambda: self._open_dialog(action, target, label or action.label, choices))

    def _draw_clock_buttons(self, places: frame.Places) -> None:
        """Draw the buttons that move the clock of a practice world, each at once and without a dialog."""
        action = ACTIONS["move_clock"]
        if self._site.move_clock is None or not actions.may_see_action(action, self.user):
            return

        async def move(span: str) -> None:
            for drawn in buttons:
                drawn.props("disabled")
            places.status.clear()
            with places.status:
                components.notice(f"The clock moves {span} forward: emails go out, leads react, reps answer.")
            try:
                await self.reload(await self.perform(action, WORLD, {"span": span}))
            except SignedOut:
                ui.navigate.to(f"/sign-in?next={quote(self._path)}")
            except NurtureError as error:
                await self.reload()
                with places.status:
                    components.notice(str(error), "problem")

        with components.block("buttons"):
            buttons = [components.write("button", f"+ {span}", "quiet").props("type=button") for span in SPANS]
        for drawn, span in zip(buttons, SPANS, strict=True):
            drawn.props["aria-label"] = f"Move the clock {span} forward"
            drawn.on("click", lambda span=span: move(span))

    def may_see(self, name: str) -> bool:
        """Return whether the viewer's role allows the action, for drawing what leads to it."""
        return actions.may_see_action(ACTIONS[name], self.user)

    def _open_dialog(self, action: Action, target: str, label: str, choices: Mapping[str, tuple[str, ...]]) -> None:
        with ui.dialog(value=True) as dialog, components.block("dialog"):
            dialog.props["aria-label"] = label
            dialog.on("hide", dialog.delete)
            components.heading(label)
            with ui.element("form") as form:
                for field in action.fields:
                    options = choices.get(field.name, field.choices)
                    if field.kind in _CHOICES and not options and not field.required:
                        continue
                    drawn = _draw_field(field, options)
                    drawn.props("autofocus" if field is action.fields[0] else "")
                said = components.block("problems")
                with components.block("buttons"):
                    first = "Show what happens" if action.preview is not None else label
                    confirm = components.write("button", first, "grave" if action.is_grave else "")
                    confirm.props("type=submit")
                    components.write("button", "Cancel", "quiet").props("type=button").on("click", dialog.close)
        previewed: list[Mapping[str, Any]] = []

        async def submit(event: GenericEventArguments) -> None:
            values = event.args if isinstance(event.args, dict) else {}
            is_preview = action.preview is not None and previewed != [values]
            confirm.props("disabled")
            try:
                done = await self.perform(action, target, values, is_preview=is_preview)
            except SignedOut:
                ui.navigate.to(f"/sign-in?next={quote(self._path)}")
            except NurtureError as error:
                _say(said, str(error), "problem")
            else:
                if not is_preview:
                    dialog.close()
                    await self.reload(done)
                    return
                previewed[:] = [values]
                _say(said, done, "note")
                confirm.set_text(label)
            confirm.props(remove="disabled")

        form.on("submit", submit, js_handler=_SUBMIT)

    async def ask(self, function: Callable[[PageRequest], T]) -> T:
        """Read the session again, and run *function*, which reads, in a thread. Raises SignedOut, Refused, others."""
        return await self._site.in_thread(lambda: function(self._request()))

    async def perform(self, action: Action, target: str, values: Mapping[str, Any], *, is_preview: bool = False) -> str:
        """Carry out an action in a thread; return what was done, or with *is_preview* what it would do.

        Raises NurtureError: SignedOut, Refused and others.
        """
        site = self._site
        texts = {str(name): value for name, value in values.items() if isinstance(value, str)}

        def run() -> str:
            asked = (site.ctx, action, self.user.session, target, texts, site.clock.now(), site.real_now())
            return actions.preview(*asked) if is_preview else actions.perform(*asked, self._url, site.move_clock)

        try:
            return await site.in_thread(run)
        except NurtureError:
            raise
        except Exception as error:  # noqa: BLE001 - no message may reach the viewer
            _log.error("action_failed %s: %s", action.name, format_error_chain(error))
            raise NurtureError("Something went wrong, and nothing was changed.", "It was logged. Try again.") from None


def _say(place: AbstractContextManager[Element], content: str, kind: str) -> None:
    """Show a message in a dialog, instead of the one before."""
    with place as shown:
        shown.clear()
        components.notice(content, kind)


def _draw_field(field: Field, choices: tuple[str, ...]) -> Element:
    identifier = f"field-{field.name}"
    if field.kind is FieldKind.HIDDEN:
        drawn = ui.element("input").props("type=hidden")
        drawn.props["name"], drawn.props["value"] = field.name, choices[0]
        return drawn
    if field.kind is FieldKind.CHECK:
        with components.block("check"):
            drawn = ui.element("input").props("type=checkbox value=yes")
            components.write("label", field.label).props["for"] = identifier
            drawn.props["id"], drawn.props["name"] = identifier, field.name
        return drawn
    if field.kind is FieldKind.MANY:
        return _draw_boxes(field, choices)
    components.write("label", field.label).props["for"] = identifier
    match field.kind:
        case FieldKind.CHOICE if len(choices) == 1:
            drawn = ui.element("input").props("readonly")
            drawn.props["value"] = choices[0]
        case FieldKind.CHOICE:
            with ui.element("select") as drawn:
                for choice in choices:
                    components.write("option", choice).props["value"] = choice
        case FieldKind.LONG_TEXT:
            drawn = ui.element("textarea").props(f"rows=3 maxlength={actions.MAX_VALUE_LENGTH}")
        case _:
            kind = "date" if field.kind is FieldKind.DATE else "text"
            drawn = ui.element("input").props(f"type={kind} maxlength={actions.MAX_VALUE_LENGTH}")
    drawn.props["id"], drawn.props["name"] = identifier, field.name
    if field.required:
        drawn.props("required")
    return drawn


def _draw_boxes(field: Field, choices: tuple[str, ...]) -> Element:
    with ui.element("fieldset") as drawn:
        components.write("legend", field.label)
        for number, choice in enumerate(choices):
            with components.block("check"):
                box = ui.element("input").props(f"type=checkbox id=field-{field.name}-{number}")
                box.props["name"], box.props["value"] = field.name, choice
                components.write("label", choice).props["for"] = f"field-{field.name}-{number}"
    return drawn
