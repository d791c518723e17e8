"""Drain the outbox: clear, write, claim, stamp, call, write back. Never two deliveries knowingly."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final, NamedTuple, assert_never

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from nurture.clock import Clock
from nurture.domain.backoff import backoff
from nurture.errors import DatabaseUnusable, NotFound
from nurture.mail.compose import ComposedEmail
from nurture.mail.provider import Accepted, InDoubt, NotSent, Receipt, Rejected
from nurture.store import brakes, changes, outbox, signals
from nurture.store.brakes import Brake
from nurture.store.explained import passes
from nurture.store.outbox import Claim, Outcome, Waiting

from . import clearance, outgoing
from .heartbeat import LEASE, heartbeat
from .house import House

BATCH: Final = 500
"""How many messages a worker holds at most: what it holds waits for it."""

PROBE_AFTER: Final = timedelta(minutes=1)
"""How long a provider that cannot send is left alone; then one message tries it."""

WAITS_AT_MOST: Final = timedelta(seconds=10)
"""A worker waits so long for a rate limit; longer ones it leaves to a later run."""

IN_FLIGHT: Final = 2
"""How many breaths are at the provider at one time; they share what it takes at once, so none waits there."""

UNKNOWN_IN_A_ROW: Final = 5
"""So many unknown outcomes, one after the other, put the brake on."""

UNKNOWN_WITHIN: Final = timedelta(minutes=15)
"""How far back earlier runs count for that."""

WRITES_AT_MOST: Final = 3
"""How often a write that ran into a passing trouble, as a deadlock, is tried."""

STALE_AFTER: Final = timedelta(seconds=5)
"""A call that comes so long after its last look is not made: the machine slept, or something else hung."""

_SETTLED: Final = frozenset({"accepted", "rejected", "cancelled"})

Observe = Callable[[str, Sequence[str]], None]
"""Told of each point that a worker passes, with the send keys concerned. Crash tests never return from it."""


@dataclass
class Delivered:
    """What one run did: how many messages it looked at, and what became of them."""

    messages: int = 0
    states: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Delivered) -> Delivered:
        """Add two runs up."""
        return Delivered(self.messages + other.messages, self.states + other.states)


def deliver(
    house: House,
    clock: Clock,
    after_batch: Callable[[], None] = lambda: None,
    observe: Observe = lambda _point, _refs: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Delivered:
    """Send everything that is due and may go, batch after batch; *after_batch* is told of each.

    *stopping* is asked between batches whether to end.
    """
    looked = clock.now()
    total = Delivered(0, _take_over(house, looked))
    unknown = _unknown_lately(house, looked)
    while True:
        if clock.now() - looked > LEASE / 2:
            looked = clock.now()
            total += Delivered(0, _take_over(house, looked))
        held = claim_batch(house, clock.now(), min(house.batch, BATCH), observe)
        sent = send_claimed(house, held, clock, observe, unknown)
        unknown = sent.unknown
        total += Delivered(held.messages, held.states + sent.states)
        after_batch()
        if stopping():
            return total
        stopped = sent.stopped or held.stopped
        if stopped is not None:
            if not clock.wait(stopped, WAITS_AT_MOST):
                return total
        elif held.messages < min(house.batch, BATCH) and not held.braked:
            return total


def _unknown_lately(house: House, now: datetime) -> int:
    """Return with how many unknown outcomes this run begins: little mail hides no broken line."""
    with house.database.read() as connection:
        doubts = outbox.recent_doubts(connection, house.provider.name, now - UNKNOWN_WITHIN)
    return min(doubts, UNKNOWN_IN_A_ROW - 1)


def _take_over(house: House, now: datetime) -> Counter[str]:
    """Free what dead workers held, and send again what the rules say may go twice."""
    with house.database.write() as connection:
        back, doubt = outbox.release_expired(house.database, connection, now)
        again = 0
        resend_after = _resend_after(house, connection)
        if resend_after is not None:
            again = outbox.resend_doubted(connection, now - resend_after, now)
    return Counter({"taken back": back, "in_doubt": doubt, "sent again": again})


def _resend_after(house: House, connection: Connection) -> timedelta | None:
    try:
        return house.rulebooks.current(connection).sending.resend_after
    except NotFound:  # nothing is published yet, so nothing was ever sent
        return None


@dataclass(frozen=True)
class Held:
    """What one worker holds until its lease ends, written and ready; *states* is what became of the rest.

    *stopped* is until when the provider takes nothing; *braked* says that this batch is a probe, *at* when it
    was claimed.
    """

    token: str
    messages: int = 0
    waiting: Sequence[Waiting] = ()
    emails: dict[int, ComposedEmail] = field(default_factory=dict)
    domains: Mapping[int, str] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    stopped: datetime | None = None
    braked: bool = False
    at: datetime | None = None


def claim_batch(
    house: House, now: datetime, limit: int, observe: Observe = lambda _point, _refs: None
) -> Held:
    """Write at most *limit* due messages that may go now, and take them; hold or cancel the others."""
    token = token_hex(8)
    database = house.database
    with database.write() as connection:
        braked = brakes.on(connection)
        stop = next(
            (one for one in braked if (one.kind, one.name) == ("provider", house.provider.name)), None
        )
        if stop is not None and (stop.until is None or stop.until > now):
            return Held(token, stopped=stop.until or now + PROBE_AFTER)
        waiting = outbox.due(database, connection, now, limit)
        if not waiting:
            return Held(token)
        cleared = clearance.clear(house, connection, waiting, braked, now)
        if stop is not None:
            mine = brakes.take_probe(connection, stop.name, now, now + PROBE_AFTER)
            cleared.go = cleared.go[:1] if mine else []
        written = outgoing.write(house, connection, cleared.go)
        refs = [email.ref for email in written.emails.values()]
        observe("render", refs)
        faults = [_rejected(id_, why) for id_, why in written.faults.items()]
        _settle_and_wake(house, connection, cleared.stay + faults, waiting, None, now)
        claims = [Claim(id_, cleared.domains.get(id_)) for id_ in written.emails]
        outbox.claim(database, connection, claims, token, now + LEASE, now)
        outgoing.keep(house, connection, written, now)
        observe("claim", refs)
    observe("claimed", refs)
    states = Counter(outcome.state for outcome in cleared.stay + faults)
    going = [one for one in cleared.go if one.id in written.emails]
    braking = stop is not None
    return Held(token, len(waiting), going, written.emails, cleared.domains, states, braked=braking, at=now)


def _rejected(id_: int, why: str) -> Outcome:
    return Outcome(id_, "rejected", None, None, None, why, None)


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
                changes.hold(house.database, connection, [one.lead_id for one in concerned])
                if landed is not None:
                    states += _write_back(house, connection, held, landed, now)
                    observe("write-back", landed.refs)
                sending = _stamp(house, connection, held, breath, states, now) if breath else []
            break
        except (
            DBAPIError,
            DatabaseUnusable,
        ) as error:  # what is known of the calls must not be lost to a passing trouble
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
    _settle_and_wake(house, connection, came, landed.sending, held.token, now)
    if held.braked and any(isinstance(receipt, Accepted | Rejected) for receipt in receipts):
        brakes.release(connection, "provider", name, "a probe that went through", now)
    for domain, refused in _refused_senders(answered, held.domains).items():
        until = refused.retry_at or now + clearance.LOOK_AGAIN_AFTER
        brakes.put(house.database, connection, Brake("domain", domain, refused.why, now, until))
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
    touches = [one for one in breath if one.kind == "touch"]
    stopped = clearance.suppressed_meanwhile(house, connection, touches)
    if held.at is not None and now - held.at > LEASE:
        stopped = clearance.closed_meanwhile(house, connection, touches, now) | stopped
    _settle_and_wake(house, connection, list(stopped.values()), breath, held.token, now)
    left = [one.id for one in breath if one.id not in stopped]
    still = outbox.stamp_sending(house.database, connection, left, held.token, now + LEASE, now)
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
    back = [clearance.held(one, stop.why, until) for one in left]
    name = house.provider.name
    with house.database.write() as connection:
        changes.hold(house.database, connection, [one.lead_id for one in left])
        outbox.settle(house.database, connection, back, held.token, now)
        brakes.put(house.database, connection, Brake("provider", name, stop.why, now, until))
    sent.states["planned"] += len(back)
    sent.stopped = until


def _settle_and_wake(
    house: House,
    connection: Connection,
    outcomes: Sequence[Outcome],
    held: Sequence[Waiting],
    token: str | None,
    now: datetime,
) -> None:
    """Write what became of messages, and wake their leads; these first, as whoever cancels messages does."""
    if not outcomes:
        return
    leads = {one.id: one.lead_id for one in held}
    done = [leads[outcome.id] for outcome in outcomes if outcome.state in _SETTLED]
    signals.wake(house.database, connection, done, now)
    outbox.settle(house.database, connection, outcomes, token, now)


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
