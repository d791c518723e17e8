"""The environment of child processes: our settings and Prefect's, and nothing that calls out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from sqlalchemy.engine import make_url

from nurture.settings import PREFIX, Settings

DAYS_KEPT: Final = 14
"""How long the Prefect server of one machine keeps flow runs; ours are some 4,300 a day."""

_SERVER: Final = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(DAYS_KEPT * 86_400),
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",  # else its many writes lock others out
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",  # the server keeps the rest
}


def home_of(settings: Settings) -> Path:
    """Return the folder where one machine keeps Prefect's own database and its logs, beside ours."""
    url = make_url(settings.database_url.get_secret_value())
    beside = Path(url.database).parent if url.get_backend_name() == "sqlite" and url.database else Path()
    return (beside / ".nurture").absolute()


def environment(settings: Settings, home: Path, port: int) -> dict[str, str]:
    """Return what a child finds in its environment: *settings*, and the Prefect server on this *port*."""
    theirs = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", PREFIX))}
    return (
        theirs
        | _nurture(settings)
        | _SERVER
        | {
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(port),
        }
    )


def _nurture(settings: Settings) -> dict[str, str]:
    """Return the settings as variables, paths made absolute: flow runs may start in another folder."""
    texts = {PREFIX + name.upper(): _text(value) for name, value in settings if value is not None}
    url = make_url(settings.database_url.get_secret_value())
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(Path(url.database).absolute()))
    texts[PREFIX + "DATABASE_URL"] = url.render_as_string(hide_password=False)
    return texts


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value.absolute() if isinstance(value, Path) else value)
