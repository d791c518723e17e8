"""The parent's side of child processes: start them, watch them, end them with all that they have started."""

from __future__ import annotations

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
"""Seconds that each child gets to stop by itself; three of them stay below ten."""


_SECRET_OWNER: Final = {SERVER_SECRET: "prefect", CLIENT_SECRET: "flows"}


class ChildProcesses:
    """Child processes, each in a session of its own, with a lifeline to this process and a log file."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._logs = home / "logs"
        self._environment = dict(environment)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start one of flows.children. Its log of the last time is kept beside the new one.

        Of the two secrets in the environment it gets the one that it needs, the web pages none.
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
                umask=0o077,  # Prefect and what it starts write files of their own
            )

    def log(self, name: str) -> Path:
        """Return the file to which a child writes."""
        return self._logs / f"{name}.log"

    def require_alive(self) -> None:
        """Raise Misconfigured, with its last words, if a child has ended by itself."""
        for name, child in self._running.items():
            if child.poll() is not None:
                lines = self.log(name).read_text("utf-8", "replace").strip().splitlines()
                last_line = lines[-1].strip() if lines else "it said nothing"
                raise Misconfigured(f"The part {name!r} has stopped: {last_line}\nAll of it is in {self.log(name)}.")

    def stop(self) -> None:
        """Ask the children to stop, the last one started first; kill what does not, with all its own."""
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
    """Wait until *url* answers, telling the seconds waited; return False if *wait* says to give up.

    Raises Misconfigured if a child ends meanwhile, or nothing answers in START_TIMEOUT.
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
    """Raise Misconfigured if Prefect's API at *url* answers without a secret."""
    try:
        with urllib.request.urlopen(f"{url}/admin/version", timeout=10) as answer:  # noqa: S310 - loopback
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    if status != HTTPStatus.UNAUTHORIZED:
        raise Misconfigured(
            f"Prefect's API at {url} is open: without a secret it answers {status}, not 401. "
            "Look for settings of Prefect in .env, prefect.toml and pyproject.toml here, and remove them."
        )


def free_port(wanted: int) -> int:
    """Return the first free loopback port from *wanted* on. Raises Misconfigured if there is none."""
    for port in range(wanted, min(wanted + MAX_PORTS_TRIED, 65_536)):
        if is_free("127.0.0.1", port):
            return port
    raise Misconfigured(f"No port from {wanted} on is free for Prefect. Name another in NURTURE_PREFECT_PORT.")


def is_free(host: str, port: int) -> bool:
    """Say whether nobody listens on this port."""
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
