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
from nurture.domain.consent.suppression import (
    LogAction,
    SuppressionLogEntry,
    SuppressionScope,
    SuppressionSource,
    current_suppressions,
    is_new_opt_out,
    lift_key,
    normalize_ref,
)
from nurture.errors import InvalidState, NotFound
from nurture.formats.cells import read_address
from nurture.journey.leads import address_queries, signal_queries, suppression_queries
from nurture.journey.leads.suppression_queries import SuppressionEntry
from nurture.runtime.context import AppContext

_INVISIBLE: Final = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
_BRACKETED: Final = re.compile(r"[^<>]*<([^<>]+)>")


class OptOut(NamedTuple):
    """Somebody said no. *at* None: it is not known when, so it counts from now if nothing alike stands.

    *repeated*: the same act was logged before, and counts once more only if an opt-in came between.
    """

    address_id: int
    source: SuppressionSource
    scope: SuppressionScope = SuppressionScope.GLOBAL
    ref: str = ""
    at: datetime | None = None
    repeated: bool = False


class SuppressionTarget(NamedTuple):
    """What an act covers: all mail, a topic or a track by its published name."""

    scope: SuppressionScope = SuppressionScope.GLOBAL
    ref: str = ""

    def __str__(self) -> str:
        return f"{self.scope} {self.ref}".strip()


ALL_MAIL: Final = SuppressionTarget()


class SuppressResult(NamedTuple):
    """What came of opt-outs: how many addresses are mailed less from now on, how many were not before."""

    new: int
    known: int


def opt_out(database: Database, connection: Connection, opt_outs: Sequence[OptOut], now: datetime) -> list[bool]:
    """Log opt-outs in this transaction, wake their leads, and say of each whether it stops more mail.

    Every opt-out goes through here. Nothing is logged that could never matter; nothing ever lifts.
    A constant number of statements, however many acts.
    """
    if not opt_outs:
        return []
    leads = suppression_queries.lock_leads_by_address(
        database, connection, {request.address_id for request in opt_outs}
    )
    logs = defaultdict(
        list, suppression_queries.load_logs(database, connection, {request.address_id for request in opt_outs})
    )
    entries: list[SuppressionEntry] = []
    new = []
    for request in opt_outs:
        log = logs[request.address_id]
        entry = _new_entry(request, log, now)
        before = {_stop_key(one.scope, one.ref, one.source) for one in current_suppressions(log)}
        if entry is not None:
            log.append(entry)
            entries.append(to_entry(request.address_id, entry))
        key = _stop_key(request.scope, request.ref, request.source)
        after = {_stop_key(one.scope, one.ref, one.source) for one in current_suppressions(log)} - before
        new.append(entry is not None and key in after)
    suppression_queries.append_entries(database, connection, entries)
    stopped = {request.address_id for request, stops in zip(opt_outs, new, strict=True) if stops}
    if stopped:
        signal_queries.make_due(database, connection, [leads[id_] for id_ in stopped if id_ in leads], now)
    return new


def _stop_key(scope: SuppressionScope, ref: str, source: SuppressionSource) -> tuple[SuppressionScope, str, bool]:
    """Return what mail an opt-out stops, and whether that is for the mailbox."""
    return scope, normalize_ref(ref), source is SuppressionSource.BOUNCE


def _new_entry(request: OptOut, log: Sequence[SuppressionLogEntry], now: datetime) -> SuppressionLogEntry | None:
    """Return what is to be logged, None if it says nothing new."""
    at = min(request.at or now, now)  # from the future, no opt-in could lift it
    entry = SuppressionLogEntry(LogAction.SUPPRESS, request.scope, request.ref, request.source, at)
    if request.at is None or request.repeated:
        key = lift_key(request.scope, request.ref, request.source)
        if any(lift_key(one.scope, one.ref, one.source) == key for one in current_suppressions(log)):
            return None
    return entry if is_new_opt_out(log, entry) else None


