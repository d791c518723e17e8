"""Hear what the mail provider tells: keep it as it came, then settle messages, suppress, wake.

A batch is committed before the provider is thanked for it, and applied after: at once, or by the next sweep.
Each step may run twice, in any order: fates only rise, events and signals count once by their keys.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from nurture.db.locks import Lock, acquire
from nurture.domain.address import normalise_address
from nurture.domain.consent.suppression import Source
from nurture.domain.delivery.delivery_status import News
from nurture.domain.signals import SignalKind
from nurture.errors import Refused
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.engagement import click_filtering, message_status, provider_event_queries, signals
from nurture.journey.engagement.click_filtering import Visited
from nurture.journey.engagement.provider_event_queries import Came, Kept, Sent, Waiting
from nurture.journey.leads import address_queries
from nurture.journey.leads.signal_queries import Recorded
from nurture.mail.providers.events import MailEvent, Refusal
from nurture.mail.providers.sendgrid import events as sendgrid_events
from nurture.outbox.messages import TO_LEADS
from nurture.runtime.context import House

SENDGRID: Final = "sendgrid"

KEPT_FOR: Final = timedelta(days=7)
"""How long a batch is kept word for word; it holds addresses. The events in it hold none, and stay."""

_BATCHES: Final = 20
_EVENTS: Final = 4_000
"""So many at once: one transaction each."""

_READERS: Final[Mapping[str, Callable[[bytes], list[MailEvent]]]] = {SENDGRID: sendgrid_events.read}
_COUNTERS: Final[Mapping[str, Callable[[bytes], int]]] = {SENDGRID: sendgrid_events.count}

POISON: Final = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RecursionError,
    DataError,
    IntegrityError,
)
"""What a batch that nobody foresaw may raise. Anything else is no fault of the batch: it waits."""

_SIGNALS: Final[Mapping[Refusal, tuple[SignalKind, Source]]] = {
    Refusal.BOUNCE: (SignalKind.BOUNCED, Source.BOUNCE),
    Refusal.COMPLAINT: (SignalKind.COMPLAINED, Source.COMPLAINT),
    Refusal.UNSUBSCRIBE: (SignalKind.UNSUBSCRIBED, Source.PROVIDER),
}
_VISITS: Final = {"opened": SignalKind.OPENED, "clicked": SignalKind.CLICKED}

_log: Final = logging.getLogger(__name__)


class Received(NamedTuple):
    """A batch that is kept now: how many events it has, and whether it never came before."""

    events: int
    new: bool


def receive(house: House, door: str, body: bytes, now: datetime) -> Received:
    """Write a batch down as it came. Nothing is made of it yet. Raises Unreadable, and stores nothing."""
    found = _COUNTERS[door](body)
    if not found:
        return Received(0, new=False)
    came = Came(door, sha256(body).hexdigest(), now, found, body.decode())
    with house.database.write() as connection:
        return Received(found, provider_event_queries.store(house.database, connection, came))


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of batches: how many events there were, how many of them were new, messages changed."""

    events: int = 0
    new: int = 0
    messages: int = 0
    erased: frozenset[int] = frozenset()
    """The batches that tell of somebody who was erased."""

    def __add__(self, other: Applied) -> Applied:
        """Add two up."""
        return Applied(
            self.events + other.events,
            self.new + other.new,
            self.messages + other.messages,
            self.erased | other.erased,
        )


def sweep(house: House, now: datetime) -> Applied:
    """Apply what was left over, try again what could not be applied, and delete what is kept no longer."""
    before = now - KEPT_FOR
    with house.database.read() as connection:
        if provider_event_queries.is_idle(connection, before):
            return Applied()
    with house.database.write() as connection:
        provider_event_queries.retry_faulty(connection)
    done = apply(house, now)
    with house.database.write() as connection:
        provider_event_queries.forget(connection, before)
    return done


def apply(house: House, now: datetime) -> Applied:
    """Apply every batch that waits, the oldest first."""
    total = Applied()
    while batches := _next(house):
        total += _apply(house, batches, now)
    return total


def _next(house: House) -> list[Waiting]:
    """Return as many batches as one transaction takes: one at least."""
    with house.database.read() as connection:
        found = provider_event_queries.waiting(connection, _BATCHES)
    size = 0
    for number, batch in enumerate(found):
        size += batch.events
        if size > _EVENTS:
            return found[: max(number, 1)]
    return found


