"""Say whether a set-up can send: check by check, none of which can stop or hide another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Thread
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from nurture.clock import Clock
from nurture.crm.base import Crm
from nurture.db.engine import Database
from nurture.errors import DatabaseUnusable, NurtureError
from nurture.mail.providers.base import Provider
from nurture.settings import Settings

PATIENCE: Final = 30.0
"""How many seconds all checks together may take; they run side by side."""

_SHORTEST_SECRET: Final = 4

State = Literal["ok", "warning", "fails"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what a person can do about it."""

    check: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class SetUp:
    """What is examined, and how.

    *provider* builds the provider, *crm* the CRM (None: it is not looked at), *health* is the path on which
    our pages say that they run, *prefect* the address of Prefect's API.
    """

    settings: Settings
    clock: Clock
    provider: Callable[[], Provider]
    health: str
    prefect: str
    crm: Callable[[], Crm | None] | None = None

    @property
    def for_real(self) -> bool:
        """Say whether mail leaves this machine."""
        return self.settings.provider != "mailbox"

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Open the database. Raises DatabaseUnusable; a file that is not there is not made."""
        database = Database(self.settings.database_url.get_secret_value())
        try:
            if database.is_missing:
                raise DatabaseUnusable(f"There is no {database.name} yet. `nurture admin init` creates it.")
            yield database
        finally:
            database.close()


Check = Callable[[SetUp], Sequence[Finding]]


def examine(setup: SetUp, checks: Sequence[tuple[str, Check]], patience: float = PATIENCE) -> list[Finding]:
    """Run *checks* (name, check) side by side, for *patience* seconds; return their findings in their order.

    A check that fails or hangs is a finding itself. No finding holds a secret.
    """
    running = [(name, _begun(check, setup)) for name, check in checks]
    wait([future for _, future in running], timeout=patience)
    secrets = _secrets(setup.settings)
    found = [one for name, future in running for one in _findings(name, future, patience)]
    return [
        replace(one, found=_hidden(one.found, secrets), remedy=_hidden(one.remedy, secrets)) for one in found
    ]


def can_send(findings: Sequence[Finding]) -> bool:
    """Say whether nothing stands in the way."""
    return all(one.state != "fails" for one in findings)


def _begun(check: Check, setup: SetUp) -> Future[Sequence[Finding]]:
    """Run *check* in a thread that nobody waits for at the end: it may never end."""
    future: Future[Sequence[Finding]] = Future()

    def run() -> None:
        try:
            future.set_result(check(setup))
        except BaseException as error:  # noqa: BLE001 - it is said in the finding
            future.set_exception(error)

    Thread(target=run, name="doctor", daemon=True).start()
    return future


def _findings(name: str, future: Future[Sequence[Finding]], patience: float) -> Sequence[Finding]:
    if not future.done():
        found = f"this check did not end within {patience:g} seconds"
        return [Finding(name, "fails", found, "See whether what it asks is overloaded, and try again.")]
    error = future.exception()
    match error:
        case None:
            return future.result()
        case DatabaseUnusable() if name != "database":
            return [Finding(name, "warning", "cannot be looked at without the database")]
        case NurtureError():
            return [Finding(name, "fails", str(error))]
        case _:
            found = f"this check failed itself, with {type(error).__name__}: {error}"
            return [Finding(name, "fails", found, "Please report it with this line.")]


def _secrets(settings: Settings) -> list[str]:
    """Return everything that no screen may show, the longest first."""
    found: set[str] = set()
    if settings.sendgrid_key is not None:
        found.add(settings.sendgrid_key.get_secret_value().strip())
    found |= {one.get_secret_value() for one in (settings.salesforce_secret, settings.hubspot_token) if one}
    for url in (settings.smtp_url, settings.database_url):
        if url is None:
            continue
        try:
            password = urlsplit(url.get_secret_value()).password or ""
        except ValueError:
            password = url.get_secret_value()
        found |= {password, unquote(password)}
    for place in settings.places.values():
        found |= {place.get_secret_value(), place.get_secret_value().partition("://")[2]}
    return sorted((one for one in found if len(one) >= _SHORTEST_SECRET), key=len, reverse=True)


def _hidden(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
