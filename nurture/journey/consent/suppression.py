"""The one way in for opt-outs, whoever says no: links, bounces, files, people."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection

from nurture.db.engine import Database
from nurture.db.locks import Lock, acquire
from nurture.domain.consent.suppression import Act, Logged, Scope, Source, adds, folded, key_of, stands
from nurture.errors import NotFound, Refused
from nurture.formats.cells import read_address
from nurture.journey.leads import address_queries, signal_queries, suppression_queries
from nurture.journey.leads.suppression_queries import Entry
from nurture.runtime.context import House

_UNSEEN: Final = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
_BRACKETED: Final = re.compile(r"[^<>]*<([^<>]+)>")


class OptOut(NamedTuple):
    """Somebody said no. *at* None: it is not known when, so it counts from now if nothing alike stands.

    *again*: the same act was logged before, and counts once more only if an opt-in came between.
    """

    address_id: int
    source: Source
    scope: Scope = Scope.GLOBAL
    ref: str = ""
    at: datetime | None = None
    again: bool = False


class About(NamedTuple):
    """What an act covers: all mail, a topic or a track by its published name."""

    scope: Scope = Scope.GLOBAL
    ref: str = ""

    def __str__(self) -> str:
        return f"{self.scope} {self.ref}".strip()


EVERYTHING: Final = About()


class Suppressed(NamedTuple):
    """What came of opt-outs: how many addresses are mailed less from now on, how many were not before."""

    new: int
    known: int


def opt_out(database: Database, connection: Connection, acts: Sequence[OptOut], now: datetime) -> list[bool]:
    """Log opt-outs in this transaction, wake their leads, and say of each whether it stops more mail.

    Every opt-out goes through here. Nothing is logged that could never matter; nothing ever lifts.
    A constant number of statements, however many acts.
    """
    if not acts:
        return []
    leads = suppression_queries.hold_leads(database, connection, {act.address_id for act in acts})
    logs = defaultdict(list, suppression_queries.logs(database, connection, {act.address_id for act in acts}))
    entries: list[Entry] = []
    new = []
    for act in acts:
        log = logs[act.address_id]
        logged = _logged(act, log, now)
        before = {_stopping(one.scope, one.ref, one.source) for one in stands(log)}
        if logged is not None:
            log.append(logged)
            entries.append(entry_of(act.address_id, logged))
        key = _stopping(act.scope, act.ref, act.source)
        after = {_stopping(one.scope, one.ref, one.source) for one in stands(log)} - before
        new.append(logged is not None and key in after)
    suppression_queries.append(database, connection, entries)
    stopped = {act.address_id for act, stops in zip(acts, new, strict=True) if stops}
    if stopped:
        signal_queries.wake(database, connection, [leads[id_] for id_ in stopped if id_ in leads], now)
    return new


def _stopping(scope: Scope, ref: str, source: Source) -> tuple[Scope, str, bool]:
    """Return what mail an opt-out stops, and whether that is for the mailbox."""
    return scope, folded(ref), source is Source.BOUNCE


def _logged(act: OptOut, log: Sequence[Logged], now: datetime) -> Logged | None:
    """Return what is to be logged, None if it says nothing new."""
    at = min(act.at or now, now)  # from the future, no opt-in could lift it
    logged = Logged(Act.SUPPRESS, act.scope, act.ref, act.source, at)
    if act.at is None or act.again:
        key = key_of(act.scope, act.ref, act.source)
        if any(key_of(one.scope, one.ref, one.source) == key for one in stands(log)):
            return None
    return logged if adds(log, logged) else None


def entry_of(address_id: int, one: Logged, evidence: str | None = None) -> Entry:
    """Return an entry of the log as it is written."""
    return Entry(address_id, one.act.value, one.scope.value, one.ref, one.source.value, evidence, one.at)


def suppress(
    house: House,
    emails: Sequence[str],
    now: datetime,
    *,
    about: About = EVERYTHING,
    source: Source = Source.ADMIN,
) -> Suppressed:
    """Never mail these addresses again (*about* a topic or track only), whether a lead has them or not.

    Raises Refused for what is no address, and NotFound for a topic or track that nobody publishes.
    """
    normals = sorted({address(email) for email in emails})
    with house.database.write() as connection:
        about = named(house, connection, about)
        found = known_addresses(house.database, connection, normals)
        acts = [OptOut(found[normal], source, *about, at=now) for normal in normals]
        new = opt_out(house.database, connection, acts, now)
    return Suppressed(sum(new), len(new) - sum(new))


def known_addresses(database: Database, connection: Connection, normals: Sequence[str]) -> dict[str, int]:
    """Return the id of each normalised address, written down if it is new."""
    if not normals:
        return {}
    acquire(database, connection, Lock.INTAKE)  # before any lead is held
    found = address_queries.addresses(database, connection, normals)
    return {normal: address_id for normal, (address_id, _) in found.items()}


def address(text: str) -> str:
    """Return the normalised address in *text*, as people and lists write it. Raises Refused."""
    plain = text.translate(_UNSEEN).strip()
    bracketed = _BRACKETED.fullmatch(plain)
    if bracketed:
        plain = bracketed[1].strip()
    plain = plain.removeprefix("mailto:").rstrip(".").strip()
    if not plain:
        raise Refused("there is no email address; write it like name@example.com")
    try:
        return read_address(plain)
    except ValueError as fault:
        raise Refused(str(fault)) from fault


def named(house: House, connection: Connection, about: About) -> About:
    """Return *about* in its published spelling. Raises NotFound, with what is published."""
    if about.scope is Scope.GLOBAL:
        return EVERYTHING
    return Names.of(house, connection).find(about)


@dataclass(frozen=True, slots=True)
class Names:
    """The topics and tracks that an opt-out may name, by their folded spelling."""

    topics: dict[str, str]
    tracks: dict[str, str]

    @classmethod
    def of(cls, house: House, connection: Connection) -> Names:
        """Return what is published, and what the log names already: an opt-out outlives its topic."""
        try:
            programs = house.rulebooks.current(connection).programs
        except NotFound:
            programs = {}
        topics = [
            *suppression_queries.refs(connection, Scope.TOPIC),
            *(one.topic for one in programs.values()),
        ]
        tracks = [*suppression_queries.refs(connection, Scope.TRACK), *programs]
        return cls({folded(one): one for one in topics if one}, {folded(one): one for one in tracks if one})

    def find(self, about: About) -> About:
        """Return *about* as it is spelt here. Raises NotFound."""
        if about.scope is Scope.GLOBAL:
            return EVERYTHING
        known = self.topics if about.scope is Scope.TOPIC else self.tracks
        found = known.get(folded(about.ref))
        if found is not None:
            return About(about.scope, found)
        listed = (
            f"Known: {', '.join(sorted(known.values()))}" if known else "None is; run `nurture publish` first"
        )
        raise NotFound(f"No {about.scope} {about.ref!r} is published. {listed}.")
