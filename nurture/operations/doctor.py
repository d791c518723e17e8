"""The doctor: independent checks that say whether an installation can send."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Thread
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from nurture.clock import Clock
from nurture.crm.base import Crm
from nurture.db import schema
from nurture.db.engine import Database
from nurture.db.transaction import Transaction
from nurture.errors import DatabaseUnavailable, NurtureError
from nurture.journey.leads import consent_queries
from nurture.mail.providers.base import Provider
from nurture.mail.providers.registry import PROVIDERS
from nurture.mail.providers.spec import ProviderSpec
from nurture.settings import Settings

CHECKS_TIMEOUT: Final = 30.0
"""Seconds that all checks together may take; they run in parallel."""

_SHORTEST_SECRET: Final = 4

CheckState = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The finding of a check, and its remedy."""

    check: str
    state: CheckState
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class DoctorContext:
    """What the checks need. *health_path* is the path of our health endpoint; without *make_crm*, no CRM is checked."""

    settings: Settings
    clock: Clock
    make_provider: Callable[[], Provider]
    health_path: str
    prefect_url: str
    make_crm: Callable[[], Crm | None] | None = None

    @property
    def provider_spec(self) -> ProviderSpec[Any]:
        """Return what is known of the provider in the settings."""
        return PROVIDERS[self.settings.provider]

    @property
    def is_live(self) -> bool:
        """Return whether email leaves this machine."""
        return self.provider_spec.folder is None

    @contextmanager
    def open_database(self) -> Iterator[Database]:
        """Open the database. Raises DatabaseUnavailable; a missing SQLite file is not created."""
        database = Database(self.settings.database_url.get_secret_value())
        try:
            if database.is_missing:
                raise DatabaseUnavailable(f"There is no {database.name} yet. `nurture init` creates it.")
            yield database
        finally:
            database.close()

    @contextmanager
    def read_database(self) -> Iterator[Transaction]:
        """Open a read transaction of a database whose tables are current. Raises Misconfigured if they are not."""
        with self.open_database() as database:
            schema.require_current(database)
            with database.read() as tx:
                yield tx


def acknowledge(setup: DoctorContext) -> None:
    """Acknowledge the fields that may be opt-outs, so that they are not shown again."""
    with setup.open_database() as database:
        schema.require_current(database)
        with database.write() as tx:
            consent_queries.acknowledge_unclear_fields(tx, setup.clock.now())


Check = Callable[[DoctorContext], Sequence[CheckResult]]


def run_checks(
    setup: DoctorContext, checks: Sequence[tuple[str, Check]], timeout: float = CHECKS_TIMEOUT
) -> list[CheckResult]:
    """Run *checks* (name, check) in parallel for at most *timeout* seconds; return the findings in their order.

    A check that fails or hangs becomes a finding. Secrets are masked in all findings.
    """
    running = [(name, _start(check, setup)) for name, check in checks]
    wait([future for _, future in running], timeout=timeout)
    secrets = _secrets(setup.settings)
    found = [one for name, future in running for one in _collect(name, future, timeout)]
    return [replace(one, message=_mask(one.message, secrets), remedy=_mask(one.remedy, secrets)) for one in found]


def can_send(findings: Sequence[CheckResult]) -> bool:
    """Return whether no finding is a failure."""
    return all(one.state != "failed" for one in findings)


def _start(check: Check, setup: DoctorContext) -> Future[Sequence[CheckResult]]:
    """Run *check* in a daemon thread: it may never end."""
    future: Future[Sequence[CheckResult]] = Future()

    def run() -> None:
        try:
            future.set_result(check(setup))
        except BaseException as error:  # noqa: BLE001 - reported as a finding
            future.set_exception(error)

    Thread(target=run, name="doctor", daemon=True).start()
    return future


def _collect(name: str, future: Future[Sequence[CheckResult]], timeout: float) -> Sequence[CheckResult]:
    if not future.done():
        found = f"this check did not end within {timeout:g} seconds"
        return [
            CheckResult(name, "failed", found, "Check whether the service that it calls is overloaded, and try again.")
        ]
    error = future.exception()
    match error:
        case None:
            return future.result()
        case DatabaseUnavailable() if name != "database":
            return [CheckResult(name, "warning", "cannot be checked without the database")]
        case NurtureError():
            return [CheckResult(name, "failed", str(error))]
        case _:
            found = f"this check itself failed with {type(error).__name__}: {error}"
            return [CheckResult(name, "failed", found, "Please report it with this line.")]


def _secrets(settings: Settings) -> list[str]:
    """Return all secrets in the settings, longest first."""
    found: set[str] = set()
    for text in (value.get_secret_value().strip() for _, value in settings if isinstance(value, SecretStr)):
        try:
            password = (urlsplit(text).password or "") if "://" in text else text
        except ValueError:
            password = text
        found |= {password, unquote(password)}
    for notify_url in settings.notify_urls.values():
        found |= {notify_url.get_secret_value(), notify_url.get_secret_value().partition("://")[2]}
    return sorted((one for one in found if len(one) >= _SHORTEST_SECRET), key=len, reverse=True)


def _mask(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
