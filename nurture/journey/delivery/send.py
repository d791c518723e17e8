"""Send what is claimed: stamp, call, write back; two breaths in flight, none sent twice knowingly."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple, assert_never

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from nurture.clock import Clock
from nurture.db.errors import passes
from nurture.domain.delivery.backoff import backoff
from nurture.errors import DatabaseUnusable
from nurture.journey.delivery import send_checks
from nurture.journey.delivery.claim import PROBE_AFTER, Held, Observe, settle_and_wake
from nurture.journey.leads import changeset
from nurture.mail.providers.base import Accepted, InDoubt, NotSent, Receipt, Rejected
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox import circuit_breakers, messages
from nurture.outbox.circuit_breakers import Brake
from nurture.outbox.heartbeat import LEASE, heartbeat
from nurture.outbox.messages import Outcome, Waiting
from nurture.runtime import quarantine
from nurture.runtime.context import House

IN_FLIGHT: Final = 2
"""How many breaths are at the provider at one time; they share what it takes at once, so none waits there."""

UNKNOWN_IN_A_ROW: Final = 5
"""So many unknown outcomes, one after the other, put the brake on."""

WRITES_AT_MOST: Final = 3
"""How often a write that ran into a passing trouble, as a deadlock, is tried."""

STALE_AFTER: Final = timedelta(seconds=5)
"""A call that comes so long after its last look is not made: the machine slept, or something else hung."""


@dataclass
class Sent:
    """What became of claimed messages; *stopped* is until when the provider takes nothing more."""

    states: Counter[str] = field(default_factory=Counter)
    stopped: datetime | None = None
    unknown: int = 0


def send_claimed(
    house: House,
    held: Held,
    clock: Clock,
    observe: Observe = lambda _point, _refs: None,
    unknown: int = 0,
) -> Sent:
    """Send what is still ours and still allowed, a breath at a time; give back what the provider stops.

    While one breath is at the provider, the one before is written back and the next one is stamped. *unknown*
    is how many outcomes in a row were unknown before.
    """
    sent = Sent(unknown=unknown)
    if not held.waiting:
        return sent
    left = deque(_breaths(held.waiting, max(1, house.provider.at_once // IN_FLIGHT)))
    flying: deque[_Flight] = deque()
    stop: NotSent | None = None
    with heartbeat(house.database, held.token, clock), ThreadPoolExecutor(IN_FLIGHT, "call") as lines:
        while flying or (left and stop is None):
            landed = flying.popleft() if len(flying) == IN_FLIGHT or not left or stop else None
            if landed is not None:
                receipts = landed.receipts.result()
                observe("after the call", landed.refs)
                stop = stop or _stopping(receipts, sent)
            breath = left.popleft() if left and stop is None else ()
            sending = _turn(house, held, landed, breath, sent, clock, observe)
            if sending:
                emails = [held.emails[one.id] for one in sending]
                looked = clock.now()
                flying.append(_Flight(sending, lines.submit(_call, house, emails, looked, clock)))
    if stop is not None:
        _put_brake(house, held, [one for breath in left for one in breath], stop, sent, clock.now())
    return sent


class _Flight(NamedTuple):
    """A breath at the provider."""

    sending: Sequence[Waiting]
    receipts: Future[Sequence[Receipt]]

    @property
    def refs(self) -> list[str]:
        return [one.send_key for one in self.sending]


def _breaths(waiting: Sequence[Waiting], size: int) -> Iterator[Sequence[Waiting]]:
    for start in range(0, len(waiting), size):
        yield waiting[start : start + size]


def _call(house: House, emails: Sequence[ComposedEmail], looked: datetime, clock: Clock) -> Sequence[Receipt]:
    now = clock.now()
    if now - looked > STALE_AFTER:
        return [NotSent("the last look at it was too long ago", now) for _ in emails]
    try:
        return house.provider.send(emails, now)
    except Exception as error:  # noqa: BLE001 - whatever it is, some of them may have gone
        return [InDoubt(f"{house.provider.name} broke off: {type(error).__name__}") for _ in emails]


def _turn(
    house: House,
    held: Held,
    landed: _Flight | None,
    breath: Sequence[Waiting],
    sent: Sent,
    clock: Clock,
    observe: Observe,
) -> list[Waiting]:
    """Write back what landed, stamp of *breath* what may go: one transaction, so one wait for the disk."""
    refs = [one.send_key for one in breath]
    for attempt in range(WRITES_AT_MOST):
        if breath:
            observe("last check", refs)
        states: Counter[str] = Counter()
        try:
            with house.database.write() as connection:
                now = clock.now()  # once the lock is there: a lease begins when it is written
                # As a sweep that cancels messages holds their leads first: two never wait in a circle.
                concerned = [*breath, *(landed.sending if landed else ())]
                changeset.hold(house.database, connection, [one.lead_id for one in concerned])
                if landed is not None:
                    states += _write_back(house, connection, held, landed, now)
                    observe("write-back", landed.refs)
                sending = _stamp(house, connection, held, breath, states, now) if breath else []
                if sending:
                    quarantine.before_calls(house, connection, house.provider.name)
            break
        except (DBAPIError, DatabaseUnusable) as error:
            # What is known of the calls must not be lost to a passing trouble.
            if attempt + 1 == WRITES_AT_MOST or not passes(error):
                raise
    sent.states += states
    if landed is not None:
        observe("written back", landed.refs)
    if sending:
        observe("before the call", refs)
    return sending


def _write_back(
    house: House, connection: Connection, held: Held, landed: _Flight, now: datetime
) -> Counter[str]:
    receipts, name = landed.receipts.result(), house.provider.name
    answered = list(zip(landed.sending, receipts, strict=True))
    came = [_outcome(one, receipt, name, now) for one, receipt in answered]
    settle_and_wake(house, connection, came, landed.sending, held.token, now)
    if held.braked and any(isinstance(receipt, Accepted | Rejected) for receipt in receipts):
        circuit_breakers.release(connection, "provider", name, "a probe that went through", now)
    for domain, refused in _refused_senders(answered, held.domains).items():
        until = refused.retry_at or now + send_checks.LOOK_AGAIN_AFTER
        circuit_breakers.put(house.database, connection, Brake("domain", domain, refused.why, now, until))
    return Counter(outcome.state for outcome in came)


def _refused_senders(
    answered: Sequence[tuple[Waiting, Receipt]], domains: Mapping[int, str]
) -> dict[str, NotSent]:
    return {
        domains[one.id]: receipt
        for one, receipt in answered
        if isinstance(receipt, NotSent) and receipt.sender and one.id in domains
    }


def _stamp(
    house: House,
    connection: Connection,
    held: Held,
    breath: Sequence[Waiting],
    states: Counter[str],
    now: datetime,
) -> list[Waiting]:
    """Note that the call comes next, of all that may still go and that nobody took from us meanwhile."""
    touches = [one for one in breath if one.kind in messages.TO_LEADS]
    stopped = send_checks.suppressed_meanwhile(house, connection, touches)
    if held.at is not None and now - held.at > LEASE:
        stopped = send_checks.closed_meanwhile(house, connection, touches, now) | stopped
    settle_and_wake(house, connection, list(stopped.values()), breath, held.token, now)
    left = [one.id for one in breath if one.id not in stopped]
    still = messages.stamp_sending(house.database, connection, left, held.token, now + LEASE, now)
    states.update(outcome.state for outcome in stopped.values())
    return [one for one in breath if one.id in still]


def _stopping(receipts: Sequence[Receipt], sent: Sent) -> NotSent | None:
    """Return the receipt that says to stop, or one of our own after too many unknown outcomes in a row."""
    told = [receipt for receipt in receipts if isinstance(receipt, NotSent) and receipt.stops]
    for receipt in receipts:
        if isinstance(receipt, InDoubt):
            sent.unknown += 1
            if sent.unknown >= UNKNOWN_IN_A_ROW:
                why = f"{sent.unknown} calls in a row had no clear outcome, the last: {receipt.why}"
                told.append(NotSent(why, stops=True))
                break
        elif not isinstance(receipt, NotSent):
            sent.unknown = 0
    return max(told, key=lambda one: (one.retry_at is None, one.retry_at), default=None)


def _put_brake(
    house: House, held: Held, left: Sequence[Waiting], stop: NotSent, sent: Sent, now: datetime
) -> None:
    """Keep every worker from calling the provider for a while, and give back what was not called."""
    until = max(stop.retry_at or now + PROBE_AFTER, now + timedelta(seconds=1))
    back = [send_checks.held(one, stop.why, until) for one in left]
    name = house.provider.name
    with house.database.write() as connection:
        changeset.hold(house.database, connection, [one.lead_id for one in left])
        messages.settle(house.database, connection, back, held.token, now)
        circuit_breakers.put(house.database, connection, Brake("provider", name, stop.why, now, until))
    sent.states["planned"] += len(back)
    sent.stopped = until


def _outcome(one: Waiting, receipt: Receipt, name: str, now: datetime) -> Outcome:
    match receipt:
        case Accepted(provider_id=provider_id):
            return Outcome(one.id, "accepted", now, name, provider_id, None, None)
        case Rejected(why=why):
            return Outcome(one.id, "rejected", None, name, None, why, None)
        case NotSent(why=why, retry_at=retry_at, stops=stops):
            again = retry_at or now + (PROBE_AFTER if stops else backoff(one.attempts, one.send_key))
            return Outcome(one.id, "planned", None, name, None, why, again)
        case InDoubt(why=why):
            return Outcome(one.id, "in_doubt", None, name, None, why, None)
        case _:
            assert_never(receipt)
