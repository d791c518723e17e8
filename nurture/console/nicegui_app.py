"""The pages as a NiceGUI application, and the checks of its socket events. The only file that configures NiceGUI."""

import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Final, NoReturn
from urllib.parse import parse_qs

from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import core, ui
from nicegui.client import Client
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from nurture.console import frame
from nurture.console.access.guard import USER
from nurture.console.page import EVERYBODY, Page, PageRequest
from nurture.console.page_list import load_pages
from nurture.console.site import Site
from nurture.console.view import View
from nurture.errors import NotFound, format_error_chain

_log: Final = logging.getLogger(__name__)
_EVENTS: Final = ("handshake", "event", "javascript_response", "ack", "log")
"""The socket events of NiceGUI; each names the client, that is the opened page, that it is about."""


def _find_nothing(_request: PageRequest) -> NoReturn:
    raise NotFound("There is no page at this address.")


_NO_PAGE: Final = Page("/{path:path}", "Not found", EVERYBODY, _find_nothing, lambda _view, _data: None)
"""What every other address shows; it is added last."""


def build_pages(site: Site) -> FastAPI:
    """Return the application with all pages. Call it once in a process: NiceGUI has global state."""
    pages = load_pages()
    for page in (*pages, _NO_PAGE):
        _add_page(site, page, pages)
    _check_socket_events()
    nicegui_app.on_exception(_log_error)
    logging.getLogger("nicegui").setLevel(logging.CRITICAL)  # it logs messages, which may quote personal data
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    ui.run_with(
        app,
        title="nurture",
        language="en-US",
        dark=None,
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=10.0,
        message_history_length=100,
        gzip_middleware_factory=None,
        show_welcome_message=False,
    )
    return app


def _add_page(site: Site, page: Page[Any], pages: frame.Pages) -> None:
    @ui.page(page.path, title=page.title, response_timeout=30)
    async def show(request: Request) -> Response | None:
        shown = await View(site, page, request).show(pages)
        if isinstance(shown, Response):
            return shown
        ui.context.client.status_code = shown
        return None


def _check_socket_events() -> None:
    """Refuse socket events about a page that another session opened."""
    handlers = core.sio.handlers["/"]
    for name in _EVENTS:
        handlers[name] = _for_own_client(handlers[name])
    connect = handlers["connect"]

    async def connect_to_own_client(sid: str, environ: dict[str, Any], _auth: Any = None) -> Any:
        scope = environ["asgi.scope"]
        named = parse_qs(scope["query_string"].decode("latin-1")).get("client_id", [""])[0]
        return await connect(sid, environ) if _is_own_client(scope, named) else False

    handlers["connect"] = connect_to_own_client


def _for_own_client(handle: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def checked(sid: str, message: Any) -> Any:
        scope = core.sio.get_environ(sid)["asgi.scope"]
        if not isinstance(message, dict) or not _is_own_client(scope, str(message.get("client_id"))):
            return False
        result = handle(sid, message)
        return await result if isawaitable(result) else result

    return checked


def _is_own_client(scope: Scope, client_id: str) -> bool:
    """Return whether the page *client_id* was opened by the session of the socket with this *scope*."""
    client, user = Client.instances.get(client_id), scope.get(USER)
    opened_by = client.request.scope.get(USER) if client is not None else None
    return user is not None and opened_by is not None and user.session == opened_by.session


def _log_error(error: Exception) -> None:
    _log.error("page_failed %s", format_error_chain(error))