def _apply(house: House, batches: Sequence[Waiting], now: datetime) -> Applied:
    """Apply batches together; if that fails one by one, and then event by event."""
    try:
        return _apply_together(house, batches, now)
    except POISON:
        if len(batches) == 1:
            return _apply_one_by_one(house, batches[0], now)
    total = Applied()
    for batch in batches:
        total += _apply(house, [batch], now)
    return total


def _apply_one_by_one(house: House, batch: Waiting, now: datetime) -> Applied:
    """Apply what can be applied of a batch; set it aside if that is not all."""
    total, fault = Applied(), ""
    try:
        for event in _read(batch):
            try:
                total += _make(house, [(batch, event)], now)
            except POISON as error:
                fault = type(error).__name__  # the type alone: its words may hold what was in the batch
    except POISON as error:
        fault = type(error).__name__
    with house.database.write() as connection:
        if fault:
            provider_event_queries.mark_faulty(connection, batch.id, fault)
        else:
            provider_event_queries.mark_processed(house.database, connection, [batch.id], now)
            provider_event_queries.forget_bodies(house.database, connection, total.erased)
    if fault:
        _log.error("batch_set_aside", extra={"batch": batch.id, "error": fault})
    return total


@dataclass(frozen=True, slots=True)
class _Heard:
    """An event, and the message of ours that it tells of. *at* is a time that can be.

    *erased*: it tells of somebody who was erased.
    """

    event: MailEvent
    batch: int
    door: str
    received_at: datetime
    at: datetime
    sent: Sent | None
    erased: bool = False


def _apply_together(house: House, batches: Sequence[Waiting], now: datetime) -> Applied:
    done = _make(house, [(batch, event) for batch in batches for event in _read(batch)], now)
    with house.database.write() as connection:
        provider_event_queries.mark_processed(
            house.database, connection, [batch.id for batch in batches], now
        )
        provider_event_queries.forget_bodies(house.database, connection, done.erased)
    return done


def _read(batch: Waiting) -> list[MailEvent]:
    return _READERS[batch.door](batch.body.encode())


def _make(house: House, read: Sequence[tuple[Waiting, MailEvent]], now: datetime) -> Applied:
    """Make of events what they mean. Done again it changes nothing.

    Of somebody who was erased no more is written than what became of a mail.
    """
    database = house.database
    with database.write() as connection:
        acquire(database, connection, Lock.EVENTS)
        refs = {event.ref for _, event in read if event.ref and event.origin == house.origin}
        sent = provider_event_queries.sent(database, connection, refs)
        heard = _nameless(house, connection, [_heard(house, batch, event, sent) for batch, event in read])
        told = [one for one in heard if not one.erased]
        new = provider_event_queries.keep(database, connection, [_kept(one) for one in told])
        changed = _settle(house, connection, heard, now)
    _tell(house, [one for one in told if one.sent is not None and one.sent.kind in TO_LEADS], now)
    if changed:  # a click that settles must not be acted on before its delivery is known
        click_filtering.rejudge(house, now)
    return Applied(len(read), new, changed, frozenset(one.batch for one in heard if one.erased))


def _heard(house: House, batch: Waiting, event: MailEvent, messages: Mapping[str, Sent]) -> _Heard:
    """Join an event to its message. Nothing happens before a mail was planned, or after we heard of it."""
    sent = messages.get(event.ref) if event.origin == house.origin else None
    at = min(event.at or batch.received_at, batch.received_at)
    if sent is not None:
        at = max(at, sent.planned_at)
    return _Heard(event, batch.id, batch.door, batch.received_at, at, sent)


def _nameless(house: House, connection: Connection, heard: Sequence[_Heard]) -> list[_Heard]:
    """Mark what tells of somebody who was erased, by the message or by the address; take its words out."""
    normals = [normalise_address(one.event.email) for one in heard]
    others = {normal for one, normal in zip(heard, normals, strict=True) if _is_not_of(one.sent, normal)}
    marked = address_queries.marked(house.database, connection, sorted(others))
    return [
        replace(one, erased=True, event=replace(one.event, reason=""))
        if (one.sent is not None and one.sent.erased_at is not None) or normal in marked
        else one
        for one, normal in zip(heard, normals, strict=True)
    ]


