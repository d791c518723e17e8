"""The CRM outbox: one record per hand-off, planned with the offer, claimed, marked `sending`, written back."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    FromClause,
    String,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    select,
    update,
)

from nurture.db.row_values import row_columns
from nurture.db.tables.crm import crm_record as record
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import address as addresses
from nurture.db.tables.leads import identity, lead
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.outbox.lease_queue import AT, LeaseQueue

_NEW_RECORD: Final = (
    "send_key", "offer_id", "lead_id", "target_state", "target_set_at", "state", "state_at", "send_at", "attempts",
)  # fmt: skip
_OPEN: Final = ("planned", "claimed", "sending", "unknown")


class OutgoingRecord(NamedTuple):
    """A hand-off to push to the CRM, with the current fields of its lead."""

    id: int
    send_key: str
    offer_id: int
    lead_id: int
    target_state: str
    target_set_at: datetime
    attempts: int
    rep: str
    handoff_reason: str
    fields: dict[str, Any]
    country: str
    address: str | None
    external_id: str | None


class PushResult(NamedTuple):
    """The result of a push. *pushed_state* is the state that the CRM now holds, None if it took none."""

    id: int
    state: str
    reason: str | None = None
    send_at: datetime | None = None
    pushed_state: str | None = None
    provider: str | None = None
    crm_id: str | None = None


def _result_values(new: FromClause) -> dict[str, Any]:
    """Return what a result sets; a record whose target state changed meanwhile is planned again."""
    is_outdated = (new.c.state == "done") & (new.c.pushed_state != record.c.target_state)
    return {
        "state": case((is_outdated, "planned"), else_=new.c.state),
        "pushed_state": func.coalesce(new.c.pushed_state, record.c.pushed_state),
        "pushed_at": case((new.c.pushed_state.is_not(None), AT), else_=record.c.pushed_at),
        "provider": func.coalesce(new.c.provider, record.c.provider),
        "crm_id": func.coalesce(new.c.crm_id, record.c.crm_id),
        "send_at": case((is_outdated, AT), else_=func.coalesce(new.c.send_at, record.c.send_at)),
        "attempts": case((new.c.state == "done", 0), else_=record.c.attempts),
    }


QUEUE: Final = LeaseQueue(
    record,
    PushResult,
    result_values=_result_values,
    unknown_values={
        "state_at": AT,
        "reason": "the worker stopped during the push; it is unknown whether the CRM took it",
    },
)


def plan_records(tx: Transaction, offers: Sequence[tuple[int, int]], now: datetime) -> None:
    """Plan a CRM record for each new (offer id, lead id)."""
    rows = [
        (f"handoff:{offer_id}", offer_id, lead_id, "offered", now, "planned", now, now, 0)
        for offer_id, lead_id in offers
    ]
    tx.insert(record, _NEW_RECORD, rows, unique_columns=["send_key"])


def set_target_states(tx: Transaction, answers: Sequence[tuple[int, str]], now: datetime) -> None:
    """Set the target states of records from answered offers: (offer id, state).

    A record in progress or `unknown` keeps its state; its result is compared with the new target.
    """
    if not answers:
        return
    changed = tx.rows("changed", {"id": BigInteger(), "state": String()}, answers)
    if tx.skips_locked:
        locked = select(record.c.id).join(changed, changed.c.id == record.c.offer_id).order_by(record.c.id)
        tx.execute(locked.with_for_update(of=record))
    statement = update(record).where(record.c.offer_id == changed.c.id)
    tx.execute(statement.values(target_state=changed.c.state, **_requeue_values(now)))


def _requeue_values(now: datetime) -> dict[str, Any]:
    """Return column values that requeue finished records; records in progress keep their state."""
    finished = record.c.state.in_(("done", "rejected"))
    return {
        "target_set_at": now,
        "state": case((finished, "planned"), else_=record.c.state),
        "state_at": case((finished, now), else_=record.c.state_at),
        "send_at": case((finished, now), else_=record.c.send_at),
        "attempts": case((finished, 0), else_=record.c.attempts),
    }


CATCH_UP_LIMIT: Final = 20_000
"""How many of the newest hand-offs are compared with their offers."""


def catch_up_target_states(tx: Transaction, now: datetime) -> int:
    """Set the target states of the newest records from the states of their offers; return how many changed."""
    newest = select(func.coalesce(func.max(record.c.id), 0)).scalar_subquery()
    changed = select(record.c.id).join(offer, offer.c.id == record.c.offer_id)
    changed = changed.where(record.c.id > newest - CATCH_UP_LIMIT, record.c.target_state != offer.c.state)
    if tx.skips_locked:
        changed = changed.with_for_update(of=record, skip_locked=True)
    statement = update(record).where(record.c.id.in_(changed), record.c.offer_id == offer.c.id)
    return tx.execute(statement.values(target_state=offer.c.state, **_requeue_values(now))).rowcount


def plan_existing_offers(tx: Transaction, since: datetime, now: datetime) -> int:
    """Plan a push of every hand-off offered at *since* or later; return how many.

    Keys do not change, so the CRM updates the records that it has.
    """
    made = select(
        literal("handoff:").concat(cast(offer.c.id, String)),
        offer.c.id,
        offer.c.lead_id,
        offer.c.state,
        func.coalesce(offer.c.answered_at, offer.c.offered_at),
        bindparam("state", "planned"),
        bindparam("at", now, type_=UtcDateTime()),
        bindparam("due", now, type_=UtcDateTime()),
        bindparam("attempts", 0),
    ).where(offer.c.offered_at >= since, ~exists().where(record.c.offer_id == offer.c.id))
    into = record.insert().from_select(list(_NEW_RECORD), made.order_by(offer.c.id)).returning(record.c.id)
    new = len(tx.execute(into).all())
    chosen = select(offer.c.id).where(offer.c.offered_at >= since)
    again = tx.execute(
        update(record)
        .where(record.c.offer_id.in_(chosen), record.c.state.in_(("done", "rejected")))
        .values(state="planned", state_at=now, send_at=now, pushed_state=None, attempts=0, reason=None)
    ).rowcount
    return new + again


def claim_due(
    tx: Transaction, crm: str, token: str, until: datetime, now: datetime, limit: int
) -> list[OutgoingRecord]:
    """Claim due records in hand-off order, at most one per lead; return them.

    A record waits for the earlier ones of its lead, so that the CRM gets them in order.
    """
    earlier = record.alias("earlier")
    before = exists().where(
        earlier.c.lead_id == record.c.lead_id, earlier.c.id < record.c.id, earlier.c.state.in_(_OPEN)
    )
    due = (
        select(record.c.id)
        .where(record.c.state == "planned", record.c.send_at <= now, ~before)
        .order_by(record.c.id)
        .limit(limit)
    )
    if tx.skips_locked:
        due = due.with_for_update(of=record, skip_locked=True)
    ids = list(tx.execute(due).scalars())
    QUEUE.claim(tx, [(id_,) for id_ in ids], token, until, now)
    return load_outgoing(tx, ids, crm) if ids else []


def load_outgoing(tx: Transaction, ids: Collection[int], crm: str) -> list[OutgoingRecord]:
    """Return these records for *crm*, as of now, in hand-off order."""
    chosen = tx.ids("chosen", sorted(ids))
    external_id = (
        select(func.min(identity.c.external_id))
        .where(identity.c.lead_id == record.c.lead_id, identity.c.source == crm)
        .scalar_subquery()
    )
    query = (
        select(*row_columns(OutgoingRecord, record, offer, lead, address=addresses.c.email, external_id=external_id))
        .join(chosen, chosen.c.id == record.c.id)
        .join(offer, offer.c.id == record.c.offer_id)
        .join(lead, lead.c.id == record.c.lead_id)
        .outerjoin(addresses, addresses.c.id == lead.c.address_id)
        .order_by(record.c.id)
    )
    return [OutgoingRecord._make(row) for row in tx.execute(query)]


def lock(tx: Transaction, ids: Collection[int], state: str | None = None) -> set[int]:
    """Lock these records in hand-off order, and return those in *state*."""
    chosen = tx.ids("chosen", sorted(ids))
    query = select(record.c.id).join(chosen, chosen.c.id == record.c.id).order_by(record.c.id)
    if state is not None:
        query = query.where(record.c.state == state)
    return set(tx.execute(query.with_for_update(of=record) if tx.skips_locked else query).scalars())


def list_unknown(tx: Transaction, crm: str, before: datetime, limit: int) -> list[OutgoingRecord]:
    """Return records that have been unknown since *before* or earlier, oldest hand-off first."""
    unresolved: BindParameter[Any] = bindparam(
        "unresolved", ["unknown", "rejected"], expanding=True, literal_execute=True
    )
    query = select(record.c.id).where(
        record.c.state.in_(unresolved), record.c.state == "unknown", record.c.state_at <= before
    )
    ids = list(tx.execute(query.order_by(record.c.id).limit(limit)).scalars())
    return load_outgoing(tx, ids, crm) if ids else []


class StateCount(NamedTuple):
    """Number of hand-offs in a state, since when the oldest is, and the reason of one of them."""

    state: str
    record_count: int
    since: datetime | None
    reason: str | None


def count_by_state(tx: Transaction) -> list[StateCount]:
    """Return the number of hand-offs in each state."""
    query = (
        select(
            record.c.state,
            func.count(),
            func.min(record.c.state_at, type_=UtcDateTime()),
            func.max(func.coalesce(record.c.reason, null(), type_=String())),
        )
        .group_by(record.c.state)
        .order_by(record.c.state)
    )
    return [StateCount._make(row) for row in tx.execute(query)]
