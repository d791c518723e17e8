"""Read what reps see about leads: activities, touches, earlier offers, accounts."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select, union_all

from nurture.db.row_values import row_columns
from nurture.db.tables.accounts import account, lead_account
from nurture.db.tables.crm import crm_record as record
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.inbound import reply
from nurture.db.tables.leads import identity
from nurture.db.tables.signals import signal
from nurture.db.transaction import Transaction
from nurture.journey.leads.reply_queries import REPLY_COLUMNS, ReplyRecord
from nurture.outbox.messages import MARKETING


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
    note: str | None


class OwningAccount(NamedTuple):
    """The account of a lead, and how it was matched."""

    lead_id: int
    name: str
    kind: str
    owner: str
    reason: str


def load_activities(tx: Transaction, lead_ids: Collection[int], limit: int) -> Mapping[int, list[Activity]]:
    """Return the newest *limit* human activities of each lead, the newest first."""
    order = (signal.c.occurred_at.desc(), signal.c.id.desc())
    columns = row_columns(Activity, signal)
    return _load_first(tx, Activity, columns, lead_ids, order, limit, signal.c.verdict == "human")


def load_replies(
    tx: Transaction, lead_ids: Collection[int], kinds: Collection[str], limit: int
) -> Mapping[int, list[ReplyRecord]]:
    """Return the newest *limit* texts of these *kinds* of each lead, the newest first."""
    order = (reply.c.received_at.desc(), reply.c.id.desc())
    return _load_first(tx, ReplyRecord, REPLY_COLUMNS, lead_ids, order, limit, reply.c.kind.in_(sorted(kinds)))


def load_touches(tx: Transaction, lead_ids: Collection[int], limit: int) -> Mapping[int, list[SentTouch]]:
    """Return the newest *limit* touches of each lead, the newest first."""
    at, of_lead = message.c.accepted_at, message.c.lead_id
    total, first_at = func.count().over(partition_by=of_lead), func.min(at, type_=at.type).over(partition_by=of_lead)
    columns = row_columns(SentTouch, message, at=at, total=total, first_at=first_at)
    order = (at.desc(), message.c.id.desc())
    was_sent = (message.c.kind.in_(MARKETING), at.is_not(None))
    return _load_first(tx, SentTouch, columns, lead_ids, order, limit, *was_sent)


def load_earlier_offers(tx: Transaction, lead_ids: Collection[int], limit: int) -> Mapping[int, list[EarlierOffer]]:
    """Return the newest *limit* answered or ended offers of each lead, the newest first."""
    columns, order = row_columns(EarlierOffer, offer), (offer.c.id.desc(),)
    return _load_first(tx, EarlierOffer, columns, lead_ids, order, limit, offer.c.state != "offered")


def load_accounts(tx: Transaction, lead_ids: Collection[int]) -> dict[int, OwningAccount]:
    """Return the account of each lead that has one."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    query = (
        select(lead_account.c.lead_id, account.c.name, account.c.kind, account.c.owner, lead_account.c.reason)
        .join(account, account.c.id == lead_account.c.account_id)
        .join(chosen, chosen.c.id == lead_account.c.lead_id)
    )
    return {row[0]: OwningAccount._make(row) for row in tx.execute(query)}


def load_crm_ids(tx: Transaction, crm: str, lead_ids: Collection[int]) -> dict[int, str]:
    """Return the id in this CRM of each lead that was pushed there or came from there."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    came = select(identity.c.lead_id, identity.c.external_id).where(identity.c.source == crm)
    pushed = select(record.c.lead_id, record.c.crm_id).where(record.c.provider == crm, record.c.crm_id.is_not(None))
    known = union_all(came, pushed).subquery()
    query = select(known).join(chosen, chosen.c.id == known.c.lead_id)
    return dict(tx.execute(query).tuples().all())


def _load_first(
    tx: Transaction,
    row_type: Any,
    columns: Sequence[Any],
    lead_ids: Collection[int],
    order: Sequence[Any],
    limit: int,
    *where: Any,
) -> Mapping[int, list[Any]]:
    """Return the first *limit* rows of each lead in *order*. The first of *columns* is the id of the lead."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    labeled = [one.label(name) for name, one in zip(row_type._fields, columns, strict=True)]
    number = func.row_number().over(partition_by=columns[0], order_by=order).label("number")
    numbered = select(*labeled, number).join(chosen, chosen.c.id == columns[0]).where(*where).subquery()
    query = select(*list(numbered.c)[:-1]).where(numbered.c.number <= limit).order_by(numbered.c.number)
    found: dict[int, list[Any]] = defaultdict(list)
    for row in tx.execute(query):
        found[row[0]].append(row_type._make(row))
    return found
