"""Read what reps see about leads: activities, touches, earlier offers, accounts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, func, select

from nurture.db.tables import accounts as account_tables
from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import handoff as handoff_tables
from nurture.db.tables import leads as lead_tables
from nurture.db.tables import signals as signal_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction

lead = table(lead_tables.Lead)
address = table(lead_tables.Address)
signal = table(signal_tables.Signal)
message = table(delivery_tables.Message)
offer = table(handoff_tables.Offer)
account = table(account_tables.Account)
lead_account = table(account_tables.LeadAccount)


class Activity(NamedTuple):
    """Something that a lead did."""

    lead_id: int
    kind: str
    occurred_at: datetime
    step: str | None
    link: str | None
    value: str | None


class SentTouch(NamedTuple):
    """A touch sent to a lead, and the lead's number of touches."""

    lead_id: int
    track: str | None
    email: str
    at: datetime
    total: int
    first_at: datetime


class EarlierOffer(NamedTuple):
    """An earlier offer of the lead that ended."""

    lead_id: int
    id: int
    rep: str
    state: str
    answered_at: datetime | None
    reason: str | None


class OwningAccount(NamedTuple):
    """The account of a lead, and how it was matched."""

    lead_id: int
    name: str
    kind: str
    owner: str
    reason: str


def load_activities(tx: Transaction, lead_ids: Collection[int], limit: int) -> Mapping[int, list[Activity]]:
    """Return the newest *limit* human activities of each lead, the newest first."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    row_number = func.row_number().over(
        partition_by=signal.c.lead_id, order_by=(signal.c.occurred_at.desc(), signal.c.id.desc())
    )
    numbered = (
        select(*[signal.c[name] for name in Activity._fields], row_number.label("row_number"))
        .join(chosen, chosen.c.id == signal.c.lead_id)
        .where(signal.c.verdict == "human")
        .subquery()
    )
    return _by_lead(tx, _first_of_each(numbered, limit), Activity)


def load_touches(tx: Transaction, lead_ids: Collection[int], limit: int) -> Mapping[int, list[SentTouch]]:
    """Return the newest *limit* touches of each lead, the newest first."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    partition = message.c.lead_id
    row_number = func.row_number().over(
        partition_by=partition, order_by=(message.c.accepted_at.desc(), message.c.id.desc())
    )
    numbered = (
        select(
            message.c.lead_id,
            message.c.track,
            message.c.email,
            message.c.accepted_at.label("at"),
            func.count().over(partition_by=partition).label("total"),
            func.min(message.c.accepted_at, type_=message.c.accepted_at.type)
            .over(partition_by=partition)
            .label("first_at"),
            row_number.label("row_number"),
        )
        .join(chosen, chosen.c.id == message.c.lead_id)
        .where(message.c.kind == "touch", message.c.accepted_at.is_not(None))
        .subquery()
    )
    return _by_lead(tx, _first_of_each(numbered, limit), SentTouch)


def load_earlier_offers(tx: Transaction, lead_ids: Collection[int], limit: int) -> Mapping[int, list[EarlierOffer]]:
    """Return the newest *limit* answered or ended offers of each lead, the newest first."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    row_number = func.row_number().over(partition_by=offer.c.lead_id, order_by=offer.c.id.desc())
    numbered = (
        select(*[offer.c[name] for name in EarlierOffer._fields], row_number.label("row_number"))
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(offer.c.state != "offered")
        .subquery()
    )
    return _by_lead(tx, _first_of_each(numbered, limit), EarlierOffer)


def load_accounts(tx: Transaction, lead_ids: Collection[int]) -> dict[int, OwningAccount]:
    """Return the account of each lead that has one."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    query = (
        select(lead_account.c.lead_id, account.c.name, account.c.kind, account.c.owner, lead_account.c.reason)
        .join(account, account.c.id == lead_account.c.account_id)
        .join(chosen, chosen.c.id == lead_account.c.lead_id)
    )
    return {row[0]: OwningAccount._make(row) for row in tx.execute(query)}


def _first_of_each(numbered: Any, limit: int) -> Select[Any]:
    columns: Sequence[Any] = list(numbered.c)[:-1]
    return select(*columns).where(numbered.c.row_number <= limit).order_by(numbered.c.row_number)


def _by_lead(tx: Transaction, wanted: Select[Any], make: Any) -> Mapping[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for row in tx.execute(wanted):
        found[row[0]].append(make._make(row))
    return found
