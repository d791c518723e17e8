"""Tell the CRM of hand-offs, each once: intent first, the call later, a doubt settled by asking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final, assert_never

from nurture.clock import Clock
from nurture.crm.base import (
    Accepted,
    Crm,
    CrmUnavailable,
    HandoffRecord,
    HandoffStatus,
    NotSent,
    Person,
    Receipt,
    Rejected,
    Unknown,
)
from nurture.domain.delivery.backoff import backoff
from nurture.domain.policy.policy import Policy
from nurture.outbox import circuit_breakers, crm_records
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.crm_records import OutgoingRecord, PushResult
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext

LEASE: Final = timedelta(minutes=5)
"""How long a worker that gives no sign of life keeps what it holds; several calls fit into it."""

STALE_AFTER: Final = timedelta(seconds=5)
"""A call that comes so long after its last check is not made: the machine slept, or something else hung."""

UNKNOWN_GRACE: Final = timedelta(minutes=1)
"""How long the CRM gets to finish what may still be on its way, before it is asked."""

PROBE_AFTER: Final = timedelta(minutes=2)
"""How long a CRM that cannot be asked is left alone; then one hand-off tries it."""

CLAIM_LIMIT: Final = 20
"""How many hand-offs a worker holds, where the CRM takes one at a time."""

MAX_PER_RUN: Final = 2_000
"""How many hand-offs one run tells; what is left waits for the next."""

MAX_CONSECUTIVE_UNKNOWN: Final = 3
"""So many unclear answers, one after the other, put the brake on."""

LEAD_ERASED: Final = "nobody to tell of: the lead was erased"

_MAX_REASON_LENGTH: Final = 1_000  # characters of why now

CheckpointObserver = Callable[[str, Sequence[str]], None]
"""Told of each point that a worker passes, with the keys concerned. Crash tests never return from it."""


def push(
    ctx: AppContext,
    clock: Clock,
    observe: CheckpointObserver = lambda _point, _keys: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Tell the CRM of every hand-off that it should know of by now; return what was done.

    At most MAX_PER_RUN. Hand-offs of one lead are told in their order, and what failed comes again later.
    Without a CRM, nothing.
    """
    crm = ctx.crm
    if crm is None:
        return Counter()
    if quarantine.find_reason(ctx, clock.now()) is not None and not quarantine.is_local(crm.name):
        return Counter()
    worker = _PushWorker(ctx, crm, clock, observe)
    worker.recover()
    remaining = MAX_PER_RUN
    while remaining > 0 and not should_stop():
        claimed = worker.claim(min(remaining, max(CLAIM_LIMIT, crm.batch_size)))
        if not claimed or not worker.push_claimed(claimed):
            break
        remaining -= len(claimed)
    return worker.counts


