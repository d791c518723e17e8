"""Show the rounds of the loop as flow runs: a run for each round that did something, and take orders from Prefect.

The loop does not depend on it: while Prefect's server is away, the stages go on, and their counts go into the next run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect import Flow, get_client, get_run_logger
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.schedules import CronSchedule
from prefect.flow_engine import run_flow_async
from prefect.states import Pending

from flows.deployments import LOOP_DEPLOYMENT, SCHEDULE, TAG
from flows.setup import clear_stale_runs
from flows.shards import publish_table, redact_errors
from nurture.clock import RealClock
from nurture.errors import format_error_chain
from nurture.journey.stage_loop import Round, StageWorker

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

ASK_SECONDS: Final = 20.0
"""Seconds between two looks at the server: runs that a schedule or a person asks for, and paused deployments."""

RUN_SPACING: Final = 60.0
"""A stage has at most one flow run in so many seconds; what rounds in between did is in the next run."""

LONG_ROUND: Final = 3.0
"""Seconds after which a round is shown while it still runs."""

RETRY_SECONDS: Final = 5.0
"""Seconds until an unreachable server is asked again."""

SUMMARY: Final = "summary"
_NIGHTLY: Final = {one.flow: one for one in SCHEDULE if one.cron}
_CRONS: Final = {SUMMARY: "0 * * * *"} | {name: one.cron for name, one in _NIGHTLY.items()}
"""When Prefect's scheduler starts the flows that are no stage, in UTC."""

_LOG: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class StageRecord:
    """What a stage did since its last flow run (*counts*), and since the last summary (the rest)."""

    counts: Counter[str] = field(default_factory=Counter)
    shown_at: float = float("-inf")
    flush_planned: bool = False
    rounds: int = 0
    failed: int = 0
    longest: float = 0.0
    total: Counter[str] = field(default_factory=Counter)

    def add(self, result: Counter[str] | None, seconds: float) -> None:
        """Add one round: its counts, None if it failed."""
        self.rounds, self.longest = self.rounds + 1, max(self.longest, seconds)
        self.failed += result is None
        for counter in (self.counts, self.total):
            counter.update(+(result or Counter()))

    def take_counts(self) -> dict[str, int]:
        """Return the counts since the last flow run, and begin anew."""
        taken, self.counts = dict(self.counts), Counter()
        return taken


