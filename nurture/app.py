"""The composition root: settings, clock, database and provider become an AppContext."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import SecretStr

from nurture import log_lines
from nurture.clock import Clock, RealClock, VirtualClock
from nurture.crm import registry as crms
from nurture.crm.registry import CRMS, NO_CRM
from nurture.db import clock_row, schema
from nurture.db.engine import Database
from nurture.db.machine_state import Machine
from nurture.errors import InvalidState, Misconfigured
from nurture.mail.providers.registry import DEFAULT_PROVIDER, PROVIDERS
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext, Erasure
from nurture.runtime.lazy_fields import Deferred
from nurture.runtime.retention import Retention
from nurture.settings import Settings
from nurture.settings_model import is_local
from nurture.versions import require_installed

if TYPE_CHECKING:
    from nurture.crm.base import Crm
    from nurture.mail.inbound.imap import Inbox
    from nurture.mail.providers.base import Provider
    from nurture.runtime.message_kinds import MessageKind


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


@dataclass
class App:
    """Everything that a command, a flow or a page needs."""

    settings: Settings
    clock: Clock
    ctx: AppContext

    @property
    def database(self) -> Database:
        """Return the database."""
        return self.ctx.database


@contextmanager
def open_app(
    settings: Settings | None = None,
    *,
    at: datetime | None = None,
    live: bool = False,
    pages: bool = False,
    upgrade: bool = False,
) -> Iterator[App]:
    """Open the app on the database that the settings name, and close it again.

    The database decides the clock: a live one has the real one, a virtual one stands where it was left
    (*at* moves it forward; *live* refuses it; *pages* follows it while other processes move it). *upgrade* creates or
    upgrades the tables first. What reaches outside is built when it is first used, with *live* or *pages* at once, so
    that its faults stop the start.

    Raises:
        Misconfigured: a setting that the provider or the CRM needs is missing.
        InvalidState: the clock is of the other kind, or virtual while the provider mails real people.
    """
    settings = settings or Settings.read()
    log_lines.configure(settings.log_format, settings.log_level)
    if live or pages:
        require_installed()
    database = Database(settings.database_url.get_secret_value())
    database.tighten()
    try:
        if upgrade:
            schema.upgrade(database)
        else:
            schema.require_current(database)
        clock = _open_clock(database, settings.provider, at, live=live, pages=pages)
        durable = isinstance(clock, RealClock)  # a demo's mail may be lost with the power
        if durable and (database.file is not None or not database.is_sqlite):
            database.machine = make_machine(database, settings.journal_dir, clock)
        with ExitStack() as opened:
            ctx = _make_context(settings, database, opened, durable=durable)
            if live or pages:
                ctx.open_all()
            if _names_outside(settings, durable=durable):
                with suppress(Misconfigured):  # who sends says so; pages and opt-outs go on
                    quarantine.check(ctx, clock.now(), exempt=False)
            yield App(settings, clock, ctx)
    finally:
        database.close()


def make_machine(database: Database, folder: Path, clock: Clock) -> Machine:
    """Return what this machine keeps outside *database*, which is bound to the real clock.

    The suppression journal of a new database begins with it, so that it knows of everybody.
    """
    with database.read() as tx:
        database_instance = clock_row.read_installation(tx)
    assert database_instance is not None
    machine = Machine(folder, database_instance.installation_id, database_instance.salt, database.location, clock.now)
    if database_instance.generation == 0:
        with suppress(OSError):  # who needs it says so
            machine.suppression_journal.open_file()
    return machine


def _make_context(settings: Settings, database: Database, opened: ExitStack, *, durable: bool) -> AppContext:
    """Return the context; what is built of it on the way is closed with *opened*."""

    def closed_at_end(build: Callable[[], C]) -> Deferred[C]:
        def build_and_note() -> C:
            built = build()
            opened.callback(built.close)
            return built

        return Deferred(build_and_note)

    # In virtual time nothing is written to a real CRM.
    build_crm = crm_factory(settings) if durable or is_local(crms.CRMS, settings.crm) else None
    return AppContext(
        database,
        closed_at_end(provider_factory(settings, durable=durable)),
        base_url=settings.base_url or "",
        installation_id=clock_row.read_installation_id(database),
        batch_size=settings.batch_size,
        track_clicks=settings.track_clicks,
        honeypot=settings.honeypot,
        spool=settings.spool,
        templates=settings.templates,
        reply_domain=settings.reply_domain or "",
        retention=_make_retention(settings),
        inbox=Deferred(partial(_make_inbox, settings.imap_url, settings.imap_oauth))
        if settings.imap_url is not None
        else None,
        notifiers=Deferred(partial(_make_notifiers, settings)) if durable else None,
        crm=closed_at_end(build_crm) if build_crm is not None else None,
        message_kinds=Deferred(load_message_kinds),
        erasures=Deferred(_load_erasures),
    )


def _make_retention(settings: Settings) -> Retention:
    days = (settings.keep_raw_events, settings.keep_events, settings.keep_replies, settings.keep_journal)
    return Retention(*(timedelta(days=kept) if kept else None for kept in days))


def _names_outside(settings: Settings, *, durable: bool) -> bool:
    """Return whether the settings name a provider, CRM or notifier outside this machine."""
    names = [settings.provider, *([settings.crm] if settings.crm != NO_CRM else []), *settings.notify_urls]
    return durable and not all(quarantine.is_local(name) for name in names)


# The imports below stand in functions: each loads a library that takes up to half a second, and a command needs
# at most one of them.


def make_provider(settings: Settings, *, durable: bool) -> Provider:
    """Return the email provider. Raises Misconfigured when its settings are not complete."""
    return provider_factory(settings, durable=durable)()


def make_crm(settings: Settings) -> Crm | None:
    """Return the CRM, None if there is none. Raises Misconfigured if settings are missing."""
    build = crm_factory(settings)
    return build() if build is not None else None


def provider_factory(settings: Settings, *, durable: bool) -> Callable[[], Provider]:
    """Return what builds the mail provider. Raises Misconfigured when its settings are not complete."""
    spec = PROVIDERS[settings.provider]
    spec.require_settings(settings)
    return partial(spec.build, settings, durable)


def _make_inbox(url: SecretStr, oauth: Path | None) -> Inbox:
    from nurture.mail.inbound.imap import Inbox  # noqa: PLC0415

    return Inbox(url, oauth)


def _make_notifiers(settings: Settings) -> Mapping[str, Provider]:
    """Return the notifiers that the settings name."""
    from nurture.mail.notifiers.apprise_notifier import AppriseNotifier  # noqa: PLC0415

    return {name: AppriseNotifier(name, url) for name, url in settings.notify_urls.items()}


def make_alert_notifiers(settings: Settings) -> Sequence[Provider]:
    """Return what tells the operator of problems."""
    from nurture.mail.notifiers.apprise_notifier import AppriseNotifier  # noqa: PLC0415

    urls = enumerate(settings.alert_urls, 1)
    return [AppriseNotifier(f"alert {number}", url, "NURTURE_ALERT") for number, url in urls]


def load_message_kinds() -> Mapping[str, MessageKind]:
    """Return every kind of message that can be sent, by name."""
    from nurture.journey.message_kinds import MESSAGE_KINDS  # noqa: PLC0415

    return MESSAGE_KINDS


def _load_erasures() -> Sequence[Erasure]:
    from nurture.journey.erasures import ERASURES  # noqa: PLC0415

    return ERASURES


def crm_factory(settings: Settings) -> Callable[[], Crm] | None:
    """Return what builds the CRM of sales, None if there is none. Raises Misconfigured if settings are missing."""
    if settings.crm == NO_CRM:
        return None
    spec = CRMS[settings.crm]
    spec.require_settings(settings)
    return partial(spec.build, settings)


def _open_clock(database: Database, provider: str, at: datetime | None, *, live: bool, pages: bool) -> Clock:
    mode = clock_row.read_mode(database)
    if mode == "virtual":
        if live:
            raise InvalidState(
                f"The database {database.name} lives in virtual time: a demo or a practice made it. "
                "Name another database in NURTURE_DATABASE_URL for real work."
            )
        _require_local_provider(database, provider, "lives in virtual time: a demo or a practice made it")
        database.skip_sync()
        if pages:
            return clock_row.StoredClock(database)
        clock = VirtualClock(clock_row.read_virtual_now(database))
        if at is not None:
            clock.advance_to(at)
        return clock
    if at is not None:
        if mode is None:  # before it is bound: it stays as new as it is
            _require_local_provider(database, provider, "is new, and would live in virtual time for good")
        clock_row.bind_mode(database, "virtual", at)
        database.skip_sync()
        return VirtualClock(at)
    real = RealClock()
    clock_row.bind_mode(database, "live", real.now())
    return real


def _require_local_provider(database: Database, provider: str, reason: str) -> None:
    """Refuse what would send a year's mail to real people in a minute."""
    if not is_local(PROVIDERS, provider):
        raise InvalidState(
            f"The database {database.name} {reason}, and NURTURE_PROVIDER is {provider}, which mails people. "
            f"Set NURTURE_PROVIDER={DEFAULT_PROVIDER}, or name another database in NURTURE_DATABASE_URL."
        )
