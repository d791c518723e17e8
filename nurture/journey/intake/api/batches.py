"""Store batches of signals, leads and outcomes. Valid items are accepted, invalid ones reported one by one."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from operator import attrgetter
from typing import Final, NamedTuple

from nurture.db.engine import Database
from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import source_for_signal
from nurture.domain.lead import Closing
from nurture.domain.signals import SUPPRESSING_KINDS
from nurture.errors import InvalidState
from nurture.formats.items import InvalidItem, read_item
from nurture.formats.lead_item import ItemReader
from nurture.formats.lead_row import LeadRow
from nurture.journey.consent import suppression as opt_outs
from nurture.journey.consent.suppression import OptOut
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.intake import import_file, interpret
from nurture.journey.intake.api.items import SOURCE, OutcomeItem, SignalItem
from nurture.journey.intake.api.tokens import TokenScope
from nurture.journey.leads import queries, signal_queries
from nurture.journey.leads.queries import LeadRef
from nurture.journey.leads.signal_queries import NewSignal, TouchRef
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import OutcomeReport
from nurture.runtime.context import AppContext

SIGNAL_COUNTS: Final = ("new", "known")
LEAD_COUNTS: Final = ("new", "updated", "unchanged")


@dataclass(frozen=True, slots=True)
class ItemError:
    """A rejected item. *index* counts from 0; *field* is "" if no single field is wrong."""

    index: int
    field: str
    reason: str
    remedy: str


@dataclass(slots=True)
class BatchResult:
    """The result of a batch: *received* = *accepted* + the number of *rejected*.

    *notes* are remarks about accepted items.
    """

    received: int
    accepted: int = 0
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    rejected: list[ItemError] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def reject(self, index: int, wrong: InvalidItem) -> None:
        """Add a rejected item."""
        self.rejected.append(ItemError(index, wrong.field, wrong.reason, wrong.remedy))

    def reject_unknown_lead(self, index: int) -> None:
        """Add an item whose lead does not exist."""
        remedy = "Check its spelling, or post the lead to /api/leads first."
        self.reject(index, InvalidItem("lead", "No lead matches this reference.", remedy))


Refusal = tuple[str, str]
"""Why an item is rejected, and the remedy."""

PermissionCheck = Callable[[bool], Refusal | None]
"""Takes whether an item stops mail; returns why its caller may not post it, None if it may."""


def check_scopes(scopes: Collection[str], default: TokenScope) -> PermissionCheck:
    """Return the check for a caller with these *scopes*; items that do not stop mail need the scope *default*."""

    def check(stops: bool) -> Refusal | None:  # noqa: FBT001 - as PermissionCheck is called
        needed = TokenScope.SUPPRESSIONS if stops else default
        if needed in scopes:
            return None
        what = "An item that stops mail" if stops else "This item"
        remedy = f"Create one: nurture admin tokens create NAME --scope {needed}"
        return f"{what} needs a token with the scope {needed}.", remedy

    return check


DEFAULT_PERMISSION: Final = check_scopes({*TokenScope} - {TokenScope.SUPPRESSIONS}, TokenScope.SIGNALS)
"""Allows every item that does not stop mail."""


class _PostedSignal(NamedTuple):
    """A signal before its lead is found. *position* is its index in its *batch*."""

    batch: int
    position: int
    lead_ref: LeadRef
    item: SignalItem


def post_signals(
    ctx: AppContext, items: Sequence[object], now: datetime, permission: PermissionCheck = DEFAULT_PERMISSION
) -> BatchResult:
    """Record the signals of a batch and apply them. Repeats count once; invalid items do not stop others."""
    (result,) = post_batches(ctx, [(items, permission)], now)
    return result


def post_batches(
    ctx: AppContext, batches: Sequence[tuple[Sequence[object], PermissionCheck]], now: datetime
) -> list[BatchResult]:
    """Record the signals of several batches together; return their results in order."""
    results = [BatchResult(len(items), counts=dict.fromkeys(SIGNAL_COUNTS, 0)) for items, _ in batches]
    posted: list[_PostedSignal] = []
    for batch, (items, permission) in enumerate(batches):
        for index, item in enumerate(items):
            try:
                signal = read_item(SignalItem, item, now)
                _require_permission(permission, "kind", stops=signal.kind in SUPPRESSING_KINDS)
                posted.append(_PostedSignal(batch, index, signal.lead.parsed(), signal))
            except InvalidItem as wrong:
                results[batch].reject(index, wrong)
    matched = _match_leads(ctx.database, posted, results, now)
    new, refused = _record_signals(ctx, [one for _, _, one in matched], now)
    for number, (batch, position, one) in enumerate(matched):
        if number in refused:
            remedy = "Shorten its texts, or remove unusual characters."
            results[batch].reject(position, InvalidItem("", "The database rejected it.", remedy))
            continue
        results[batch].accepted += 1
        results[batch].counts["new" if one.natural_key in new else "known"] += 1
        new.discard(one.natural_key)
    for result in results:
        result.rejected.sort(key=attrgetter("index"))
    return results


def post_leads(
    ctx: AppContext,
    source: str,
    items: Sequence[object],
    posted_by: str,
    now: datetime,
    permission: PermissionCheck = DEFAULT_PERMISSION,
) -> BatchResult:
    """Bring in the leads of a batch as an import does; *source* is the system whose ids they carry."""
    result = BatchResult(len(items))
    with ctx.database.read() as tx:
        reader = ItemReader(source, ctx.definitions.declared_fields(tx))
    rows: list[LeadRow] = []
    refusals: list[LeadRow] = []
    for index, item in enumerate(items):
        try:
            row = reader.read(index + 1, item)
            _require_permission(permission, "", stops=interpret.opts_out(row))
            rows.append(row)
        except InvalidItem as wrong:
            result.reject(index, wrong)
            if (rescued := reader.rescue(index + 1, item)) is not None and permission(True) is None:
                refusals.append(rescued)
    result.accepted, result.notes = len(rows), reader.describe_noted()
    result.counts = dict.fromkeys(LEAD_COUNTS, 0)
    if rows or refusals:
        imported = import_file.import_rows(ctx, rows, f"API batch of {posted_by}", now, refusals)
        result.counts = {name: getattr(imported, name) for name in LEAD_COUNTS}
    return result


def post_outcomes(ctx: AppContext, items: Sequence[object], now: datetime) -> BatchResult:
    """Record the outcomes of a batch. Repeats count once; invalid items do not stop others."""
    result = BatchResult(len(items))
    posted: dict[int, OutcomeItem] = {}
    for index, item in enumerate(items):
        try:
            posted[index] = read_item(OutcomeItem, item, now)
        except InvalidItem as wrong:
            result.reject(index, wrong)
    with ctx.database.read() as tx:
        found = _find_leads(tx, [one.lead.parsed() for one in posted.values()])
    reports: list[OutcomeReport] = []
    for number, (index, one) in enumerate(posted.items()):
        if number in found:
            at = min(one.happened_at, now)
            reason = one.reason or (outcomes.NO_REASON if one.closing is Closing.LOST else "")
            reports.append(OutcomeReport(found[number], one.closing, at, one.amount, reason, one.id or ""))
        else:
            result.reject_unknown_lead(index)
    result.accepted = len(reports)
    result.counts = outcomes.count_verdicts(outcomes.record_outcomes(ctx, reports, SOURCE, now))
    result.rejected.sort(key=attrgetter("index"))
    return result


def _find_leads(tx: Transaction, refs: Sequence[LeadRef]) -> dict[int, int]:
    """Return the lead of each reference that has one, by index; each names one lead at most."""
    return {index: lead_id for index, ((lead_id, _),) in queries.match_leads(tx, refs).items()}


def _match_leads(
    database: Database, posted: Sequence[_PostedSignal], results: Sequence[BatchResult], now: datetime
) -> list[tuple[int, int, NewSignal]]:
    """Find the leads and touches of signals; return (batch, position, signal to store)."""
    with database.read() as tx:
        found = _find_leads(tx, [signal.lead_ref for signal in posted])
        pairs = [
            (found[number], one.item.email) for number, one in enumerate(posted) if one.item.email and number in found
        ]
        touches = signal_queries.find_latest_touches(tx, pairs)
    matched: list[tuple[int, int, NewSignal]] = []
    unmatched = [one for index, one in enumerate(posted) if index not in found and one.item.kind in SUPPRESSING_KINDS]
    stopped = _suppress_addresses(database, [one for one in unmatched if one.lead_ref.normalized is not None], now)
    for index, signal in enumerate(posted):
        lead_id = found.get(index)
        if lead_id is None and (signal.batch, signal.position) in stopped:
            results[signal.batch].accepted += 1
            results[signal.batch].counts["new" if stopped[signal.batch, signal.position] else "known"] += 1
        elif lead_id is None:
            results[signal.batch].reject_unknown_lead(signal.position)
        else:
            touch = touches.get((lead_id, signal.item.email or ""))
            matched.append((signal.batch, signal.position, _new_signal(lead_id, signal.item, touch, now)))
    return matched


def _suppress_addresses(
    database: Database, posted: Sequence[_PostedSignal], now: datetime
) -> dict[tuple[int, int], bool]:
    """Suppress addresses that no lead has; return by (batch, position) whether that was new.

    Opt-outs that arrive before their lead are kept, and the response does not reveal which addresses exist.
    """
    normals: dict[tuple[int, int], str] = {}
    for one in posted:
        with suppress(InvalidState):
            normals[one.batch, one.position] = opt_outs.parse_address(one.lead_ref.normalized or "")
    if not normals:
        return {}
    with database.write() as tx:
        found = opt_outs.get_or_create_addresses(tx, sorted(set(normals.values())))
        suppressions = [
            OptOut(
                found[normals[one.batch, one.position]],
                source_for_signal(one.item.kind, SOURCE),
                at=min(one.item.occurred_at, now),
            )
            for one in posted
            if (one.batch, one.position) in normals
        ]
        return dict(zip(normals, opt_outs.opt_out(tx, suppressions, now), strict=True))


def _record_signals(ctx: AppContext, new_signals: Sequence[NewSignal], now: datetime) -> tuple[set[str], set[int]]:
    """Record signals; return the keys of the new ones, and the indexes of those that the database rejected."""
    if not new_signals:
        return set(), set()
    keys = {one.natural_key for one in new_signals}
    with ctx.database.read() as tx:
        new = keys - signal_queries.find_existing_keys(tx, sorted(keys))
    with ctx.database.write() as tx:
        recorded, refused = engagement_signals.record_valid(tx, new_signals, now)
    if recorded:
        engagement_signals.apply_if_published(ctx, now)
    return new, set(refused)


def _new_signal(lead_id: int, item: SignalItem, touch: TouchRef | None, now: datetime) -> NewSignal:
    """Return a signal to store. Its key depends only on the posted item, so that repeats are recognized."""
    signal = engagement_signals.build_reported_signal(
        lead_id, item.kind, item.value, item.occurred_at, now, item.email, item.link, touch
    )
    key = signal.natural_key
    if item.id is not None:
        key = f"api|{lead_id}|{item.kind}|{sha256(item.id.encode()).hexdigest()[:32]}"
    return signal._replace(natural_key=key, source=SOURCE, occurred_at=min(item.occurred_at, now))


def _require_permission(permission: PermissionCheck, field: str, *, stops: bool) -> None:
    """Raise InvalidItem if the caller may not post the item."""
    if refusal := permission(stops):
        raise InvalidItem(field, *refusal)
