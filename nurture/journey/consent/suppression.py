"""Record opt-outs: all sources (links, bounces, files, people) go through `opt_out`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import (
    LogAction,
    SuppressionLogEntry,
    SuppressionScope,
    SuppressionSource,
    current_suppressions,
    find_kept_refusals,
    is_new_opt_out,
    is_retracted,
    lift_key,
    normalize_ref,
)
from nurture.errors import InvalidState, NotFound
from nurture.formats.cells import read_address, strip_invisible
from nurture.journey.leads import address_queries, consent_queries, signal_queries, suppression_queries
from nurture.journey.leads.suppression_queries import SuppressionEntry
from nurture.runtime.context import AppContext


class OptOut(NamedTuple):
    """An opt-out to record. *at* None means an unknown time: it counts from now unless an equal one is active.

    *repeated*: the same action was logged before, and counts again only if an opt-in came in between. *evidence* is
    stored with it.
    """

    address_id: int
    source: SuppressionSource
    scope: SuppressionScope = SuppressionScope.GLOBAL
    ref: str = ""
    at: datetime | None = None
    repeated: bool = False
    evidence: str | None = None


class SuppressionTarget(NamedTuple):
    """The mail that a log entry covers: all mail, or a topic or track by its published name."""

    scope: SuppressionScope = SuppressionScope.GLOBAL
    ref: str = ""

    def __str__(self) -> str:
        return f"{self.scope} {self.ref}".strip()


ALL_MAIL: Final = SuppressionTarget()


class SuppressResult(NamedTuple):
    """How many addresses are newly suppressed, and how many already were."""

    new: int
    known: int


def opt_out(tx: Transaction, opt_outs: Sequence[OptOut], now: datetime) -> list[bool]:
    """Log opt-outs, make their leads due, and return for each whether it stops more mail than before.

    Entries without any effect are not logged. Uses a constant number of statements.
    """
    if not opt_outs:
        return []
    leads = suppression_queries.lock_leads_by_address(tx, {request.address_id for request in opt_outs})
    new = _log(tx, opt_outs, now)
    stopped = {request.address_id for request, stops in zip(opt_outs, new, strict=True) if stops}
    if stopped:
        signal_queries.make_due(tx, [leads[id_] for id_ in stopped if id_ in leads], now)
    return new


def _log(tx: Transaction, opt_outs: Sequence[OptOut], now: datetime) -> list[bool]:
    """Append those opt-outs that have an effect; return for each whether it stops more mail than before."""
    logs = defaultdict(list, suppression_queries.load_logs(tx, {request.address_id for request in opt_outs}))
    entries: list[SuppressionEntry] = []
    new = []
    for request in opt_outs:
        log = logs[request.address_id]
        entry = _new_entry(request, log, now)
        before = {_stop_key(one.scope, one.ref, one.source) for one in current_suppressions(log)}
        if entry is not None:
            log.append(entry)
            entries.append(to_entry(request.address_id, entry, request.evidence))
        key = _stop_key(request.scope, request.ref, request.source)
        after = {_stop_key(one.scope, one.ref, one.source) for one in current_suppressions(log)} - before
        new.append(entry is not None and key in after)
    suppression_queries.append_entries(tx, entries)
    return new


def _stop_key(scope: SuppressionScope, ref: str, source: SuppressionSource) -> tuple[SuppressionScope, str, bool]:
    """Return the mail that an opt-out stops, and whether it is a bounce of the mailbox."""
    return scope, normalize_ref(ref), source is SuppressionSource.BOUNCE


def _new_entry(request: OptOut, log: Sequence[SuppressionLogEntry], now: datetime) -> SuppressionLogEntry | None:
    """Return the entry to log, None if it has no effect."""
    at = min(request.at or now, now)  # no opt-in could lift one from the future
    entry = SuppressionLogEntry(LogAction.SUPPRESS, request.scope, request.ref, request.source, at)
    if is_retracted(log, entry):  # by the undo of an import; stated again, it counts from now
        entry = entry._replace(at=now)
    if request.at is None or request.repeated:
        key = lift_key(request.scope, request.ref, request.source)
        if any(lift_key(one.scope, one.ref, one.source) == key for one in current_suppressions(log)):
            return None
    return entry if is_new_opt_out(log, entry) else None


def to_entry(address_id: int, one: SuppressionLogEntry, evidence: str | None = None) -> SuppressionEntry:
    """Return an entry of the log as it is stored."""
    return SuppressionEntry(address_id, one.action.value, one.scope.value, one.ref, one.source.value, evidence, one.at)


def suppress(
    ctx: AppContext,
    emails: Sequence[str],
    now: datetime,
    *,
    target: SuppressionTarget = ALL_MAIL,
    source: SuppressionSource = SuppressionSource.ADMIN,
) -> SuppressResult:
    """Suppress these addresses for *target*, whether leads have them or not.

    Raises InvalidState for an invalid address, and NotFound for a topic or track that is not published.
    """
    normals = sorted({parse_address(email) for email in emails})
    with ctx.database.write() as tx:
        target = resolve_target(ctx, tx, target)
        found = get_or_create_addresses(tx, normals)
        opt_outs = [OptOut(found[normal], source, *target, at=now) for normal in normals]
        new = opt_out(tx, opt_outs, now)
    return SuppressResult(sum(new), len(new) - sum(new))


def keep_refusals(tx: Transaction, topics: Mapping[str, str], now: datetime) -> int:
    """Refuse each track of *topics* for whoever refused the topic that it had until now; return for how many.

    Refusals by records count as imported. No lead is locked or made due: the publication that calls this does that.
    """
    refused = consent_queries.load_refusals(tx, suppression_queries.find_addresses_with_topics(tx))
    opt_outs = [
        OptOut(
            address_id,
            SuppressionSource.IMPORT if one.source is SuppressionSource.WITHDRAWN else one.source,
            SuppressionScope.TRACK,
            track,
            evidence=f"refused {one.ref}, which was the topic of {track}",
        )
        for address_id, refusals in sorted(refused.items())
        for one, track in find_kept_refusals(refusals, topics)
    ]
    return sum(_log(tx, opt_outs, now)) if opt_outs else 0


def get_or_create_addresses(tx: Transaction, normals: Sequence[str]) -> dict[str, int]:
    """Return the ids of normalized addresses, inserting new ones."""
    if not normals:
        return {}
    acquire(tx, Lock.INTAKE)  # before any lead is locked
    found = address_queries.get_or_create_addresses(tx, normals)
    return {normal: address_id for normal, (address_id, _) in found.items()}


def parse_address(text: str) -> str:
    """Return the normalized address in *text*, in any form that people and lists use. Raises InvalidState."""
    plain = strip_invisible(text).strip()
    if not plain:
        raise InvalidState("there is no email address; write it like name@example.com")
    try:
        return read_address(plain)
    except ValueError as error:
        raise InvalidState(str(error)) from error


def resolve_target(ctx: AppContext, tx: Transaction, target: SuppressionTarget) -> SuppressionTarget:
    """Return *target* in its published spelling. Raises NotFound, which lists the published names."""
    if target.scope is SuppressionScope.GLOBAL:
        return ALL_MAIL
    return TargetIndex.load(ctx, tx).resolve(target)


@dataclass(frozen=True, slots=True)
class TargetIndex:
    """The topics and tracks that an opt-out may cover, by folded spelling."""

    topics: dict[str, str]
    tracks: dict[str, str]

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction) -> TargetIndex:
        """Return the index of published names and of names in the log, because opt-outs outlive their topics."""
        definitions = ctx.definitions.find_current(tx)
        programs = definitions.programs if definitions is not None else {}
        topics = [*suppression_queries.list_refs(tx, SuppressionScope.TOPIC), *(one.topic for one in programs.values())]
        topics += suppression_queries.list_broadcast_topics(tx)
        tracks = [*suppression_queries.list_refs(tx, SuppressionScope.TRACK), *programs]
        return cls(
            {normalize_ref(one): one for one in topics if one}, {normalize_ref(one): one for one in tracks if one}
        )

    def resolve(self, target: SuppressionTarget) -> SuppressionTarget:
        """Return *target* in its known spelling. Raises NotFound."""
        if target.scope is SuppressionScope.GLOBAL:
            return ALL_MAIL
        known = self.topics if target.scope is SuppressionScope.TOPIC else self.tracks
        found = known.get(normalize_ref(target.ref))
        if found is not None:
            return SuppressionTarget(target.scope, found)
        listed = (
            f"Known: {', '.join(sorted(known.values()))}"
            if known
            else "Nothing is published; run `nurture publish` first"
        )
        raise NotFound(f"No {target.scope} {target.ref!r} is published. {listed}.")
