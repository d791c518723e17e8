"""Other runs of a deployment: extra ones by which workers join a long round, late and dead ones that are ended."""

import asyncio
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkerStatus
from prefect.context import FlowRunContext
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.runtime import flow_run
from prefect.states import Completed, Crashed
from prefect.types import DateTime

from flows.deployments import SILENT_SECONDS, WORKER_GONE
from nurture.clock import RealClock

EXTRA: Final = "extra"
"""The tag of a run by which another worker joins the round of a scheduled one."""

LATE: Final = timedelta(seconds=60)
"""A run that has not started so long after its time does nothing that a later one does not do too."""

NEVER_BEGAN: Final = timedelta(seconds=SILENT_SECONDS)
"""A run that a worker took and that has not begun so long after its time has lost its worker."""

SILENT: Final = timedelta(seconds=2 * SILENT_SECONDS)
"""A run without a heartbeat for so long is dead, and Prefect's automation missed it, as an overloaded server does."""


async def share_round() -> None:
    """Start an extra run for each other worker that is online. Claims in the database decide which does what."""
    found = _deployed_run()
    if found is None or EXTRA in flow_run.tags:
        return
    run, deployment_id = found
    async with get_client() as client:
        for number in range(1, await _count_workers(client, run.work_pool_name)):
            await client.create_flow_run_from_deployment(
                deployment_id,
                parameters=run.parameters,
                tags=[*run.tags, EXTRA],
                idempotency_key=f"{run.id}-{number}",
            )


def _deployed_run() -> tuple[FlowRun, UUID] | None:
    """Return the run in which this is called, and its deployment; None unless a deployment started it."""
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    return (run, run.deployment_id) if run is not None and run.deployment_id is not None else None


def _of_deployment(deployment_id: UUID) -> DeploymentFilter:
    return DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))


async def _count_workers(client: PrefectClient, pool: str | None) -> int:
    if pool is None:
        return 0
    workers = await client.read_workers_for_work_pool(pool)
    return sum(one.status is WorkerStatus.ONLINE for one in workers)


async def end_stale_runs() -> None:
    """End late runs and dead runs of this deployment, as after an outage: this run finds what was due.

    Dead runs would keep the slots of the deployment for ever.
    """
    deployed = _deployed_run()
    if deployed is None:
        return
    ours = _of_deployment(deployed[1])
    skipped: State[None] = Completed(name="Skipped", message="It was late; a later run found what was due.")
    async with get_client() as client:
        for kind, late in ((StateType.SCHEDULED, LATE), (StateType.PENDING, NEVER_BEGAN)):
            before = DateTime.instance(RealClock().now() - late)
            filter_ = FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[kind])),
                expected_start_time=FlowRunFilterExpectedStartTime(before_=before),
            )
            found = await client.read_flow_runs(flow_run_filter=filter_, deployment_filter=ours, limit=200)
            await asyncio.gather(*(client.set_flow_run_state(one.id, skipped, force=True) for one in found))
        await end_dead_runs(client, deployed[1], RealClock().now())


async def end_dead_runs(client: PrefectClient, deployment_id: UUID, now: datetime) -> int:
    """End running runs of the deployment that sent no heartbeat in the last `SILENT` before *now*; return how many."""
    filter_ = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
        start_time=FlowRunFilterStartTime(before_=DateTime.instance(now - SILENT)),
    )
    ours = _of_deployment(deployment_id)
    silent = []
    for run in await client.read_flow_runs(flow_run_filter=filter_, deployment_filter=ours, limit=200):
        heartbeats = EventFilter(
            event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
            resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
            occurred=EventOccurredFilter(since=DateTime.instance(now - SILENT), until=DateTime.instance(now)),
        )
        if not (await client.read_events(heartbeats, limit=1)).total:
            silent.append(run.id)
    dead: State[None] = Crashed(message=WORKER_GONE)
    await asyncio.gather(*(client.set_flow_run_state(one, dead, force=True) for one in silent))
    return len(silent)
