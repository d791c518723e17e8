"""Batches that programs post: signals and leads. What is good goes in, what is not is told item by item."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from hashlib import sha256
from operator import attrgetter
from typing import Final, NamedTuple

from nurture.domain.address import normalise_address
from nurture.domain.consent.suppression import source_of
from nurture.domain.plain_text import plain
from nurture.domain.signals import SUPPRESSING, SignalKind
from nurture.errors import NotFound, Refused
from nurture.formats.lead_item import ItemReader, WrongItem
from nurture.formats.lead_row import LeadRow
from nurture.journey.consent import suppression as opt_outs
from nurture.journey.consent.suppression import OptOut
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.intake import import_file, interpret
from nurture.journey.intake.api import queries
from nurture.journey.intake.api.queries import Name
from nurture.journey.intake.api.tokens import Scope
from nurture.journey.leads import signal_queries
from nurture.journey.leads.signal_queries import Answered, Recorded
from nurture.runtime.context import House

MOST: Final = 1_000
"""Items in one batch."""

SKEW: Final = timedelta(minutes=5)
"""How far a caller's clock may be ahead of ours."""

OLDEST: Final = timedelta(days=730)
"""Older signals are history: `nurture leads import-signals` brings it in."""

SOURCE: Final = "api"

SIGNAL_FIELDS: Final = {
    "lead": 0,
    "kind": 40,
    "occurred_at": 64,
    "value": 500,
    "email": 200,
    "link": 2_000,
    "id": 200,
}
"""The fields of a signal, and how many characters each may have."""

LEAD_FIELDS: Final = {"id": 0, "email": 320, "external_id": 2_000, "source": 64}
"""What may name the lead of a signal."""

_LARGEST_ID: Final = 2**63 - 1
_WRITE_LEAD: Final = (
    'Write it as {"email": "ana@example.com"}, {"id": 42} or {"external_id": "c1", "source": "crm"}.'
)
_TIMES: Final = ("occurred_at", "happened_at")
_WRITE_TIME: Final = "Write it with its zone, as 2027-03-31T09:00:00Z."


@dataclass(frozen=True, slots=True)
class Wrong:
    """An item that was not taken. *index* counts from 0; *field* is "" where no single one is wrong."""

    index: int
    field: str
    reason: str
    remedy: str


@dataclass(slots=True)
class Taken:
    """What came of a batch: *received* = *accepted* + the number of *rejected*."""

    received: int
    accepted: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    rejected: list[Wrong] = field(default_factory=list)


Refusal = tuple[str, str]
"""Why an item is not taken, and the next move."""

Permit = Callable[[bool], Refusal | None]
"""Says of an item, by whether it stops mail to somebody, why its caller may not post it; None if it may."""


def by_scopes(scopes: Collection[str], ordinary: Scope) -> Permit:
    """Return what a caller with these *scopes* may post; items that stop no mail need the *ordinary* one."""

    def permit(stops: bool) -> Refusal | None:  # noqa: FBT001 - as Permit is called
        needed = Scope.SUPPRESSIONS if stops else ordinary
        if needed in scopes:
            return None
        what = "This stops mail to somebody, for which a token" if stops else "For this a token"
        return (
            f"{what} needs the scope {needed}.",
            f"Make one: nurture admin tokens create NAME --scope {needed}",
        )

    return permit


ORDINARY: Final = by_scopes({*Scope} - {Scope.SUPPRESSIONS}, Scope.SIGNALS)
"""Everything but what stops mail."""


class _Deed(NamedTuple):
    """A signal before its lead is found. *place* is where it stands in its *batch*."""

    batch: int
    place: int
    name: Name
    kind: SignalKind
    at: datetime
    value: str | None
    email: str | None
    link: str | None
    id: str | None


def post_signals(house: House, items: Sequence[object], now: datetime, permit: Permit = ORDINARY) -> Taken:
    """Record the signals of a batch and apply them; repeats count once, bad ones stop no others."""
    (done,) = post_batches(house, [(items, permit)], now)
    return done


def post_batches(
    house: House, batches: Sequence[tuple[Sequence[object], Permit]], now: datetime
) -> list[Taken]:
    """Record the signals of several batches in one go; what came of each, in order."""
    done = [Taken(len(items), counts={"new": 0, "known": 0}) for items, _ in batches]
    deeds: list[_Deed] = []
    for batch, (items, permit) in enumerate(batches):
        for index, item in enumerate(items):
            try:
                deed = _deed(batch, index, item, now)
                _permit(permit, "kind", stops=deed.kind in SUPPRESSING)
                deeds.append(deed)
            except WrongItem as wrong:
                done[batch].rejected.append(Wrong(index, wrong.field, wrong.reason, wrong.remedy))
    heard = _heard(house, deeds, done, now)
    new, refused = _record(house, [one for _, _, one in heard], now)
    for at, (batch, place, one) in enumerate(heard):
        if at in refused:
            remedy = "Shorten its texts, or leave out what is unusual in them."
            done[batch].rejected.append(Wrong(place, "", "The database does not take it.", remedy))
            continue
        done[batch].accepted += 1
        done[batch].counts["new" if one.natural_key in new else "known"] += 1
        new.discard(one.natural_key)
    for taken in done:
        taken.rejected.sort(key=attrgetter("index"))
    return done