def _is_not_of(sent: Sent | None, normal: str) -> bool:
    return bool(normal) and (sent is None or normal != sent.address)


def _kept(one: _Heard) -> Kept:
    event = one.event
    return Kept(
        natural_key=event.natural_key,
        event_key=event.event_key,
        door=one.door,
        told=event.told.value,
        named=event.named,
        at=one.at,
        received_at=one.received_at,
        message_id=one.sent.id if one.sent is not None else None,
        origin=event.origin[:100],
        ref=event.ref[:200],
        provider_message=event.provider_message,
        reason=event.reason,
    )


def _settle(house: House, connection: Connection, heard: Sequence[_Heard], now: datetime) -> int:
    """Write what the messages have become; return how many changed."""
    told: dict[int, list[News]] = defaultdict(list)
    sent: dict[int, Sent] = {}
    doors: dict[int, str] = {}
    for one in heard:
        if one.sent is not None:
            sent[one.sent.id] = one.sent
            doors.setdefault(one.sent.id, one.door)
            told[one.sent.id].append(News(one.event.told, one.at, one.event.reason))
    return sum(
        message_status.settle(
            house, connection, [(sent[id_], told[id_]) for id_ in told if doors[id_] == door], door, now
        )
        for door in sorted(set(doors.values()))
    )


def _tell(house: House, heard: Sequence[_Heard], now: datetime) -> None:
    """Make signals of what leads did, and suppress addresses that bounced and are theirs no longer."""
    elsewhere = [one for one in heard if one.event.refusal is not None and _is_elsewhere(one)]
    if elsewhere:
        database, refusals = house.database, list(_refusals(elsewhere))
        with database.write() as connection:
            found = suppression.known_addresses(database, connection, sorted({one[0] for one in refusals}))
            acts = [OptOut(found[normal], source, at=at) for normal, source, at in refusals]
            suppression.opt_out(database, connection, acts, now)
    said = [one for one in heard if _is_said(one)]
    visits = [_visited(one) for one in heard if one.event.told.value in _VISITS]
    if said or visits:
        signals.record(house, [_recorded(one, now) for one in said], now, visits)


def _is_said(one: _Heard) -> bool:
    """Whether it is said of the lead itself; a bounce is said of an address, which it may have given up."""
    refusal = one.event.refusal
    return refusal is not None and not (refusal is Refusal.BOUNCE and _is_elsewhere(one))


def _is_elsewhere(one: _Heard) -> bool:
    """Whether it tells of another address than the one that the lead has now."""
    if one.sent is None or normalise_address(one.event.email) == one.sent.address:
        return False
    return _normal(one.event.email) is not None


def _normal(email: str) -> str | None:
    try:
        return suppression.address(email)
    except Refused:
        return None


def _refusals(heard: Sequence[_Heard]) -> Iterator[tuple[str, Source, datetime]]:
    for one in heard:
        normal = _normal(one.event.email)
        if normal is not None and one.event.refusal is not None:
            yield normal, _SIGNALS[one.event.refusal][1], one.at


def _recorded(one: _Heard, now: datetime) -> Recorded:
    assert one.sent is not None
    assert one.event.refusal is not None
    kind, source = _SIGNALS[one.event.refusal]
    return Recorded(
        lead_id=one.sent.lead_id,
        kind=kind.value,
        occurred_at=one.at,
        recorded_at=now,
        natural_key=_key(one, kind),
        source=one.door,
        enrollment_id=one.sent.enrollment_id,
        track=one.sent.track,
        step=one.sent.step or None,
        message_id=one.sent.id,
        value=source.value if kind is SignalKind.UNSUBSCRIBED else None,
    )


def _visited(one: _Heard) -> Visited:
    assert one.sent is not None
    kind = _VISITS[one.event.told.value]
    url = one.event.url
    return Visited(
        kind=kind,
        message_id=one.sent.id,
        occurred_at=one.at,
        link=f"url-{sha256(url.encode()).hexdigest()[:10]}" if url else None,
        ip=one.event.ip,
        agent=one.event.agent,
        machine=one.event.machine,
        source=one.door,
        natural_key=_key(one, kind),
    )


def _key(one: _Heard, kind: SignalKind) -> str:
    return f"{one.door}|{kind.value}|{one.event.natural_key}"
