"""Create what running needs: tables, starter templates, Prefect's work pool and limits. Safe to run again."""

import shutil
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate, WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings
from prefect.states import Crashed
from prefect.types import DateTime

from flows.deployments import DEAD_RUNS, SILENT_SECONDS, TAG, WORK_POOL, WORKER_GONE
from nurture.app import open_app
from nurture.clock import RealClock
from nurture.errors import FileUnreadable
from nurture.publishing.starters import write_starters
from nurture.settings import SHIPPED_SCHEDULES, STARTER_TEMPLATES, Settings

NEXT_HERE = "Next: `nurture publish` puts the tracks to work, `nurture up` runs everything on this machine."
UNREACHABLE_SERVER = (
    "Prefect: skipped, {url} does not answer ({error}). Start the server that PREFECT_API_URL names "
    "(`prefect server start`) and run this again."
)
LOCKED_SERVER = (
    "Prefect: skipped, {url} asks for a secret. Set PREFECT_API_AUTH_STRING to what its server has in "
    "PREFECT_SERVER_API_AUTH_STRING, and run this again."
)


def clear_stale_runs(client: SyncPrefectClient) -> tuple[int, int]:
    """Mark dead runs as crashed, delete late runs, release all slots; return both counts.

    Runs that died with an earlier server of `nurture up` would stay "running" and hold their flow's only slot.
    Nothing is lost: all state is in nurture's database, and the next run of each flow catches up.
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


def init(settings: Settings, starters: Sequence[str] = ()) -> list[str]:
    """Create what is missing, add *starters* to the templates, and return a line per item.

    Prefect's items are for work pools: made only if PREFECT_API_URL is set, and skipped, with a line that says so,
    while that server does not respond.
    """
    with open_app(settings, upgrade=True) as app:
        app.ctx.open_all()  # creates the mailbox, and finds faulty keys and URLs
        lines = [f"Database {app.database.name}: ready"]
    folder = Path("templates") if settings.templates in STARTER_TEMPLATES else settings.templates
    shipped = next(one for one in STARTER_TEMPLATES if one.is_dir())
    lines.append(_write_templates(folder, shipped))
    return [*lines, *write_starters(folder, shipped, starters), *_set_up_prefect()]


def _write_templates(wanted: Path, starters: Path) -> str:
    if wanted.is_dir():
        return f"Folder {wanted}: there already, unchanged"
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        # All or nothing: rename the complete copy, or drop it with its temporary folder.
        with TemporaryDirectory(dir=wanted.parent, prefix=f".{wanted.name}-") as partial:
            shutil.copytree(starters, Path(partial, "templates")).rename(wanted)
    except OSError as error:
        raise FileUnreadable(f"The folder {wanted} cannot be written: {error.strerror}.") from error
    return f"Folder {wanted}: starter tracks and policy written, to edit"


def _set_up_prefect() -> list[str]:
    url = get_current_settings().api.url
    if not url:
        return [NEXT_HERE]
    with get_client(sync_client=True) as client:
        health_error = client.api_healthcheck()
        if health_error is not None:
            return [UNREACHABLE_SERVER.format(url=url, error=type(health_error).__name__)]
        try:
            lines = [ensure_pool(client), ensure_dead_runs(client)]
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.UNAUTHORIZED:
                raise
            return [LOCKED_SERVER.format(url=url)]
    schedules = Path("prefect.yaml").absolute()
    is_there = schedules.exists()
    if not is_there:  # as after an installation from a package
        shutil.copyfile(next(one for one in SHIPPED_SCHEDULES if one.is_file()), schedules)
    lines.append(f"Schedules {schedules}: {'there already' if is_there else 'written'}")
    deploy = "Next, in the folder of the schedules: `prefect --no-prompt deploy --all`"
    return [*lines, f"{deploy}; then on each machine `prefect worker start --pool {WORK_POOL} --limit 8`"]


def ensure_pool(client: SyncPrefectClient) -> str:
    """Create the work pool of prefect.yaml if there is none."""
    try:
        kind = client.read_work_pool(WORK_POOL).type
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
        return f"Work pool {WORK_POOL}: created"
    return f"Work pool {WORK_POOL}: there already (type {kind})"


def ensure_dead_runs(client: SyncPrefectClient) -> str:
    """Create the automation that ends runs whose worker is gone; one that was changed in Prefect's UI is kept."""
    if client.read_automations_by_name(DEAD_RUNS):
        return f"Automation {DEAD_RUNS}: there already"
    alive = {f"prefect.flow-run.{name}" for name in ("heartbeat", "Pending", "Submitting", "Running")}
    ended = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut")}
    trigger = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification(
            {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
        ),
        for_each={"prefect.resource.id"},
        after=alive,
        expect=alive | ended | {"prefect.flow-run.Skipped"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=SILENT_SECONDS),
    )
    gone = ChangeFlowRunState(name=None, force=False, state=StateType.CRASHED, message=WORKER_GONE)
    client.create_automation(
        AutomationCore(
            name=DEAD_RUNS,
            description="Ends flow runs of nurture that no longer send heartbeats, because their worker is gone.",
            trigger=trigger,
            actions=[gone],
        )
    )
    return f"Automation {DEAD_RUNS}: created"
