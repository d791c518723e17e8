"""Read which leads are with sales, or were until lately, and with which rep."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, bindparam, case, literal, select, union_all

from nurture.db.tables.accounts import lead_account
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import address, custody, lead
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.lead import Custodian
from nurture.domain.policy.policy import WRONG_OWNER_REASONS

_WITH_SALES = (Custodian.OFFER.value, Custodian.REP.value)
_HOLDER = case((custody.c.kind == Custodian.REP.value, custody.c.ref), else_=offer.c.rep)


class TalkRow(NamedTuple):
    """A lead that *rep* has or was offered (*is_open*), or until *at*; not *is_binding*: without ever answering."""

    lead_id: int
    rep: str
    is_open: bool
    at: datetime
    is_binding: bool
    email: str | None
    fields: dict[str, Any]
    account_id: int | None


class CompanyRow(NamedTuple):
    """The data by which the company of a lead is found."""

    lead_id: int
    email: str | None
    account_id: int | None


def load_talks(tx: Transaction, ended_since: datetime | None) -> list[TalkRow]:
    """Return the leads that sales has; with *ended_since* also hand-offs since then, and those that ended since then.

    Open ones come first, then the newest.
    """
    found = tx.execute(_talks_query(with_ended=ended_since is not None), {"ended_since": ended_since})
    return [TalkRow(row[0], row[1], bool(row[2]), row[3], bool(row[4]), *row[5:]) for row in found]


@cache
def _talks_query(*, with_ended: bool) -> Select[Any]:
    """Return the statement. Cached: many batches run it, and building it takes longer than running it."""
    ended_since = bindparam("ended_since", type_=UtcDateTime())
    is_offer = and_(
        custody.c.kind == Custodian.OFFER.value, offer.c.lead_id == custody.c.lead_id, offer.c.state == "offered"
    )
    found: Any = (
        select(
            custody.c.lead_id,
            _HOLDER.label("rep"),
            literal(1).label("is_open"),
            custody.c.since.label("at"),
            literal(1).label("is_binding"),
        )
        .outerjoin(offer, is_offer)
        .where(custody.c.kind.in_(_WITH_SALES), _HOLDER.is_not(None))
    )
    if with_ended:
        columns = (offer.c.lead_id, offer.c.rep, literal(0))
        ended = select(*columns, offer.c.ended_at, literal(1)).where(offer.c.ended_at >= ended_since)
        theirs = offer.c.reason.is_(None) | offer.c.reason.not_in(WRONG_OWNER_REASONS)
        is_answered = case((offer.c.state == "rejected", 1), else_=0)
        answered = select(*columns, offer.c.answered_at, is_answered).where(
            offer.c.offered_at >= ended_since, offer.c.state.in_(("rejected", "expired")), offer.c.ended_at.is_(None)
        )
        found = union_all(found, ended.where(offer.c.state != "reassigned", theirs), answered.where(theirs))
    one = found.subquery()
    return (
        select(
            one.c.lead_id,
            one.c.rep,
            one.c.is_open,
            one.c.at,
            one.c.is_binding,
            address.c.email,
            lead.c.fields,
            lead_account.c.account_id,
        )
        .join(lead, lead.c.id == one.c.lead_id)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .outerjoin(lead_account, lead_account.c.lead_id == one.c.lead_id)
        .where(lead.c.erased_at.is_(None))
        .order_by(one.c.is_open.desc(), one.c.at.desc(), one.c.lead_id)
    )


def load_companies(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, CompanyRow]:
    """Return the address and the account of each of these leads."""
    chosen = tx.ids("chosen", lead_ids)
    query = (
        select(lead.c.id, address.c.email, lead_account.c.account_id)
        .join(chosen, chosen.c.id == lead.c.id)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .outerjoin(lead_account, lead_account.c.lead_id == lead.c.id)
    )
    return {row[0]: CompanyRow._make(row) for row in tx.execute(query)}
