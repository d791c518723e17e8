"""Serve the console until a signal: for `nurture console` and `nurture up`."""

from collections.abc import Callable

from nurture.app import App
from nurture.console.access.oidc import OidcProvider
from nurture.console.actions import MoveClock
from nurture.console.app import create_console
from nurture.console.settings import without_secrets
from nurture.web.server import serve


def serve_console(
    app: App,
    host: str | None = None,
    port: int | None = None,
    *,
    move_clock: MoveClock | None = None,
    on_listening: Callable[[str, int], None],
) -> None:
    """Serve the console of *app* until SIGINT or SIGTERM.

    *on_listening* gets its address and its port. *move_clock* moves the clock of a practice world.
    """
    settings = app.settings
    where = host or settings.console_host
    wanted = settings.console_port if port is None else port

    def announce(bound_port: int) -> None:
        direct = f"http://{f'[{where}]' if ':' in where else where}:{bound_port}"
        on_listening(settings.console_url or direct, bound_port)

    console = create_console(
        app.ctx,
        app.clock,
        url=settings.console_url or "",
        move_clock=move_clock,
        oidc=OidcProvider.of(settings),
        settings=without_secrets(settings),
    )
    serve(console, where, wanted, trusted=settings.proxies, on_listening=announce, web_sockets=True)
