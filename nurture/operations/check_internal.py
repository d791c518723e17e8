"""What the doctor looks at inside: database, clock, published rules, brakes and doubts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from nurture import definitions
from nurture.db import clock_row, health, schema
from nurture.db.engine import Database
from nurture.domain.planning.program import Program, Sender
from nurture.errors import NotFound, NurtureError
from nurture.journey.delivery import unknown_queries
from nurture.journey.delivery.send_checks import sender_domain
from nurture.journey.tracks.touch_email import sender_address
from nurture.mail.rendering.render import Address, CannotCompose
from nurture.operations.doctor import Finding, SetUp, State
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Brake
from nurture.outbox.heartbeat import LEASE
from nurture.runtime import quarantine
from nurture.runtime.published import Rulebooks

_APART: Final = timedelta(seconds=5)
"""How far two machines' clocks may differ without a word."""

_PUBLISH: Final = "Correct it in templates/, then `nurture check` and `nurture publish`."


def database(setup: SetUp) -> Sequence[Finding]:
    """Look whether the database answers, has today's tables, and can be written."""
    with setup.database() as db:
        schema.require_current(db)
        health.require_writable(db)
        found = f"{db.name}: answers, can be written, tables are current ({schema.head()})"
        if db.is_sqlite:
            with db.read() as connection:
                mode = health.journal_mode(connection)
            if mode not in ("wal", "memory"):
                remedy = "Put the file on a disk of this machine: network folders keep no WAL."
                return [Finding("database", "warning", f"{found}, but its journal is {mode}", remedy)]
            found += ", WAL"
    return [Finding("database", "ok", found)]


def clock(setup: SetUp) -> Sequence[Finding]:
    """Compare this machine's clock with the newest time that the database has seen, and with its server."""
    now = setup.clock.now()
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    with setup.database() as db:
        schema.require_current(db)
        with db.read() as connection:
            kept = health.kept(connection)
            apart = timedelta() if db.is_sqlite else abs(health.server_now(connection) - setup.clock.now())
    if kept is not None and kept.mode == "virtual":
        found = f"virtual: a demo or a simulation stands at {kept.seen_at:%Y-%m-%d %H:%M} UTC"
        if setup.for_real:
            found += f", so commands refuse to work on it while NURTURE_PROVIDER is {setup.settings.provider}"
            return [
                Finding("clock", "fails", found, f"{_OTHER} For the demo's, set NURTURE_PROVIDER=mailbox.")
            ]
        return [Finding("clock", "warning", f"{found}, where no mail is sent by itself", _OTHER)]
    if kept is not None and now < kept.seen_at - clock_row.TOLERANCE:
        found = f"{shown}, but the database has seen {kept.seen_at:%Y-%m-%d %H:%M:%S} already"
        return [Finding("clock", "fails", found, "Set the system's clock right.")]
    if apart > _APART:
        found = f"{shown}, {apart.total_seconds():.0f} seconds apart from the database server's"
        state: State = "fails" if apart > LEASE else "warning"
        return [Finding("clock", state, found, "Let a time service (NTP) set both machines' clocks.")]
    first = "" if kept is not None else "; nothing has run in this database yet"
    return [Finding("clock", "ok", f"live, {shown}{first}")]


_OTHER: Final = "Name another database in NURTURE_DATABASE_URL for real work."


def published(setup: SetUp) -> Sequence[Finding]:
    """Look at what is published: tracks, who writes, and a place that letters reach."""
    with setup.database() as db:
        schema.require_current(db)
        try:
            programs = _programs(db)
        except NotFound:
            programs = {}
    if not programs:
        return [
            Finding("tracks", "fails", "no track is published", "`nurture check`, then `nurture publish`.")
        ]
    names = sorted(programs)
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    many = "1 track is" if len(names) == 1 else f"{len(names)} tracks are"
    return [Finding("tracks", "ok", f"{many} published: {listed}"), *_senders(programs)]


def _programs(db: Database) -> Mapping[str, Program]:
    with db.read() as connection:
        return Rulebooks().current(connection).programs


