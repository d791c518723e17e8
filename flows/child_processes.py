"""Start, watch and stop child processes, with all processes that they started."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Final

from flows.environment import CLIENT_SECRET, SERVER_SECRET
from nurture.errors import Misconfigured
from nurture.files import make_folder, open_private

MAX_PORTS_TRIED: Final = 50
START_TIMEOUT: Final = 120.0
"""Seconds for Prefect's first start, which creates its tables, on a slow disk."""

STOP_TIMEOUT: Final = 2.5
"""Seconds that each child may take to stop; three children stay below ten seconds."""

_SECRET_OWNER: Final = {SERVER_SECRET: "prefect", CLIENT_SECRET: "flows"}


class ChildProcesses:
    """Child processes, each with its own session, its own log file, and a pipe that ends with this process."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._logs = home / "logs"
        self._environment = dict(environment)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start one of flows.children. The previous log is kept with the suffix .1.

        The child gets only the secret that it needs; the web child gets none.
        """
        make_folder(self._logs)
        log = self.log(name)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with open_private(log, "wb") as file:
            self._running[name] = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "flows.children", name],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={
                    variable: value
                    for variable, value in self._environment.items()
                    if _SECRET_OWNER.get(variable, name) == name
                },
                start_new_session=True,
                umask=0o077,  # also for files that Prefect writes
            )

    def log(self, name: str) -> Path:
        """Return the log file of a child."""
        return self._logs / f"{name}.log"

    def require_alive(self) -> None:
        """Raise Misconfigured, with the last line of its log, if a child has exited."""
        for name, child in self._running.items():
            if child.poll() is not None:
                lines = self.log(name).read_text("utf-8", "replace").strip().splitlines()
                last_line = lines[-1].strip() if lines else "its log is empty"
                raise Misconfigured(f"The process {name!r} has exited: {last_line}\nIts log is {self.log(name)}.")

    def stop(self) -> None:
        """Terminate the children, the last started first; kill those that do not stop, with their process groups."""
        while self._running:
            _, child = self._running.popitem()
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(STOP_TIMEOUT)
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            assert child.stdin is not None
            child.stdin.close()


def wait_until_ready(
    url: str, children: ChildProcesses, wait: Callable[[float], bool], on_wait: Callable[[float], None]
) -> bool:
    """Wait until *url* responds; return False if *wait* returns True. *on_wait* gets the seconds waited.

    Raises Misconfigured if a child exits, or there is no response within START_TIMEOUT.
    """
    began = time.monotonic()
    while not _is_ready(url):
        waited = time.monotonic() - began
        on_wait(waited)
        if wait(0.2):
            return False
        children.require_alive()
        if waited > START_TIMEOUT:
            raise Misconfigured(f"{url} does not answer after {waited:.0f} s; see {children.log('prefect')}.")
    return True


def require_auth(url: str) -> None:
    """Raise Misconfigured if Prefect's API at *url* accepts requests without a secret."""
    try:
        with urllib.request.urlopen(f"{url}/admin/version", timeout=10) as answer:  # noqa: S310 - loopback
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    if status != HTTPStatus.UNAUTHORIZED:
        raise Misconfigured(
            f"Prefect's API at {url} is open: without a secret it answers {status}, not 401. "
            "Remove Prefect settings from .env, prefect.toml and pyproject.toml in this folder."
        )


def free_port(wanted: int) -> int:
    """Return the first free loopback port from *wanted* upward. Raises Misconfigured if there is none."""
    for port in range(wanted, min(wanted + MAX_PORTS_TRIED, 65_536)):
        if is_free("127.0.0.1", port):
            return port
    raise Misconfigured(f"No port from {wanted} upward is free for Prefect. Set NURTURE_PREFECT_PORT to another port.")


def is_free(host: str, port: int) -> bool:
    """Return whether no process listens on the port."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback server
            return bool(answer.status == 200)
    except OSError:
        return False
