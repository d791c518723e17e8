"""Serve the console until a signal: for `nurture console` and `nurture up`."""

from collections.abc import Callable

from nurture.app import App
from nurture.clock import RealClock
from nurture.console import users
from nurture.console.app import create_console
from nurture.console.users import Invitation
from nurture.web.server import serve


def serve_console(
    app: App,
    host: str | None = None,
    port: int | None = None,
    *,
    on_listening: Callable[[str, int, Invitation | None], None],
) -> None:
    """Serve the console of *app* until SIGINT or SIGTERM.

    *on_listening* gets its address, its port, and the invitation of the first admin while nobody has a password.
    """
    settings = app.settings
    where = host or settings.console_host
    wanted = settings.console_port if port is None else port

    def announce(bound_port: int) -> None:
        direct = f"http://{f'[{where}]' if ':' in where else where}:{bound_port}"
        invitation = users.invite_first_admin(app.database, RealClock().now())
        on_listening(settings.console_url or direct, bound_port, invitation)

    console = create_console(app.ctx, app.clock, url=settings.console_url or "")
    serve(console, where, wanted, trusted=settings.proxies, on_listening=announce, web_sockets=True)
