"""Push hand-offs to the CRM, each once: record the intent, call, and resolve unknown results by a lookup."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final

from nurture.clock import Clock
from nurture.crm.base import Crm, CrmUnavailable, HandoffRecord, HandoffStatus, Person
from nurture.db.transaction import Transaction
from nurture.domain.delivery.receipts import Accepted, Receipt, Rejected
from nurture.domain.policy.policy import Policy
from nurture.journey.crm_sync import queries
from nurture.journey.crm_sync.queries import UNKNOWN_OWNER, CrmLeadState
from nurture.journey.leads.custody import JournalEntry, write_journal
from nurture.outbox import circuit_breakers, crm_records
from nurture.outbox.crm_records import OutgoingRecord, PushResult
from nurture.outbox.lease_queue import LEASE, CheckpointObserver, ignore_checkpoint
from nurture.outbox.sender import Sender, SendResult, chunks
from nurture.runtime import quarantine
from nurture.runtime.batches import drain
from nurture.runtime.context import AppContext

UNKNOWN_GRACE: Final = timedelta(minutes=1)
"""How long to wait before looking up an unknown push, as the call may still be in progress."""

CLAIM_LIMIT: Final = 20
"""How many hand-offs a worker holds if the CRM takes one at a time."""

MAX_PER_RUN: Final = 2_000
"""How many hand-offs one run pushes; the rest is left to the next run."""

LEAD_ERASED: Final = "nothing to push: the lead was erased"

_MAX_REASON_LENGTH: Final = 1_000  # characters of the hand-off reason

_LABELS: Final = {"done": "pushed", "planned": "postponed"}
"""What a push reports for the states of its records; others keep their name."""


def push(
    ctx: AppContext,
    clock: Clock,
    observe: CheckpointObserver = ignore_checkpoint,
    should_stop: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Push every due hand-off to the CRM, at most MAX_PER_RUN; return the counts by result.

    Hand-offs of one lead go in order; failed ones are retried later. Does nothing without a CRM.
    """
    crm = ctx.crm
    if crm is None:
        return Counter()
    if quarantine.check(ctx, clock.now()) is not None and not quarantine.is_local(crm.name):
        return Counter()
    sender = _RecordSender(
        ctx=ctx,
        crm=crm,
        database=ctx.database,
        clock=clock,
        queue=crm_records.QUEUE,
        name=crm.name,
        token=token_hex(8),
        observe=observe,
        beat_interval=ctx.beat_interval,
    )
    counts = sender.recover()
    for result in drain(sender.push_batch, lambda _: sender.remaining > 0, should_stop):
        counts.update({_LABELS.get(state, state): count for state, count in result.states.items()})
        counts["breaker opened"] += result.stopped_until is not None
    return +counts


