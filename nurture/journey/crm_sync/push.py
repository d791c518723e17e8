"""Push hand-offs to the CRM, each once: record the intent, call, and resolve unknown results by a lookup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final, assert_never

from nurture.clock import Clock
from nurture.crm.base import Crm, CrmUnavailable, HandoffRecord, HandoffStatus, Person
from nurture.domain.delivery.backoff import backoff
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.domain.policy.policy import Policy
from nurture.outbox import circuit_breakers, crm_records
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.crm_records import OutgoingRecord, PushResult
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext

LEASE: Final = timedelta(minutes=5)
"""How long an unresponsive worker keeps its hand-offs; long enough for several calls."""

STALE_AFTER: Final = timedelta(seconds=5)
"""A call that starts later than this after its last check is not made: the machine may have been suspended."""

UNKNOWN_GRACE: Final = timedelta(minutes=1)
"""How long to wait before looking up an unknown push, as the call may still be in progress."""

PROBE_AFTER: Final = timedelta(minutes=2)
"""How long to wait before one hand-off probes a CRM that cannot be reached."""

CLAIM_LIMIT: Final = 20
"""How many hand-offs a worker holds if the CRM takes one at a time."""

MAX_PER_RUN: Final = 2_000
"""How many hand-offs one run pushes; the rest is left to the next run."""

MAX_CONSECUTIVE_UNKNOWN: Final = 3
"""How many unknown results in a row open the circuit breaker."""

LEAD_ERASED: Final = "nothing to push: the lead was erased"

_MAX_REASON_LENGTH: Final = 1_000  # characters of the hand-off reason

CheckpointObserver = Callable[[str, Sequence[str]], None]
"""Called at each checkpoint with its name and the keys concerned. Crash tests never return from it."""


def push(
    ctx: AppContext,
    clock: Clock,
    observe: CheckpointObserver = lambda _point, _keys: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Push every due hand-off to the CRM, at most MAX_PER_RUN; return the counts by result.

    Hand-offs of one lead go in order; failed ones are retried later. Does nothing without a CRM.
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
    """One run; *token* identifies the hand-offs it holds."""

    def __init__(self, ctx: AppContext, crm: Crm, clock: Clock, observe: CheckpointObserver) -> None:
        self.ctx, self.crm, self.clock, self.observe = ctx, crm, clock, observe
        self.token = token_hex(8)
        self.counts: Counter[str] = Counter()
        self.consecutive_unknown = 0
        self.is_probe = False

    def recover(self) -> None:
        """Release expired leases, and look up unknown pushes in the CRM."""
        now = self.clock.now()
        with self.ctx.database.write() as tx:
            crm_records.catch_up_target_states(tx, now)
            released, unknown = crm_records.release_expired(tx, now)
            unknown_records = crm_records.list_unknown(tx, now - UNKNOWN_GRACE, CLAIM_LIMIT * 5)
            breaker = find_breaker(circuit_breakers.list_active(tx), self.crm)
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
                results.append(PushResult(one.id, "planned", None, None, None, "not in the CRM; pushed again", now))
        with self.ctx.database.write() as tx:
            crm_records.write_results(tx, results, None, now)
        self.counts += Counter({"already in the CRM": sum(one.state == "done" for one in results)})

    def claim(self, limit: int) -> list[tuple[int, str]]:
        """Claim due hand-offs; only one while the circuit breaker is being probed."""
        now = self.clock.now()
        with self.ctx.database.write() as tx:
            breaker = find_breaker(circuit_breakers.list_active(tx), self.crm)
            if breaker is not None:
                if breaker.until is None or breaker.until > now:
                    return []
                if not circuit_breakers.claim_probe(tx, self.crm.name, now, now + PROBE_AFTER):
                    return []
                limit, self.is_probe = 1, True
            claimed = crm_records.claim(tx, self.token, now + LEASE, now, limit)
            self.observe("claim", [key for _, key in claimed])
        self.observe("claimed", [key for _, key in claimed])
        return claimed

    def push_claimed(self, claimed: Sequence[tuple[int, str]]) -> bool:
        """Push the claimed hand-offs in chunks; return whether to continue."""
        size = self.crm.batch_size
        for start in range(0, len(claimed), size):
            chunk = claimed[start : start + size]
            receipts = self._push_chunk(chunk)
            stop = next((one for one in receipts if isinstance(one, NotSent) and one.blocks_all), None)
            for receipt in receipts:
                self.consecutive_unknown = self.consecutive_unknown + 1 if isinstance(receipt, Unknown) else 0
                if isinstance(receipt, Unknown) and self.consecutive_unknown >= MAX_CONSECUTIVE_UNKNOWN:
                    count = self.consecutive_unknown
                    reason = f"{count} calls in a row had an unknown result, the last one: {receipt.reason}"
                    stop = stop or NotSent(reason, blocks_all=True)
            if stop is not None:
                self._release(claimed[start + size :], stop)
                self.open_breaker(stop)
                return False
            if receipts and self.is_probe and any(isinstance(one, Accepted | Rejected) for one in receipts):
                with self.ctx.database.write() as tx:
                    now = self.clock.now()
                    circuit_breakers.release(tx, "provider", self.crm.name, "a successful probe", now)
                self.is_probe = False
        return True

    def _push_chunk(self, chunk: Sequence[tuple[int, str]]) -> Sequence[Receipt]:
        database, keys = self.ctx.database, [key for _, key in chunk]
        self.observe("last check", keys)
        with database.write() as tx:
            now = self.clock.now()
            ids = [id_ for id_, _ in chunk]
            name = self.crm.name
            pending = crm_records.stamp_sending(tx, ids, name, self.token, now + LEASE, now)
            erased = [one for one in pending if is_erased(one)]
            results = [PushResult(one.id, "done", None, None, None, LEAD_ERASED, None) for one in erased]
            crm_records.write_results(tx, results, self.token, now)
            pending = [one for one in pending if not is_erased(one)]
            if pending:
                quarantine.record_external_calls(self.ctx, tx, name)
            policy = self.ctx.definitions.current(tx).policy if pending else None
        if not pending or policy is None:
            return []
        records = [build_record(self.ctx, one, policy) for one in pending]
        self.observe("before the call", keys)
        receipts = self._call(records, now)
        self.observe("after the call", keys)
        with database.write() as tx:
            after = self.clock.now()
            results = [self._to_result(one, receipt, after) for one, receipt in zip(pending, receipts, strict=True)]
            crm_records.write_results(tx, results, self.token, after)
            self.observe("write-back", keys)
        self.observe("written back", keys)
        self.counts.update(_RESULT_LABELS[type(receipt)] for receipt in receipts)
        return receipts

    def _call(self, records: Sequence[HandoffRecord], checked_at: datetime) -> Sequence[Receipt]:
        now = self.clock.now()
        if now - checked_at > STALE_AFTER:
            reason = f"not called: more than {STALE_AFTER.seconds} s passed since the last check"
            return [NotSent(reason, now) for _ in records]
        try:
            return self.crm.upsert(records, now)
        except Exception as error:  # noqa: BLE001 - any of them may have been pushed
            return [Unknown(f"{self.crm.name} failed: {type(error).__name__}") for _ in records]

    def _to_result(self, record: OutgoingRecord, receipt: Receipt, now: datetime) -> PushResult:
        match receipt:
            case Accepted(remote_id=crm_id, note=note):
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
        with self.ctx.database.write() as tx:
            crm_records.write_results(tx, released, self.token, now)

    def open_breaker(self, stop: NotSent) -> None:
        """Stop all workers from calling this CRM for a while."""
        now = self.clock.now()
        until = max(stop.retry_at or now + PROBE_AFTER, now + timedelta(seconds=1))
        with self.ctx.database.write() as tx:
            circuit_breakers.trip(tx, Breaker("provider", self.crm.name, stop.reason, now, until))
        self.counts["breaker opened"] += 1


_RESULT_LABELS: Final[dict[type, str]] = {
    Accepted: "pushed",
    Rejected: "rejected",
    NotSent: "postponed",
    Unknown: "unknown",
}


def find_breaker(open_breakers: Sequence[Breaker], crm: Crm) -> Breaker | None:
    """Return the breaker that stops calls to *crm*, or None."""
    own = next((one for one in open_breakers if (one.kind, one.name) == ("provider", crm.name)), None)
    return quarantine.find_quarantine(open_breakers, crm.name) or own


def is_erased(record: OutgoingRecord) -> bool:
    """Return whether all data of the lead is gone: pushed, it would become a new person in the CRM."""
    return not (record.fields or record.address or record.external_id)


def lead_key(ctx: AppContext, lead_id: int) -> str:
    """Return the key of a lead in the CRM."""
    return f"{ctx.installation_id or 'nurture'}-lead-{lead_id}"


def handoff_key(ctx: AppContext, offer_id: int) -> str:
    """Return the key of a hand-off in the CRM."""
    return f"{ctx.installation_id or 'nurture'}-handoff-{offer_id}"


def build_record(ctx: AppContext, record: OutgoingRecord, policy: Policy) -> HandoffRecord:
    """Return the record to push; it names an owner only once the offer is accepted."""
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