def to_entry(address_id: int, one: SuppressionLogEntry, evidence: str | None = None) -> SuppressionEntry:
    """Return an entry of the log as it is written."""
    return SuppressionEntry(address_id, one.action.value, one.scope.value, one.ref, one.source.value, evidence, one.at)


def suppress(
    ctx: AppContext,
    emails: Sequence[str],
    now: datetime,
    *,
    target: SuppressionTarget = ALL_MAIL,
    source: SuppressionSource = SuppressionSource.ADMIN,
) -> SuppressResult:
    """Never mail these addresses again (*target*: a topic or track only), whether a lead has them or not.

    Raises InvalidState for what is no address, and NotFound for a topic or track that nobody publishes.
    """
    normals = sorted({parse_address(email) for email in emails})
    with ctx.database.write() as connection:
        target = resolve_target(ctx, connection, target)
        found = get_or_create_addresses(ctx.database, connection, normals)
        opt_outs = [OptOut(found[normal], source, *target, at=now) for normal in normals]
        new = opt_out(ctx.database, connection, opt_outs, now)
    return SuppressResult(sum(new), len(new) - sum(new))


def get_or_create_addresses(database: Database, connection: Connection, normals: Sequence[str]) -> dict[str, int]:
    """Return the id of each normalised address, written down if it is new."""
    if not normals:
        return {}
    acquire(database, connection, Lock.INTAKE)  # before any lead is held
    found = address_queries.get_or_create_addresses(database, connection, normals)
    return {normal: address_id for normal, (address_id, _) in found.items()}


def parse_address(text: str) -> str:
    """Return the normalised address in *text*, as people and lists write it. Raises InvalidState."""
    plain = text.translate(_INVISIBLE).strip()
    bracketed = _BRACKETED.fullmatch(plain)
    if bracketed:
        plain = bracketed[1].strip()
    plain = plain.removeprefix("mailto:").rstrip(".").strip()
    if not plain:
        raise InvalidState("there is no email address; write it like name@example.com")
    try:
        return read_address(plain)
    except ValueError as error:
        raise InvalidState(str(error)) from error


def resolve_target(ctx: AppContext, connection: Connection, target: SuppressionTarget) -> SuppressionTarget:
    """Return *target* in its published spelling. Raises NotFound, with what is published."""
    if target.scope is SuppressionScope.GLOBAL:
        return ALL_MAIL
    return TargetIndex.load(ctx, connection).resolve(target)


@dataclass(frozen=True, slots=True)
class TargetIndex:
    """The topics and tracks that an opt-out may name, by their folded spelling."""

    topics: dict[str, str]
    tracks: dict[str, str]

    @classmethod
    def load(cls, ctx: AppContext, connection: Connection) -> TargetIndex:
        """Return what is published, and what the log names already: an opt-out outlives its topic."""
        try:
            programs = ctx.definitions.current(connection).programs
        except NotFound:
            programs = {}
        topics = [
            *suppression_queries.list_refs(connection, SuppressionScope.TOPIC),
            *(one.topic for one in programs.values()),
        ]
        tracks = [*suppression_queries.list_refs(connection, SuppressionScope.TRACK), *programs]
        return cls(
            {normalize_ref(one): one for one in topics if one}, {normalize_ref(one): one for one in tracks if one}
        )

    def resolve(self, target: SuppressionTarget) -> SuppressionTarget:
        """Return *target* as it is spelt here. Raises NotFound."""
        if target.scope is SuppressionScope.GLOBAL:
            return ALL_MAIL
        known = self.topics if target.scope is SuppressionScope.TOPIC else self.tracks
        found = known.get(normalize_ref(target.ref))
        if found is not None:
            return SuppressionTarget(target.scope, found)
        listed = f"Known: {', '.join(sorted(known.values()))}" if known else "None is; run `nurture publish` first"
        raise NotFound(f"No {target.scope} {target.ref!r} is published. {listed}.")
