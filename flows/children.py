"""Entry points of the child processes of `nurture up`: `python -m flows.children NAME`, a name of CHILDREN.

Standard input is a pipe from the parent. It closes when the parent ends, even by a kill; then the child stops.
"""

import os
import signal
import sys
import threading
import time
from typing import Final

SHUTDOWN_SECONDS: Final = 5.0
"""Seconds that a child may take to stop after its parent has ended."""


def prefect_server() -> None:
    """Run Prefect's server."""
    from flows.server import serve  # noqa: PLC0415 - the other children do not need it

    serve()


def prefect_tables() -> None:
    """Create the tables of Prefect's server, then end."""
    import asyncio  # noqa: PLC0415 - the other children do not need them

    from prefect.server.database import provide_database_interface  # noqa: PLC0415

    asyncio.run(provide_database_interface().create_db())


def stage_loop() -> None:
    """Run the stages when something is due, and show in Prefect what they do."""
    from flows.loop import run_loop  # noqa: PLC0415 - the other children do not need it

    run_loop()


def web_server() -> None:
    """Serve the web application. The loop does what it makes due."""
    from nurture.app import open_app  # noqa: PLC0415
    from nurture.mail.providers.registry import open_webhooks  # noqa: PLC0415
    from nurture.web.app import create_app  # noqa: PLC0415
    from nurture.web.background import alert_in_background  # noqa: PLC0415
    from nurture.web.server import serve as serve_web  # noqa: PLC0415
    from nurture.web.site import Watching  # noqa: PLC0415

    with open_app(live=True) as app, alert_in_background(app.ctx, app.clock, app.settings):
        serve_web(
            create_app(app.ctx, app.clock, webhooks=open_webhooks(app.settings), watching=Watching.of(app.settings)),
            app.settings.web_host,
            app.settings.web_port,
            trusted=app.settings.proxies,
        )


def console_server() -> None:
    """Serve the console. `nurture up` has invited the first admin."""
    from nurture.app import open_app  # noqa: PLC0415
    from nurture.console.serving import serve_console  # noqa: PLC0415

    with open_app(pages=True) as app:
        serve_console(app, on_listening=lambda _url, _port: None)


CHILDREN: Final = {
    "prefect": prefect_server,
    "prefect-tables": prefect_tables,
    "loop": stage_loop,
    "web": web_server,
    "console": console_server,
}


def _exit_with_parent() -> None:
    """Wait until the parent ends; then stop this child and its process group."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SHUTDOWN_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_exit_with_parent, name="lifeline", daemon=True).start()
    CHILDREN[sys.argv[1]]()
