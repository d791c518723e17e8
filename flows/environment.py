"""Build the environment of child processes: nurture's settings, and a locked Prefect server without telemetry."""

import os
from collections.abc import Mapping
from pathlib import Path
from secrets import token_urlsafe
from typing import Final

from pydantic import SecretStr
from sqlalchemy.engine import make_url

from flows.child_processes import CLIENT_SECRET, SERVER_SECRET
from nurture.console.settings import CONSOLE_SETTINGS
from nurture.errors import Misconfigured
from nurture.settings import Settings
from nurture.settings_model import ENV_PREFIX, variable_name

_SERVICES: Final = "PREFECT_SERVER_SERVICES_"
_IDLE_SERVICES: Final = (
    "CANCELLATION_CLEANUP_LOOP_SECONDS",
    "CLEANUP_RECONCILER_LOOP_SECONDS",
    "PAUSE_EXPIRATIONS_LOOP_SECONDS",
    "REPOSSESSOR_LOOP_SECONDS",
    "SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS",
)
"""Services of the server that would otherwise look every 5 to 20 seconds for work that hardly ever exists here."""

_DEFAULTS: Final = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",  # smaller ones lock out other writers
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    **dict.fromkeys((_SERVICES + name for name in _IDLE_SERVICES), "60"),
    _SERVICES + "FOREMAN_ENABLED": "false",  # for workers of work pools, of which there is none
    _SERVICES + "LATE_RUNS_ENABLED": "false",  # the loop looks for runs every 20 seconds
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT30S",
    "MALLOC_ARENA_MAX": "2",  # the C library of Linux keeps less memory that its threads no longer use
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",  # the server keeps the rest
}

_ORIGINS: Final = "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"
_PREFERRED_NAMES: Final = {
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": _ORIGINS,
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED",
    "PREFECT_UI_API_URL": "PREFECT_SERVER_UI_API_URL",
}
"""Aliases of settings that we also set, and the name that Prefect reads first."""
_PREFERRED_PREFIXES: Final = {
    "PREFECT_API_SERVICES_": _SERVICES,
    "PREFECT_EVENTS_": "PREFECT_SERVER_EVENTS_",
}
"""The same for the first part of names."""

_DATABASE: Final = ("CONNECTION_URL", "DRIVER", "HOST", "PORT", "USER", "NAME", "PASSWORD")
_FORBIDDEN: Final = frozenset(
    {
        "PREFECT_API_KEY",
        "PREFECT_PROFILE",
        "PREFECT_PROFILES_PATH",
        "PREFECT_SERVER_API_BASE_PATH",
        *(f"PREFECT_{part}_DATABASE_{name}" for part in ("SERVER", "API") for name in _DATABASE),
        *("PREFECT_API", "PREFECT_CLIENT", "PREFECT_SERVER"),  # JSON of many settings
        *("PREFECT_SERVER_API", "PREFECT_SERVER_DATABASE", "PREFECT_SERVER_UI"),
    }
)
"""Settings that point to another server or database, whose runs `flows.setup` would end."""


def build_environment(
    settings: Settings, home: Path, port: int, operator_environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment of the children: *settings*, and a locked Prefect server on *port*.

    Prefect settings in *operator_environment* are kept. The server's secret is set for the server and for its
    clients; it is new unless the operator sets one. Raises Misconfigured for a setting that would unlock it.
    """
    return (
        _other_variables()
        | nurture_variables(settings)
        | _DEFAULTS
        | {_SERVICES + "DB_VACUUM_RETENTION_PERIOD": str(settings.keep_runs * 86_400)}
        | _lock_settings(home, port, prefect_settings(operator_environment))
    )


def build_console_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the console: without Prefect's variables, and without secrets but the database's."""
    wanted = {variable_name(name) for name in CONSOLE_SETTINGS}
    own = {name: value for name, value in nurture_variables(settings).items() if name in wanted}
    return _other_variables() | own


def _other_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", ENV_PREFIX))}


def prefect_settings(environment_variables: Mapping[str, str]) -> dict[str, str]:
    """Return the Prefect variables that the operator has set."""
    return {
        name: value.strip()
        for name, value in environment_variables.items()
        if name.upper().startswith("PREFECT_") and value.strip()
    }


def _lock_settings(home: Path, port: int, operator_settings: dict[str, str]) -> dict[str, str]:
    """Return the operator's variables plus those that allow only our children to call the server."""
    # Prefect reads names in any case, and of two aliases the preferred one.
    names = {_preferred_name(name.upper()): name for name in sorted(operator_settings, reverse=True)}
    operator = {preferred: operator_settings[name] for preferred, name in names.items()}
    origin = f"http://127.0.0.1:{port}"
    secret = operator.get(SERVER_SECRET) or f"nurture:{token_urlsafe(24)}"
    origins = [one.strip() for one in operator.pop(_ORIGINS, "").split(",") if one.strip()]
    required = {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"{origin}/api",
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true",
        SERVER_SECRET: secret,
        CLIENT_SECRET: secret,
    }
    conflicts = {
        name
        for name, value in operator.items()
        if name in _FORBIDDEN or required.get(name, value) not in (value, _normalize_boolean(value))
    }
    if any("*" in one for one in origins):
        conflicts.add(_ORIGINS)
    if not secret.isascii():
        conflicts.add(SERVER_SECRET)
    if conflicts:
        raise Misconfigured(_conflict_message(sorted(names[name] for name in conflicts), port))
    return {"PREFECT_SERVER_UI_API_URL": "/api"} | operator | required | {_ORIGINS: ",".join([origin, *origins])}


def _preferred_name(name: str) -> str:
    """Return the name under which Prefect looks first for the setting *name*."""
    for alias, preferred in _PREFERRED_PREFIXES.items():
        if name.startswith(alias):
            return preferred + name.removeprefix(alias)
    return _PREFERRED_NAMES.get(name, name)


def _normalize_boolean(value: str) -> str:
    return "true" if value.lower() in ("1", "on", "t", "true", "y", "yes") else value


def _conflict_message(names: list[str], port: int) -> str:
    listed = ", ".join(names)
    return (
        f"`nurture up` runs its own Prefect server on 127.0.0.1, port {port}, locked by a secret, and "
        f"does not accept {listed} as set. Unset {'it' if len(names) == 1 else 'them'}. NURTURE_PREFECT_PORT "
        f"moves the server, {SERVER_SECRET} (ASCII) sets its secret, {_ORIGINS} names further origins "
        "(not *); for a server elsewhere see `Several machines` in docs/operators.md."
    )


def nurture_variables(settings: Settings) -> dict[str, str]:
    """Return the settings as variables, with absolute paths: flow runs may start in another folder."""
    texts = {variable_name(name): _text(value) for name, value in settings if value is not None}
    url = make_url(settings.database_url.get_secret_value())
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(Path(url.database).absolute()))
    texts[ENV_PREFIX + "DATABASE_URL"] = url.render_as_string(hide_password=False)
    return texts


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value.absolute() if isinstance(value, Path) else value)
