"""Doctor checks of the installation: database, clock, definitions, sending pauses, unknown deliveries; the machine."""

import os
import platform
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Final

from nurture.crm import registry as crms
from nurture.db import clock_row, schema
from nurture.db.engine import Database
from nurture.definitions import folder, read_all
from nurture.definitions.policy.queues import QUEUES_EXAMPLE
from nurture.domain.delivery.stops import StopAction, start_command
from nurture.domain.lead import Queue
from nurture.domain.planning.program import Program, Sender
from nurture.errors import NurtureError
from nurture.files import find_exposed
from nurture.journey.delivery import queries
from nurture.journey.delivery.send_checks import sender_domain
from nurture.journey.leads import stop_queries
from nurture.journey.tracks.touch_email import sender_address
from nurture.mail.providers.registry import DEFAULT_PROVIDER, PROVIDERS
from nurture.mail.rendering.render import Address, CompositionFailed
from nurture.operations.doctor import CheckResult, CheckState, DoctorContext
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.lease_queue import LEASE
from nurture.runtime import quarantine
from nurture.runtime.published import Definitions, PublishedDefinitions
from nurture.settings_model import local_folders
from nurture.versions import INSTALL_HINT, unmet_requirements

_MAX_CLOCK_SKEW: Final = timedelta(seconds=5)
"""A larger difference to the database server's clock is reported."""

_PUBLISH: Final = "Correct it in templates/, then run `nurture check` and `nurture publish`."

_OTHER_DATABASE: Final = "Name another database in NURTURE_DATABASE_URL for real work."

_DEMO_DATABASE: Final = f"For the demo's, set NURTURE_PROVIDER={DEFAULT_PROVIDER}."

_MOST: Final = 1_000
"""How many exposed files are counted; more is "1,000 or more"."""

ROOT_WARNING: Final = "nurture runs as root: give it an account of its own."


