"""Run the demo's last days as Prefect flow runs, on a temporary Prefect server."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final

from flows.child_processes import ChildProcesses, reserve_port, wait_until_ready
from flows.deployments import SCHEDULE
from flows.environment import build_environment
from nurture.errors import Misconfigured
from nurture.settings import Settings

FIRST_PORT: Final = 4_300
_MINIMAL_SERVER: Final = {  # features that a temporary server does not need
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
}


@dataclass(frozen=True, slots=True)
class FlowRunInfo:
    """One flow run: its virtual time (UTC), and its state and duration in Prefect."""

    at: str
    flow: str
    name: str
    state: str
    seconds: float


class PrefectServer:
    """A Prefect server that is starting, or has started."""

    def __init__(self, settings: Settings) -> None:
        home = settings.state_dir
        self._port, self._reservation = reserve_port(FIRST_PORT)
        self._environment = build_environment(settings, home, self._port, operator_environment={}) | _MINIMAL_SERVER
        self._children = ChildProcesses(home, self._environment)
        self._children.start("prefect")

    def run(self, times: Sequence[datetime]) -> list[FlowRunInfo]:
        """Run every stage at each time, the earliest first, and return the runs in that order.

        Raises Misconfigured if the server or the runs do not start.
        """
        url = f"http://127.0.0.1:{self._port}/api/health"
        wait_until_ready(url, self._children, _sleep, lambda _waited: None)
        return run_flows_in(self._environment, times)

    def stop(self) -> None:
        """Stop the server."""
        self._children.stop()
        self._reservation.close()


@contextmanager
def run_server(settings: Settings) -> Iterator[PrefectServer]:
    """Start a server in the background, and stop it at the end of the block."""
    started = PrefectServer(settings)
    try:
        yield started
    finally:
        started.stop()


def run_flows_in(environment: Mapping[str, str], times: Sequence[datetime]) -> list[FlowRunInfo]:
    """Run every stage at each time in a child process with *environment*. Raises Misconfigured."""
    texts = [at.astimezone(UTC).replace(tzinfo=None).isoformat() for at in sorted(times)]
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "flows.demo_runs", *texts],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )
    if done.returncode:
        error_lines = done.stderr.strip().splitlines() or ["no error output"]
        raise Misconfigured(f"The flows did not run: {error_lines[-1]}")
    return [FlowRunInfo(**json.loads(line)) for line in done.stdout.splitlines() if line.startswith("{")]


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


async def _run_all(times: Sequence[str]) -> None:
    from prefect import Flow, State, get_client  # noqa: PLC0415 - the parent does not need it

    async with get_client() as client:
        for at in times:
            for one in SCHEDULE:
                if not one.interval:
                    continue
                module, _, function = one.entrypoint.rpartition(".")
                flow: Flow[..., Any] = getattr(import_module(module), function)
                state: State[Any] = await flow(at=at, return_state=True)  # type: ignore[misc]
                assert state.state_details.flow_run_id is not None
                run = await client.read_flow_run(state.state_details.flow_run_id)
                shown_at = f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M}"
                info = FlowRunInfo(shown_at, flow.name, run.name, state.name or "", run.total_run_time.total_seconds())
                sys.stdout.write(json.dumps(asdict(info)) + "\n")
                if not state.is_completed():
                    sys.exit(f"{run.name}: {state.message}")


if __name__ == "__main__":
    asyncio.run(_run_all(sys.argv[1:]))