class RoundRecorder:
    """Turns rounds into flow runs, on an event loop of its own thread."""

    def __init__(self, workers: Mapping[str, StageWorker]) -> None:
        self._workers = workers
        self._records = {name: StageRecord() for name in workers}
        self._deployments: dict[UUID, str] = {}
        self._client: PrefectClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()

    def run(self) -> None:
        """Serve until the process ends."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._stay_connected())

    def note_start(self, begun: Round) -> None:
        """Watch a round; callable from every thread."""
        self._loop.call_soon_threadsafe(lambda: self._spawn(self._watch(begun)))

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, begun: Round) -> None:
        record, began = self._records[begun.stage], time.monotonic()
        result = asyncio.wrap_future(begun.result)
        ended, _ = await asyncio.wait([result], timeout=LONG_ROUND)
        if not ended:
            await self._show(begun.stage, result)
            await asyncio.wait([result])
        failed = result.exception()
        record.add(None if failed else result.result(), time.monotonic() - began)
        if failed is not None:
            _LOG.warning("stage_failed", extra={"stage": begun.stage, "reason": format_error_chain(failed)})
        if not ended:
            record.counts.clear()  # its run shows them
        elif failed is not None:
            await self._show(begun.stage, result)
        elif record.counts and not record.flush_planned:
            record.flush_planned = True
            await asyncio.sleep(max(record.shown_at + RUN_SPACING - time.monotonic(), 0.0))
            record.flush_planned = False
            await self._show(begun.stage, None)

    async def _show(self, stage: str, result: asyncio.Future[Counter[str]] | None) -> None:
        """Open a flow run for a round, or with None for what rounds have done since the last run."""
        deployment = next((key for key, name in self._deployments.items() if name == stage), None)
        if self._client is None or deployment is None:
            return
        record = self._records[stage]
        record.shown_at = time.monotonic()

        async def report() -> dict[str, int]:
            counts = record.take_counts()
            if result is not None:
                counts = dict(Counter(counts) + await _outcome(result))
            return await _publish(stage, counts)

        try:
            run = await self._client.create_flow_run_from_deployment(deployment, state=Pending())
            await _run_as(stage, report, run)
        except Exception as error:  # noqa: BLE001 - Prefect shows what happens; it must not stop it
            _LOG.warning("flow_run_not_shown", extra={"stage": stage, "reason": format_error_chain(error)})

    async def _stay_connected(self) -> None:
        is_first = True
        while True:
            try:
                async with get_client() as client:
                    if (await client.api_healthcheck()) is None:
                        if is_first:  # later, runs of this process are among them
                            await asyncio.to_thread(_clear_stale_runs)
                            is_first = False
                        self._deployments = await _register(client, self._workers)
                        self._client = client
                        for name, record in self._records.items():  # what was done without the server
                            if record.counts and not record.flush_planned:
                                self._spawn(self._show(name, None))
                        await self._take_orders(client)
            except Exception as error:  # noqa: BLE001 - the stages go on without Prefect
                _LOG.warning("prefect_unreachable", extra={"reason": format_error_chain(error)})
            self._client = None
            await asyncio.sleep(RETRY_SECONDS)

    async def _take_orders(self, client: PrefectClient) -> None:
        """Obey paused deployments, and start the runs that the scheduler or a person asks for."""
        while True:
            ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
            for deployment in await client.read_deployments(deployment_filter=ours):
                worker = self._workers.get(self._deployments.get(deployment.id, ""))
                if worker is not None:
                    worker.is_paused = deployment.paused
            soon = RealClock().now() + timedelta(seconds=ASK_SECONDS / 2)
            asked = await client.get_scheduled_flow_runs_for_deployments(list(self._deployments), soon)
            for run in asked:
                if run.deployment_id in self._deployments:
                    await client.set_flow_run_state(run.id, Pending(), force=True)
                    self._spawn(self._obey(self._deployments[run.deployment_id], await client.read_flow_run(run.id)))
            await asyncio.sleep(ASK_SECONDS)

    async def _obey(self, name: str, run: FlowRun) -> None:
        """Do what a flow run of Prefect asks for."""

        async def one_round() -> dict[str, int]:
            begun = self._workers[name].request()
            return await _publish(name, dict(await _outcome(asyncio.wrap_future(begun.result))))

        try:
            if name in _NIGHTLY:
                flow = _NIGHTLY[name].load()
                await run_flow_async(flow, flow_run=run, parameters={}, return_type="state")
            else:
                await _run_as(name, self._summarize if name == SUMMARY else one_round, run)
        except Exception as error:  # noqa: BLE001 - as above
            _LOG.warning("flow_run_failed", extra={"stage": name, "reason": format_error_chain(error)})

    async def _summarize(self) -> dict[str, int]:
        """Publish what each stage did since the last summary."""
        rows: list[dict[str, Any]] = []
        for name, record in self._records.items():
            did = ", ".join(f"{what} {count}" for what, count in record.total.items())
            row = {"stage": name, "rounds": record.rounds, "failed": record.failed}
            rows.append({**row, "longest": round(record.longest, 1), "did": did})
            record.rounds, record.failed, record.longest, record.total = 0, 0, 0.0, Counter()
        await publish_table(f"nurture-{SUMMARY}", rows, None)
        return {row["stage"]: row["rounds"] for row in rows}


async def _outcome(result: asyncio.Future[Counter[str]]) -> Counter[str]:
    """Return the counts of a round once it has ended, or raise its error without data of leads."""
    await asyncio.wait([result])
    return redact_errors(result.result)()


async def _publish(stage: str, counts: dict[str, int]) -> dict[str, int]:
    nonzero = {name: count for name, count in counts.items() if count}
    get_run_logger().info(", ".join(f"{name} {count}" for name, count in nonzero.items()) or "nothing was due")
    await publish_table(f"nurture-{stage}", [nonzero], None)
    return nonzero


async def _run_as(name: str, body: Callable[[], Any], run: FlowRun) -> None:
    """Run *body* as the flow run *run*."""
    when = f"{RealClock().now():%Y-%m-%d %H:%M:%S}"
    flow: Flow[[], Any] = Flow(body, name=name, flow_run_name=f"{name} {when}", validate_parameters=False)
    await run_flow_async(flow, flow_run=run, parameters={}, return_type="state")


def _clear_stale_runs() -> None:
    with get_client(sync_client=True) as client:
        clear_stale_runs(client)


async def _register(client: PrefectClient, stages: Mapping[str, StageWorker]) -> dict[UUID, str]:
    """Create the deployments that are missing, and delete those of earlier versions; return the names by id.

    An existing deployment keeps the schedules that it was given in Prefect, and stays paused.
    """
    known = {
        (one.name, one.flow_id): one.id
        for one in await client.read_deployments(
            deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
        )
    }
    ours: dict[UUID, str] = {}
    for name in (*stages, *_CRONS):
        flow_id = await client.create_flow_from_name(name)
        found = known.get((LOOP_DEPLOYMENT, flow_id))
        ours[found or await _create(client, flow_id, name)] = name
    for old in set(known.values()) - set(ours):
        await client.delete_deployment(old)
    return ours


async def _create(client: PrefectClient, flow_id: UUID, name: str) -> UUID:
    cron = _CRONS.get(name)
    schedules = (
        [DeploymentScheduleCreate(schedule=CronSchedule(cron=cron, timezone="UTC"), active=True)] if cron else []
    )
    does = "Started by this schedule." if cron else "Run by the loop of `nurture up` when something is due."
    return await client.create_deployment(
        flow_id, LOOP_DEPLOYMENT, schedules=schedules, tags=[TAG], description=does, enforce_parameter_schema=False
    )
