"""Bring a restored database to today: who opted out since, and what was sent that it does not know of.

The database stands where its backup was made. From then to now leads are moved by the same planner, and each
touch that fell due counts as sent by somebody else; in the end all of these are in doubt. Whatever happens
on the way, the quarantine ends last, and running it again goes on where it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from nurture.db import clock_row, instance, suppression_journal
from nurture.db.suppression_journal import Journaled, Line
from nurture.domain.consent.suppression import Act, Logged, Scope, Source, source_named
from nurture.errors import FileUnreadable, Misconfigured, Refused
from nurture.journey.consent import opt_in, suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.erasure import erase
from nurture.journey.leads import suppression_queries
from nurture.journey.tracks import advance, enroll
from nurture.mail.providers.base import KeepsOptOuts, OptedOut
from nurture.operations import restore_gap_queries
from nurture.operations.reoffer import Briefs, reoffer
from nurture.outbox import circuit_breakers
from nurture.runtime import quarantine
from nurture.runtime.context import House
from nurture.simulation.engine import NoMail

STEP: Final = timedelta(minutes=1)
"""The shortest time between two looks at the gap."""

MOST_ROUNDS_AT_ONE_MOMENT: Final = 50


class _Stands(NoMail):
    """Stands for whatever carried mail in the gap: nobody knows what it did."""

    name = "restored"


@dataclass
class Restored:
    """What was found and done. *notes* are what a person should read.

    *handoffs* are the leads whose brief may have been sent in the gap; *undecided* says that a manager must
    say first what becomes of them, and that the quarantine is still on.
    """

    since: datetime
    journals: Sequence[Path] = ()
    suppressed: int = 0
    opted_in: int = 0
    erased: int = 0
    doubtful: int = 0
    handoffs: Sequence[int] = ()
    undecided: bool = False
    done_before: datetime | None = None
    notes: list[str] = field(default_factory=list)


def restored(
    house: House,
    since: datetime,
    now: datetime,
    *,
    by: str,
    journals: Sequence[Path] = (),
    without_journal: str = "",
    briefs: Briefs | None = None,
) -> Restored:
    """Bring the database from *since* (UTC), when its backup was made, to *now*, and end its quarantine.

    *journals* are suppression journals of other machines; *without_journal* says why there is none at all.
    Raises Refused for a time that cannot be, or without a journal and a reason; ClockWentBackwards;
    FileUnreadable.
    """
    machine = quarantine.machine_of(house)
    if since > now:
        raise Refused(f"{since:%Y-%m-%d %H:%M} UTC is in the future. Say when the backup was made.")
    held = quarantine.look(house, now, exempt=False)
    found = Restored(since)
    with house.database.write() as connection:
        clock_row.note(connection, now)
        before = circuit_breakers.last_released(connection, quarantine.KIND, _by(since, ""))
    if held is None and before is not None:
        return replace(found, done_before=before)
    files = sorted({*(path.resolve() for path in machine.journals()), *(path.resolve() for path in journals)})
    journaled = _read(files, found)
    if (journaled.begun is None or journaled.begun > since) and not without_journal.strip():
        raise Refused(
            f"No journal of opt-outs in {machine.folder} reaches back to {since:%Y-%m-%d %H:%M} UTC, so "
            "nobody knows who opted out since. Name those of the machines that ran then (--journal FILE), or "
            'say why there is none with --without-journal "REASON", which is kept.'
        )
    quarantine.put(house, held or "the database is being brought to today by `nurture admin restored`", now)
    with house.database.write() as connection:
        restore_gap_queries.leap_ids(house.database, connection)
    still = replace(house, provider=_Stands())
    _take_in(still, journaled.lines, now, found)
    _take_lists(house, now, found)
    with house.database.read() as connection:
        last = restore_gap_queries.last_moved(connection)
    _pass_gap(still, min(since, last or since), now)
    with house.database.write() as connection:
        found.handoffs = restore_gap_queries.handed_off(connection)
        if found.handoffs and briefs is None:
            found.undecided = True
            return found
        if briefs is not None:
            reoffer(still, connection, briefs, found.handoffs, now)
        found.doubtful = restore_gap_queries.put_in_doubt(connection)
        seen = max(machine.seen_anywhere() or 0, 0)
        generation = instance.leap(connection, seen)
        quarantine.move_in(house, connection, machine)
        machine.optouts.open()
        machine.saw(generation)  # before the commit: if that fails, the quarantine goes on
        reason = f"; without a journal: {without_journal.strip()}" if without_journal.strip() else ""
        circuit_breakers.release(
            connection, quarantine.KIND, quarantine.NAME, _by(since, f" by {by}{reason}"), now
        )
    return found


def _by(since: datetime, rest: str) -> str:
    return f"restored since {since.isoformat()}{rest}"


def _read(files: Sequence[Path], found: Restored) -> Journaled:
    try:
        journaled = suppression_journal.read(files)
    except OSError as error:
        raise FileUnreadable(f"The journal {error.filename} cannot be read: {error.strerror}.") from error
    if journaled.torn:
        found.notes.append(f"{journaled.torn} lines of the journals were cut short, and tell nothing")
    found.journals = files
    return journaled


def _take_in(house: House, lines: Sequence[Line], now: datetime, found: Restored) -> None:
    """Write what journals tell into the log of suppressions, also of addresses that are not known here."""
    machine, database = quarantine.machine_of(house), house.database
    by_mark: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_mark[line.mark].append(line)
    erased: list[str] = []
    with database.write() as connection:
        known: dict[str, int] = {}
        for address_id, normal in suppression_queries.addresses(connection):
            mark = normal if normal in by_mark else machine.mark(normal)
            if mark in by_mark:
                known[mark] = address_id
                if normal != mark and any(line.act == suppression_journal.ERASED for line in by_mark[mark]):
                    erased.append(normal)
        known |= suppression_queries.add_marks(database, connection, sorted(by_mark.keys() - known.keys()))
        acts = [(known[line.mark], line) for line in lines if line.act != suppression_journal.ERASED]
        outs = [
            OptOut(id_, source_named(line.source), Scope(line.scope), line.ref, line.at)
            for id_, line in acts
            if line.act == Act.SUPPRESS
        ]
        found.suppressed += sum(suppression.opt_out(database, connection, outs, now))
        ins = [
            (id_, Logged(Act.OPT_IN, Scope(line.scope), line.ref, source_named(line.source), line.at))
            for id_, line in acts
            if line.act == Act.OPT_IN
        ]
        found.opted_in += opt_in.take_back_in(house, connection, ins, now)
    for normal in erased:
        erase.forget(house, normal, now)
    found.erased += len(erased)


def _take_lists(house: House, now: datetime, found: Restored) -> None:
    """Take in whom the provider will not mail, where it keeps a list."""
    if not isinstance(house.provider, KeepsOptOuts):
        found.notes.append(f"{house.provider.name} keeps no list of opt-outs that could be read")
        return
    try:
        told: Sequence[OptedOut] = house.provider.opted_out()
    except Misconfigured as error:
        found.notes.append(f"{error} {house.provider.name} itself goes on to mail nobody on it")
        return
    addressed = {}
    for one in told:
        try:
            addressed[suppression.address(one.email), one.source] = one
        except Refused:
            found.notes.append("an entry of the provider's list is no address, and was passed over")
    database = house.database
    with database.write() as connection:
        normals = sorted({normal for normal, _ in addressed})
        known = suppression.known_addresses(database, connection, normals)
        outs = [
            OptOut(known[normal], Source(one.source), at=one.at) for (normal, _), one in addressed.items()
        ]
        found.suppressed += sum(suppression.opt_out(database, connection, outs, now))
    found.notes.append(f"{len(told):,} entries of {house.provider.name}'s lists were read")


def _pass_gap(house: House, since: datetime, now: datetime) -> None:
    """Move leads from *since* to *now* with everything that fell due counted as sent at its own time."""
    at = since
    while True:
        for _ in range(MOST_ROUNDS_AT_ONE_MOMENT):
            moved = enroll.classify(house, at).total() + advance.advance(house, at).leads
            if not _count_as_sent(house, at) and not moved:
                break
        with house.database.read() as connection:
            upcoming = restore_gap_queries.next_moment(connection)
        if at >= now or upcoming is None or upcoming > now:
            return
        at = min(max(upcoming, at + STEP), now)


def _count_as_sent(house: House, at: datetime) -> int:
    total = 0
    while True:
        with house.database.write() as connection:
            sent = restore_gap_queries.count_as_sent(house.database, connection, at, house.batch)
        total += sent
        if sent < house.batch:
            return total
