"""A Prefect server with the work pool of prefect.yaml, and workers on it, each with all its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from flows.child_processes import CLIENT_SECRET, ChildProcesses, wait_until_ready
from flows.deployments import WORK_POOL
from flows.environment import build_environment
from nurture.settings import Settings
from tests.bench.running import process_tree
from tests.flows.prefect_api import Api, any_port, ask, until

BIN: Final = Path(sys.executable).parent
ONLINE_SECONDS: Final = 120.0


@dataclass
class PoolWorker:
    """A Prefect worker with a folder of its own, as on a machine of its own."""

    name: str
    process: subprocess.Popen[bytes]

    def has_run(self, entrypoint_runs: set[str]) -> bool:
        """Return whether one of its processes is one of these flow runs."""
        for pid in process_tree(self.process.pid)[1:]:
            with suppress(OSError):
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                if any(f"PREFECT__FLOW_RUN_ID={run}".encode() in environment for run in entrypoint_runs):
                    return True
        return False

    def kill(self) -> float:
        """Kill it with everything that it started, as when its machine dies; return when (CLOCK_MONOTONIC)."""
        tree = process_tree(self.process.pid)
        os.kill(self.process.pid, signal.SIGSTOP)  # it starts nothing while the others die
        for pid in (*tree, *process_tree(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        return time.monotonic()


@dataclass
class WorkerPool:
    """The server and its workers. *database* is the URL for a worker by its name."""

    folder: Path
    environment: dict[str, str]
    api: Api
    database: Any
    workers: list[PoolWorker] = field(default_factory=list)
    started: int = 0

    def start_worker(self, *, prompt: bool = False) -> PoolWorker:
        """Start a worker; with *prompt* return only when the server knows it."""
        name = f"machine-{self.started}"
        self.started += 1
        machine = self.folder / name
        machine.mkdir()
        with (machine / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [BIN / "prefect", "worker", "start", "--pool", WORK_POOL, "--name", name, "--limit", "8"],
                cwd=machine,
                env=self.environment
                | {"NURTURE_DATABASE_URL": self.database(name), "NURTURE_JOURNAL_DIR": str(machine / "journal")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        worker = PoolWorker(name, process)
        self.workers.append(worker)
        if prompt:
            until(lambda: name in self.online(), ONLINE_SECONDS)
        return worker

    def online(self) -> set[str]:
        """Return the names of the workers that the server counts as alive."""
        found = ask(self.api, f"/work_pools/{WORK_POOL}/workers/filter")
        return {one["name"] for one in found if one["status"] == "ONLINE"}

    def running(self, flow: str) -> set[str]:
        """Return the ids of the runs of *flow* that are running, by what the server knows."""
        states = {"state": {"type": {"any_": ["RUNNING"]}}}
        return {str(one["id"]) for one in ask(self.api, "/flow_runs/filter", flow_runs=states, flows=named(flow))}

    def runs(self, flow: str | None = None, **filters: Any) -> list[dict[str, Any]]:
        """Return flow runs, of *flow* if given."""
        flows = {"flows": named(flow)} if flow else {}
        found: list[dict[str, Any]] = ask(self.api, "/flow_runs/filter", flow_runs=filters, limit=200, **flows)
        return found


def named(flow: str) -> dict[str, Any]:
    """Return the filter of a flow by its name."""
    return {"name": {"any_": [flow]}}


@contextmanager
def worker_pool(folder: Path, database: Any, settings: dict[str, str], workers: int) -> Iterator[WorkerPool]:
    """Start a server and *workers*, set up as docs/operators.md says; end all of it with the block.

    *database* returns the URL for a worker by its name; *settings* are further NURTURE_* variables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = any_port()
    variables = build_environment(Settings(), folder, port, operator_environment={}) | {
        "PREFECT_UI_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "true",
        "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT5S",
        "NURTURE_DATABASE_URL": database("setup"),
        "NURTURE_JOURNAL_DIR": str(folder / "journal"),
        **settings,
    }
    children = ChildProcesses(folder, variables)
    pool: WorkerPool | None = None
    try:
        children.start("prefect")
        api = Api(variables["PREFECT_API_URL"], variables[CLIENT_SECRET])
        assert wait_until_ready(f"{api.url}/health", children, threading.Event().wait, lambda _: None)
        for command in (["nurture", "init"], ["prefect", "--no-prompt", "deploy", "--all"]):
            done = subprocess.run(
                [BIN / command[0], *command[1:]],
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        pool = WorkerPool(folder, variables, api, database)
        for _ in range(workers):
            pool.start_worker()
        until(lambda: len(pool.online()) == workers, ONLINE_SECONDS)
        yield pool
    finally:
        for worker in pool.workers if pool else []:
            if worker.process.poll() is None:
                worker.kill()
        children.stop()
