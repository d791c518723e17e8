"""Read and write hand-offs: offers, answers, follow-ups, escalation levels."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Integer, Select, String, case, func, literal, select, update

from nurture.db.row_values import column_types
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import custody, journal
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.lead import Custodian
from nurture.domain.policy.business_hours import EscalationLevel
from nurture.journey.leads.changeset import OfferRow
from nurture.journey.leads.custody import bring_forward, lock_leads
from nurture.journey.routing.queries import IN_HAND
from nurture.outbox import crm_records

_ENDED_STATES: Final = ("rejected", "expired", "lapsed", "reassigned")


class PastOffer(NamedTuple):
    """A rep who had a lead before, and how that ended."""

    lead_id: int
    rep: str
    state: str
    reason: str | None
    offered_at: datetime


def _select_offers() -> Select[tuple[object, ...]]:
    return select(*[offer.c[name] for name in OfferRow._fields])


def load_offers(tx: Transaction, ids: Sequence[int]) -> dict[int, OfferRow]:
    """Return these offers by id."""
    chosen = tx.ids("chosen", list(set(ids)))
    rows = tx.execute(_select_offers().join(chosen, chosen.c.id == offer.c.id))
    return {row.id: row for row in map(OfferRow._make, rows)}


def load_open_offers(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, OfferRow]:
    """Return the open offer of each lead that has one, by lead id."""
    chosen = tx.ids("chosen", list(set(lead_ids)))
    rows = tx.execute(_select_offers().join(chosen, chosen.c.id == offer.c.lead_id).where(offer.c.state == "offered"))
    return {row.lead_id: row for row in map(OfferRow._make, rows)}


def load_past_offers(tx: Transaction, lead_ids: Sequence[int]) -> Mapping[int, list[PastOffer]]:
    """Return the ended offers of each lead, the oldest first."""
    chosen = tx.ids("chosen", lead_ids)
    query = (
        select(*[offer.c[name] for name in PastOffer._fields])
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(offer.c.state.in_(_ENDED_STATES))
        .order_by(offer.c.id)
    )
    found: dict[int, list[PastOffer]] = defaultdict(list)
    for one in map(PastOffer._make, tx.execute(query)):
        found[one.lead_id].append(one)
    return found


def load_excluded_reps(tx: Transaction, lead_ids: Sequence[int]) -> Mapping[int, set[str]]:
    """Return the reps who rejected each lead, let it expire, or lost it by reassignment."""
    return {lead_id: {one.rep for one in past} for lead_id, past in load_past_offers(tx, lead_ids).items()}


def load_accepted_offers(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, OfferRow]:
    """Return the newest accepted offer of each lead, by lead id."""
    chosen = tx.ids("chosen", list(set(lead_ids)))
    rows = tx.execute(
        _select_offers()
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(offer.c.state == "accepted")
        .order_by(offer.c.id)
    )
    return {row.lead_id: row for row in map(OfferRow._make, rows)}


def raise_escalation_levels(tx: Transaction, levels: Sequence[tuple[int, int]], now: datetime) -> None:
    """Store (offer id, level): how far offers have been escalated, and when reps were asked how it stands."""
    if levels:
        raised = tx.rows("raised", {"id": BigInteger(), "escalation_level": Integer()}, levels)
        above = update(offer).where(offer.c.id == raised.c.id, offer.c.escalation_level < raised.c.escalation_level)
        asked = raised.c.escalation_level == EscalationLevel.NEXT_TOUCH_ASKED
        asked_at = case((asked, literal(now, UtcDateTime())), else_=offer.c.asked_at)
        tx.execute(above.values(escalation_level=raised.c.escalation_level, asked_at=asked_at))


def schedule_checks(
    tx: Transaction, reps: Collection[str], at: datetime, *, others: bool = False, in_work: bool = False
) -> None:
    """Make the leads of these reps (*others*: of all other reps) due no later than *at*, *in_work*: also contacted."""
    matching = offer.c.rep.not_in(reps) if others else offer.c.rep.in_(reps)
    ids = tx.execute(select(offer.c.lead_id).where(*IN_HAND[: 1 if in_work else None], matching)).scalars().all()
    if not ids:
        return
    lock_leads(tx, ids)
    bring_forward(tx, at, custody.c.kind.in_((Custodian.OFFER.value, Custodian.REP.value)), ids)


def end_accepted_offers(tx: Transaction, ended: Sequence[tuple[int, str, str]], now: datetime) -> None:
    """Store (offer id, state, reason) of accepted offers that end."""
    tx.update_by_id(offer, ("state", "reason"), ended, offer.c.state == "accepted", ended_at=now)


class Contact(NamedTuple):
    """A contact of an accepted offer's rep with the lead, and what was agreed; see `Offer`."""

    offer_id: int
    method: str
    at: datetime
    next_step_on: date | None
    stage: str | None


