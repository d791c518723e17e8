"""Batches of signals and leads posted to the API. Valid items are accepted, invalid ones reported one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from hashlib import sha256
from operator import attrgetter
from typing import Final, NamedTuple

from nurture.domain.address import normalize_address
from nurture.domain.consent.suppression import source_for_signal
from nurture.domain.plain_text import replace_control_characters
from nurture.domain.signals import SUPPRESSING_KINDS, SignalKind
from nurture.errors import InvalidState
from nurture.formats.lead_item import InvalidItem, ItemReader
from nurture.formats.lead_row import LeadRow
from nurture.journey.consent import suppression as opt_outs
from nurture.journey.consent.suppression import OptOut
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.intake import import_file, interpret
from nurture.journey.intake.api import queries
from nurture.journey.intake.api.queries import LeadRef
from nurture.journey.intake.api.tokens import TokenScope
from nurture.journey.leads import signal_queries
from nurture.journey.leads.signal_queries import NewSignal, TouchRef
from nurture.runtime.context import AppContext

MAX_ITEMS: Final = 1_000
"""Items per batch."""

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far the clock of a caller may be ahead."""

MAX_AGE: Final = timedelta(days=730)
"""Older signals are refused as history: `nurture leads import-signals` imports them."""

SOURCE: Final = "api"

SIGNAL_FIELDS: Final = {"lead": 0, "kind": 40, "occurred_at": 64, "value": 500, "email": 200, "link": 2_000, "id": 200}
"""The fields of a signal, with their maximum lengths in characters; 0 for a field that is not text."""

LEAD_REF_FIELDS: Final = {"id": 0, "email": 320, "external_id": 2_000, "source": 64}
"""The fields of a lead reference, with their maximum lengths."""

_MAX_ID: Final = 2**63 - 1
_LEAD_REF_REMEDY: Final = (
    'Write it as {"email": "ana@example.com"}, {"id": 42} or {"external_id": "c1", "source": "crm"}.'
)
_TIME_FIELDS: Final = ("occurred_at", "happened_at")
_TIME_REMEDY: Final = "Write it with a time zone, as in 2027-03-31T09:00:00Z."


@dataclass(frozen=True, slots=True)
class ItemError:
    """A rejected item. *index* counts from 0; *field* is "" if no single field is wrong."""

    index: int
    field: str
    reason: str
    remedy: str


@dataclass(slots=True)
class BatchResult:
    """The result of a batch: *received* = *accepted* + the number of *rejected*."""

    received: int
    accepted: int = 0
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    rejected: list[ItemError] = dataclasses.field(default_factory=list)


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
    kind: SignalKind
    at: datetime
    value: str | None
    email: str | None
    link: str | None
    id: str | None


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
    results = [BatchResult(len(items), counts={"new": 0, "known": 0}) for items, _ in batches]
    posted: list[_PostedSignal] = []
    for batch, (items, permission) in enumerate(batches):
        for index, item in enumerate(items):
            try:
                signal = _parse_signal(batch, index, item, now)
                _require_permission(permission, "kind", stops=signal.kind in SUPPRESSING_KINDS)
                posted.append(signal)
            except InvalidItem as wrong:
                results[batch].rejected.append(ItemError(index, wrong.field, wrong.reason, wrong.remedy))
    matched = _match_leads(ctx, posted, results, now)
    new, refused = _record_signals(ctx, [one for _, _, one in matched], now)
    for number, (batch, position, one) in enumerate(matched):
        if number in refused:
            remedy = "Shorten its texts, or remove unusual characters."
            results[batch].rejected.append(ItemError(position, "", "The database rejected it.", remedy))
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
    reader = ItemReader(source)
    rows: list[LeadRow] = []
    for index, item in enumerate(items):
        try:
            row = reader.read(index + 1, item)
            _require_permission(permission, "", stops=interpret.opts_out(row))
            rows.append(row)
        except InvalidItem as wrong:
            result.rejected.append(ItemError(index, wrong.field, wrong.reason, wrong.remedy))
    result.accepted = len(rows)
    result.counts = dict.fromkeys(("new", "updated", "unchanged"), 0)
    if rows:
        imported = import_file.import_rows(ctx, rows, f"API batch of {posted_by}", now)
        result.counts = {"new": imported.new, "updated": imported.updated, "unchanged": imported.unchanged}
    return result


