"""Create what running needs: tables, starter templates, Prefect's work pool and limits. Safe to run again."""

from __future__ import annotations

import shutil
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings

from flows.deployments import SENDER_LIMIT, WORK_POOL
from nurture.app import open_app
from nurture.errors import FileUnreadable
from nurture.settings import STARTER_TEMPLATES, Settings

DEFAULT_SENDERS = 4
"""Initial slots of SENDER_LIMIT. A change made in Prefect's UI is kept."""

NO_SERVER = (
    "Prefect: skipped, PREFECT_API_URL is not set. `nurture up` needs nothing more. For work pools start a "
    "server (`prefect server start`), set PREFECT_API_URL=http://127.0.0.1:4200/api and run this again."
)
UNREACHABLE_SERVER = (
    "Prefect: skipped, {url} does not answer ({error}). Start the server that PREFECT_API_URL names "
    "(`prefect server start`) and run this again."
)
LOCKED_SERVER = (
    "Prefect: skipped, {url} asks for a secret. Set PREFECT_API_AUTH_STRING to what its server has in "
    "PREFECT_SERVER_API_AUTH_STRING, and run this again."
)


def init(settings: Settings) -> list[str]:
    """Create what is missing, and return a line per item.

    Prefect's items are skipped, with a line that says so, unless PREFECT_API_URL names a server that responds.
    """
    with open_app(settings, upgrade=True) as app:
        app.ctx.open_all()  # creates the mailbox, and finds faulty keys and URLs
        lines = [f"Database {app.database.name}: up to date"]
    lines.append(_write_templates(settings.templates))
    return lines + _set_up_prefect()


def _write_templates(folder: Path) -> str:
    wanted = Path("templates") if folder in STARTER_TEMPLATES else folder
    if wanted.is_dir():
        return f"Templates {wanted}: there already"
    starters = next(one for one in STARTER_TEMPLATES if one.is_dir())
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        # All or nothing: rename the complete copy, or drop it with its temporary folder.
        with TemporaryDirectory(dir=wanted.parent, prefix=f".{wanted.name}-") as partial:
            shutil.copytree(starters, Path(partial, "templates")).rename(wanted)
    except OSError as error:
        raise FileUnreadable(f"The folder {wanted} cannot be written: {error.strerror}.") from error
    return f"Templates {wanted}: starter templates written; `nurture publish` puts them to work"


def _set_up_prefect() -> list[str]:
    url = get_current_settings().api.url
    if not url:
        return [NO_SERVER]
    with get_client(sync_client=True) as client:
        health_error = client.api_healthcheck()
        if health_error is not None:
            return [UNREACHABLE_SERVER.format(url=url, error=type(health_error).__name__)]
        try:
            lines = [ensure_pool(client), ensure_limit(client)]
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.UNAUTHORIZED:
                raise
            return [LOCKED_SERVER.format(url=url)]
    return [*lines, "Next: `prefect --no-prompt deploy --all`, then `prefect worker start --pool " + WORK_POOL + "`"]


def ensure_pool(client: SyncPrefectClient) -> str:
    """Create the work pool of prefect.yaml if there is none."""
    try:
        kind = client.read_work_pool(WORK_POOL).type
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
        return f"Work pool {WORK_POOL}: created"
    return f"Work pool {WORK_POOL}: there already (type {kind})"


def ensure_limit(client: SyncPrefectClient) -> str:
    """Create SENDER_LIMIT if there is none; an existing one keeps its slots."""
    try:
        limit = client.read_global_concurrency_limit_by_name(SENDER_LIMIT).limit
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=SENDER_LIMIT, limit=DEFAULT_SENDERS))
        return f"Concurrency limit {SENDER_LIMIT}: created, {DEFAULT_SENDERS} slots"
    return f"Concurrency limit {SENDER_LIMIT}: there already, {limit} slots"