class _PushWorker:
    """One run: what it holds is its own by *token*."""

    def __init__(self, ctx: AppContext, crm: Crm, clock: Clock, observe: CheckpointObserver) -> None:
        self.ctx, self.crm, self.clock, self.observe = ctx, crm, clock, observe
        self.token = token_hex(8)
        self.counts: Counter[str] = Counter()
        self.consecutive_unknown = 0
        self.is_probe = False

    def recover(self) -> None:
        """Free what dead workers held, and ask the CRM about what is in doubt."""
        now = self.clock.now()
        with self.ctx.database.write() as connection:
            crm_records.catch_up_target_states(self.ctx.database, connection, now)
            released, unknown = crm_records.release_expired(self.ctx.database, connection, now)
            unknown_records = crm_records.list_unknown(connection, now - UNKNOWN_GRACE, CLAIM_LIMIT * 5)
            breaker = find_breaker(circuit_breakers.list_active(connection), self.crm)
        self.counts += Counter({"released": released, "unknown": unknown})
        if not unknown_records or (breaker is not None and (breaker.until is None or breaker.until > now)):
            return
        keys = {lead_key(self.ctx, one.lead_id) for one in unknown_records}
        try:
            seen = self.crm.look_up(sorted(keys))
        except CrmUnavailable as error:
            self.open_breaker(NotSent(error.reason, error.retry_at, blocks_all=True))
            return
        self.observe("looked up", sorted(keys))
        results = []
        for one in unknown_records:
            crm_record = seen.get(lead_key(self.ctx, one.lead_id))
            has_arrived = crm_record is not None and crm_record.handoff_key == handoff_key(self.ctx, one.offer_id)
            name = self.crm.name
            if crm_record is not None and has_arrived:
                results.append(
                    PushResult(one.id, "done", crm_record.handoff_status, name, crm_record.crm_id, None, None)
                )
            else:
                results.append(PushResult(one.id, "planned", None, None, None, "it had not arrived; once more", now))
        with self.ctx.database.write() as connection:
            crm_records.write_results(self.ctx.database, connection, results, None, now)
        self.counts += Counter({"already in the CRM": sum(one.state == "done" for one in results)})

    def claim(self, limit: int) -> list[tuple[int, str]]:
        """Take what may go now; one hand-off alone where the CRM was braked and is tried again."""
        now = self.clock.now()
        database = self.ctx.database
        with database.write() as connection:
            breaker = find_breaker(circuit_breakers.list_active(connection), self.crm)
            if breaker is not None:
                if breaker.until is None or breaker.until > now:
                    return []
                if not circuit_breakers.claim_probe(connection, self.crm.name, now, now + PROBE_AFTER):
                    return []
                limit, self.is_probe = 1, True
            claimed = crm_records.claim(database, connection, self.token, now + LEASE, now, limit)
            self.observe("claim", [key for _, key in claimed])
        self.observe("claimed", [key for _, key in claimed])
        return claimed

    def push_claimed(self, claimed: Sequence[tuple[int, str]]) -> bool:
        """Tell the CRM of what is held, a chunk at a time; return whether there may be more."""
        size = self.crm.batch_size
        for start in range(0, len(claimed), size):
            chunk = claimed[start : start + size]
            receipts = self._push_chunk(chunk)
            stop = next((one for one in receipts if isinstance(one, NotSent) and one.blocks_all), None)
            for receipt in receipts:
                self.consecutive_unknown = self.consecutive_unknown + 1 if isinstance(receipt, Unknown) else 0
                if isinstance(receipt, Unknown) and self.consecutive_unknown >= MAX_CONSECUTIVE_UNKNOWN:
                    reason = (
                        f"{self.consecutive_unknown} calls in a row had no clear answer, the last: {receipt.reason}"
                    )
                    stop = stop or NotSent(reason, blocks_all=True)
            if stop is not None:
                self._release(claimed[start + size :], stop)
                self.open_breaker(stop)
                return False
            if receipts and self.is_probe and any(isinstance(one, Accepted | Rejected) for one in receipts):
                with self.ctx.database.write() as connection:
                    now = self.clock.now()
                    circuit_breakers.release(connection, "provider", self.crm.name, "a probe that went through", now)
                self.is_probe = False
        return True

    def _push_chunk(self, chunk: Sequence[tuple[int, str]]) -> Sequence[Receipt]:
        database, keys = self.ctx.database, [key for _, key in chunk]
        self.observe("last check", keys)
        with database.write() as connection:
            now = self.clock.now()
            ids = [id_ for id_, _ in chunk]
            name = self.crm.name
            pending = crm_records.stamp_sending(database, connection, ids, name, self.token, now + LEASE, now)
            erased = [one for one in pending if is_erased(one)]
            results = [PushResult(one.id, "done", None, None, None, LEAD_ERASED, None) for one in erased]
            crm_records.write_results(database, connection, results, self.token, now)
            pending = [one for one in pending if not is_erased(one)]
            if pending:
                quarantine.record_external_calls(self.ctx, connection, name)
            policy = self.ctx.definitions.current(connection).policy if pending else None
        if not pending or policy is None:
            return []
        records = [build_record(self.ctx, one, policy) for one in pending]
        self.observe("before the call", keys)
        receipts = self._call(records, now)
        self.observe("after the call", keys)
        with database.write() as connection:
            after = self.clock.now()
            results = [self._to_result(one, receipt, after) for one, receipt in zip(pending, receipts, strict=True)]
            crm_records.write_results(database, connection, results, self.token, after)
            self.observe("write-back", keys)
        self.observe("written back", keys)
        self.counts.update(_RESULT_LABELS[type(receipt)] for receipt in receipts)
        return receipts

    def _call(self, records: Sequence[HandoffRecord], checked_at: datetime) -> Sequence[Receipt]:
        now = self.clock.now()
        if now - checked_at > STALE_AFTER:
            return [NotSent("the last check at it was too long ago", now) for _ in records]
        try:
            return self.crm.upsert(records, now)
        except Exception as error:  # noqa: BLE001 - whatever it is, some of them may have gone
            return [Unknown(f"{self.crm.name} broke off: {type(error).__name__}") for _ in records]

    def _to_result(self, record: OutgoingRecord, receipt: Receipt, now: datetime) -> PushResult:
        match receipt:
            case Accepted(crm_id=crm_id, note=note):
                return PushResult(record.id, "done", record.target_state, self.crm.name, crm_id, note or None, None)
            case Rejected(reason=why):
                return PushResult(record.id, "rejected", None, None, None, why, None)
            case NotSent(reason=why, retry_at=retry_at):
                again = retry_at or now + backoff(record.attempts, f"handoff:{record.offer_id}")
                return PushResult(record.id, "planned", None, None, None, why, again)
            case Unknown(reason=why):
                return PushResult(record.id, "unknown", None, None, None, why, None)
            case _:
                assert_never(receipt)

    def _release(self, remaining: Sequence[tuple[int, str]], stop: NotSent) -> None:
        now = self.clock.now()
        released = [PushResult(id_, "planned", None, None, None, stop.reason, None) for id_, _ in remaining]
        with self.ctx.database.write() as connection:
            crm_records.write_results(self.ctx.database, connection, released, self.token, now)

    def open_breaker(self, stop: NotSent) -> None:
        """Keep every worker from calling this CRM for a while."""
        now = self.clock.now()
        until = max(stop.retry_at or now + PROBE_AFTER, now + timedelta(seconds=1))
        with self.ctx.database.write() as connection:
            circuit_breakers.trip(
                self.ctx.database, connection, Breaker("provider", self.crm.name, stop.reason, now, until)
            )
        self.counts["breaker opened"] += 1