def _match_leads(
    ctx: AppContext, posted: Sequence[_PostedSignal], results: Sequence[BatchResult], now: datetime
) -> list[tuple[int, int, NewSignal]]:
    """Find the leads and touches of signals; return (batch, position, signal to store)."""
    with ctx.database.read() as tx:
        found = queries.find_leads(tx, [signal.lead_ref for signal in posted])
        pairs = [
            (found[number], signal.email) for number, signal in enumerate(posted) if signal.email and number in found
        ]
        touches = signal_queries.find_latest_touches(tx, pairs)
    matched: list[tuple[int, int, NewSignal]] = []
    unmatched = [one for index, one in enumerate(posted) if index not in found and one.kind in SUPPRESSING_KINDS]
    stopped = _suppress_addresses(ctx, [one for one in unmatched if one.lead_ref.normalized is not None], now)
    for index, signal in enumerate(posted):
        lead_id = found.get(index)
        if lead_id is None and (signal.batch, signal.position) in stopped:
            results[signal.batch].accepted += 1
            results[signal.batch].counts["new" if stopped[signal.batch, signal.position] else "known"] += 1
        elif lead_id is None:
            remedy = "Check its spelling, or post the lead to /api/leads first."
            results[signal.batch].rejected.append(
                ItemError(signal.position, "lead", "No lead matches this reference.", remedy)
            )
        else:
            touch = touches.get((lead_id, signal.email)) if signal.email else None
            matched.append((signal.batch, signal.position, _new_signal(lead_id, signal, touch, now)))
    return matched


