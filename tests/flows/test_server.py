"""Tests that need a Prefect server, in one file so that they share it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.events import Event
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Running, Scheduled
from pydantic import SecretStr
from sqlalchemy import text

from flows import setup
from flows.child_processes import CLIENT_SECRET, ChildProcesses, wait_until_ready
from flows.demo_runs import run_flows_in
from flows.deployments import DEAD_RUNS, SCHEDULE, WORK_POOL
from flows.environment import build_environment
from flows.other_runs import EXTRA, SILENT, end_dead_runs
from flows.setup import clear_stale_runs
from nurture.app import open_app
from nurture.clock import RealClock
from nurture.db.engine import Database
from nurture.settings import Settings
from tests.flows.prefect_api import Api, any_port, ask, until
from tests.journey.builders import START, add_lead, make_context

RUN_FLOWS = """
import asyncio, json, os, sys
from importlib import import_module
async def run(calls):
    for entrypoint, parameters in calls:
        module, _, function = entrypoint.rpartition(".")
        state = await getattr(import_module(module), function)(**parameters, return_state=True)
        counts = await state.result() if state.is_completed() else {}
        result = {"state": state.name, "message": state.message, "counts": counts}
        yield {**result, "id": str(state.state_details.flow_run_id)}
async def listed(calls):
    return [result async for result in run(calls)]
for line in sys.stdin:
    settings, calls = json.loads(line)
    os.environ.update(settings)
    print("RESULTS", json.dumps(asyncio.run(listed(calls))), flush=True)
"""
DASK_CLUSTER = """
import sys
from dask.distributed import LocalCluster
with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""
ROOT = Path(__file__).parents[2]


