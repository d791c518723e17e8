"""Read the lists of a rep's workspace, one statement each, however many leads there are."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Integer, and_, case, func, literal, or_, select, text

from nurture.db.row_values import row_columns
from nurture.db.tables.handoff import IS_OPEN, offer, offer_rating
from nurture.db.tables.leads import address, custody, lead
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.domain.policy.business_hours import EscalationLevel

MAX_PAST: Final = 1_000
"""Among how many of a rep's newest offers former leads are looked for, however many there ever were."""


class OpenOffer(NamedTuple):
    """An offer that waits for its rep's answer."""

    offer_id: int
    lead_id: int
    fields: dict[str, Any]
    rule: str
    handoff_reason: str
    priority: float
    offered_at: datetime
    expires_at: datetime
    hot: bool


class AcceptedLead(NamedTuple):
    """A lead that the rep accepted; *useful* is the rep's vote, None if there is none."""

    lead_id: int
    fields: dict[str, Any]
    email: str | None
    since: datetime
    next_action: str
    due_at: datetime | None
    offer_id: int | None
    followed_up_at: datetime | None
    useful: bool | None
    hot: bool | None
    priority: float | None
    asked_at: datetime | None
    next_step_on: date | None


class FormerLead(NamedTuple):
    """A lead that the rep was offered, or had, and does not have any more."""

    lead_id: int
    fields: dict[str, Any]
    kind: str
    ref: str
    next_action: str
    due_at: datetime | None
    paused_until: datetime | None
    paused_by: str | None
    call_on: date | None
    state: str
    reason: str | None
    answered_at: datetime | None


def load_open_offers(tx: Transaction, rep: str, limit: int) -> list[OpenOffer]:
    """Return the rep's open offers: hot ones first, then by deadline and priority."""
    query = (
        select(*row_columns(OpenOffer, offer, lead, offer_id=offer.c.id))
        .join(lead, lead.c.id == offer.c.lead_id)
        .where(IS_OPEN, offer.c.rep.concat("") == rep)  # keeps SQLite off the index by rep, which has every old offer
        .order_by(offer.c.hot.desc(), offer.c.expires_at, offer.c.priority.desc(), offer.c.id)
        .limit(limit)
    )
    return [OpenOffer._make(row) for row in tx.execute(query)]


def load_accepted_leads(tx: Transaction, rep: str, limit: int) -> list[AcceptedLead]:
    """Return the leads that the rep has, by follow-up date."""
    older = offer.alias("older")
    accepted = (
        select(func.max(older.c.id))
        .where(older.c.lead_id == custody.c.lead_id, older.c.rep == rep, older.c.state == "accepted")
        .scalar_subquery()
    )
    query = (
        select(*row_columns(AcceptedLead, custody, lead, address, offer, offer_rating, offer_id=offer.c.id))
        .join(lead, lead.c.id == custody.c.lead_id)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .outerjoin(offer, offer.c.id == accepted)
        .outerjoin(offer_rating, offer_rating.c.offer_id == offer.c.id)
        .where(custody.c.kind == Custodian.REP.value, custody.c.ref == rep, custody.c.due_at.is_not(None))
        .order_by(custody.c.due_at, custody.c.lead_id)
        .limit(limit)
    )
    return [AcceptedLead._make(row) for row in tx.execute(query)]


def load_former_leads(tx: Transaction, rep: str, limit: int) -> list[FormerLead]:
    """Return leads of the rep's newest MAX_PAST offers whom the rep does not have now, the newest first."""
    newest = select(offer.c.id, offer.c.lead_id, offer.c.state).where(offer.c.rep == rep)
    recent = newest.order_by(offer.c.offered_at.desc(), offer.c.id.desc()).limit(MAX_PAST).subquery()
    ended = recent.c.state.in_(("rejected", "expired", "accepted", "lapsed"))
    last = select(func.max(recent.c.id).label("id")).where(ended).group_by(recent.c.lead_id).subquery()
    mine = and_(custody.c.kind == Custodian.REP.value, custody.c.ref == rep)
    on_track = case((custody.c.kind == Custodian.TRACK.value, 0), else_=1)
    query = (
        select(*row_columns(FormerLead, custody, lead, offer))
        .select_from(last)
        .join(offer, offer.c.id == last.c.id)
        .join(custody, custody.c.lead_id == offer.c.lead_id)
        .join(lead, lead.c.id == offer.c.lead_id)
        .where(~mine)
        .order_by(on_track, offer.c.answered_at.desc(), offer.c.id.desc())
        .limit(limit)
    )
    return [FormerLead._make(row) for row in tx.execute(query)]