def _suppress_addresses(ctx: AppContext, posted: Sequence[_PostedSignal], now: datetime) -> dict[tuple[int, int], bool]:
    """Suppress addresses that no lead has; return by (batch, position) whether that was new.

    Opt-outs that arrive before their lead are kept, and the response does not reveal which addresses exist.
    """
    normals: dict[tuple[int, int], str] = {}
    for one in posted:
        with suppress(InvalidState):
            normals[one.batch, one.position] = opt_outs.parse_address(one.lead_ref.normalized or "")
    if not normals:
        return {}
    with ctx.database.write() as tx:
        found = opt_outs.get_or_create_addresses(tx, sorted(set(normals.values())))
        suppressions = [
            OptOut(found[normals[one.batch, one.position]], source_for_signal(one.kind, SOURCE), at=min(one.at, now))
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


def _new_signal(lead_id: int, posted: _PostedSignal, touch: TouchRef | None, now: datetime) -> NewSignal:
    """Return a signal to store. Its key depends only on the posted item, so that repeats are recognized."""
    signal = engagement_signals.build_reported_signal(
        lead_id, posted.kind, posted.value, posted.at, now, posted.email, posted.link, touch
    )
    key = signal.natural_key
    if posted.id is not None:
        key = f"api|{lead_id}|{posted.kind}|{sha256(posted.id.encode()).hexdigest()[:32]}"
    return signal._replace(natural_key=key, source=SOURCE, occurred_at=min(posted.at, now))


def _require_permission(permission: PermissionCheck, field: str, *, stops: bool) -> None:
    """Raise InvalidItem if the caller may not post the item."""
    if refusal := permission(stops):
        raise InvalidItem(field, *refusal)


def _parse_signal(batch: int, index: int, item: object, now: datetime) -> _PostedSignal:
    if not isinstance(item, Mapping):
        raise InvalidItem("", "A signal is an object.", "Give it lead, kind and occurred_at.")
    reject_unknown_fields(item, SIGNAL_FIELDS, "", "A signal")
    lead_ref = parse_lead_ref(item.get("lead"))
    text = {field: read_text(item, field, most) for field, most in SIGNAL_FIELDS.items() if field != "lead"}
    try:
        kind, value = engagement_signals.validate_signal(require_text(text, "kind"), text["value"])
    except InvalidState as refused:
        is_known_kind = text["kind"] in set(SignalKind)
        raise InvalidItem("value" if is_known_kind else "kind", refused.reason, refused.remedy) from None
    at = parse_timestamp(require_text(text, "occurred_at"), now)
    return _PostedSignal(batch, index, lead_ref, kind, at, value, text["email"], text["link"], text["id"])


def parse_lead_ref(lead: object) -> LeadRef:
    """Return the parsed lead reference. Raises InvalidItem."""
    if not isinstance(lead, Mapping):
        raise InvalidItem("lead", "The lead is missing.", _LEAD_REF_REMEDY)
    reject_unknown_fields(lead, LEAD_REF_FIELDS, "lead.", "A lead reference")
    text = {field: read_text(lead, field, most, "lead.") for field, most in LEAD_REF_FIELDS.items() if field != "id"}
    id_, email, external_id, source = lead.get("id"), text["email"], text["external_id"], text["source"]
    if sum(one is not None for one in (id_, email, external_id)) != 1:
        raise InvalidItem("lead", "A lead needs exactly one of id, email and external_id.", _LEAD_REF_REMEDY)
    if external_id is not None and source is not None:
        return LeadRef(None, None, *interpret.normalize_key(source, external_id))
    if external_id is not None or source is not None:
        raise InvalidItem("lead", "external_id and source must be given together.", _LEAD_REF_REMEDY)
    if email is not None:
        return LeadRef(normalized=normalize_address(email))
    if isinstance(id_, bool) or not isinstance(id_, int) or not 0 < id_ <= _MAX_ID:
        raise InvalidItem("lead.id", "An id is a whole number, 1 or higher.", _LEAD_REF_REMEDY)
    return LeadRef(id=id_)


def reject_unknown_fields(item: Mapping[str, object], known: Mapping[str, int], path: str, owner: str) -> None:
    """Raise InvalidItem for a field that is not in *known*; *owner* names the object in the message."""
    for name in item:
        if name not in known:
            near = get_close_matches(name[:80], known, n=1)
            remedy = f"Did you mean {near[0]}?" if near else f"The fields are {', '.join(known)}."
            raise InvalidItem(f"{path}{name[:80]}", f"{owner} has no such field.", remedy)


def read_text(item: Mapping[str, object], name: str, max_length: int, path: str = "") -> str | None:
    """Return the text of a field, None if it is absent. Raises InvalidItem."""
    value = item.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidItem(f"{path}{name}", "The value is not text.", "Put it in quotes.")
    if len(value) > max_length:
        raise InvalidItem(f"{path}{name}", f"The value is over {max_length:,} characters long.", "Shorten it.")
    return replace_control_characters(value).strip() or None


def require_text(text: Mapping[str, str | None], name: str, owner: str = "A signal") -> str:
    """Return the text of a required field. Raises InvalidItem."""
    value = text[name]
    if value is None:
        remedy = _TIME_REMEDY if name in _TIME_FIELDS else f"Add {name}."
        raise InvalidItem(name, f"{owner} needs {name}.", remedy)
    return value


def parse_timestamp(
    text: str, now: datetime, name: str = "occurred_at", import_command: str = "nurture leads import-signals"
) -> datetime:
    """Return a time of the last two years. Raises InvalidItem, which names *import_command* for older history."""
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidItem(name, f"{text!r} is not a time.", _TIME_REMEDY) from None
    if at.tzinfo is None:
        raise InvalidItem(name, f"{text!r} has no time zone.", _TIME_REMEDY)
    if at > now + MAX_CLOCK_SKEW:
        raise InvalidItem(name, f"{text!r} is in the future.", "Check your clock.")
    if at < now - MAX_AGE:
        raise InvalidItem(name, f"{text!r} is more than two years ago.", f"Import history with `{import_command}`.")
    return at