@dataclass
class World:
    """An installation in virtual time with one new lead, and a Prefect server beside it."""

    settings: Settings
    environment: dict[str, str]
    api: Api
    lead: int
    log: Path

    def flows(
        self, database: str, *calls: tuple[str, dict[str, Any]], task_runner: str = "threads"
    ) -> list[dict[str, Any]]:
        """Run flows in order on a database; return the result of each."""
        assert self.runner.stdin is not None
        assert self.runner.stdout is not None
        settings = {"NURTURE_DATABASE_URL": database, "NURTURE_TASK_RUNNER": task_runner}
        self.runner.stdin.write(json.dumps([settings, calls]) + "\n")
        self.runner.stdin.flush()
        too_long = threading.Timer(120, self.runner.kill)
        too_long.start()
        try:
            line = next((line for line in self.runner.stdout if line.startswith("RESULTS ")), "")
        finally:
            too_long.cancel()
        assert line, self.log.read_text("utf-8")
        results: list[dict[str, Any]] = json.loads(line.removeprefix("RESULTS "))
        return results

    @cached_property
    def runner(self) -> subprocess.Popen[str]:
        """Start one process for all flows of the tests, because Prefect takes seconds to import."""
        with self.log.open("w", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, "-c", RUN_FLOWS],
                env=self.environment | {"NURTURE_BATCH_SIZE": "5"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def close(self) -> None:
        if "runner" in vars(self):
            self.runner.communicate()  # it stops at the end of its input

    def run(self, *command: str, **settings: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=self.environment | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    settings = Settings(database_url=SecretStr(f"sqlite:///{folder / 'nurture.db'}"), maildir=folder / "maildir")
    port = any_port()
    variables = build_environment(settings, folder, port, operator_environment={}) | {
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",  # only the runs that a test starts
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_UI_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    children = ChildProcesses(folder, variables)
    try:
        children.start("prefect")
        with open_app(settings, at=START, upgrade=True) as app:
            ctx = make_context(app.database, folder, START)
            lead = add_lead(ctx, title="head of sales")
        api = Api(variables["PREFECT_API_URL"], variables[CLIENT_SECRET])
        assert wait_until_ready(f"{api.url}/health", children, threading.Event().wait, lambda _: None)
        made = World(settings, variables, api, lead, folder / "flows.log")
        yield made
        made.close()
    finally:
        children.stop()


@pytest.fixture(scope="module")
def deployed(world: World) -> dict[str, dict[str, Any]]:
    """All flows, deployed unattended, by name and entrypoint."""
    world.run("prefect", "--no-prompt", "deploy", "--all")
    return {one["name"] + " " + one["entrypoint"]: one for one in ask(world.api, "/deployments/filter")}


@pytest.fixture
def client(world: World) -> Iterator[SyncPrefectClient]:
    ours = {PREFECT_API_URL: world.api.url, PREFECT_API_AUTH_STRING: world.api.secret}
    with temporary_settings(ours), get_client(sync_client=True) as client:
        yield client


def _state(world: World, run_id: object) -> str:
    [run] = ask(world.api, "/flow_runs/filter", flow_runs={"id": {"any_": [str(run_id)]}})
    return str(run["state_name"])


def test_init_creates_what_deploying_needs_once(world: World, client: SyncPrefectClient) -> None:
    first = setup.init(world.settings)
    assert f"Work pool {WORK_POOL}: created" in first
    assert f"Automation {DEAD_RUNS}: created" in first
    assert f"Schedules {Path('prefect.yaml').absolute()}: there already" in first
    again = setup.init(world.settings)
    assert not any("created" in line for line in again)
    assert len(client.read_automations_by_name(DEAD_RUNS)) == 1


def test_init_reports_what_a_locked_server_requires(world: World) -> None:
    with temporary_settings({PREFECT_API_URL: world.api.url}, restore_defaults={PREFECT_API_AUTH_STRING}):
        lines = setup.init(world.settings)
    assert "PREFECT_API_AUTH_STRING" in lines[-1]


def test_all_flows_deploy_unattended_and_a_worker_runs_one(
    world: World, client: SyncPrefectClient, deployed: dict[str, dict[str, Any]]
) -> None:
    assert set(deployed) == {f"{one.name} {one.entrypoint}" for one in SCHEDULE}
    for one in deployed.values():
        assert len(one["schedules"]) == 1
        assert one["global_concurrency_limit"]["limit"] >= 8
        assert one["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        assert one["work_pool_name"] == WORK_POOL
    advance = next(one for one in deployed.values() if one["entrypoint"].startswith("flows.advance."))
    run = client.create_flow_run_from_deployment(advance["id"], parameters={"at": START.isoformat()})
    world.run("prefect", "worker", "start", "--pool", WORK_POOL, "--run-once")
    assert _state(world, run.id) == "Completed"


def test_times_run_as_flow_runs_that_move_the_lead_and_report_what_they_did(world: World) -> None:
    times = [START + timedelta(hours=hours) for hours in (1, 3)]
    runs = run_flows_in(world.environment, times)
    assert [run.flow for run in runs] == ["signals", "intake", "advance", "hand-off", "crm", "deliver"] * 2
    assert {run.state for run in runs} == {"Completed"}
    assert runs[0].name == "signals 2026-01-05T09:00:00"
    mails = list((world.settings.maildir / "new").iterdir())
    assert len(mails) == 1, "the lead got its first email, once"
    artifacts = ask(world.api, "/artifacts/filter", sort="CREATED_DESC")
    assert {one["key"] for one in artifacts} >= {"nurture-intake", "nurture-advance", "nurture-deliver"}
    assert not {"nurture-signals", "nurture-hand-off"} & {one["key"] for one in artifacts}, "they had nothing to do"
    assert any("accepted" in str(one["data"]) for one in artifacts if one["key"] == "nurture-deliver")
    assert "people.example" not in str(artifacts)


def test_a_database_without_tables_fails_the_run_at_once_and_says_what_to_do(world: World, tmp_path: Path) -> None:
    [ran] = world.flows(f"sqlite:///{tmp_path / 'empty.db'}", ("flows.advance.advance_due_leads", {}))
    assert ran["state"] == "Failed"
    assert "nurture admin upgrade" in ran["message"]

    def task() -> Any:  # recorded a little later than the flow run
        runs = ask(world.api, "/task_runs/filter", flow_runs={"id": {"any_": [ran["id"]]}})
        return runs and runs[0]["state_type"] == "FAILED" and runs[0]

    assert until(task, 30)["run_count"] == 1, "a refusal is not tried again"


def test_shards_on_postgresql_share_the_leads_and_a_long_send_shows_its_progress(
    world: World, postgres_db: Database, postgres_url: str, tmp_path: Path
) -> None:
    ctx = make_context(postgres_db, tmp_path)
    for _ in range(30):
        add_lead(ctx, title="head of sales")
    later = {"shards": 3, "at": (START + timedelta(hours=3)).isoformat()}
    classified, advanced, delivered, audited = world.flows(
        postgres_url,
        ("flows.intake.classify_new_leads", {"shards": 3, "at": START.isoformat()}),
        ("flows.advance.advance_due_leads", later),
        ("flows.deliver.deliver_due_mail", later),
        ("flows.audit.audit_ledger", {"at": later["at"]}),
    )
    assert classified["counts"] == {"nurture": 30}
    assert sum(advanced["counts"].values()) == 30
    assert delivered["counts"] == {"accepted": 30}
    assert audited["counts"]["track"] == 30
    assert audited["counts"]["residual"] == 0
    [table] = ask(
        world.api, "/artifacts/filter", artifacts={"key": {"any_": ["nurture-intake"]}}, sort="CREATED_DESC", limit=1
    )
    assert [row["shard"] for row in json.loads(table["data"])] == [1, 2, 3]
    [bar] = ask(world.api, "/artifacts/filter", artifacts={"key": {"any_": ["nurture-deliver-progress"]}})
    assert bar["data"] == 100.0


@pytest.fixture
def cluster(world: World, postgres_url: str) -> Iterator[str]:
    """Start a Dask cluster of two processes on loopback, with the settings of the installation; yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", DASK_CLUSTER],
        env=world.environment | {"NURTURE_DATABASE_URL": postgres_url, "NURTURE_BATCH_SIZE": "5"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate()  # it stops at the end of its input


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_shards_share_the_leads_wherever_the_setting_says(
    kind: str, world: World, postgres_db: Database, postgres_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ctx = make_context(postgres_db, tmp_path)
    for _ in range(30):
        add_lead(ctx, title="head of sales")
    task_runner = request.getfixturevalue("cluster") if kind == "dask" else kind
    classify = ("flows.intake.classify_new_leads", {"shards": 2, "at": START.isoformat()})
    [classified] = world.flows(postgres_url, classify, task_runner=task_runner)
    assert classified["counts"] == {"nurture": 30}


@pytest.mark.usefixtures("deployed")
def test_a_run_shares_a_long_round_with_other_workers_and_ends_late_runs(
    world: World, client: SyncPrefectClient, sqlite_db: Database, sqlite_url: str, tmp_path: Path
) -> None:
    for _ in range(3):
        add_lead(make_context(sqlite_db, tmp_path), title="head of sales")
    for name in ("first", "second", "third"):
        client.send_worker_heartbeat(WORK_POOL, name)
    deployment = client.read_deployment_by_name("intake/every-5-minutes")
    missed = Scheduled(scheduled_time=RealClock().now() - timedelta(minutes=10))
    late = [client.create_flow_run_from_deployment(deployment.id, state=missed) for _ in range(2)]
    run = client.create_flow_run_from_deployment(deployment.id)
    world.run("prefect", "flow-run", "execute", str(run.id), NURTURE_DATABASE_URL=sqlite_url, NURTURE_BATCH_SIZE="2")
    assert _state(world, run.id) == "Completed"
    assert {_state(world, one.id) for one in late} == {"Skipped"}
    extra = ask(world.api, "/flow_runs/filter", flow_runs={"tags": {"all_": [EXTRA]}})
    online = ask(world.api, f"/work_pools/{WORK_POOL}/workers/filter")
    assert len(extra) == sum(one["status"] == "ONLINE" for one in online) - 1, "one for each other worker"
    world.run("prefect", "flow-run", "execute", extra[0]["id"], NURTURE_DATABASE_URL=sqlite_url, NURTURE_BATCH_SIZE="2")
    assert _state(world, extra[0]["id"]) == "Completed"
    assert len(ask(world.api, "/flow_runs/filter", flow_runs={"tags": {"all_": [EXTRA]}})) == len(extra)
    for one in extra:
        client.delete_flow_run(one["id"])


@pytest.mark.usefixtures("deployed")
def test_a_run_without_heartbeats_is_ended_even_if_prefect_missed_its_end(
    world: World, client: SyncPrefectClient
) -> None:
    deployment = client.read_deployment_by_name("intake/every-5-minutes")
    dead, alive = (client.create_flow_run_from_deployment(deployment.id) for _ in range(2))
    for one in (dead, alive):
        client.set_flow_run_state(one.id, Running(), force=True)
    later = RealClock().now() + 2 * SILENT
    heartbeat = Event(
        event="prefect.flow-run.heartbeat",
        occurred=later - SILENT / 2,
        resource={"prefect.resource.id": f"prefect.flow-run.{alive.id}"},
    )
    client.request("POST", "/events", json=[heartbeat.model_dump(mode="json")])

    async def end(now: datetime) -> int:
        async with get_client(sync_client=False) as asking:
            return await end_dead_runs(asking, deployment.id, now)

    assert asyncio.run(end(RealClock().now())) == 0, "both began just now"
    recorded = {
        "resource": {"id": [heartbeat.resource.id]},
        "event": {"name": [heartbeat.event]},
        "occurred": {"until": (later + SILENT).isoformat()},
    }
    assert until(lambda: ask(world.api, "/events/filter", filter=recorded)["total"], 60)
    assert asyncio.run(end(later)) == 1
    assert [_state(world, one.id) for one in (dead, alive)] == ["Crashed", "Running"]
    client.delete_flow_run(alive.id)


def test_the_nightly_audit_fails_if_the_ledger_does_not_balance(
    world: World, sqlite_db: Database, sqlite_url: str, tmp_path: Path
) -> None:
    lead = add_lead(make_context(sqlite_db, tmp_path))
    with sqlite_db.write() as tx:
        tx.execute(text("DELETE FROM custody WHERE lead_id = :lead"), {"lead": lead})
    [ran] = world.flows(sqlite_url, ("flows.audit.audit_ledger", {"at": START.isoformat()}))
    assert ran["state"] == "Failed"
    assert "nurture reports audit" in ran["message"]
    found = ask(world.api, "/artifacts/filter", artifacts={"key": {"any_": ["nurture-findings"]}})
    assert "leads without a custodian" in str(found)
    event = {"filter": {"event": {"name": ["nurture.audit.failed"]}}}
    [emitted] = until(lambda: ask(world.api, "/events/filter", **event)["events"], 30)
    assert emitted["payload"]["findings"]["no-custodian"] == 1


def test_prefect_stores_no_lead_data_when_a_stage_fails(
    world: World, sqlite_db: Database, sqlite_url: str, tmp_path: Path
) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    lead = add_lead(ctx, email="mia@canary.example", full_name="Mia Canary")
    with sqlite_db.write() as tx:
        odd = {"lead": lead, "at": START.isoformat(), "raw": "mia@canary.example"}
        tx.execute(
            text(
                "INSERT INTO signal (lead_id, kind, occurred_at, recorded_at, natural_key, verdict, "
                "verdict_reason, value, source) "
                "VALUES (:lead, :raw, :at, :at, :raw, 'human', '', :raw, 'x')"
            ),
            odd,
        )
    at = {"at": START.isoformat()}
    ran = world.flows(sqlite_url, ("flows.signals.apply_signals", at), ("flows.intake.classify_new_leads", at))
    assert [one["state"] for one in ran] == ["Failed", "Failed"]
    assert "ValueError" in ran[0]["message"]

    def logged() -> bool:
        logs = ask(world.api, "/logs/filter", logs={"flow_run_id": {"any_": [one["id"] for one in ran]}})
        return sum("StageFailed" in one["message"] for one in logs) >= 2

    assert until(logged, 30)
    files = [file for file in world.log.parent.rglob("*") if file.is_file() and "maildir" not in file.parts]
    assert any(file.name == "prefect.db" for file in files)
    assert [file.name for file in files if b"canary" in file.read_bytes().lower()] == []


def test_leftovers_of_a_dead_server_are_removed(world: World, client: SyncPrefectClient) -> None:
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="old", limit=4))
    deployment = client.create_deployment(client.create_flow_from_name("old"), "old")
    running = client.create_flow_run_from_deployment(deployment)
    client.set_flow_run_state(running.id, Running(), force=True)
    late = client.create_flow_run_from_deployment(deployment)
    client.update_global_concurrency_limit("old", GlobalConcurrencyLimitUpdate(active_slots=1))
    assert clear_stale_runs(client) == (1, 1)
    assert _state(world, running.id) == "Crashed"
    assert not ask(world.api, "/flow_runs/filter", flow_runs={"id": {"any_": [str(late.id)]}})
    assert client.read_global_concurrency_limit_by_name("old").active_slots == 0


def test_without_a_server_init_does_the_rest_and_prints_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(templates=tmp_path / "rules", maildir=tmp_path / "maildir")
    silent = f"http://127.0.0.1:{any_port()}/api"
    with temporary_settings({PREFECT_API_URL: silent}):
        lines = setup.init(settings)
    assert (tmp_path / "rules" / "tracks").is_dir()
    assert silent in lines[-1]
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        again = setup.init(settings)
    assert again[-1] == setup.NEXT_HERE
    assert any("rules: there already" in line for line in again)
