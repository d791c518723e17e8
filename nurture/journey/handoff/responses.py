"""What a rep answers to an offer: accept or reject."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from sqlalchemy import Connection

from nurture.domain.consent.suppression import Source
from nurture.domain.lead import Custodian, Timeline
from nurture.domain.policy.policy import Policy, RejectReason
from nurture.errors import NotFound, Refused
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.handoff import queries
from nurture.journey.handoff.escalation import told, until_followed_up
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.handoff.recycle import recycle_all
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import Mover
from nurture.runtime.context import House


def accept(house: House, offer_id: int, now: datetime) -> OfferRow:
    """Pass ownership to the rep: the track ends. Raises NotFound, or Refused if already answered."""
    with house.database.write() as connection:
        one, lead, mover = open_offer(house, connection, offer_id, now)
        queries.answer(house.database, connection, [(offer_id, "accepted", None)], now)
        mover.end_stay(lead, "accepted", "handed_off")
        action, due = _follow_up(house, mover.book.policy, one, now)
        moved = mover.keep(lead, Custodian.REP, one.rep, action, due)
        mover.note(lead, "accepted", f"{one.rep} accepted: {one.because}", moved, ref=one.rep)
        mover.changes.write(house.database, connection, now)
    return one


def _follow_up(house: House, policy: Policy, one: OfferRow, now: datetime) -> tuple[str, datetime]:
    """Return what the rep is to do, and when somebody looks whether it was done."""
    ladder = until_followed_up(policy, house.holidays, one._replace(answered_at=now))
    if not ladder:
        return f"{one.rep} follows up", now + policy.follow_up_within
    return f"{one.rep} follows up; else {told(policy, one.rep, ladder[0])}", ladder[0].at


def reject(
    house: House, offer_id: int, reason: str, now: datetime, decides_on: date | None = None
) -> OfferRow:
    """Take the lead back and recycle it as the policy says for *reason*.

    *decides_on* is a date that the rep learned; it wakes the lead then. Raises NotFound, or Refused for an
    unknown reason or an offer that was answered already.
    """
    with house.database.write() as connection:
        one, lead, mover = open_offer(house, connection, offer_id, now)
        meaning = _meaning(mover.book.policy, reason)
        queries.answer(house.database, connection, [(offer_id, "rejected", reason)], now)
        if decides_on is not None:
            lead = _deciding(lead, decides_on, now)
        recycle_all(house, connection, mover, [(lead, meaning)], f"{one.rep} rejected: {meaning.code}")
        if meaning.suppress and lead.address_id is not None:
            suppression.opt_out(house.database, connection, [OptOut(lead.address_id, Source.ADMIN)], now)
        mover.changes.write(house.database, connection, now)
        if decides_on is not None:
            leads_queries.state_timeline(connection, one.lead_id, decides_on, now)
    return one


def _deciding(lead: Claimed, decides_on: date, now: datetime) -> Claimed:
    about = replace(lead.view.lead, timeline=Timeline(decides_on, now))
    return replace(lead, view=replace(lead.view, lead=about))


def _meaning(policy: Policy, reason: str) -> RejectReason:
    meaning = policy.reject_reasons.get(reason)
    if meaning is None:
        known = ", ".join(sorted(policy.reject_reasons))
        raise Refused(f"The policy knows no reject reason {reason!r}. Choose one of: {known}.")
    return meaning


def open_offer(
    house: House, connection: Connection, offer_id: int, now: datetime
) -> tuple[OfferRow, Claimed, Mover]:
    """Lock the lead of an offer that nobody has answered yet. Raises NotFound or Refused."""
    one = queries.find(house.database, connection, [offer_id]).get(offer_id)
    if one is None:
        raise NotFound(f"There is no hand-off {offer_id}. `nurture handoffs list` lists them.")
    book = house.rulebooks.current(connection)
    rows = snapshot.these(house.database, connection, [one.lead_id])
    one = queries.find(house.database, connection, [offer_id])[offer_id]
    if one.state != "offered":
        when = f" on {one.answered_at:%Y-%m-%d}" if one.answered_at else ""
        verb = "had" if one.state in ("expired", "lapsed") else "was"
        raise Refused(f"Hand-off {offer_id} {verb} already {one.state}{when}; nothing was changed.")
    claimed = snapshot.views(house.database, connection, rows, now, house.holidays)
    return one, claimed[0], Mover(book, now, "hand off")