def _senders(programs: Mapping[str, Program]) -> Iterable[Finding]:
    by_sender: dict[Sender, list[str]] = {}
    for name, program in sorted(programs.items()):
        by_sender.setdefault(program.sender, []).append(name)
    for sender, tracks in by_sender.items():
        of = "" if len(by_sender) == 1 else f" ({', '.join(tracks)})"
        try:
            sender_address(sender)
        except CannotCompose as error:
            yield Finding("sender", "fails", f"{error}{of}", _PUBLISH)
            continue
        postal = ", ".join(line.strip() for line in sender.postal_address.splitlines() if line.strip())
        who = f"{sender.name} <{sender.email}>{of}"
        if postal:
            yield Finding("sender", "ok", f"{who}; {postal}")
        else:
            yield Finding("sender", "fails", f"{who} has no postal address, which the law asks for", _PUBLISH)


def senders(setup: SetUp) -> dict[str, Address]:
    """Return who writes, by address: as published, else as the templates have it. Empty if nobody does."""
    programs: Mapping[str, Program] = {}
    try:
        with setup.database() as db:
            schema.require_current(db)
            programs = _programs(db)
    except NurtureError:
        pass
    if not programs:
        try:
            written = definitions.load(definitions.read_folder(setup.settings.templates)).tracks
        except (NurtureError, OSError):
            return {}
        programs = {name: track.program(0) for name, track in written.items()}
    found: dict[str, Address] = {}
    for _, program in sorted(programs.items()):
        try:
            found.setdefault(program.sender.email, sender_address(program.sender))
        except CannotCompose:
            continue
    return found


def sender_domains(setup: SetUp) -> list[str]:
    """Return the domains whose reputation the published mail makes."""
    with setup.database() as db:
        schema.require_current(db)
        try:
            return sorted({sender_domain(program) for program in _programs(db).values()})
        except NotFound:
            return []


def paused(setup: SetUp) -> Sequence[Finding]:
    """Look at what keeps mail back: nothing goes if the provider is paused, or every sender domain."""
    now = setup.clock.now()
    domains = set(sender_domains(setup))
    with setup.database() as db, db.read() as connection:
        on = [
            one
            for one in circuit_breakers.on(connection)
            if (one.kind == "provider" and one.name == setup.settings.provider)
            or (one.kind == "domain" and one.name in domains)
            or one is quarantine.stops([one], setup.settings.provider)
        ]
    if not on:
        return [Finding("brakes", "ok", "nothing is paused")]
    all_off = domains <= {one.name for one in on if one.kind == "domain"}
    return [
        Finding(
            "brakes",
            "fails"
            if (all_off if one.kind == "domain" else one.until is None or one.until > now)
            else "warning",
            f"{_what(one)} is paused since {one.since:%Y-%m-%d %H:%M} UTC{_until(one)}: {one.reason}",
            quarantine.ends(one.reason)
            if one.kind == quarantine.KIND
            else f"Mend the cause; `nurture delivery resume {one.name}` starts it at once.",
        )
        for one in on
    ]


def _what(one: Brake) -> str:
    return {"domain": f"mail from {one.name}", "database": "all that is sent"}.get(one.kind, one.name)


def _until(one: Brake) -> str:
    if one.until is None:
        return ", until a person resumes it"
    return f", tried again at {one.until:%Y-%m-%d %H:%M} UTC"


def doubtful(setup: SetUp) -> Sequence[Finding]:
    """Look for messages of which nobody knows whether they went."""
    with setup.database() as db:
        schema.require_current(db)
        with db.read() as connection:
            found = unknown_queries.listed(connection)
    if not found:
        return [Finding("doubts", "ok", "no message is in doubt")]
    many = "1 message is" if len(found) == 1 else f"{len(found):,} messages are"
    since = f"{found[0].called_at:%Y-%m-%d %H:%M} UTC"
    remedy = "`nurture delivery messages` says what is known, and settles it."
    return [Finding("doubts", "warning", f"{many} in doubt, the oldest since {since}", remedy)]
