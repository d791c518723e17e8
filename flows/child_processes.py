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

from nurture.errors import Misconfigured
from nurture.files import make_folder, open_private

MAX_PORTS_TRIED: Final = 50
START_TIMEOUT: Final = 120.0
"""Seconds for Prefect's first start, which creates its tables, on a slow disk."""

STOP_TIMEOUT: Final = 2.0
"""Seconds that each child may take to stop; four children stay below ten seconds."""

SERVER_SECRET: Final = "PREFECT_SERVER_API_AUTH_STRING"  # noqa: S105 - the name of a variable
CLIENT_SECRET: Final = "PREFECT_API_AUTH_STRING"  # noqa: S105
_NONE: Final[Mapping[str, Mapping[str, str]]] = {}
_SECRET_OWNER: Final = {SERVER_SECRET: "prefect", CLIENT_SECRET: "loop"}


class ChildProcesses:
    """Child processes, each with its own session, its own log file, and a pipe that ends with this process."""

    def __init__(
        self, home: Path, environment: Mapping[str, str], own_environments: Mapping[str, Mapping[str, str]] = _NONE
    ) -> None:
        """Give each child *environment*, or its own of *own_environments*."""
        self._logs = home / "logs"
        self._environment = dict(environment)
        self._own_environments = own_environments
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start one of flows.children. The previous log is kept with the suffix .1.

        The child gets only the secret that it needs; the web child gets none. One that ended is started anew.
        """
        ended = self._running.pop(name, None)
        if ended is not None:
            _end(ended)
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
                    for variable, value in self._own_environments.get(name, self._environment).items()
                    if _SECRET_OWNER.get(variable, name) == name
                },
                start_new_session=True,
                umask=0o077,  # also for files that Prefect writes
            )

    def log(self, name: str) -> Path:
        """Return the log file of a child."""
        return self._logs / f"{name}.log"

    def describe_end(self, name: str) -> str | None:
        """Return how a child has ended, None while it runs: by which signal, or with its last line."""
        child = self._running[name]
        code = child.poll()
        if code is None:
            return None
        if code < 0:
            with suppress(ValueError):
                return f"was ended by {signal.Signals(-code).name}"
        lines = self.log(name).read_text("utf-8", "replace").strip().splitlines()
        return f"has ended with code {code}: {lines[-1].strip() if lines else 'its log is empty'}"

    def require_alive(self) -> None:
        """Raise Misconfigured if a child has ended."""
        for name in self._running:
            if (end := self.describe_end(name)) is not None:
                raise Misconfigured(f"The process {name!r} {end}\nIts log is {self.log(name)}.")

    def stop(self) -> None:
        """Terminate the children, the last started first; kill those that do not stop, with their process groups."""
        while self._running:
            _, child = self._running.popitem()
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(STOP_TIMEOUT)
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child, and what is left of its process group."""
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
    while not is_served(url):
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


PortReservation = socket.socket


def reserve_port(wanted: int) -> tuple[int, PortReservation]:
    """Return the first free loopback port from *wanted* upward, and the socket that reserves it until it is closed.

    A server listens seconds after its port was chosen; without the reservation, a name among the abstract sockets of
    Linux, two that start together choose the same one. Raises Misconfigured if no port is free.
    """
    for port in range(wanted, min(wanted + MAX_PORTS_TRIED, 65_536)):
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0nurture-port-{port}")
        except OSError:
            reservation.close()
            continue
        if is_free("127.0.0.1", port):
            return port, reservation
        reservation.close()
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


def is_served(url: str) -> bool:
    """Return whether *url*, of one of our own servers, answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback server
            return bool(answer.status == 200)
    except OSError:
        return False
