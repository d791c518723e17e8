"""Quarantine: nothing is sent from a database that is a copy, or older than what was seen of it.

A copy would write to people beside the original, and a restored backup would write to them again. Opt-outs,
clicks, pages and imports go on; leads stand still, so that a restore can work out what was sent to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from nurture.db import instance
from nurture.db.instance import Installation
from nurture.db.machine import BACKUP_RESTORED, Machine, describe_outdated
from nurture.errors import InvalidState, Misconfigured
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.messages import PRESUMED_SENT
from nurture.runtime.context import AppContext

KIND: Final = "database"
NAME: Final = "quarantine"
_RESTORE_REMEDY: Final = "After a restore, `nurture admin restored --since TIME` ends this."
_ADOPT_REMEDY: Final = "If you moved the database on purpose, and nothing uses the old one, `nurture admin adopt` does."
_LOCAL: Final = frozenset({"maildir", "csv", PRESUMED_SENT})
"""Providers and CRMs that only write files here, or only note what somebody else has sent."""


def is_local(name: str) -> bool:
    """Tell whether what goes to this provider or CRM reaches nobody outside."""
    return name in _LOCAL


def remedy_for(reason: str) -> str:
    """Say what ends a quarantine of this *reason*: a database that is older cannot be adopted."""
    return _RESTORE_REMEDY if BACKUP_RESTORED in reason else f"{_RESTORE_REMEDY} {_ADOPT_REMEDY}"


def find_quarantine(active: Sequence[Breaker], name: str) -> Breaker | None:
    """Return the quarantine of the *active* breakers, None for a provider or CRM that is local."""
    return None if is_local(name) else next((one for one in active if one.kind == KIND), None)


def is_on(ctx: AppContext, now: datetime) -> bool:
    """Tell whether leads stand still: sweeps ask this first, and do nothing then."""
    if ctx.database.machine is None or is_local(ctx.provider.name):
        return False
    try:
        return find_reason(ctx, now) is not None
    except Misconfigured:  # who sends says so
        return False


def find_reason(ctx: AppContext, now: datetime, *, exempt: bool = True) -> str | None:
    """Return why nothing may be sent, None if it may; put a copy or an older database in quarantine.

    The first look of all notes where the database lives. Virtual time is exempt and, unless *exempt* is no,
    whoever only writes files: the mailbox and the CRM folder. Raises Misconfigured where this machine cannot
    keep what it has seen.
    """
    machine, database = ctx.database.machine, ctx.database
    names = [ctx.provider.name, *([ctx.crm.name] if ctx.crm is not None else []), *(ctx.notifiers or ())]
    if machine is None or (exempt and all(is_local(name) for name in names)):
        return None
    with _require_usable_folder(machine):
        with database.read() as connection:
            active = next((one for one in circuit_breakers.list_active(connection) if one.kind == KIND), None)
            known = instance.read_installation(connection)
            location = instance.current_location(database, connection, machine.id)
        if active is not None:
            return active.reason
        assert known is not None  # bound to a clock when it was opened
        reason = _find_reason_to_quarantine(known, location, machine.newest_generation())
        if reason is not None:
            start(ctx, f"the database is in quarantine: {reason}", now)
            return reason
        # First: a location without it would look like a memory that was lost.
        machine.record_generation(known.generation)
        if known.location is None:
            machine.suppression_journal.open_file()
            with database.write() as connection:
                record_location(ctx, connection, machine)
    return None


def _find_reason_to_quarantine(
    installation: Installation, location: Mapping[str, Any], newest_seen: int | None
) -> str | None:
    if newest_seen is not None and installation.generation < newest_seen:
        return describe_outdated(installation.generation, newest_seen)
    if installation.location is None:
        return None
    recorded = {name: installation.location.get(name) for name in location}
    differs = [name for name in location if recorded[name] != location[name]]
    if differs:
        changes = ", ".join(f"{_LOCATION_LABELS[name]} ({recorded[name]}, here {location[name]})" for name in differs)
        return f"it is a copy, or was moved: another {changes}"
    if newest_seen is None and "machine" in location:
        return "this machine has lost what it had seen of it; NURTURE_JOURNAL_DIR is new or empty"
    return None


_LOCATION_LABELS: Final = {
    "machine": "machine",
    "path": "path",
    "device": "disk",
    "inode": "mark file beside it",
    "system": "PostgreSQL system",
    "oid": "PostgreSQL database",
    "name": "database name",
}


@contextmanager
def _require_usable_folder(machine: Machine) -> Iterator[None]:
    """Turn an OSError about this machine's folder into what a person can mend."""
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"The folder {machine.folder} cannot be used: {error.strerror}. Nothing is sent without it, as a "
            "restored backup could not be told. Set NURTURE_JOURNAL_DIR to a folder of this account."
        ) from error


def start(ctx: AppContext, reason: str, now: datetime) -> None:
    """Put the database in quarantine, for every worker that uses it."""
    with ctx.database.write() as connection:
        circuit_breakers.trip(ctx.database, connection, Breaker(KIND, NAME, reason, now, None))


def record_external_calls(ctx: AppContext, connection: Connection, name: str) -> None:
    """Note in this transaction that things leave by provider or CRM *name*, which no restore may repeat."""
    machine = ctx.database.machine
    if machine is not None and not is_local(name):
        ctx.database.at_commit(connection, machine.before_external_calls)


def record_location(ctx: AppContext, connection: Connection, machine: Machine) -> None:
    """Note that the database lives here from now on."""
    instance.create_marker(ctx.database)
    instance.record_location(connection, instance.current_location(ctx.database, connection, machine.id))


def require_machine(ctx: AppContext) -> Machine:
    """Return what this machine keeps of the database. Raises InvalidState where it lives in virtual time."""
    machine = ctx.database.machine
    if machine is None:
        raise InvalidState("This database lives in virtual time: it mails nobody, and is never in quarantine.")
    return machine


def adopt(ctx: AppContext, by: str, now: datetime) -> bool:
    """End the quarantine of a database that was moved on purpose; return whether there was one.

    Raises InvalidState for one that is older than what this machine has seen of it anywhere.
    """
    machine = require_machine(ctx)
    find_reason(ctx, now, exempt=False)
    with _require_usable_folder(machine), ctx.database.write() as connection:
        known = instance.read_installation(connection)
        assert known is not None
        newest_seen = machine.newest_generation_of_any_copy()
        if newest_seen is not None and known.generation < newest_seen:
            outdated = describe_outdated(known.generation, newest_seen)
            raise InvalidState(
                f"The database was not adopted: {outdated}. Mail that went out since would go again. "
                "Run `nurture admin restored --since TIME`."
            )
        machine.record_generation(known.generation)
        machine.suppression_journal.open_file()
        record_location(ctx, connection, machine)
        return circuit_breakers.release(connection, KIND, NAME, by, now)