def was_ever_offered(tx: Transaction, rep: str, lead_id: int) -> bool:
    """Return whether the lead was ever offered to the rep."""
    query = select(literal(1)).where(offer.c.rep == rep, offer.c.lead_id == lead_id).limit(1)
    return tx.execute(query).scalar() is not None


def record_vote(tx: Transaction, offer_id: int, rep: str, now: datetime, *, useful: bool) -> None:
    """Store whether a lead was useful; the last vote counts."""
    tx.execute(offer_rating.delete().where(offer_rating.c.offer_id == offer_id))
    tx.insert(offer_rating, ("offer_id", "rep", "useful", "rated_at"), [(offer_id, rep, useful, now)])


class TeamOffer(NamedTuple):
    """A hand-off that a rep of a team was offered, or has."""

    offer_id: int
    lead_id: int
    rep: str
    state: str
    fields: dict[str, Any]
    due_at: datetime | None
    hot: bool
    stage: str | None
    followed_up_at: datetime | None
    asked_at: datetime | None
    escalation_level: int


def load_team_offers(tx: Transaction, reps: Sequence[str], limit: int) -> list[TeamOffer]:
    """Return what these reps were offered or have, by deadline."""
    is_held = or_(
        and_(custody.c.kind == Custodian.OFFER.value, offer.c.state == "offered"),
        and_(custody.c.kind == Custodian.REP.value, offer.c.state == "accepted", custody.c.ref == offer.c.rep),
    )
    due_at = case((offer.c.state == "offered", offer.c.expires_at), else_=custody.c.due_at)
    query = (
        select(*row_columns(TeamOffer, custody, lead, offer, due_at=due_at, lead_id=lead.c.id, offer_id=offer.c.id))
        .join(custody, custody.c.lead_id == offer.c.lead_id)
        .join(lead, lead.c.id == offer.c.lead_id)
        .where(offer.c.rep.in_(reps), is_held)
        .order_by(due_at, offer.c.id)
        .limit(limit)
    )
    return [TeamOffer._make(row) for row in tx.execute(query)]


class RepWorkload(NamedTuple):
    """A rep's workload: offers to answer, those that were escalated, and leads whose first contact is late.

    *working* are leads that the rep was in touch with, *silent* those of them about which the rep was asked.
    """

    open: int
    overdue: int
    to_follow_up: int
    working: int
    silent: int


NO_WORKLOAD = RepWorkload(0, 0, 0, 0, 0)


def load_workloads(tx: Transaction, now: datetime) -> dict[str, RepWorkload]:
    """Return the workload of each rep that has any."""
    is_overdue = or_(offer.c.expires_at <= now, offer.c.escalation_level >= EscalationLevel.ESCALATED)
    of_offers = (
        select(func.min(offer.c.rep), func.count(), _count_where(is_overdue))
        .where(IS_OPEN)
        .group_by(offer.c.rep + text("''"))  # else SQLite reads all offers, in the order of their reps
    )
    is_reminded = offer.c.followed_up_at.is_(None) & (offer.c.escalation_level >= EscalationLevel.FOLLOW_UP_REMINDED)
    has = (offer.c.lead_id == custody.c.lead_id) & (offer.c.rep == custody.c.ref) & (offer.c.state == "accepted")
    of_leads = (
        select(custody.c.ref, func.count())
        .select_from(custody.outerjoin(offer, has & offer.c.ended_at.is_(None)))
        .where(custody.c.kind == Custodian.REP.value, or_(custody.c.due_at <= now, is_reminded))
        .group_by(custody.c.ref)
    )
    in_work = (
        select(offer.c.rep, func.count(), _count_where(offer.c.asked_at.is_not(None)))
        .join(custody, and_(custody.c.lead_id + text("0") == offer.c.lead_id, custody.c.ref == offer.c.rep))
        .where(
            custody.c.kind == Custodian.REP.value,
            custody.c.due_at.is_not(None),
            offer.c.state == "accepted",
            offer.c.ended_at.is_(None),
            offer.c.followed_up_at.is_not(None),
        )
        .group_by(offer.c.rep)
    )
    answers = {rep: (waiting, late) for rep, waiting, late in tx.execute(of_offers)}
    due = {row[0]: row[1] for row in tx.execute(of_leads)}
    working = {rep: (count, silent) for rep, count, silent in tx.execute(in_work)}
    reps = answers.keys() | due.keys() | working.keys()
    none = (0, 0)
    return {rep: RepWorkload(*answers.get(rep, none), due.get(rep, 0), *working.get(rep, none)) for rep in reps}


def _count_where(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0), type_=Integer())
