"""Other runs of a deployment: extra ones by which free workers join a long round, and late ones that nobody needs."""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkerStatus
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.types import DateTime

from flows.deployments import SILENT_SECONDS
from nurture.clock import RealClock

EXTRA: Final = "extra"
"""The tag of a run by which another worker joins the round of a scheduled one."""

LATE: Final = timedelta(seconds=60)
"""A run that has not started so long after its time does nothing that a later one does not do too."""

NEVER_BEGAN: Final = timedelta(seconds=SILENT_SECONDS)
"""A run that a worker took and that has not begun so long after its time has lost its worker."""


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


async def _count_workers(client: PrefectClient, pool: str | None) -> int:
    if pool is None:
        return 0
    workers = await client.read_workers_for_work_pool(pool)
    return sum(one.status is WorkerStatus.ONLINE for one in workers)


async def skip_late_runs() -> None:
    """End late runs of this deployment, as after an outage or of a dead worker: this run finds what was due."""
    deployed = _deployed_run()
    if deployed is None:
        return
    ours = DeploymentFilter(id=DeploymentFilterId(any_=[deployed[1]]))
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
