"""Drain the outbox: claim, compose, stamp, call, write back. Never two deliveries knowingly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final, assert_never

from sqlalchemy import Connection

from nurture.domain import calendar
from nurture.domain.lead import Custodian
from nurture.domain.track import Cap, Program
from nurture.errors import NurtureError
from nurture.mail.compose import ComposedEmail
from nurture.mail.provider import Accepted, InDoubt, NotSent, Receipt, Rejected
from nurture.store import changes, outbox, signals, views
from nurture.store.outbox import Outcome, Waiting

from . import links, outgoing
from .house import House
from .moves import TRY_FAULTY_AGAIN_AFTER
from .unnamed import unnamed

LEASE: Final = timedelta(seconds=60)
TRY_AGAIN_AFTER: Final = timedelta(minutes=5)
_SETTLED: Final = frozenset({"accepted", "rejected", "cancelled"})


@dataclass
class Delivered:
    """What one run did: how many messages it looked at, and what became of them."""

    messages: int = 0
    states: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Delivered) -> Delivered:
        """Add two runs up."""
        return Delivered(self.messages + other.messages, self.states + other.states)


@dataclass(frozen=True, slots=True)
class Checked:
    """Which messages may go now, and what becomes of the others."""

    go: list[Waiting]
    stay: list[Outcome]


def deliver(house: House, now: datetime, after_batch: Callable[[], None] = lambda: None) -> Delivered:
    """Send everything that may go at *now* (UTC), batch after batch; *after_batch* is told of each."""
    with house.database.write() as connection:
        back, doubt = outbox.release_expired(connection, now)
    total = Delivered(0, Counter({"taken back": back, "in_doubt": doubt}))
    while True:
        done = deliver_batch(house, now, house.batch)
        total += done
        after_batch()
        if done.messages < house.batch:
            return total


def deliver_batch(house: House, now: datetime, limit: int) -> Delivered:
    """Send at most *limit* due messages."""
    held = claim_batch(house, now, limit)
    return Delivered(held.messages, held.states + send_claimed(house, held, now))


@dataclass(frozen=True)
class Held:
    """What one worker holds until its lease ends, written and ready; *states* is what became of the rest."""

    token: str
    messages: int = 0
    waiting: Sequence[Waiting] = ()
    written: outgoing.Written = field(default_factory=outgoing.Written)
    states: Counter[str] = field(default_factory=Counter)


def claim_batch(house: House, now: datetime, limit: int) -> Held:
    """Take at most *limit* due messages that may go now, and write them; hold or cancel the others."""
    token = token_hex(8)
    with house.database.write() as connection:
        waiting = outbox.due(house.database, connection, now, limit)
        if not waiting:
            return Held(token)
        checked = _check(house, connection, waiting, now)
        _settle_and_wake(house, connection, checked.stay, waiting, None, now)
        outbox.claim(house.database, connection, [one.id for one in checked.go], token, now + LEASE, now)
        written = outgoing.write(house, connection, checked.go)
        links.keep(house.database, connection, written.links, now)
    states = Counter(outcome.state for outcome in checked.stay)
    return Held(token, len(waiting), checked.go, written, states)


def _check(house: House, connection: Connection, waiting: Sequence[Waiting], now: datetime) -> Checked:
    """Look once more at everything that may have changed since the touch was planned."""
    touches = [one for one in waiting if one.kind == "touch"]
    suppressed = _suppressed(house, connection, touches)
    programs = _programs(house, connection, touches)
    known = [program for program in programs.values() if isinstance(program, Program)]
    longest = max((program.cap.per for program in known), default=timedelta())
    sent: dict[int, list[datetime]] = defaultdict(list)
    for lead_id, moment in outbox.sent_since(
        house.database, connection, [one.lead_id for one in touches], now - longest
    ):
        sent[lead_id].append(moment)
    checked = Checked([], [])
    for one in waiting:
        if one.kind != "touch":
            outcome = _cancelled(one, "superseded") if one.offer_state != "offered" else None
        else:
            program = programs[one.track, one.track_version]
            outcome = _obstacle(house, one, program, suppressed[one.address_id or 0], sent[one.lead_id], now)
            if outcome is None:
                sent[one.lead_id].append(now)
        if outcome is None:
            checked.go.append(one)
        else:
            checked.stay.append(outcome)
    return checked


Suppressions = Mapping[int, Sequence[tuple[str, str, str]]]
"""What stands against each address: scope, ref, source."""


def _suppressed(house: House, connection: Connection, touches: Sequence[Waiting]) -> Suppressions:
    suppressed = defaultdict(list)
    addresses = [one.address_id for one in touches if one.address_id is not None]
    for address_id, scope, ref, source in views.effective_suppressions(house.database, connection, addresses):
        suppressed[address_id].append((scope, ref, source))
    return suppressed


Programs = Mapping[tuple[str | None, int | None], Program | str]
"""The program of each track's version, or why it cannot be read."""


def _programs(house: House, connection: Connection, touches: Sequence[Waiting]) -> Programs:
    found: dict[tuple[str | None, int | None], Program | str] = {}
    for one in touches:
        key = (one.track, one.track_version)
        if key not in found:
            try:
                found[key] = house.rulebooks.program(connection, one.track or "", one.track_version or 0)
            except NurtureError as error:
                found[key] = str(error)
    return found


