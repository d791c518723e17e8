"""Tell the CRM of hand-offs, each once: intent first, the call later, a doubt settled by asking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final, assert_never

from nurture.clock import Clock
from nurture.crm.base import (
    Crm,
    CrmDown,
    NotWritten,
    Person,
    Receipt,
    Record,
    Refused,
    Stage,
    Unclear,
    Written,
)
from nurture.domain.delivery.backoff import backoff
from nurture.domain.policy.policy import Policy
from nurture.outbox import circuit_breakers, crm_records
from nurture.outbox.circuit_breakers import Brake
from nurture.outbox.crm_records import Going, Told
from nurture.runtime import quarantine
from nurture.runtime.context import House

LEASE: Final = timedelta(minutes=5)
"""How long a worker that gives no sign of life keeps what it holds; several calls fit into it."""

STALE_AFTER: Final = timedelta(seconds=5)
"""A call that comes so long after its last look is not made: the machine slept, or something else hung."""

DOUBT_RESTS: Final = timedelta(minutes=1)
"""How long the CRM gets to finish what may still be on its way, before it is asked."""

PROBE_AFTER: Final = timedelta(minutes=2)
"""How long a CRM that cannot be asked is left alone; then one hand-off tries it."""

CLAIMED: Final = 20
"""How many hand-offs a worker holds, where the CRM takes one at a time."""

AT_MOST: Final = 2_000
"""How many hand-offs one run tells; what is left waits for the next."""

UNCLEAR_IN_A_ROW: Final = 3
"""So many unclear answers, one after the other, put the brake on."""

FORGOTTEN: Final = "nobody to tell of: the lead was forgotten"

_WORDS: Final = 1_000  # characters of why now

Observe = Callable[[str, Sequence[str]], None]
"""Told of each point that a worker passes, with the keys concerned. Crash tests never return from it."""


def hand_back(
    house: House,
    clock: Clock,
    observe: Observe = lambda _point, _keys: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Tell the CRM of every hand-off that it should know of by now, at most AT_MOST; return what was done.

    Hand-offs of one lead are told in their order, and what failed comes again later. Without a CRM, nothing.
    """
    crm = house.crm
    if crm is None:
        return Counter()
    if quarantine.look(house, clock.now()) is not None and not quarantine.is_local(crm.name):
        return Counter()
    worker = _Worker(house, crm, clock, observe)
    worker.take_over()
    left = AT_MOST
    while left > 0 and not stopping():
        held = worker.claim(min(left, max(CLAIMED, crm.at_once)))
        if not held or not worker.tell(held):
            break
        left -= len(held)
    return worker.done


