"""Run everything on one machine as one process tree: Prefect's server, the flows, the web pages."""

import fcntl
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from rich.console import Console

from flows.child_processes import ChildProcesses, free_port, is_free, require_auth, wait_until_ready
from flows.environment import SERVER_SECRET, build_environment
from nurture.app import open_app
from nurture.errors import AlreadyRunning, Misconfigured
from nurture.files import make_folder, open_private, write_private
from nurture.operations.check_internal import ROOT_WARNING
from nurture.runtime.stop_signals import stop_on_signal
from nurture.settings import Settings

LOCK_FILE = "up.lock"

_CONSOLE: Final = Console(stderr=True, highlight=False)


@contextmanager
def hold_lock(home: Path) -> Iterator[Callable[[Mapping[str, str]], None]]:
    """Hold the lock of *home*; yield a function that records the URLs in the lock file.

    The operating system releases the lock when its owner ends in any way; a leftover file blocks nobody.
    Raises AlreadyRunning, naming the owner and its addresses.
    """
    make_folder(home)
    with open_private(home / LOCK_FILE, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not `filelock`: the file names the owner
        except BlockingIOError:
            raise AlreadyRunning(_already_running_text(file)) from None
        _write_owner(file, {})
        try:
            yield lambda urls: _write_owner(file, urls)
        finally:
            file.truncate(0)


def _write_owner(file: IO[str], urls: Mapping[str, str]) -> None:
    file.truncate(0)
    json.dump({"pid": os.getpid(), "urls": dict(urls)}, file)
    file.flush()


def _already_running_text(file: IO[str]) -> str:
    file.seek(0)
    try:
        owner: dict[str, Any] = json.loads(file.read())
    except ValueError:
        return "nurture is already running here."
    where = "".join(f"\n  {name}: {url}" for name, url in owner["urls"].items())
    return (
        f"nurture is already running here, as process {owner['pid']}:{where or ' it is starting'}\n"
        f"Stop it with Ctrl-C where it runs, or with `kill {owner['pid']}`."
    )


def up(settings: Settings) -> None:
    """Run everything until SIGINT, SIGTERM or SIGHUP, then stop it within 10 seconds. Main thread only.

    Raises AlreadyRunning, InvalidState for a database in virtual time, Misconfigured if a process does not start.
    """
    home = settings.state_dir
    with hold_lock(home) as write_urls, stop_on_signal(signal.SIGHUP) as stop:
        with open_app(settings, live=True, upgrade=True):
            pass
        port = free_port(settings.prefect_port)
        _require_free(settings.web_host, settings.web_port)
        urls = {"Pages": f"http://{settings.web_host}:{settings.web_port}", "Prefect": f"http://127.0.0.1:{port}"}
        write_urls(urls)
        variables = build_environment(settings, home, port)
        children = ChildProcesses(home, variables)
        sign_in = home / "sign-in"
        write_private(sign_in, variables[SERVER_SECRET] + "\n")
        try:
            if _start(children, urls, stop):
                _print_urls(settings, urls, sign_in)
            while not stop.wait(0.5):
                children.require_alive()
        finally:
            sign_in.unlink(missing_ok=True)
            _CONSOLE.print("Stopping ...")
            children.stop()
    _CONSOLE.print("Stopped.")


def _start(children: ChildProcesses, urls: Mapping[str, str], stop: threading.Event) -> bool:
    children.start("prefect")
    children.start("web")
    with _CONSOLE.status("Prefect starts") as status:

        def show_wait(waited: float) -> None:
            status.update(f"Prefect starts: {waited:.0f} s; the first time takes half a minute")

        if not wait_until_ready(f"{urls['Prefect']}/api/health", children, stop.wait, show_wait):
            return False
    require_auth(f"{urls['Prefect']}/api")
    children.start("flows")
    return True


def _print_urls(settings: Settings, urls: Mapping[str, str], sign_in: Path) -> None:
    for name, url in urls.items():
        _CONSOLE.print(f"{name + ':':<9}{url}")
    _CONSOLE.print(f"Sign in: to Prefect's pages with what `cat {sign_in}` prints", soft_wrap=True)
    _CONSOLE.print(f"Flows:   every {settings.sweep_seconds} s, the audit at 02:15 UTC")
    if os.geteuid() == 0:
        _CONSOLE.print(f"Warning: {ROOT_WARNING}", style="yellow", soft_wrap=True)
    _CONSOLE.print("Ctrl-C stops everything.")


def _require_free(host: str, port: int) -> None:
    if not is_free(host, port):
        raise Misconfigured(
            f"Something else listens on {host}, port {port}. Name another port for the pages in NURTURE_WEB_PORT."
        )