def _obstacle(
    house: House,
    one: Waiting,
    program: Program | str,
    suppressed: Sequence[tuple[str, str, str]],
    sent: Sequence[datetime],
    now: datetime,
) -> Outcome | None:
    """Return what keeps this touch from going now, None if nothing does."""
    if one.custodian != Custodian.TRACK or one.custody_ref != one.track:
        return _cancelled(one, "left")
    if not one.basis or one.address is None:
        return _cancelled(one, "no basis or no address")
    if now > one.expires_at:
        return _cancelled(one, "too_late")
    if isinstance(program, str):
        return _held(one, f"fault: {program}", now + TRY_FAULTY_AGAIN_AFTER)
    why = _suppression(one, suppressed, program.topic)
    if why is not None:
        return _cancelled(one, why)
    try:
        later = _later(house, one, program, sent, now)
    except Exception as error:  # noqa: BLE001 - said on the message, and tried again until it is too late
        return _held(one, f"fault: {unnamed(error, one.facts, one.address)}", now + TRY_FAULTY_AGAIN_AFTER)
    if later is None:
        return None
    if later > one.expires_at:
        return _cancelled(one, "too_late")
    return _held(one, "held for its send window or the frequency cap", later)


def _suppression(one: Waiting, suppressed: Sequence[tuple[str, str, str]], topic: str) -> str | None:
    for scope, ref, source in suppressed:
        if scope == "global" or (scope, ref) in (("track", one.track), ("topic", topic)):
            return f"suppressed: {source}"
    return None


def _later(
    house: House, one: Waiting, program: Program, sent: Sequence[datetime], now: datetime
) -> datetime | None:
    """Return when pause, cap and window let the touch go, None if they do now."""
    moment = max(now, one.paused_until or now)
    holidays = house.holidays(one.country, now)
    while True:
        opens = calendar.next_open(program.window, one.zone or program.zone_fallback, holidays, moment)
        frees = _frees(program.cap, sent, opens)
        if frees is None:
            return opens if opens > now else None
        moment = frees


def _frees(cap: Cap, sent: Sequence[datetime], moment: datetime) -> datetime | None:
    counted = sorted(past for past in sent if past > moment - cap.per)
    return counted[-cap.touches] + cap.per if len(counted) >= cap.touches else None


def _cancelled(one: Waiting, why: str) -> Outcome:
    return Outcome(one.id, "cancelled", None, None, None, why, None)


def _held(one: Waiting, why: str, until: datetime) -> Outcome:
    return Outcome(one.id, "planned", None, None, None, why, until)


def send_claimed(house: House, held: Held, now: datetime) -> Counter[str]:
    """Stamp what is still ours and still allowed, call the provider, write its receipts back."""
    by_id = {one.id: one for one in held.waiting}
    if not by_id:
        return Counter()
    with house.database.write() as connection:
        # As a sweep that cancels messages holds their leads first: two of them never wait in a circle.
        changes.hold(house.database, connection, [one.lead_id for one in held.waiting])
        stopped = _stopped(house, connection, held)
        _settle_and_wake(house, connection, stopped, held.waiting, held.token, now)
        left = [id_ for id_ in held.written.emails if id_ not in {outcome.id for outcome in stopped}]
        still = outbox.stamp_sending(house.database, connection, left, held.token, now + LEASE, now)
    sending: Mapping[int, ComposedEmail] = {
        id_: email for id_, email in held.written.emails.items() if id_ in still
    }
    states = Counter(outcome.state for outcome in stopped)
    if not sending:
        return states
    try:
        receipts = house.provider.send(list(sending.values()), now)
    except NurtureError as error:
        receipts = [NotSent(str(error)) for _ in sending]
    came = [_outcome(by_id[id_], receipt, house, now) for id_, receipt in zip(sending, receipts, strict=True)]
    with house.database.write() as connection:
        _settle_and_wake(house, connection, came, held.waiting, held.token, now)
    return states + Counter(outcome.state for outcome in came)


def _stopped(house: House, connection: Connection, held: Held) -> list[Outcome]:
    """Return what must not go after all: what cannot be written, and who opted out since the claim."""
    faults = [
        Outcome(id_, "rejected", None, None, None, why, None) for id_, why in held.written.faults.items()
    ]
    touches = [one for one in held.waiting if one.kind == "touch" and one.id in held.written.emails]
    suppressed = _suppressed(house, connection, touches)
    if not suppressed:
        return faults
    programs = _programs(house, connection, touches)
    for one in touches:
        program = programs[one.track, one.track_version]
        topic = program.topic if isinstance(program, Program) else ""
        why = _suppression(one, suppressed.get(one.address_id or 0, ()), topic)
        if why is not None:
            faults.append(_cancelled(one, why))
    return faults


def _settle_and_wake(
    house: House,
    connection: Connection,
    outcomes: Sequence[Outcome],
    held: Sequence[Waiting],
    token: str | None,
    now: datetime,
) -> None:
    """Write what became of messages, and wake their leads; these first, as whoever cancels messages does."""
    leads = {one.id: one.lead_id for one in held}
    done = [leads[outcome.id] for outcome in outcomes if outcome.state in _SETTLED]
    signals.wake(house.database, connection, done, now)
    outbox.settle(house.database, connection, outcomes, token, now)


def _outcome(one: Waiting, receipt: Receipt, house: House, now: datetime) -> Outcome:
    name = house.provider.name
    match receipt:
        case Accepted(provider_id=provider_id):
            return Outcome(one.id, "accepted", now, name, provider_id, None, None)
        case Rejected(why=why):
            return Outcome(one.id, "rejected", None, name, None, why, None)
        case NotSent(why=why, retry_at=retry_at):
            return Outcome(one.id, "planned", None, name, None, why, retry_at or now + TRY_AGAIN_AFTER)
        case InDoubt(why=why):
            return Outcome(one.id, "in_doubt", None, name, None, why, None)
        case _:
            assert_never(receipt)