def check_database(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check that the database answers, has current tables and can be written."""
    with setup.open_database() as db:
        schema.require_current(db)
        clock_row.require_writable(db)
        found = f"{db.name}: answers, can be written, tables are current ({schema.head()})"
        if db.is_sqlite:
            with db.read() as tx:
                mode = tx.exec_driver_sql("PRAGMA journal_mode").scalar_one()
            if mode not in ("wal", "memory"):
                remedy = "Move the file to a disk of this machine: WAL does not work in network folders."
                return [CheckResult("database", "warning", f"{found}, but its journal mode is {mode}", remedy)]
            found += ", WAL"
    return [CheckResult("database", "ok", found)]


def check_clock(setup: DoctorContext) -> Sequence[CheckResult]:
    """Compare this machine's clock with the newest time in the database and with the database server."""
    now = setup.clock.now()
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    with setup.read_database() as tx:
        clock_state = clock_row.read_installation(tx)
        skew = timedelta() if tx.is_sqlite else abs(clock_row.read_server_time(tx) - setup.clock.now())
    if clock_state is not None and clock_state.mode == "virtual":
        found = f"virtual: a demo or a practice is at {clock_state.seen_at:%Y-%m-%d %H:%M} UTC"
        if setup.is_live:
            found += f", so commands refuse to use it while NURTURE_PROVIDER is {setup.settings.provider}"
            return [CheckResult("clock", "failed", found, f"{_OTHER_DATABASE} {_DEMO_DATABASE}")]
        return [CheckResult("clock", "warning", f"{found}; no email is sent automatically", _OTHER_DATABASE)]
    if clock_state is not None and now < clock_state.seen_at - clock_row.TOLERANCE:
        found = f"{shown}, but the newest time in the database is {clock_state.seen_at:%Y-%m-%d %H:%M:%S}"
        return [CheckResult("clock", "failed", found, "Correct the system clock.")]
    if skew > _MAX_CLOCK_SKEW:
        found = f"{shown}, {skew.total_seconds():.0f} seconds apart from the database server"
        state: CheckState = "failed" if skew > LEASE else "warning"
        return [CheckResult("clock", state, found, "Synchronize both machines' clocks by NTP.")]
    first = "" if clock_state is not None else "; nothing has run in this database yet"
    return [CheckResult("clock", "ok", f"live, {shown}{first}")]


def check_published(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check that tracks are published and that each sender has a name, an address and a postal address."""
    definitions = _find_definitions(setup)
    if definitions is None or not definitions.programs:
        remedy = "Run `nurture check`, then `nurture publish`."
        return [CheckResult("tracks", "failed", "no track is published", remedy)]
    names = sorted(definitions.programs)
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    many = "1 track is" if len(names) == 1 else f"{len(names)} tracks are"
    found = [CheckResult("tracks", "ok", f"{many} published: {listed}"), *_check_senders(definitions)]
    return [*found, *_check_confirmations(setup, definitions)]


def _check_confirmations(setup: DoctorContext, definitions: Definitions) -> Iterable[CheckResult]:
    """Check that leads who have to confirm their consent can be asked."""
    if definitions.sending.confirm:
        waiting = f"leads of {', '.join(sorted(definitions.sending.confirm))} wait to confirm their consent: "
        if setup.settings.base_url is None:
            yield CheckResult("consent", "failed", f"{waiting}no public URL is set", "Set NURTURE_BASE_URL.")
        with setup.read_database() as tx:
            has_email = PublishedDefinitions().has_email(tx, definitions.policy.version, folder.CONFIRM)
        if not has_email:
            found = f"{waiting}the policy in force has no templates/{folder.CONFIRM}"
            yield CheckResult("consent", "failed", found, "Approve the newest policy: `nurture policy approve`.")


def _find_definitions(setup: DoctorContext) -> Definitions | None:
    with setup.read_database() as tx:
        return PublishedDefinitions().find_current(tx)


def _check_senders(definitions: Definitions) -> Iterable[CheckResult]:
    by_sender: dict[Sender, list[str]] = {}
    for name, program in sorted(definitions.programs.items()):
        by_sender.setdefault(program.sender, []).append(name)
    senders_to_leads = set(by_sender)
    by_sender.setdefault(definitions.policy.sender, []).append("email to sales")
    for sender, used_for in by_sender.items():
        of = "" if len(by_sender) == 1 else f" ({', '.join(used_for)})"
        try:
            sender_address(sender)
        except CompositionFailed as error:
            yield CheckResult("sender", "failed", f"{error}{of}", _PUBLISH)
            continue
        postal = ", ".join(line.strip() for line in sender.postal_address.splitlines() if line.strip())
        who = f"{sender.name} <{sender.email}>{of}"
        if postal or sender not in senders_to_leads:
            yield CheckResult("sender", "ok", f"{who}; {postal}" if postal else who)
        else:
            yield CheckResult("sender", "failed", f"{who} has no postal address, which the law requires", _PUBLISH)


def senders(setup: DoctorContext) -> dict[str, Address]:
    """Return the senders by address, that of email to sales first: as published, or else in the templates folder."""
    published: Definitions | None = None
    with suppress(NurtureError):
        published = _find_definitions(setup)
    if published is not None and published.programs:
        named = [published.policy.sender, *_track_senders(published.programs)]
    else:
        try:
            written = read_all.load(folder.read_folder(setup.settings.templates))
        except (NurtureError, OSError):
            return {}
        named = [
            written.defaults.sender,
            *_track_senders({name: one.program(0) for name, one in written.tracks.items()}),
        ]
    found: dict[str, Address] = {}
    for sender in named:
        with suppress(CompositionFailed):
            found.setdefault(sender.email, sender_address(sender))
    return found


def _track_senders(programs: Mapping[str, Program]) -> Iterable[Sender]:
    return (program.sender for _, program in sorted(programs.items()))


def track_domains(setup: DoctorContext) -> list[str]:
    """Return the sender domains of the published tracks."""
    definitions = _find_definitions(setup)
    return sorted({sender_domain(one) for one in definitions.programs.values()} if definitions is not None else ())


def check_sending_pauses(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for sending pauses and for stops; one that stops all email is a failure."""
    now = setup.clock.now()
    domains = set(track_domains(setup))
    with setup.open_database() as db, db.read() as tx:
        active = [
            one
            for one in circuit_breakers.list_active(tx)
            if (one.kind == "provider" and one.name == setup.settings.provider)
            or (one.kind == "domain" and one.name in domains)
            or one is quarantine.find_quarantine([one], setup.settings.provider)
        ]
        stops = [one for one in stop_queries.load_stops(tx).values() if one.action is not StopAction.RETIRE]
    if not active and not stops:
        return [CheckResult("pauses", "ok", "nothing is paused or stopped")]
    all_domains_paused = domains <= {one.name for one in active if one.kind == "domain"}
    return [
        *(_describe_pause(one, now, all_domains_paused=all_domains_paused) for one in active),
        *(
            CheckResult("stops", "warning" if one.track else "failed", str(one), f"Then run `{start_command(one)}`.")
            for one in stops
        ),
    ]


def _describe_pause(pause: Breaker, now: datetime, *, all_domains_paused: bool) -> CheckResult:
    stops_all = all_domains_paused if pause.kind == "domain" else pause.blocks_calls(now)
    what = {"domain": f"email from {pause.name}", "database": "all sending"}.get(pause.kind, pause.name)
    since = f"{pause.since:%Y-%m-%d %H:%M} UTC"
    return CheckResult(
        "pauses",
        "failed" if stops_all else "warning",
        f"{what} has been paused since {since}{_describe_end(pause)}: {pause.reason}",
        quarantine.remedy_for(pause)
        if pause.kind == quarantine.KIND
        else f"Fix the cause, then run `nurture mail resume {pause.name}`.",
    )


def _describe_end(pause: Breaker) -> str:
    if pause.until is None:
        return ", until a person resumes it"
    return f", tried again at {pause.until:%Y-%m-%d %H:%M} UTC"


def check_unknown_messages(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for messages with unknown delivery."""
    with setup.read_database() as tx:
        found = queries.load_unknown(tx)
    if not found:
        return [CheckResult("unknown", "ok", "no message has an unknown delivery status")]
    many = "1 message has" if len(found) == 1 else f"{len(found):,} messages have"
    since = f"{found[0].called_at:%Y-%m-%d %H:%M} UTC"
    remedy = "`nurture mail messages` shows what is known and how to resolve it."
    return [CheckResult("unknown", "warning", f"{many} an unknown delivery status, the oldest since {since}", remedy)]


def check_queues(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check that the policy in force names who works the leads in queues."""
    definitions = _find_definitions(setup)
    if definitions is None:
        return []
    queues = definitions.policy.queues
    if all(queues.stated_rule(name) for name in Queue):
        return [CheckResult("queues", "ok", f"leads in queues are listed to {', '.join(queues.people)}")]
    remedy = f"Add {QUEUES_EXAMPLE} in templates/sales/policy.yaml, then run `nurture publish`."
    if queues.default is None:
        return [CheckResult("queues", "failed", "the policy in force names nobody who works leads in queues", remedy)]
    people = ", ".join(queues.default.recipients(late=True))
    found = f"the policy in force does not name who works every queue, so its managers do: {people}"
    return [CheckResult("queues", "warning", found, remedy)]


def check_versions(_setup: DoctorContext, *, root: bool | None = None) -> Sequence[CheckResult]:
    """Report the versions of nurture and Python, unmet requirements, and whether it runs as root."""
    found = f"nurture {version('nurture')} on {platform.python_implementation()} {platform.python_version()}"
    if wrong := list(unmet_requirements()):
        return [CheckResult("nurture", "failed", f"{found}: {'; '.join(wrong)}", INSTALL_HINT)]
    if os.geteuid() == 0 if root is None else root:
        return [CheckResult("nurture", "warning", found, ROOT_WARNING)]
    return [CheckResult("nurture", "ok", found)]


def check_file_permissions(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for private files that other accounts may read or change."""
    private_paths = list(_list_private_paths(setup))
    found = list(islice(find_exposed(private_paths), _MOST))
    if not found:
        return [CheckResult("files", "ok", "private files are closed to other accounts")]
    tops = [
        private_path for private_path in private_paths if any(private_path in (path, *path.parents) for path in found)
    ]
    named = " ".join(shlex.quote(str(top)) + "*" * top.is_file() for top in tops)  # with a database's -wal
    many = f"{len(found):,}{' or more' if len(found) == _MOST else ''} of our files and folders"
    return [
        CheckResult(
            "files",
            "warning",
            f"other accounts can open {many}, with personal data, links or secrets: {_join_paths(found)}",
            f"`chmod -R go= {named}`",
        )
    ]


def _join_paths(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths[:3])) + (" and others" if len(paths) > 3 else "")


def _list_private_paths(setup: DoctorContext) -> Iterator[Path]:
    """Yield the private files and folders; crm/in is not one, as other accounts write to it."""
    settings = setup.settings
    database = Database(settings.database_url.get_secret_value())
    database.close()
    if database.file is not None:
        yield database.file
        if not list(find_exposed([database.file])):  # otherwise SQLite creates them with the same permissions
            yield from (Path(f"{database.file}{end}") for end in ("-wal", "-shm"))
    yield from (*local_folders(PROVIDERS, settings), *crms.private_folders(settings), settings.spool)
    yield from (settings.state_dir, settings.journal_dir, *settings.secret_files())
    yield from sorted(Path().glob("*.bad-rows.csv"))
