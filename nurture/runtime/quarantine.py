"""Quarantine: a database that is a copy, or a restored backup, sends nothing.

A copy would send the same email as the original, and a restored backup would send it again. Opt-outs, clicks,
pages and imports continue to work. Leads do not advance, so that `nurture admin restored` can replay the gap.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from nurture import settings_model
from nurture.crm.registry import CRMS
from nurture.db import clock_row
from nurture.db.clock_row import Installation
from nurture.db.machine_state import Machine, describe_outdated
from nurture.db.transaction import Transaction
from nurture.errors import InvalidState, Misconfigured
from nurture.mail.providers.registry import PROVIDERS
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.messages import PRESUMED_SENT
from nurture.runtime.context import AppContext

KIND: Final = "database"
NAME: Final = "quarantine"
_RESTORE_REMEDY: Final = "After a restore, run `nurture admin restored --since TIME`."
_ADOPT_REMEDY: Final = "If you moved the database on purpose and nothing uses the old one, run `nurture admin adopt`."


def is_local(name: str) -> bool:
    """Return whether this provider or CRM sends nothing outside this machine."""
    # PRESUMED_SENT only records that email was sent elsewhere.
    return name == PRESUMED_SENT or settings_model.is_local({**PROVIDERS, **CRMS}, name)


def remedy_for(active: Breaker) -> str:
    """Return how to end this quarantine; an outdated database cannot be adopted."""
    return _RESTORE_REMEDY if active.is_outdated else f"{_RESTORE_REMEDY} {_ADOPT_REMEDY}"


def find_quarantine(active: Sequence[Breaker], name: str) -> Breaker | None:
    """Return the quarantine among the *active* breakers, None for a local provider or CRM."""
    return None if is_local(name) else next((breaker for breaker in active if breaker.kind == KIND), None)


def find_breaker(active: Sequence[Breaker], name: str) -> Breaker | None:
    """Return which of the *active* breakers stops calls to this provider or CRM: the quarantine, or its own."""
    own = next((breaker for breaker in active if (breaker.kind, breaker.name) == ("provider", name)), None)
    return find_quarantine(active, name) or own


def is_on(ctx: AppContext, now: datetime) -> bool:
    """Return whether the database is in quarantine; sweeps check this first and do nothing if so."""
    if ctx.database.machine is None or is_local(ctx.provider.name):
        return False
    try:
        return check(ctx, now) is not None
    except Misconfigured:  # the delivery stage reports it
        return False


def check(ctx: AppContext, now: datetime, *, exempt: bool = True) -> Breaker | None:
    """Return the quarantine in which nothing may be sent, or None; quarantine a copied or outdated database.

    The first call records the location of the database. A virtual clock is exempt, and so are local providers
    and CRMs unless *exempt* is False. Raises Misconfigured if the folder of this machine cannot be used.
    """
    machine, database = ctx.database.machine, ctx.database
    if machine is None or (exempt and _only_writes_files(ctx)):
        return None
    with _require_usable_folder(machine):
        # Before the database: what is recorded here was committed there, while other workers go on.
        newest_seen = machine.newest_generation()
        with database.read() as tx:
            active = next((breaker for breaker in circuit_breakers.list_active(tx) if breaker.kind == KIND), None)
            known = clock_row.read_installation(tx)
            location = clock_row.current_location(tx, machine.id)
        if active is not None:
            return active
        assert known is not None  # bound to a clock when it was opened
        is_outdated = newest_seen is not None and known.generation < newest_seen
        reason = _find_reason_to_quarantine(machine, known, location, newest_seen)
        if reason is not None:
            return start(ctx, f"the database is in quarantine: {reason}", now, is_outdated=is_outdated)
        # Before the location: a location without a generation means that the machine's folder was lost.
        machine.record_generation(known.generation)
        if known.location is None:
            machine.suppression_journal.open_file()
            with database.write() as tx:
                record_location(ctx, tx, machine)
    return None


def _only_writes_files(ctx: AppContext) -> bool:
    names = [ctx.provider.name, *([ctx.crm.name] if ctx.crm is not None else []), *(ctx.notifiers or ())]
    return all(is_local(name) for name in names)


def _find_reason_to_quarantine(
    machine: Machine, installation: Installation, location: Mapping[str, Any], newest_seen: int | None
) -> str | None:
    if newest_seen is not None and installation.generation < newest_seen:
        return describe_outdated(installation.generation, newest_seen)
    if installation.location is None:
        return None
    recorded = {name: installation.location.get(name) for name in location}
    differs = [name for name in location if recorded[name] != location[name]]
    if differs:
        changes = ", ".join(f"{_LOCATION_LABELS[name]} ({recorded[name]}, here {location[name]})" for name in differs)
        return f"it was copied or moved: another {changes}"
    if newest_seen is None and "machine" in location and machine.newest_generation() is None:
        return "this machine has no record of it; NURTURE_JOURNAL_DIR is new or empty"
    return None


_LOCATION_LABELS: Final = {
    "machine": "machine",
    "path": "path",
    "device": "disk",
    "inode": "marker file",
    "system": "PostgreSQL system",
    "oid": "PostgreSQL database",
    "name": "database name",
}


@contextmanager
def _require_usable_folder(machine: Machine) -> Iterator[None]:
    """Raise an OSError about this machine's folder as Misconfigured."""
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"The folder {machine.folder} cannot be used: {error.strerror}. Nothing is sent without it, because a "
            "restored backup could not be detected. Set NURTURE_JOURNAL_DIR to a folder that this account owns."
        ) from error


def start(ctx: AppContext, reason: str, now: datetime, *, is_outdated: bool) -> Breaker:
    """Put the database in quarantine for all workers; return it."""
    breaker = Breaker(KIND, NAME, reason, now, None, is_outdated)
    with ctx.database.write() as tx:
        circuit_breakers.trip(tx, breaker)
    return breaker


def record_external_calls(ctx: AppContext, tx: Transaction, name: str) -> None:
    """Begin a new generation with this transaction, before calls to an external provider or CRM *name*."""
    machine = ctx.database.machine
    if machine is not None and not is_local(name):
        tx.at_commit(machine.before_external_calls)


def record_location(ctx: AppContext, tx: Transaction, machine: Machine) -> None:
    """Record the current location of the database."""
    clock_row.create_marker(ctx.database)
    clock_row.record_location(tx, clock_row.current_location(tx, machine.id))


def require_machine(ctx: AppContext) -> Machine:
    """Return the machine record of the database. Raises InvalidState on a virtual clock."""
    machine = ctx.database.machine
    if machine is None:
        raise InvalidState("This database uses a virtual clock: it sends no email and is never in quarantine.")
    return machine


def adopt(ctx: AppContext, by: str, now: datetime) -> bool:
    """End the quarantine of a database that was moved on purpose; return whether there was one.

    Raises InvalidState if this machine has seen a newer state of the database, here or elsewhere.
    """
    machine = require_machine(ctx)
    check(ctx, now, exempt=False)
    with _require_usable_folder(machine), ctx.database.write() as tx:
        known = clock_row.read_installation(tx)
        assert known is not None
        newest_seen = machine.newest_generation_of_any_copy()
        if newest_seen is not None and known.generation < newest_seen:
            outdated = describe_outdated(known.generation, newest_seen)
            raise InvalidState(
                f"The database was not adopted: {outdated}. Email that was sent since then would be sent again. "
                "Run `nurture admin restored --since TIME`."
            )
        machine.record_generation(known.generation)
        machine.suppression_journal.open_file()
        record_location(ctx, tx, machine)
        return circuit_breakers.release(tx, KIND, NAME, by, now)
