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
from nurture.db.instance import Instance
from nurture.db.machine import PUT_BACK, Machine, older
from nurture.errors import Misconfigured, Refused
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Brake
from nurture.runtime.context import House

KIND: Final = "database"
NAME: Final = "quarantine"
_RESTORED: Final = "After a restore, `nurture admin restored --since TIME` ends this."
_MOVED: Final = (
    "If you moved the database on purpose, and nothing uses the old one, `nurture admin adopt` does."
)
_LOCAL: Final = frozenset({"mailbox", "csv", "restored"})
"""Providers and CRMs that only write files here, or only note what somebody else has sent."""


def is_local(name: str) -> bool:
    """Tell whether what goes to this provider or CRM reaches nobody outside."""
    return name in _LOCAL


def ends(reason: str) -> str:
    """Say what ends a quarantine of this *reason*: a database that is older cannot be adopted."""
    return _RESTORED if PUT_BACK in reason else f"{_RESTORED} {_MOVED}"


def stops(on: Sequence[Brake], name: str) -> Brake | None:
    """Return the quarantine of the brakes that are *on*, None for a provider or CRM that is local."""
    return None if is_local(name) else next((one for one in on if one.kind == KIND), None)


def is_on(house: House, now: datetime) -> bool:
    """Tell whether leads stand still: sweeps ask this first, and do nothing then."""
    if house.database.machine is None or is_local(house.provider.name):
        return False
    try:
        return look(house, now) is not None
    except Misconfigured:  # who sends says so
        return False


def look(house: House, now: datetime, *, exempt: bool = True) -> str | None:
    """Return why nothing may be sent, None if it may; put a copy or an older database in quarantine.

    The first look of all notes where the database lives. Virtual time is exempt and, unless *exempt* is no,
    whoever only writes files: the mailbox and the CRM folder. Raises Misconfigured where this machine cannot
    keep what it has seen.
    """
    machine, database = house.database.machine, house.database
    names = [
        house.provider.name,
        *([house.crm.name] if house.crm is not None else []),
        *(house.tellers or ()),
    ]
    if machine is None or (exempt and all(is_local(name) for name in names)):
        return None
    with _usable(machine):
        with database.read() as connection:
            held = next((one for one in circuit_breakers.on(connection) if one.kind == KIND), None)
            known = instance.read(connection)
            here = instance.place_of(database, connection, machine.id)
        if held is not None:
            return held.reason
        assert known is not None  # bound to a clock when it was opened
        why = _suspicion(known, here, machine.seen())
        if why is not None:
            put(house, f"the database is in quarantine: {why}", now)
            return why
        machine.saw(known.generation)  # first: a place without it would look like a memory that was lost
        if known.place is None:
            machine.optouts.open()
            with database.write() as connection:
                move_in(house, connection, machine)
    return None


def _suspicion(known: Instance, here: Mapping[str, Any], seen: int | None) -> str | None:
    if seen is not None and known.generation < seen:
        return older(known.generation, seen)
    if known.place is None:
        return None
    lived = {name: known.place.get(name) for name in here}
    differs = [name for name in here if lived[name] != here[name]]
    if differs:
        told = ", ".join(f"{_WORDS[name]} ({lived[name]}, here {here[name]})" for name in differs)
        return f"it is a copy, or was moved: another {told}"
    if seen is None and "machine" in here:
        return "this machine has lost what it had seen of it; NURTURE_JOURNAL_DIR is new or empty"
    return None


_WORDS: Final = {
    "machine": "machine",
    "path": "path",
    "device": "disk",
    "inode": "mark file beside it",
    "system": "PostgreSQL system",
    "oid": "PostgreSQL database",
    "name": "database name",
}


@contextmanager
def _usable(machine: Machine) -> Iterator[None]:
    """Turn an OSError about this machine's folder into what a person can mend."""
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"The folder {machine.folder} cannot be used: {error.strerror}. Nothing is sent without it, as a "
            "restored backup could not be told. Set NURTURE_JOURNAL_DIR to a folder of this account."
        ) from error


def put(house: House, reason: str, now: datetime) -> None:
    """Put the database in quarantine, for every worker that uses it."""
    with house.database.write() as connection:
        circuit_breakers.put(house.database, connection, Brake(KIND, NAME, reason, now, None))


def before_calls(house: House, connection: Connection, name: str) -> None:
    """Note in this transaction that things leave by provider or CRM *name*, which no restore may repeat."""
    machine = house.database.machine
    if machine is not None and not is_local(name):
        house.database.at_commit(connection, machine.before_calls)


def move_in(house: House, connection: Connection, machine: Machine) -> None:
    """Note that the database lives here from now on."""
    instance.make_mark(house.database)
    instance.settle_in(connection, instance.place_of(house.database, connection, machine.id))


def machine_of(house: House) -> Machine:
    """Return what this machine keeps of the database. Raises Refused where it lives in virtual time."""
    machine = house.database.machine
    if machine is None:
        raise Refused("This database lives in virtual time: it mails nobody, and is never in quarantine.")
    return machine


def adopt(house: House, by: str, now: datetime) -> bool:
    """End the quarantine of a database that was moved on purpose; return whether there was one.

    Raises Refused for one that is older than what this machine has seen of it anywhere.
    """
    machine = machine_of(house)
    look(house, now, exempt=False)
    with _usable(machine), house.database.write() as connection:
        known = instance.read(connection)
        assert known is not None
        seen = machine.seen_anywhere()
        if seen is not None and known.generation < seen:
            raise Refused(
                f"The database was not adopted: {older(known.generation, seen)}. Mail that went out since "
                "would go again. Run `nurture admin restored --since TIME`."
            )
        machine.saw(known.generation)
        machine.optouts.open()
        move_in(house, connection, machine)
        return circuit_breakers.release(connection, KIND, NAME, by, now)
