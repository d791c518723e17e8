"""Doctor checks of the installation: database, clock, definitions, sending pauses, unknown deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from nurture.db import clock_row, health, schema
from nurture.definitions import folder, read_all
from nurture.domain.planning.program import Program, Sender
from nurture.errors import NurtureError
from nurture.journey.delivery import unknown_queries
from nurture.journey.delivery.send_checks import sender_domain
from nurture.journey.tracks.touch_email import sender_address
from nurture.mail.providers.registry import DEFAULT_PROVIDER
from nurture.mail.rendering.render import Address, CompositionFailed
from nurture.operations.doctor import CheckResult, CheckState, DoctorContext
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.heartbeat import LEASE
from nurture.runtime import quarantine
from nurture.runtime.published import PublishedDefinitions

_MAX_CLOCK_SKEW: Final = timedelta(seconds=5)
"""A larger difference to the database server's clock is reported."""

_PUBLISH: Final = "Correct it in templates/, then run `nurture check` and `nurture publish`."


def check_database(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check that the database answers, has current tables and can be written."""
    with setup.open_database() as db:
        schema.require_current(db)
        health.require_writable(db)
        found = f"{db.name}: answers, can be written, tables are current ({schema.head()})"
        if db.is_sqlite:
            with db.read() as tx:
                mode = health.journal_mode(tx)
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
        clock_state = health.read_clock_state(tx)
        skew = timedelta() if tx.is_sqlite else abs(health.read_server_time(tx) - setup.clock.now())
    if clock_state is not None and clock_state.mode == "virtual":
        found = f"virtual: a demo or a simulation is at {clock_state.seen_at:%Y-%m-%d %H:%M} UTC"
        if setup.is_live:
            found += f", so commands refuse to use it while NURTURE_PROVIDER is {setup.settings.provider}"
            return [
                CheckResult(
                    "clock",
                    "failed",
                    found,
                    f"{_OTHER_DATABASE} {_DEMO_DATABASE}",
                )
            ]
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


_OTHER_DATABASE: Final = "Name another database in NURTURE_DATABASE_URL for real work."
_DEMO_DATABASE: Final = f"For the demo's, set NURTURE_PROVIDER={DEFAULT_PROVIDER}."


def check_published(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check that tracks are published and that each sender has a name, an address and a postal address."""
    programs = _programs(setup)
    if not programs:
        remedy = "Run `nurture check`, then `nurture publish`."
        return [CheckResult("tracks", "failed", "no track is published", remedy)]
    names = sorted(programs)
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    many = "1 track is" if len(names) == 1 else f"{len(names)} tracks are"
    return [CheckResult("tracks", "ok", f"{many} published: {listed}"), *_senders(programs)]


def _programs(setup: DoctorContext) -> Mapping[str, Program]:
    with setup.read_database() as tx:
        definitions = PublishedDefinitions().find_current(tx)
    return definitions.programs if definitions is not None else {}


def _senders(programs: Mapping[str, Program]) -> Iterable[CheckResult]:
    by_sender: dict[Sender, list[str]] = {}
    for name, program in sorted(programs.items()):
        by_sender.setdefault(program.sender, []).append(name)
    for sender, tracks in by_sender.items():
        of = "" if len(by_sender) == 1 else f" ({', '.join(tracks)})"
        try:
            sender_address(sender)
        except CompositionFailed as error:
            yield CheckResult("sender", "failed", f"{error}{of}", _PUBLISH)
            continue
        postal = ", ".join(line.strip() for line in sender.postal_address.splitlines() if line.strip())
        who = f"{sender.name} <{sender.email}>{of}"
        if postal:
            yield CheckResult("sender", "ok", f"{who}; {postal}")
        else:
            yield CheckResult("sender", "failed", f"{who} has no postal address, which the law requires", _PUBLISH)


def senders(setup: DoctorContext) -> dict[str, Address]:
    """Return the senders by address: of the published tracks, or else of the templates folder."""
    programs: Mapping[str, Program] = {}
    with suppress(NurtureError):
        programs = _programs(setup)
    if not programs:
        try:
            written = read_all.load(folder.read_folder(setup.settings.templates)).tracks
        except (NurtureError, OSError):
            return {}
        programs = {name: track.program(0) for name, track in written.items()}
    found: dict[str, Address] = {}
    for _, program in sorted(programs.items()):
        try:
            found.setdefault(program.sender.email, sender_address(program.sender))
        except CompositionFailed:
            continue
    return found


def sender_domains(setup: DoctorContext) -> list[str]:
    """Return the sender domains of the published tracks."""
    return sorted({sender_domain(program) for program in _programs(setup).values()})


def check_sending_pauses(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for sending pauses; one that stops all email is a failure."""
    now = setup.clock.now()
    domains = set(sender_domains(setup))
    with setup.open_database() as db, db.read() as tx:
        active = [
            one
            for one in circuit_breakers.list_active(tx)
            if (one.kind == "provider" and one.name == setup.settings.provider)
            or (one.kind == "domain" and one.name in domains)
            or one is quarantine.find_quarantine([one], setup.settings.provider)
        ]
    if not active:
        return [CheckResult("pauses", "ok", "nothing is paused")]
    all_domains_paused = domains <= {one.name for one in active if one.kind == "domain"}
    return [_describe_pause(one, now, all_domains_paused=all_domains_paused) for one in active]


def _describe_pause(pause: Breaker, now: datetime, *, all_domains_paused: bool) -> CheckResult:
    stops_all = all_domains_paused if pause.kind == "domain" else pause.blocks_calls(now)
    what = {"domain": f"email from {pause.name}", "database": "all sending"}.get(pause.kind, pause.name)
    since = f"{pause.since:%Y-%m-%d %H:%M} UTC"
    return CheckResult(
        "pauses",
        "failed" if stops_all else "warning",
        f"{what} has been paused since {since}{_describe_end(pause)}: {pause.reason}",
        quarantine.remedy_for(pause.reason)
        if pause.kind == quarantine.KIND
        else f"Fix the cause, then run `nurture delivery resume {pause.name}`.",
    )


def _describe_end(pause: Breaker) -> str:
    if pause.until is None:
        return ", until a person resumes it"
    return f", tried again at {pause.until:%Y-%m-%d %H:%M} UTC"


def check_unknown_messages(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for messages with unknown delivery."""
    with setup.read_database() as tx:
        found = unknown_queries.load_unknown(tx)
    if not found:
        return [CheckResult("unknown", "ok", "no message has an unknown delivery status")]
    many = "1 message has" if len(found) == 1 else f"{len(found):,} messages have"
    since = f"{found[0].called_at:%Y-%m-%d %H:%M} UTC"
    remedy = "`nurture delivery messages` shows what is known and how to resolve it."
    return [CheckResult("unknown", "warning", f"{many} an unknown delivery status, the oldest since {since}", remedy)]
