"""Watch the child processes of `nurture up`, and start again each that ends: `python -m flows.supervisor FD`.

`flows.up` prepares everything and becomes this program, which imports little, so that it takes 15 MB instead of 80.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from flows.child_processes import ChildProcesses, is_served, require_auth
from nurture.errors import Misconfigured
from nurture.runtime.stop_signals import stop_on_signal

POLL_SECONDS: Final = 0.5
SAY_SECONDS: Final = 15.0
"""Seconds between two lines about what the start waits for."""

MAX_BACK_OFF: Final = 60.0
"""Seconds until a child is started again that keeps ending: 1 at first, then twice as many each time."""

STABLE_SECONDS: Final = 120.0
"""A child that lives so long begins with the shortest back-off again."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `flows.up` has prepared: the children's *environment*, the *urls* of pages and server, lines to print.

    A child in *own_environments* has its own; the console is started if it is there.
    """

    home: str
    environment: dict[str, str]
    urls: dict[str, str]
    lines: list[str]
    sign_in: str
    lock: int
    own_environments: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class BackOff:
    """When a child that ended is started again. Times are seconds of the monotonic clock."""

    started_at: float
    seconds: float = 1.0
    restart_at: float | None = None

    def plan_restart(self, now: float) -> float:
        """Set when the child is started again after it ended at *now*; return the seconds until then."""
        if now - self.started_at >= STABLE_SECONDS:
            self.seconds = 1.0
        pause, self.seconds = self.seconds, min(self.seconds * 2, MAX_BACK_OFF)
        self.restart_at = now + pause
        return pause

    def note_start(self, now: float) -> None:
        """Note that the child runs again."""
        self.started_at, self.restart_at = now, None


@dataclass
class Supervisor:
    """The children in the order of their start, and what the operator is told."""

    children: ChildProcesses
    say: Callable[[str], None]
    names: tuple[str, ...]
    back_offs: dict[str, BackOff] = field(default_factory=dict)

    def start_all(self) -> None:
        """Start every child."""
        for name in self.names:
            self.children.start(name)
            self.back_offs[name] = BackOff(time.monotonic())

    def restart_ended(self) -> None:
        """Start again the children that have ended, each after its back-off."""
        now = time.monotonic()
        for name, back_off in self.back_offs.items():
            if back_off.restart_at is not None:
                if now >= back_off.restart_at:
                    self.children.start(name)
                    back_off.note_start(now)
            elif (end := self.children.describe_end(name)) is not None:
                pause = back_off.plan_restart(now)
                log = self.children.log(name)
                self.say(f"The process {name!r} {end}. It starts again in {pause:.0f} s. Its log is {log}.1 then.")


class _StartReport:
    """Says once when each part answers, and from time to time what is still waited for."""

    def __init__(self, urls: dict[str, str], say: Callable[[str], None]) -> None:
        self._say, self._began, self._said_at = say, time.monotonic(), time.monotonic()
        self._waiting = {
            "Pages": (urls["Pages"], "/healthz", "the pages"),
            "Prefect": (urls["Prefect"], "/api/health", "Prefect's server, half a minute the first time"),
        }
        if "Console" in urls:
            self._waiting["Console"] = (urls["Console"], "/health", "the console")
        self.is_prefect_checked = False

    def update(self, lines: list[str]) -> None:
        """Look once. Raises Misconfigured if Prefect's server is open to everybody."""
        for name, (url, path, _) in list(self._waiting.items()):
            if is_served(url + path):
                if name == "Prefect":
                    require_auth(f"{url}/api")
                del self._waiting[name]
                self._say(f"{name + ':':<9}{url}")
                if not self._waiting:
                    for line in lines:
                        self._say(line)
        now = time.monotonic()
        if self._waiting and now - self._said_at >= SAY_SECONDS:
            self._said_at = now
            waited = " and ".join(what for *_, what in self._waiting.values())
            self._say(f"Waiting for {waited}: {now - self._began:.0f} s so far")


def supervise(plan: Plan, say: Callable[[str], None]) -> None:
    """Run the children until SIGINT, SIGTERM or SIGHUP, then stop them within 10 seconds.

    Raises Misconfigured if Prefect's server is open to everybody.
    """
    children = ChildProcesses(Path(plan.home), plan.environment, plan.own_environments)
    supervisor = Supervisor(children, say, ("web", *plan.own_environments, "loop", "prefect"))
    with stop_on_signal(signal.SIGHUP) as stop:
        try:
            say("Starting the pages, the loop and Prefect's server ...")
            supervisor.start_all()
            report = _StartReport(plan.urls, say)
            while not stop.wait(POLL_SECONDS):
                report.update(plan.lines)
                supervisor.restart_ended()
        finally:
            with suppress(OSError):
                Path(plan.sign_in).unlink()
            say("Stopping ...")
            children.stop()
            os.ftruncate(plan.lock, 0)
    say("Stopped.")


def _say(line: str) -> None:
    with suppress(OSError):  # nobody reads it any more
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _read_plan(file: IO[str]) -> Plan:
    with file:
        return Plan(**json.load(file))


if __name__ == "__main__":
    try:
        supervise(_read_plan(os.fdopen(int(sys.argv[1]), encoding="utf-8")), _say)
    except Misconfigured as error:
        _say(f"error {error}")
        sys.exit(error.exit_code)
