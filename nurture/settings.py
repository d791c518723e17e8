"""Define the settings, read once from NURTURE_* environment variables."""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, create_model, field_validator

from nurture.crm.registry import CRMS, DEFAULT_CRM, NO_CRM
from nurture.errors import Misconfigured
from nurture.log_lines import LogFormat, LogLevel
from nurture.mail.providers.registry import DEFAULT_PROVIDER, PROVIDERS
from nurture.settings_model import (
    ENV_PREFIX,
    PERCENT_ENCODING_HINT,
    SECRET_FILE,
    Folder,
    IssuerUrl,
    SettingsModel,
    is_localhost,
    variable_name,
)

NON_SETTING_VARIABLES: Final = frozenset({"NURTURE_OLIST_DIR"})
"""Variables with this prefix that are not settings: where the tests find the Olist data set."""

FILE_SUFFIX: Final = "_FILE"
"""Ends the variable that names a file with the value of a secret setting, as containers and systemd provide them."""

THREADS: Final = "threads"
PROCESSES: Final = "processes"
"""Values of NURTURE_TASK_RUNNER besides the address of a Dask cluster."""

_DOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_NAMED_URL: Final = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)=([A-Za-z][\w+.-]*://\S+)")
_URL: Final = re.compile(r"[A-Za-z][\w+.-]*://\S+")
_DASK_ADDRESS: Final = re.compile(r"(tcp|tls|ws|wss)://[^\s/@]+:\d{1,5}")
_MAX_DOMAIN_LENGTH: Final = 200  # an address has at most 254 characters


def _list_names(names: Iterable[str]) -> str:
    return " or ".join(", ".join(names).rsplit(", ", 1))


_PROVIDER_NAMES: Final = _list_names(PROVIDERS)
_CRM_NAMES: Final = _list_names([*CRMS, NO_CRM])
_PACKAGE_DIR: Final = Path(__file__).parent
# First in the wheel, then in a clone.
STARTER_TEMPLATES: Final = (_PACKAGE_DIR / "starter", _PACKAGE_DIR.parent / "templates")
"""The templates that come with nurture; the first existing folder is used."""


@cache
def shipped_template(path: str) -> str:
    """Return a template as it comes with nurture: for definitions that were published before there was one."""
    return (next(one for one in STARTER_TEMPLATES if one.is_dir()) / path).read_text("utf-8")


SHIPPED_SCHEDULES: Final = (_PACKAGE_DIR / "prefect.yaml", _PACKAGE_DIR.parent / "prefect.yaml")
"""The schedules of the flows for work pools; the first existing file is used."""


def _default_journal_dir() -> Path:
    base = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
    try:
        return base.expanduser() / "nurture"
    except RuntimeError:  # a container may run as an account without a home
        return Path(".nurture") / "state"


def _default_templates() -> Path:
    local_templates = Path("templates")
    return next((folder for folder in (local_templates, *STARTER_TEMPLATES) if folder.is_dir()), local_templates)


_ZERO_IS_FOREVER: Final = "0 keeps them forever."


class CommonSettings(SettingsModel):
    """The settings that belong to no provider and no CRM."""

    database_url: SecretStr = Field(
        default=SecretStr("sqlite:///nurture.db"),
        description="The database: `sqlite:///FILE`, or `postgresql://USER:PASSWORD@HOST/NAME` "
        "(PostgreSQL 15 or newer).",
    )
    templates: Folder = Field(
        default_factory=_default_templates,
        json_schema_extra={"default": "templates"},
        description="The folder of tracks, emails, layouts and the sales policy. "
        "Without a folder `templates` here, the starter templates that come with nurture.",
    )
    provider: str = Field(
        default=DEFAULT_PROVIDER,
        description=f"The email provider: {_PROVIDER_NAMES}. `maildir` writes files and mails nobody.",
    )
    base_url: str | None = Field(
        default=None,
        description="The public URL of the web application, such as `https://nurture.example.com`. "
        "Without it emails contain no links to it, and say how to reply instead.",
    )
    track_clicks: bool = Field(
        default=True, description="Track clicks: links in emails redirect through NURTURE_BASE_URL: yes or no."
    )
    honeypot: bool = Field(
        default=True, description="Add a link to emails that no reader sees; only machines follow it: yes or no."
    )
    spool: Folder = Field(
        default=Path("spool"),
        description="The folder that buffers clicks while the database is busy; it is emptied automatically.",
    )
    journal_dir: Folder = Field(
        default_factory=_default_journal_dir,
        json_schema_extra={"default": "~/.local/state/nurture"},
        description="A private folder of this machine, kept apart from the database and its backups: opt-outs, "
        "and data to detect a restored or copied database.",
    )
    reply_domain: str | None = Field(
        default=None,
        description="The domain whose incoming mail nurture receives, such as `in.example.com`. Touches then have "
        "a Reply-To of `reply+...` at it, and by SMTP bounces of all email are returned there; without it replies go "
        "to the sender's `reply_to`.",
    )
    imap_oauth: Path | None = Field(
        default=None,
        json_schema_extra=SECRET_FILE,
        description="A JSON file with which the mailbox is opened by OAuth 2.0; the URL then has no password. "
        "See [Sign-in without a password](#sign-in-without-a-password).",
    )
    imap_url: SecretStr | None = Field(
        default=None,
        description="A mailbox in which replies arrive, read by IMAP: `imaps://USER:PASSWORD@HOST:993/INBOX`. "
        "Nothing in it is changed.",
    )
    notify: SecretStr | None = Field(
        default=None,
        description="Where reps are notified of hand-offs besides email: NAME=URL, separated by spaces, "
        "such as `slack-sales=slack://TOKEN_A/TOKEN_B/TOKEN_C`; any Apprise URL. `notify:` in the policy names them. "
        "The URLs are secret.",
    )
    alert: SecretStr | None = Field(
        default=None,
        description="Where the operator is told what stops mail, replies or hand-offs, and when it is over: "
        "Apprise URLs, separated by spaces. The URLs are secret.",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        description="The bearer token with which `/metrics` and `/health/ready` may be read from other machines; "
        "without it only from this one.",
    )
    crm: str = Field(
        default=DEFAULT_CRM,
        description=f"The CRM of sales: {_CRM_NAMES}. `csv` exchanges files in a folder, without API calls.",
    )
    web_host: str = Field(
        default="127.0.0.1", description="The address on which the web application listens, behind your proxy."
    )
    web_port: int = Field(default=8025, ge=1, le=65_535, description="The TCP port of the web application.")
    console: bool = Field(default=True, description="Serve the console as part of `nurture up`: yes or no.")
    console_host: str = Field(
        default="127.0.0.1", description="The address on which the console listens, behind your proxy."
    )
    console_port: int = Field(default=8026, ge=1, le=65_535, description="The TCP port of the console.")
    console_url: str | None = Field(
        default=None,
        description="The public URL of the console, such as `https://console.example.com`. Without it only browsers "
        "that reach it directly may use it.",
    )
    console_oidc_issuer: IssuerUrl | None = Field(
        default=None,
        description="The issuer of an OpenID Connect provider with which users sign in to the console, such as "
        "`https://login.example.com/tenant`. See [Sign-in with an organization's account](#console).",
    )
    console_oidc_client: str | None = Field(default=None, description="The client id of the console at that provider.")
    console_oidc_secret: SecretStr | None = Field(
        default=None, description="The client secret of the console at that provider."
    )
    trusted_proxies: str = Field(
        default="127.0.0.1,::1", description="The proxies whose `X-Forwarded-For` is trusted: addresses and networks."
    )
    prefect_port: int = Field(
        default=4200, ge=1, le=65_535, description="The TCP port of the Prefect server of `nurture up`."
    )
    sweep_seconds: int = Field(
        default=300,
        ge=5,
        le=86_400,
        description="How often `nurture up` runs each stage at least, in seconds; delivery every 30. "
        "What is due is done at once.",
    )
    keep_raw_events: int = Field(
        default=7, ge=0, description=f"Days for which bodies of webhook batches are kept. {_ZERO_IS_FOREVER}"
    )
    keep_events: int = Field(
        default=400,
        ge=0,
        description="Days for which events of the provider, and requests of clicks and opens, are kept; their effects "
        f"stay. {_ZERO_IS_FOREVER}",
    )
    keep_replies: int = Field(
        default=730,
        ge=0,
        description="Days for which the text of a reply is kept; its class, and the opt-out that it was, stay. "
        f"{_ZERO_IS_FOREVER}",
    )
    keep_journal: int = Field(
        default=1_825,
        ge=0,
        description="Days for which the journal keeps what the planner decided about a lead that stayed where it was; "
        f"who had a lead, hand-offs and consent stay. {_ZERO_IS_FOREVER}",
    )
    keep_runs: int = Field(
        default=14, ge=1, description="Days for which the Prefect server of `nurture up` keeps flow runs and events."
    )
    task_runner: str = Field(
        default=THREADS,
        description="Where a run on a work pool does its shards, with PostgreSQL: `threads` or `processes` of its "
        "machine, or the address of a Dask cluster, such as `tls://scheduler.example.com:8786`.",
    )
    log_format: LogFormat = Field(default="text", description="How log lines are written: `text` or `json`.")
    log_level: LogLevel = Field(
        default="warning",
        description="From which level on log lines are written: `debug`, `info`, `warning` or `error`.",
    )
    batch_size: int = Field(
        default=2_000, ge=1, le=10_000, description="How many leads one transaction of a run handles."
    )

    @classmethod
    def read(cls) -> Self:
        """Read the settings from the environment.

        Raises:
            Misconfigured: an unknown NURTURE_* variable, or an invalid value; all of them at once.
        """
        problems = list(_unknown_variables(os.environ))
        secrets, unreadable = _read_secret_files(os.environ)
        problems += unreadable
        try:
            settings = cls(**secrets)
        except ValidationError as error:
            problems += [
                _describe_problem(detail["loc"][0], detail["type"], detail.get("ctx", {})) for detail in error.errors()
            ]
        if problems:
            raise Misconfigured("\n".join(problems))
        return settings

    @field_validator("provider")
    @classmethod
    def _check_provider(cls, value: str) -> str:
        if value not in PROVIDERS:
            raise ValueError(f"it must be {_PROVIDER_NAMES}")
        return value

    @field_validator("task_runner")
    @classmethod
    def _check_task_runner(cls, value: str) -> str:
        if value not in (THREADS, PROCESSES) and not _DASK_ADDRESS.fullmatch(value):
            raise ValueError(f"it must be {THREADS}, {PROCESSES} or look like tls://scheduler.example.com:8786")
        return value

    @field_validator("crm")
    @classmethod
    def _check_crm(cls, value: str) -> str:
        if value not in (*CRMS, NO_CRM):
            raise ValueError(f"it must be {_CRM_NAMES}")
        return value

    @field_validator("reply_domain")
    @classmethod
    def _check_reply_domain(cls, value: str | None) -> str | None:
        if value is None:
            return None
        plain = value.strip().removeprefix("@").rstrip(".").lower()
        if not _DOMAIN.fullmatch(plain) or len(plain) > _MAX_DOMAIN_LENGTH:
            raise ValueError("it must look like in.example.com")
        return plain

    @field_validator("imap_url")
    @classmethod
    def _check_imap_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        url = value.get_secret_value().strip()
        if not _is_mailbox(url):
            raise ValueError(
                f"it must look like imaps://user:password@imap.example.com:993/INBOX, {PERCENT_ENCODING_HINT}"
            )
        parts = urlsplit(url)
        if parts.scheme == "imap" and not is_localhost(parts.hostname or ""):
            raise ValueError("it must begin with imaps://: the password would be sent unencrypted")
        return value

    @field_validator("notify")
    @classmethod
    def _check_notify(cls, value: SecretStr | None) -> SecretStr | None:
        named = [_NAMED_URL.fullmatch(one) for one in (value.get_secret_value() if value else "").split()]
        if not all(named) or len({found[1] for found in named if found}) < len(named):
            raise ValueError(
                "it must list NAME=URL, each name once and in lower-case letters, digits and hyphens, "
                "such as slack-sales=slack://TOKEN_A/TOKEN_B/TOKEN_C"
            )
        return value

    @field_validator("alert")
    @classmethod
    def _check_alert(cls, value: SecretStr | None) -> SecretStr | None:
        urls = (value.get_secret_value() if value else "").split()
        if not all(_URL.fullmatch(one) for one in urls):
            raise ValueError("it must list Apprise URLs, such as slack://TOKEN_A/TOKEN_B/TOKEN_C")
        return value

    @property
    def alert_urls(self) -> list[SecretStr]:
        """Return the URLs by which the operator is told."""
        return [SecretStr(one) for one in (self.alert.get_secret_value() if self.alert else "").split()]

    @property
    def notify_urls(self) -> dict[str, SecretStr]:
        """Return the URL of each notification target, by its name."""
        named = (one.partition("=") for one in (self.notify.get_secret_value() if self.notify else "").split())
        return {name: SecretStr(url) for name, _, url in named}

    @field_validator("trusted_proxies")
    @classmethod
    def _check_trusted_proxies(cls, value: str) -> str:
        named = [one.strip() for one in value.split(",") if one.strip()]
        try:
            return ",".join(str(ip_network(one)) if "/" in one else str(ip_address(one)) for one in named)
        except ValueError:
            raise ValueError("it must list addresses and networks, such as 127.0.0.1,10.0.0.0/8") from None

    @property
    def proxies(self) -> tuple[str, ...]:
        """Return the trusted proxies."""
        return tuple(one for one in self.trusted_proxies.split(",") if one)

    @property
    def state_dir(self) -> Path:
        """Return the folder of Prefect's files, logs and locks: next to the database."""
        from sqlalchemy.engine import make_url  # noqa: PLC0415 - `nurture version` does not need it

        url = make_url(self.database_url.get_secret_value())
        beside = Path(url.database).parent if url.get_backend_name() == "sqlite" and url.database else Path()
        return (beside / ".nurture").absolute()

    @field_validator("base_url", "console_url")
    @classmethod
    def _check_base_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("it must look like https://nurture.example.com")
        if parts.scheme == "http" and not is_localhost(parts.hostname):
            raise ValueError("it must begin with https://: browsers and mail programs reject other links")
        return value.strip().rstrip("/")


def _is_mailbox(url: str) -> bool:
    """Return whether it certainly is an IMAP URL: a bare @ or / in a password would make its rest the host."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("imap", "imaps") and bool(parts.hostname and parts.username)
        named = named and parts.port != 0
    except ValueError:
        return False
    return named and url.count("@") == 1 and not {"?", "#"} & set(url)


MODELS: Final[tuple[type[SettingsModel], ...]] = (
    CommonSettings,
    *(spec.settings_model for spec in (*PROVIDERS.values(), *CRMS.values())),
)

if TYPE_CHECKING:
    Settings = CommonSettings  # only the folder of a provider or CRM knows its settings
else:
    Settings = create_model("Settings", __base__=MODELS, __doc__="All settings, frozen. Read once at startup.")


def _secret_file_variables() -> dict[str, str]:
    """Return each secret setting, by the variable that may name a file with its value."""
    return {variable_name(name) + FILE_SUFFIX: name for name in Settings.model_fields if Settings.is_secret(name)}


def _read_secret_files(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return the secrets that stand in files, and what is wrong with the others."""
    secrets: dict[str, Any] = {}
    problems: list[str] = []
    for variable, name in _secret_file_variables().items():
        if not (path := environ.get(variable)):
            continue
        if environ.get(variable_name(name)):
            problems.append(f"{variable} and {variable_name(name)} are both set. Unset one of them.")
            continue
        try:
            secrets[name] = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            problems.append(f"{variable} names {path!r}, which cannot be read: {reason}.")
            continue
        if not secrets[name]:
            problems.append(f"{variable} names {path!r}, which is empty.")
    return secrets, problems


def _unknown_variables(names: Iterable[str]) -> Iterable[str]:
    known = {field.upper(): variable_name(field) for field in Settings.model_fields}
    expected = {*known.values(), *_secret_file_variables(), *NON_SETTING_VARIABLES}
    for name in sorted(names):
        if not name.upper().startswith(ENV_PREFIX) or name.upper() in expected:
            continue
        near = get_close_matches(name.upper().removeprefix(ENV_PREFIX), known, n=1)
        yield f"unknown setting {name}; " + (
            f"did you mean {known[near[0]]}?" if near else f"the settings are {', '.join(known.values())}"
        )


def _describe_problem(field: str | int, kind: str, limits: dict[str, Any]) -> str:
    """Return what is wrong with a value, without the value of a secret."""
    name = variable_name(str(field))
    requirement = {
        "int_parsing": "it must be a whole number",
        "bool_parsing": "it must be yes or no",
        "literal_error": f"it must be {limits.get('expected')}",
        "string_too_short": f"it must have at least {limits.get('min_length')} characters",
        "string_too_long": f"it must have at most {limits.get('max_length')} characters",
        "greater_than_equal": f"it must be at least {limits.get('ge')}",
        "less_than_equal": f"it must be at most {limits.get('le')}",
        "value_error": str(limits.get("error")),
    }.get(kind, "it cannot be read")
    meaning = Settings.model_fields[str(field)].description
    value = "set" if Settings.is_secret(str(field)) else f"{os.environ.get(name, '')!r}"
    return f"{name} is {value}, but {requirement}. {meaning}"
