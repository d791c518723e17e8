"""Clear stale runs of an earlier server of `nurture up`: runs that died with it, and late scheduled runs.

A run that stays "running" would hold its flow's only slot. Nothing is lost: all state is in nurture's database,
and the next run of each flow catches up.
"""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed
from prefect.types import DateTime

from nurture.clock import RealClock


def clear_stale_runs(client: SyncPrefectClient) -> tuple[int, int]:
    """Mark dead runs as crashed, delete late runs, release all slots; return both counts.

    Only for our own server, before any flow runs on it.
    """
    alive = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    dead = 0
    while runs := client.read_flow_runs(flow_run_filter=_in_state(alive), limit=200):
        for run in runs:
            client.set_flow_run_state(run.id, Crashed(message="nurture stopped while this ran."), force=True)
        dead += len(runs)
    late = 0
    missed = _in_state([StateType.SCHEDULED])
    missed.expected_start_time = FlowRunFilterExpectedStartTime(before_=DateTime.instance(RealClock().now()))
    while runs := client.read_flow_runs(flow_run_filter=missed, limit=200):
        for run in runs:
            client.delete_flow_run(run.id)
        late += len(runs)
    for limit in client.read_global_concurrency_limits(limit=200):
        if limit.active_slots:
            client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=0))
    return dead, late


def _in_state(types: list[StateType]) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)))