_RESULT_LABELS: Final[dict[type, str]] = {
    Accepted: "pushed",
    Rejected: "rejected",
    NotSent: "postponed",
    Unknown: "unknown",
}


def find_breaker(open_breakers: Sequence[Breaker], crm: Crm) -> Breaker | None:
    """Return what keeps everybody from calling *crm*, None if nothing does."""
    own = next((one for one in open_breakers if (one.kind, one.name) == ("provider", crm.name)), None)
    return quarantine.find_quarantine(open_breakers, crm.name) or own


def is_erased(record: OutgoingRecord) -> bool:
    """Tell whether nothing is known of the lead any more: a CRM would make somebody new of it."""
    return not (record.fields or record.address or record.external_id)


def lead_key(ctx: AppContext, lead_id: int) -> str:
    """Return the key under which a CRM knows a lead of ours."""
    return f"{ctx.installation_id or 'nurture'}-lead-{lead_id}"


def handoff_key(ctx: AppContext, offer_id: int) -> str:
    """Return the key under which a CRM knows a hand-off of ours."""
    return f"{ctx.installation_id or 'nurture'}-handoff-{offer_id}"


def build_record(ctx: AppContext, record: OutgoingRecord, policy: Policy) -> HandoffRecord:
    """Return what the CRM is told: at the offer that there is one, at acceptance whose it is."""
    rep = policy.rep(record.rep)
    fields = {name: str(value) for name, value in record.fields.items() if value is not None}
    accepted = record.target_state == HandoffStatus.ACCEPTED
    return HandoffRecord(
        key=lead_key(ctx, record.lead_id),
        handoff_key=handoff_key(ctx, record.offer_id),
        handoff_status=HandoffStatus(record.target_state),
        at=record.target_set_at,
        person=Person(
            email=record.address or "",
            crm_id=record.external_id or "",
            country=record.country or fields.get("country", ""),
            **{name: fields.get(name, "") for name in ("first_name", "last_name", "company", "title", "phone")},
        ),
        owner=rep.email if rep is not None and accepted else "",
        offered_to=rep.name if rep is not None else record.rep,
        reason=record.handoff_reason[:_MAX_REASON_LENGTH],
    )