def post_leads(
    house: House,
    source: str,
    items: Sequence[object],
    told_by: str,
    now: datetime,
    permit: Permit = ORDINARY,
) -> Taken:
    """Bring in the leads of a batch as an import does; *source* is the system whose ids they carry."""
    done = Taken(len(items))
    reader = ItemReader(source)
    rows: list[LeadRow] = []
    for index, item in enumerate(items):
        try:
            row = reader.read(index + 1, item)
            _permit(permit, "", stops=interpret.opts_out(row))
            rows.append(row)
        except WrongItem as wrong:
            done.rejected.append(Wrong(index, wrong.field, wrong.reason, wrong.remedy))
    done.accepted = len(rows)
    done.counts = dict.fromkeys(("new", "updated", "unchanged"), 0)
    if rows:
        came = import_file.bring_in(house, rows, f"what {told_by} posted", now)
        done.counts = {"new": came.new, "updated": came.updated, "unchanged": came.unchanged}
    return done


def _heard(
    house: House, deeds: Sequence[_Deed], done: Sequence[Taken], now: datetime
) -> list[tuple[int, int, Recorded]]:
    """Find the leads and touches that are meant; return (batch, place, signal as it is stored)."""
    database = house.database
    with database.read() as connection:
        found = queries.named(database, connection, [deed.name for deed in deeds])
        pairs = [(found[at], deed.email) for at, deed in enumerate(deeds) if deed.email and at in found]
        touches = signal_queries.newest_touches(database, connection, pairs)
    heard: list[tuple[int, int, Recorded]] = []
    nobodys = [one for at, one in enumerate(deeds) if at not in found and one.kind in SUPPRESSING]
    stopped = _stop_addresses(house, [one for one in nobodys if one.name.normal is not None], now)
    for at, deed in enumerate(deeds):
        lead_id = found.get(at)
        if lead_id is None and (deed.batch, deed.place) in stopped:
            done[deed.batch].accepted += 1
            done[deed.batch].counts["new" if stopped[deed.batch, deed.place] else "known"] += 1
        elif lead_id is None:
            remedy = "Check how it is written, or send it to /api/leads first."
            done[deed.batch].rejected.append(
                Wrong(deed.place, "lead", "No lead is known by this name.", remedy)
            )
        else:
            answered = touches.get((lead_id, deed.email)) if deed.email else None
            heard.append((deed.batch, deed.place, _recorded(lead_id, deed, answered, now)))
    return heard


def _stop_addresses(house: House, deeds: Sequence[_Deed], now: datetime) -> dict[tuple[int, int], bool]:
    """Stop mail to addresses that no lead has; return by (batch, place) whether that was news.

    No opt-out is lost for coming first, and the answer does not tell which addresses there are.
    """
    normals: dict[tuple[int, int], str] = {}
    for one in deeds:
        with suppress(Refused):
            normals[one.batch, one.place] = opt_outs.address(one.name.normal or "")
    if not normals:
        return {}
    with house.database.write() as connection:
        found = opt_outs.known_addresses(house.database, connection, sorted(set(normals.values())))
        acts = [
            OptOut(found[normals[one.batch, one.place]], source_of(one.kind, SOURCE), at=min(one.at, now))
            for one in deeds
            if (one.batch, one.place) in normals
        ]
        return dict(zip(normals, opt_outs.opt_out(house.database, connection, acts, now), strict=True))


def _record(house: House, heard: Sequence[Recorded], now: datetime) -> tuple[set[str], set[int]]:
    """Record signals; return the keys of those that were new, and the places of those that cannot be kept."""
    if not heard:
        return set(), set()
    keys = {one.natural_key for one in heard}
    with house.database.read() as connection:
        new = keys - signal_queries.known_keys(house.database, connection, sorted(keys))
    # Where nothing is published yet they are in all the same; the first sweep after that applies them.
    refused: list[int] = []
    with suppress(NotFound):
        _, refused = engagement_signals.record_apart(house, heard, now)
    return new, set(refused)


