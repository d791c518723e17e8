"""Count the hand-offs of a period by stage and by rep, and list those that are open."""

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, and_, case, cast, distinct, func, or_, select, true

from nurture.db.rollups import epoch
from nurture.db.row_values import row_columns
from nurture.db.tables.accounts import lead_account
from nurture.db.tables.handoff import IS_OPEN, offer
from nurture.db.tables.leads import custody, lead
from nurture.db.tables.outcomes import outcome
from nurture.db.tables.rollups import daily_count
from nurture.db.tables.signals import IS_ANSWER, signal
from nurture.db.transaction import Transaction
from nurture.domain.lead import Closing, Custodian


class StageCounts(NamedTuple):
    """How many leads were offered to reps in a period, and how many of them reached each later stage."""

    offered: int
    accepted: int
    contacted: int
    won: int


class RepCounts(NamedTuple):
    """The offers of one rep in a period."""

    rep: str
    offered: int
    accepted: int
    rejected: int
    unanswered: int
    contacted: int
    won: int


class OpenHandoff(NamedTuple):
    """An offer that waits for an answer, or an accepted lead that the rep has not contacted yet."""

    offer_id: int
    lead_id: int
    rep: str
    state: str
    fields: dict[str, Any]
    offered_at: datetime
    due_at: datetime | None
    hot: bool
    rule: str


_WAS_REJECTED: ColumnElement[bool] = and_(offer.c.state == "rejected", offer.c.ended_at.is_(None))
_ACCEPTED: ColumnElement[bool] = or_(
    offer.c.state.in_(("accepted", "lapsed")), and_(offer.c.state == "rejected", offer.c.ended_at.is_not(None))
)
_WON: ColumnElement[bool] = (
    select(outcome.c.id)
    .where(
        outcome.c.lead_id == offer.c.lead_id,
        outcome.c.closing == Closing.WON.value,
        outcome.c.happened_at >= offer.c.offered_at,
    )
    .correlate(offer)
    .exists()
)


OFFERS: Mapping[str, ColumnElement[bool]] = {
    "offered": true(),
    "accepted": _ACCEPTED,
    "rejected": _WAS_REJECTED,
    "unanswered": offer.c.state == "expired",
    "contacted": offer.c.followed_up_at.is_not(None),
    "won": and_(_ACCEPTED, _WON),
}
"""What became of an offer, by what a list of leads is asked for."""


def _leads(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(distinct(case((condition, offer.c.lead_id))))


def count_answering_people(tx: Transaction, since: datetime) -> int:
    """Return how many people clicked or replied since *since*."""
    query = select(func.count(distinct(signal.c.lead_id))).where(IS_ANSWER, signal.c.occurred_at >= since)
    return tx.execute(query).scalar_one()


def count_handed_off(tx: Transaction, since: date) -> int:
    """Return how many leads were handed off since *since*."""
    query = select(func.coalesce(func.sum(daily_count.c.n), 0))
    return int(tx.execute(query.where(daily_count.c.day >= since, daily_count.c.measure == "hand_off")).scalar_one())


def count_stages(tx: Transaction, since: datetime, reps: Collection[str] | None = None) -> StageCounts:
    """Return the stages that the leads offered since *since* have reached; with *reps* those offered to them."""
    columns = (_leads(OFFERS[name]) for name in StageCounts._fields)
    to_them = () if reps is None else (offer.c.rep.in_(sorted(reps)),)
    return StageCounts._make(tx.execute(select(*columns).where(offer.c.offered_at >= since, *to_them)).one())


def count_by_rep(tx: Transaction, since: datetime) -> Mapping[str, RepCounts]:
    """Return the offers made since *since*, by rep."""
    counts = (func.sum(case((OFFERS[name], 1), else_=0), type_=Integer()) for name in RepCounts._fields[1:])
    query = select(offer.c.rep, *counts).where(offer.c.offered_at >= since).group_by(offer.c.rep)
    return {row[0]: RepCounts(row[0], *map(int, row[1:])) for row in tx.execute(query)}


def list_answer_seconds(tx: Transaction, since: datetime) -> list[tuple[str, int]]:
    """Return (rep, seconds until the answer) of the offers made since *since* that a rep answered."""
    seconds = cast(epoch(tx, offer.c.answered_at) - epoch(tx, offer.c.offered_at), Integer)
    was_answered = (offer.c.answered_at.is_not(None), offer.c.state.in_(("accepted", "rejected", "lapsed")))
    query = select(offer.c.rep, seconds).where(offer.c.offered_at >= since, *was_answered)
    return [(rep, int(took)) for rep, took in tx.execute(query)]


def list_open(
    tx: Transaction, limit: int, *, account: int | None = None, reps: Collection[str] | None = None
) -> list[OpenHandoff]:
    """Return open hand-offs by deadline: of a company, of some reps, or all."""
    waits = and_(offer.c.state == "accepted", offer.c.followed_up_at.is_(None), offer.c.ended_at.is_(None))
    with_rep = and_(waits, custody.c.kind == Custodian.REP.value, custody.c.ref == offer.c.rep)
    is_offered = and_(IS_OPEN, custody.c.kind == Custodian.OFFER.value)
    due_at = case((offer.c.state == "offered", offer.c.expires_at), else_=custody.c.due_at)
    query = (
        select(*row_columns(OpenHandoff, offer, lead, custody, offer_id=offer.c.id, lead_id=lead.c.id, due_at=due_at))
        .select_from(custody)
        .join(lead, lead.c.id == custody.c.lead_id)
        .join(offer, offer.c.lead_id == custody.c.lead_id)
        .where(
            custody.c.kind.in_((Custodian.OFFER.value, Custodian.REP.value)),
            custody.c.due_at.is_not(None),
            or_(is_offered, with_rep),
        )
        .order_by(due_at, offer.c.id)
        .limit(limit)
    )
    if account is not None:
        query = query.join(lead_account, lead_account.c.lead_id == lead.c.id)
        query = query.where(lead_account.c.account_id == account)
    if reps is not None:
        query = query.where(offer.c.rep.in_(sorted(reps)))
    return [OpenHandoff._make(row) for row in tx.execute(query)]