@dataclass(kw_only=True)
class _RecordSender(Sender[OutgoingRecord]):
    """One run of the push, one call at a time."""

    max_consecutive_unknown = 3

    ctx: AppContext
    crm: Crm
    policy: Policy = field(init=False)
    remaining: int = MAX_PER_RUN

    def recover(self) -> Counter[str]:
        """Release expired leases, and look up unknown pushes in the CRM; return the counts by result."""
        now = self.clock.now()
        with self.database.write() as tx:
            crm_records.catch_up_target_states(tx, now)
            released, unknown = self.queue.release_expired(tx, now)
            unknown_records = crm_records.list_unknown(tx, self.name, now - UNKNOWN_GRACE, CLAIM_LIMIT * 5)
            breaker = quarantine.find_breaker(circuit_breakers.list_active(tx), self.name)
        counts = Counter({"released": released, "unknown": unknown})
        if not unknown_records or (breaker is not None and breaker.blocks_calls(now)):
            return counts
        try:
            results = self._look_up(unknown_records, now)
        except CrmUnavailable as error:
            self.open_breaker(error.receipt)
            counts["breaker opened"] += 1
            return counts
        with self.database.write() as tx:
            still_unknown = crm_records.lock(tx, [one.id for one in results], "unknown")
            results = [one for one in results if one.id in still_unknown]
            self.queue.write_results(tx, results, None, now)
        counts["already in the CRM"] = sum(one.state == "done" for one in results)
        return counts

    def _look_up(self, records: Sequence[OutgoingRecord], now: datetime) -> list[PushResult]:
        keys = {one.id: lead_key(self.ctx, one.lead_id) for one in records}
        seen = self.crm.look_up(sorted(set(keys.values())))
        self.observe("looked up", sorted(keys.values()))
        results = []
        for one in records:
            held = seen.get(keys[one.id])
            if held is not None and held.handoff_key == handoff_key(self.ctx, one.offer_id):
                arrived = PushResult(one.id, "done", None, None, held.handoff_status, self.name, held.crm_id)
                results.append(arrived)
            else:
                results.append(PushResult(one.id, "planned", "not in the CRM; pushed again", now))
        return results

    def push_batch(self) -> SendResult:
        """Claim and push due hand-offs; nothing remains for this run if there are none, or if the CRM stops."""
        self.result = SendResult(consecutive_unknown=self.result.consecutive_unknown)
        size = self.crm.batch_size
        claimed = self._claim(min(self.remaining, max(CLAIM_LIMIT, size)))
        result = self.send(chunks(claimed, size))
        self.remaining = 0 if not claimed or result.stopped_until else self.remaining - len(claimed)
        return result

    def _claim(self, limit: int) -> Sequence[OutgoingRecord]:
        """Claim due hand-offs; only one while the circuit breaker is being probed."""
        now = self.clock.now()
        with self.database.write() as tx:
            breaker = quarantine.find_breaker(circuit_breakers.list_active(tx), self.name)
            self.is_probe = breaker is not None
            if breaker is not None:
                if breaker.blocks_calls(now) or not circuit_breakers.claim_probe(tx, self.name, now):
                    return []
                limit = 1
            claimed = crm_records.claim_due(tx, self.name, self.token, now + LEASE, now, limit)
            self.observe("claim", [one.send_key for one in claimed])
        self.observe("claimed", [one.send_key for one in claimed])
        return claimed

    def lock(self, tx: Transaction, rows: Sequence[OutgoingRecord]) -> None:
        """Lock the records in hand-off order, as the answers of reps do."""
        crm_records.lock(tx, [one.id for one in rows])

    def stamp(
        self, tx: Transaction, chunk: Sequence[OutgoingRecord], now: datetime, states: Counter[str]
    ) -> Sequence[OutgoingRecord]:
        """Mark as sending the records whose lease is still held, and read them as they are now."""
        del states  # nobody has to know of an erased lead
        stamped = self.queue.stamp(tx, [(one.id,) for one in chunk], self.token, now + LEASE, now)
        pending = crm_records.load_outgoing(tx, stamped, self.name) if stamped else []
        erased = [PushResult(one.id, "done", LEAD_ERASED) for one in pending if is_erased(one)]
        self.queue.write_results(tx, erased, self.token, now)
        pending = [one for one in pending if not is_erased(one)]
        if pending:
            quarantine.record_external_calls(self.ctx, tx, self.name)
            self.policy = self.ctx.definitions.current(tx).policy
        return pending

    def call(self, rows: Sequence[OutgoingRecord], now: datetime) -> Sequence[Receipt]:
        """Write the records to the CRM."""
        return self.crm.upsert([build_record(self.ctx, one, self.policy) for one in rows], now)

    def write_back(
        self, tx: Transaction, answers: Sequence[tuple[OutgoingRecord, Receipt]], now: datetime
    ) -> Counter[str]:
        """Write the results of calls; the journal says what the CRM refused, or did not store."""
        problems = [(row.lead_id, note) for row, receipt in answers if (note := _describe_problem(receipt))]
        entries = [JournalEntry(lead_id, now, "crm", "crm_push", note, ref=self.name) for lead_id, note in problems]
        write_journal(tx, entries)
        self._note_first_state(tx, answers, now)
        return super().write_back(tx, answers, now)

    def _note_first_state(
        self, tx: Transaction, answers: Sequence[tuple[OutgoingRecord, Receipt]], now: datetime
    ) -> None:
        """Store what new records said before our write, so that what a rep sets before the first pull is seen."""
        reps = {rep.email.casefold(): rep.id for rep in self.policy.reps}
        links = [
            CrmLeadState(
                self.name,
                row.lead_id,
                receipt.remote_id,
                receipt.found[0],
                "" if receipt.found[1] == "" else reps.get((receipt.found[1] or "").casefold(), UNKNOWN_OWNER),
                handoff_key(self.ctx, row.offer_id),
                row.target_state,
                now,
                now,
            )
            for row, receipt in answers
            if isinstance(receipt, Accepted) and receipt.found is not None
        ]
        queries.add_links(tx, links)

    def accepted(self, row: OutgoingRecord, receipt: Accepted, now: datetime) -> PushResult:
        """Return the result of a record that the CRM stored."""
        del now
        crm_id = receipt.remote_id or None
        return PushResult(row.id, "done", receipt.note or None, None, row.target_state, self.name, crm_id)


def _describe_problem(receipt: Receipt) -> str:
    """Return what the CRM refused or did not store, "" if nothing."""
    if isinstance(receipt, Rejected):
        return receipt.reason
    return receipt.note if isinstance(receipt, Accepted) else ""


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