def _recorded(lead_id: int, deed: _Deed, answered: Answered | None, now: datetime) -> Recorded:
    """Return a signal as it is stored. Its key rests on what was sent alone, so that a repeat is known."""
    told = engagement_signals.told(
        lead_id, deed.kind, deed.value, deed.at, now, deed.email, deed.link, answered
    )
    key = told.natural_key
    if deed.id is not None:
        key = f"api|{lead_id}|{deed.kind}|{sha256(deed.id.encode()).hexdigest()[:32]}"
    return told._replace(natural_key=key, source=SOURCE, occurred_at=min(deed.at, now))


def _permit(permit: Permit, field: str, *, stops: bool) -> None:
    """Raise WrongItem for what the caller may not post."""
    if refused := permit(stops):
        raise WrongItem(field, *refused)


def _deed(batch: int, index: int, item: object, now: datetime) -> _Deed:
    if not isinstance(item, Mapping):
        raise WrongItem("", "A signal is an object.", "Give it lead, kind and occurred_at.")
    only_fields(item, SIGNAL_FIELDS, "", "A signal")
    name = name_of(item.get("lead"))
    text = {field: text_of(item, field, most) for field, most in SIGNAL_FIELDS.items() if field != "lead"}
    try:
        kind, value = engagement_signals.checked(needed(text, "kind"), text["value"])
    except Refused as refused:
        reason, _, remedy = str(refused).partition(". ")
        known = text["kind"] in set(SignalKind)
        raise WrongItem("value" if known else "kind", f"{reason}.", remedy) from None
    at = moment_of(needed(text, "occurred_at"), now)
    return _Deed(batch, index, name, kind, at, value, text["email"], text["link"], text["id"])


def name_of(lead: object) -> Name:
    """Return what names a lead. Raises WrongItem."""
    if not isinstance(lead, Mapping):
        raise WrongItem("lead", "Nothing says whose signal it is.", _WRITE_LEAD)
    only_fields(lead, LEAD_FIELDS, "lead.", "A lead's name")
    text = {
        field: text_of(lead, field, most, "lead.") for field, most in LEAD_FIELDS.items() if field != "id"
    }
    id_, email, external_id, source = lead.get("id"), text["email"], text["external_id"], text["source"]
    if sum(one is not None for one in (id_, email, external_id)) != 1:
        raise WrongItem("lead", "A lead is named by one thing: its id, email or external_id.", _WRITE_LEAD)
    if external_id is not None and source is not None:
        return Name(None, None, *interpret.key_named(source, external_id))
    if external_id is not None or source is not None:
        raise WrongItem("lead", "external_id and source belong together.", _WRITE_LEAD)
    if email is not None:
        return Name(normal=normalise_address(email))
    if isinstance(id_, bool) or not isinstance(id_, int) or not 0 < id_ <= _LARGEST_ID:
        raise WrongItem("lead.id", "An id is a whole number from 1 on.", _WRITE_LEAD)
    return Name(id=id_)


def only_fields(item: Mapping[str, object], known: Mapping[str, int], where: str, what: str) -> None:
    """Raise WrongItem for a field that *what* does not have."""
    for name in item:
        if name not in known:
            near = get_close_matches(name[:80], known, n=1)
            remedy = f"Did you mean {near[0]}?" if near else f"The fields are {', '.join(known)}."
            raise WrongItem(f"{where}{name[:80]}", f"{what} has no such field.", remedy)


def text_of(item: Mapping[str, object], name: str, most: int, where: str = "") -> str | None:
    """Return the text in a field, None where there is none. Raises WrongItem."""
    value = item.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise WrongItem(f"{where}{name}", "The value is not text.", "Put it in quotes.")
    if len(value) > most:
        raise WrongItem(f"{where}{name}", f"The value is over {most:,} characters long.", "Shorten it.")
    return plain(value).strip() or None


def needed(text: Mapping[str, str | None], name: str, what: str = "A signal") -> str:
    """Return the text in a field that must be there. Raises WrongItem."""
    value = text[name]
    if value is None:
        remedy = _WRITE_TIME if name in _TIMES else f"Add {name}."
        raise WrongItem(name, f"{what} needs {name}.", remedy)
    return value


def moment_of(
    text: str, now: datetime, name: str = "occurred_at", instead: str = "nurture leads import-signals"
) -> datetime:
    """Return a moment of the last two years. Raises WrongItem; *instead* is what brings history in."""
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongItem(name, f"{text!r} is not a time.", _WRITE_TIME) from None
    if at.tzinfo is None:
        raise WrongItem(name, f"{text!r} has no time zone.", _WRITE_TIME)
    if at > now + SKEW:
        raise WrongItem(name, f"{text!r} is in the future.", "Send what has happened; check your clock.")
    if at < now - OLDEST:
        raise WrongItem(name, f"{text!r} is more than two years ago.", f"Bring history in with `{instead}`.")
    return at
