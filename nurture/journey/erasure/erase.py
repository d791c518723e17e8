"""Erase a person: what is left of a lead are numbers, times, and the rules' own words.

The address leaves a mark, so that whoever brings it in again finds that it must not be mailed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from nurture.db import clock_row
from nurture.db.locks import Lock, acquire
from nurture.domain.address import mark_of, normalise_address
from nurture.domain.consent.suppression import Source
from nurture.domain.lead import Closing, Custodian
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.crm_sync.push import person_key
from nurture.journey.engagement import inbound_mail_queries, provider_events, replies
from nurture.journey.erasure import left_behind, queries
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.follow_up import CLOSED
from nurture.journey.leads import changeset, find, snapshot, suppression_queries
from nurture.journey.leads.transitions import Mover
from nurture.runtime.context import House

_WHY: Final = "the lead asked to be forgotten"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased. *also* are rows that a file named by this lead's id or address and another's.

    *rows* mentioned the address elsewhere. *files* and *systems* hold the person still: somebody must clear
    them by hand.
    """

    lead: int | None
    address: bool
    rows: int
    also: Sequence[int] = ()
    files: Sequence[str] = ()
    systems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Person:
    """Whom it is about. *spellings* are how the address is written, *normal* is the usual one of them."""

    lead: int | None
    address: int | None = None
    normal: str = ""
    spellings: frozenset[str] = frozenset()


def forget(house: House, who: str, now: datetime, *, folders: Collection[Path] = ()) -> Forgotten:
    """Erase the lead, or the address without a lead, that *who* names. It cannot be taken back.

    The lead is closed for good, its address never mailed again unless it opts in anew. What came in and waits
    is applied first, so that it is not lost to others. *folders* are searched for files that hold the person.
    Raises NotFound.
    """
    provider_events.apply(house, now)
    replies.read_waiting(house, now)
    person = _named(house, who)
    with house.database.read() as connection:
        mentioned = queries.mentions(connection, person.spellings) if person.spellings else {}
    with house.database.write() as connection:
        for lock in (Lock.INTAKE, Lock.SIGNALS):  # an import may bring the lead in, a verdict write of it
            acquire(house.database, connection, lock)
        also = queries.doubtful(connection, [person.lead or 0], [person.normal])
        leads = sorted({*also, *([person.lead] if person.lead is not None else [])})
        changeset.hold(house.database, connection, leads)
        sent, records = queries.carried(connection, leads), queries.crm_records(connection, leads)
        if person.address is not None:
            no = OptOut(person.address, Source.ADMIN, at=now)
            suppression.opt_out(house.database, connection, [no], now)
        if leads:
            _close(house, connection, leads, now)
        for lead_id in leads:
            queries.erase_lead(connection, lead_id, now)
        rows = inbound_mail_queries.erase(connection, leads, person.spellings)
        if person.address is not None:
            suppression_queries.note_erased(house.database, connection, person.normal, now)
            mark = mark_of(person.normal, clock_row.salt_in(connection))
            queries.erase_address(connection, person.address, mark)
            rows += queries.erase_mentions(connection, mentioned, person.spellings)
    systems = [*left_behind.systems(house, sent, records), *_copies(house)]
    words = {*person.spellings, *(person_key(house, lead_id) for lead_id in leads)}
    files = left_behind.files(folders, sent, words, _ours(house))
    return Forgotten(person.lead, person.address is not None, rows, also, files, systems)


def _copies(house: House) -> list[str]:
    """Overwrite what was freed, and say where copies of it may be."""
    database = house.database
    copies = [f"backups and exports of {database.name} that were made before now"]
    if database.skips_locked:
        return [*copies, "PostgreSQL: dead rows until VACUUM, its write-ahead log and replicas for longer"]
    if not queries.overwrite_freed(database):
        copies.append(f"free pages of {database.name}: stop what uses it and run `nurture leads erase` again")
    return copies


def _ours(house: House) -> set[Path]:
    """Return the files of the database itself, which holds the person no more."""
    path = house.database.url.database
    return {Path(f"{path}{end}").resolve() for end in ("", "-wal", "-shm")} if path else set()


def _named(house: House, who: str) -> _Person:
    normal = normalise_address(who)
    with house.database.read() as connection:
        found = suppression_queries.find(connection, normal) if "@" in who else None
    if found is not None and found[1] is None:
        return _Person(None, found[0], normal, _spellings(who.strip(), normal))
    lead_id = find.find_lead(house, who)
    with house.database.read() as connection:
        names = queries.names_of(connection, lead_id)
    if names is None:
        return _Person(lead_id)
    return _Person(lead_id, names.address_id, names.normal, _spellings(names.email, names.normal))


def _spellings(*written: str) -> frozenset[str]:
    """Return an address as it may stand in texts, and in the query of a link."""
    return frozenset(spelled for one in written for spelled in (one, one.replace("@", "%40")))


def _close(house: House, connection: Connection, lead_ids: Sequence[int], now: datetime) -> None:
    """Take leads from whoever keeps them, and call off what was to go out."""
    database = house.database
    mover = Mover(house.rulebooks.current(connection), now, "by hand")
    rows = snapshot.these(database, connection, lead_ids)
    opened = handoff_queries.open_of(database, connection, lead_ids)
    handoff_queries.answer(
        database, connection, [(one.id, "withdrawn", None) for one in opened.values()], now
    )
    for lead in snapshot.views(database, connection, rows, now, house.holidays):
        if lead.view.custodian is Custodian.CLOSED:
            mover.note(lead, "forgotten", _WHY, None)
        else:
            mover.close(lead, Closing.DISCARDED, _WHY, reason=_WHY, event="forgotten")
    won = mover.changes.write(database, connection, now)
    handoff_queries.follow_up(database, connection, [(id_, CLOSED) for id_ in sorted(won)], now)
