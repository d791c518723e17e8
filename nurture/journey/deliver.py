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
from nurture.store import outbox, views
from nurture.store.outbox import Outcome, Waiting

from . import links, outgoing
from .house import House

LEASE: Final = timedelta(seconds=60)
TRY_AGAIN_AFTER: Final = timedelta(minutes=5)


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
    token = token_hex(8)
    with house.database.write() as connection:
        waiting = outbox.due(house.database, connection, now, limit)
        if not waiting:
            return Delivered()
        checked = _check(house, connection, waiting, now)
        settled = outbox.settle(house.database, connection, checked.stay, None, now)
        stayed = {outcome.id: outcome.state for outcome in checked.stay}
        off = [lead_id for id_, lead_id in settled if stayed[id_] == "cancelled"]
        outbox.wake(house.database, connection, off, now)
        outbox.claim(house.database, connection, [one.id for one in checked.go], token, now + LEASE, now)
        written = outgoing.write(house, connection, checked.go)
        links.keep(house.database, connection, written.links, now)
    states = Counter(outcome.state for outcome in checked.stay)
    states += _send(house, checked.go, written, token, now)
    return Delivered(len(waiting), states)


def _check(house: House, connection: Connection, waiting: Sequence[Waiting], now: datetime) -> Checked:
    """Look once more at everything that may have changed since the touch was planned."""
    touches = [one for one in waiting if one.kind == "touch"]
    suppressed = defaultdict(list)
    addresses = [one.address_id for one in touches if one.address_id is not None]
    for address_id, scope, ref, source in views.effective_suppressions(house.database, connection, addresses):
        suppressed[address_id].append((scope, ref, source))
    programs: dict[tuple[str | None, int | None], Program] = {}
    for one in touches:
        key = (one.track, one.track_version)
        if key not in programs:
            programs[key] = house.rulebooks.program(connection, one.track or "", one.track_version or 0)
    longest = max((program.cap.per for program in programs.values()), default=timedelta())
    sent: dict[int, list[datetime]] = defaultdict(list)
    for lead_id, moment in outbox.sent_since(
        house.database, connection, [one.lead_id for one in touches], now - longest
    ):
        sent[lead_id].append(moment)
    checked = Checked([], [])
    for one in waiting:
        program = programs.get((one.track, one.track_version))
        outcome = None
        if one.kind == "touch" and program is not None:
            outcome = _obstacle(house, one, program, suppressed[one.address_id or 0], sent[one.lead_id], now)
        if outcome is None:
            checked.go.append(one)
            if one.kind == "touch":
                sent[one.lead_id].append(now)
        else:
            checked.stay.append(outcome)
    return checked


def _obstacle(
    house: House,
    one: Waiting,
    program: Program,
    suppressed: Sequence[tuple[str, str, str]],
    sent: Sequence[datetime],
    now: datetime,
) -> Outcome | None:
    """Return what keeps this touch from going now, None if nothing does."""
    if one.custodian != Custodian.TRACK or one.custody_ref != one.track:
        return _cancelled(one, "left")
    for scope, ref, source in suppressed:
        if scope == "global" or (scope, ref) in (("track", one.track), ("topic", program.topic)):
            return _cancelled(one, f"suppressed: {source}")
    if not one.basis or one.address is None:
        return _cancelled(one, "no basis or no address")
    if now > one.expires_at:
        return _cancelled(one, "too_late")
    later = _later(house, one, program, sent, now)
    if later is None:
        return None
    if later > one.expires_at:
        return _cancelled(one, "too_late")
    return Outcome(
        one.id, "planned", None, None, None, "held for its send window or the frequency cap", later
    )


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


def _send(
    house: House, go: Sequence[Waiting], written: outgoing.Written, token: str, now: datetime
) -> Counter[str]:
    """Stamp what is still ours, call the provider, write its receipts back."""
    by_id = {one.id: one for one in go}
    with house.database.write() as connection:
        outcomes = [
            Outcome(id_, "rejected", None, None, None, why, None) for id_, why in written.faults.items()
        ]
        _settle_and_wake(house, connection, outcomes, token, now)
        still = outbox.stamp_sending(
            house.database, connection, list(written.emails), token, now + LEASE, now
        )
    sending: Mapping[int, ComposedEmail] = {
        id_: email for id_, email in written.emails.items() if id_ in still
    }
    if not sending:
        return Counter(outcome.state for outcome in outcomes)
    try:
        receipts = house.provider.send(list(sending.values()), now)
    except NurtureError as error:
        receipts = [NotSent(str(error)) for _ in sending]
    came = [_outcome(by_id[id_], receipt, house, now) for id_, receipt in zip(sending, receipts, strict=True)]
    with house.database.write() as connection:
        _settle_and_wake(house, connection, came, token, now)
    return Counter(outcome.state for outcome in (*outcomes, *came))


def _settle_and_wake(
    house: House, connection: Connection, outcomes: Sequence[Outcome], token: str, now: datetime
) -> None:
    settled = outbox.settle(house.database, connection, outcomes, token, now)
    states = {outcome.id: outcome.state for outcome in outcomes}
    done = [lead_id for id_, lead_id in settled if states[id_] in ("accepted", "rejected")]
    outbox.wake(house.database, connection, done, now)


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