def record_contacts(tx: Transaction, contacts: Sequence[Contact], now: datetime) -> None:
    """Store contacts: the first one counts as the follow-up, and each begins the time to the next one anew."""
    if not contacts:
        return
    types = column_types(offer, ("id", "follow_up_method", "touched_at", "next_step_on", "stage"))
    new = tx.rows("new", types, contacts)
    calm = offer.c.escalation_level >= EscalationLevel.NEXT_TOUCH_ASKED
    values = {
        "followed_up_at": func.coalesce(offer.c.followed_up_at, literal(now, UtcDateTime())),
        "follow_up_method": func.coalesce(offer.c.follow_up_method, new.c.follow_up_method),
        "touched_at": new.c.touched_at,
        "next_step_on": new.c.next_step_on,
        "stage": func.coalesce(new.c.stage, offer.c.stage),
        "asked_at": None,
        "escalation_level": case((calm, EscalationLevel.FOLLOW_UP_ESCALATED), else_=offer.c.escalation_level),
    }
    tx.execute(update(offer).where(offer.c.id == new.c.id, offer.c.state == "accepted").values(values))


def record_follow_ups(tx: Transaction, contacts: Sequence[tuple[int, str]], now: datetime) -> set[int]:
    """Record the first contact (lead id, method) for accepted leads; return the leads that had none."""
    if not contacts:
        return set()
    contact_rows = tx.rows("contacts", {"id": BigInteger(), "method": String()}, contacts)
    first = (
        update(offer)
        .where(offer.c.lead_id == contact_rows.c.id, offer.c.state == "accepted", offer.c.followed_up_at.is_(None))
        .values(followed_up_at=now, follow_up_method=contact_rows.c.method)
        .returning(offer.c.lead_id)
    )
    return set(tx.execute(first).scalars())


def end_closed_offers(tx: Transaction, lead_ids: Collection[int], now: datetime) -> None:
    """Note that the conversation about accepted offers of these leads, which are closed, has ended."""
    if lead_ids:
        chosen = tx.ids("chosen", sorted(lead_ids))
        closed = update(offer).where(offer.c.lead_id == chosen.c.id, offer.c.state == "accepted")
        tx.execute(closed.where(offer.c.ended_at.is_(None)).values(ended_at=now))


def load_handoff_reasons(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Return (rule, reason) of each lead's newest hand-off decision."""
    chosen = tx.ids("chosen", lead_ids)
    newest = (
        select(func.max(journal.c.id).label("id"))
        .join(chosen, chosen.c.id == journal.c.lead_id)
        .where(journal.c.event == "hand_off")
        .group_by(journal.c.lead_id)
        .subquery()
    )
    query = select(journal.c.lead_id, journal.c.ref, journal.c.reason).join(newest, newest.c.id == journal.c.id)
    return {lead_id: (rule or "", reason) for lead_id, rule, reason in tx.execute(query)}


def record_answers(tx: Transaction, answers: Sequence[tuple[int, str, str | None]], now: datetime) -> set[int]:
    """Store (offer id, state, reason) for offers that are still open; return the ids of those."""
    if not answers:
        return set()
    answered_rows = tx.rows("answered", {"id": BigInteger(), "state": String(), "reason": String()}, answers)
    answered = set(
        tx.execute(
            update(offer)
            .where(offer.c.id == answered_rows.c.id, offer.c.state == "offered")
            .values(state=answered_rows.c.state, answered_at=now, reason=answered_rows.c.reason)
            .returning(offer.c.id)
        ).scalars()
    )
    crm_records.set_target_states(tx, [(id_, state) for id_, state, _ in answers if id_ in answered], now)
    return answered


def save_note(tx: Transaction, offer_id: int, note: str) -> None:
    """Store what a rep wrote on giving the lead back."""
    tx.execute(update(offer).where(offer.c.id == offer_id).values(note=note))


def withdraw_offers(tx: Transaction, lead_ids: Sequence[int], reason: str | None, now: datetime) -> None:
    """End the open offers of these leads, which are about to be closed."""
    opened = load_open_offers(tx, lead_ids).values()
    record_answers(tx, [(one.id, "withdrawn", reason) for one in opened], now)


def count_by_policy(tx: Transaction) -> dict[int, int]:
    """Return the number of hand-offs by policy version."""
    query = select(offer.c.policy_version, func.count()).group_by(offer.c.policy_version)
    return {row[0]: row[1] for row in tx.execute(query)}