class _Worker:
    """One run: what it holds is its own by *token*."""

    def __init__(self, house: House, crm: Crm, clock: Clock, observe: Observe) -> None:
        self.house, self.crm, self.clock, self.observe = house, crm, clock, observe
        self.token = token_hex(8)
        self.done: Counter[str] = Counter()
        self.unclear = 0
        self.probing = False

    def take_over(self) -> None:
        """Free what dead workers held, and ask the CRM about what is in doubt."""
        now = self.clock.now()
        with self.house.database.write() as connection:
            crm_records.catch_up(self.house.database, connection, now)
            back, doubt = crm_records.release_expired(self.house.database, connection, now)
            unsettled = crm_records.doubtful(connection, now - DOUBT_RESTS, CLAIMED * 5)
            stop = brake_on(circuit_breakers.on(connection), self.crm)
        self.done += Counter({"taken back": back, "in_doubt": doubt})
        if not unsettled or (stop is not None and (stop.until is None or stop.until > now)):
            return
        keys = {person_key(self.house, one.lead_id) for one in unsettled}
        try:
            seen = self.crm.look_up(sorted(keys))
        except CrmDown as down:
            self.brake(NotWritten(down.why, down.retry_at, stops=True))
            return
        self.observe("looked up", sorted(keys))
        told = []
        for one in unsettled:
            held = seen.get(person_key(self.house, one.lead_id))
            mine = held is not None and held.handoff == handoff_key(self.house, one.offer_id)
            name = self.crm.name
            if held is not None and mine:
                told.append(Told(one.id, "done", held.stage, name, held.crm_id, None, None))
            else:
                told.append(Told(one.id, "planned", None, None, None, "it had not arrived; once more", now))
        with self.house.database.write() as connection:
            crm_records.settle(self.house.database, connection, told, None, now)
        self.done += Counter({"found in the CRM": sum(one.state == "done" for one in told)})

    def claim(self, limit: int) -> list[tuple[int, str]]:
        """Take what may go now; one hand-off alone where the CRM was braked and is tried again."""
        now = self.clock.now()
        database = self.house.database
        with database.write() as connection:
            stop = brake_on(circuit_breakers.on(connection), self.crm)
            if stop is not None:
                if stop.until is None or stop.until > now:
                    return []
                if not circuit_breakers.take_probe(connection, self.crm.name, now, now + PROBE_AFTER):
                    return []
                limit, self.probing = 1, True
            held = crm_records.claim(database, connection, self.token, now + LEASE, now, limit)
            self.observe("claim", [key for _, key in held])
        self.observe("claimed", [key for _, key in held])
        return held

    def tell(self, held: Sequence[tuple[int, str]]) -> bool:
        """Tell the CRM of what is held, a breath at a time; return whether there may be more."""
        size = self.crm.at_once
        for start in range(0, len(held), size):
            breath = held[start : start + size]
            receipts = self._breathe(breath)
            stop = next((one for one in receipts if isinstance(one, NotWritten) and one.stops), None)
            for receipt in receipts:
                self.unclear = self.unclear + 1 if isinstance(receipt, Unclear) else 0
                if isinstance(receipt, Unclear) and self.unclear >= UNCLEAR_IN_A_ROW:
                    why = f"{self.unclear} calls in a row had no clear answer, the last: {receipt.why}"
                    stop = stop or NotWritten(why, stops=True)
            if stop is not None:
                self._give_back(held[start + size :], stop)
                self.brake(stop)
                return False
            if receipts and self.probing and any(isinstance(one, Written | Refused) for one in receipts):
                with self.house.database.write() as connection:
                    now = self.clock.now()
                    circuit_breakers.release(
                        connection, "provider", self.crm.name, "a probe that went through", now
                    )
                self.probing = False
        return True

    def _breathe(self, breath: Sequence[tuple[int, str]]) -> Sequence[Receipt]:
        database, keys = self.house.database, [key for _, key in breath]
        self.observe("last look", keys)
        with database.write() as connection:
            now = self.clock.now()
            ids = [id_ for id_, _ in breath]
            name = self.crm.name
            going = crm_records.stamp(database, connection, ids, name, self.token, now + LEASE, now)
            forgotten = [one for one in going if is_forgotten(one)]
            told = [Told(one.id, "done", None, None, None, FORGOTTEN, None) for one in forgotten]
            crm_records.settle(database, connection, told, self.token, now)
            going = [one for one in going if not is_forgotten(one)]
            if going:
                quarantine.before_calls(self.house, connection, name)
            policy = self.house.rulebooks.current(connection).policy if going else None
        if not going or policy is None:
            return []
        records = [record_of(self.house, one, policy) for one in going]
        self.observe("before the call", keys)
        receipts = self._call(records, now)
        self.observe("after the call", keys)
        with database.write() as connection:
            after = self.clock.now()
            told = [self._told(one, receipt, after) for one, receipt in zip(going, receipts, strict=True)]
            crm_records.settle(database, connection, told, self.token, after)
            self.observe("write-back", keys)
        self.observe("written back", keys)
        self.done.update(_WORD[type(receipt)] for receipt in receipts)
        return receipts

    def _call(self, records: Sequence[Record], looked: datetime) -> Sequence[Receipt]:
        now = self.clock.now()
        if now - looked > STALE_AFTER:
            return [NotWritten("the last look at it was too long ago", now) for _ in records]
        try:
            return self.crm.put(records, now)
        except Exception as error:  # noqa: BLE001 - whatever it is, some of them may have gone
            return [Unclear(f"{self.crm.name} broke off: {type(error).__name__}") for _ in records]

    def _told(self, one: Going, receipt: Receipt, now: datetime) -> Told:
        match receipt:
            case Written(crm_id=crm_id, note=note):
                return Told(one.id, "done", one.wanted, self.crm.name, crm_id, note or None, None)
            case Refused(why=why):
                return Told(one.id, "refused", None, None, None, why, None)
            case NotWritten(why=why, retry_at=retry_at):
                again = retry_at or now + backoff(one.attempts, f"handoff:{one.offer_id}")
                return Told(one.id, "planned", None, None, None, why, again)
            case Unclear(why=why):
                return Told(one.id, "in_doubt", None, None, None, why, None)
            case _:
                assert_never(receipt)

    def _give_back(self, left: Sequence[tuple[int, str]], stop: NotWritten) -> None:
        now = self.clock.now()
        back = [Told(id_, "planned", None, None, None, stop.why, None) for id_, _ in left]
        with self.house.database.write() as connection:
            crm_records.settle(self.house.database, connection, back, self.token, now)

    def brake(self, stop: NotWritten) -> None:
        """Keep every worker from calling this CRM for a while."""
        now = self.clock.now()
        until = max(stop.retry_at or now + PROBE_AFTER, now + timedelta(seconds=1))
        with self.house.database.write() as connection:
            circuit_breakers.put(
                self.house.database, connection, Brake("provider", self.crm.name, stop.why, now, until)
            )
        self.done["braked"] += 1


_WORD: Final[dict[type, str]] = {
    Written: "told",
    Refused: "refused",
    NotWritten: "put off",
    Unclear: "in_doubt",
}


def brake_on(on: Sequence[Brake], crm: Crm) -> Brake | None:
    """Return what keeps everybody from calling *crm*, None if nothing does."""
    own = next((one for one in on if (one.kind, one.name) == ("provider", crm.name)), None)
    return quarantine.stops(on, crm.name) or own


def is_forgotten(one: Going) -> bool:
    """Tell whether nothing is known of the lead any more: a CRM would make somebody new of it."""
    return not (one.facts or one.address or one.known_as)


def person_key(house: House, lead_id: int) -> str:
    """Return the key under which a CRM knows a lead of ours."""
    return f"{house.origin or 'nurture'}-lead-{lead_id}"


def handoff_key(house: House, offer_id: int) -> str:
    """Return the key under which a CRM knows a hand-off of ours."""
    return f"{house.origin or 'nurture'}-handoff-{offer_id}"


def record_of(house: House, one: Going, policy: Policy) -> Record:
    """Return what the CRM is told: at the offer that there is one, at acceptance whose it is."""
    rep = policy.rep(one.rep)
    facts = {name: str(value) for name, value in one.facts.items() if value is not None}
    accepted = one.wanted == Stage.ACCEPTED
    return Record(
        key=person_key(house, one.lead_id),
        handoff=handoff_key(house, one.offer_id),
        stage=Stage(one.wanted),
        at=one.wanted_at,
        person=Person(
            email=one.address or "",
            known_as=one.known_as or "",
            country=one.country or facts.get("country", ""),
            **{
                name: facts.get(name, "") for name in ("first_name", "last_name", "company", "title", "phone")
            },
        ),
        owner=rep.email if rep is not None and accepted else "",
        offered_to=rep.name if rep is not None else one.rep,
        why=one.because[:_WORDS],
    )
