"""Everything on one machine, as one tree of processes: Prefect's server, the flows, the web pages."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console

from flows.environment import SERVER_SECRET, environment
from flows.lock import only_one
from flows.parent import Children, await_answer, free_port, is_free, require_locked
from nurture.app import open_app
from nurture.errors import Misconfigured
from nurture.files import write_private
from nurture.operations.check_machine import ROOT
from nurture.settings import Settings

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OUT: Final = Console(stderr=True, highlight=False)


def up(settings: Settings) -> None:
    """Run everything until SIGINT, SIGTERM or SIGHUP, then stop it within 10 seconds. Main thread only.

    Raises AlreadyRunning, Refused for a database in virtual time, Misconfigured if a part does not start.
    """
    home = settings.home
    with only_one(home) as note, _asked_to_stop() as stop:
        with open_app(settings, live=True, upgrade=True):
            pass
        port = free_port(settings.prefect_port)
        _require_free(settings.web_host, settings.web_port)
        urls = {
            "Pages": f"http://{settings.web_host}:{settings.web_port}",
            "Prefect": f"http://127.0.0.1:{port}",
        }
        note(urls)
        variables = environment(settings, home, port)
        children = Children(home, variables)
        sign_in = home / "sign-in"
        write_private(sign_in, variables[SERVER_SECRET] + "\n")
        try:
            if _start(children, urls, stop):
                _tell(settings, urls, sign_in)
            while not stop.wait(0.5):
                children.require_alive()
        finally:
            sign_in.unlink(missing_ok=True)
            _OUT.print("Stopping ...")
            children.stop()
    _OUT.print("Stopped.")


def _start(children: Children, urls: Mapping[str, str], stop: threading.Event) -> bool:
    children.start("prefect")
    children.start("web")
    with _OUT.status("Prefect starts") as status:

        def told(waited: float) -> None:
            status.update(f"Prefect starts: {waited:.0f} s; the first time takes half a minute")

        if not await_answer(f"{urls['Prefect']}/api/health", children, stop.wait, told):
            return False
    require_locked(f"{urls['Prefect']}/api")
    children.start("flows")
    return True


def _tell(settings: Settings, urls: Mapping[str, str], sign_in: Path) -> None:
    for name, url in urls.items():
        _OUT.print(f"{name + ':':<9}{url}")
    _OUT.print(f"Sign in: to Prefect's pages with what `cat {sign_in}` prints", soft_wrap=True)
    _OUT.print(f"Flows:   every {settings.sweep_seconds} s, the report at 02:15 UTC")
    if os.geteuid() == 0:
        _OUT.print(f"Warning: {ROOT}", style="yellow", soft_wrap=True)
    _OUT.print("Ctrl-C stops everything.")


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Turn the signals that end a program into an event, and back."""
    stop = threading.Event()

    def asked(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = [(number, signal.signal(number, asked)) for number in _SIGNALS]
    try:
        yield stop
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _require_free(host: str, port: int) -> None:
    if not is_free(host, port):
        raise Misconfigured(
            f"Something else listens on {host}, port {port}. "
            "Name another port for the pages in NURTURE_WEB_PORT."
        )
