"""Hand leads to sales: offer, accept, reject, expire, recycle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from nurture.domain.lead import Custodian, Queue
from nurture.domain.policy import Policy, RejectReason, Resume
from nurture.domain.routing import Load, choose
from nurture.domain.track import ToQueue
from nurture.errors import NotFound, Refused
from nurture.store import leads, offers, views
from nurture.store.changes import Intended, Offered
from nurture.store.offers import OfferRow
from nurture.store.views import Claimed

from . import enrol
from .house import House
from .moves import LOOK_AGAIN_AFTER, Mover
from .unnamed import unnamed

BRIEF_EXPIRES_AFTER: Final = timedelta(days=30)


def hand_off(house: House, now: datetime) -> Counter[str]:
    """Offer waiting leads to reps with room, and take back what nobody answered in time."""
    events: Counter[str] = Counter()
    for sweep in (expire_batch, offer_batch, remind_batch):
        while True:
            done = sweep(house, now, house.batch)
            events += done
            if done.total() < house.batch:
                break
    return events


def offer_batch(house: House, now: datetime, limit: int) -> Counter[str]:
    """Offer at most *limit* leads of the hand-off queue, those that waited longest first."""
    database = house.database
    with database.write() as connection:
        rows = views.claim_due(database, connection, [Custodian.QUEUE], now, limit, ref=Queue.HAND_OFF)
        if not rows:
            return Counter()
        book = house.rulebooks.current(connection)
        mover = Mover(book, now, "hand off")
        claimed = views.views(database, connection, rows, now, house.holidays)
        ids = [row.lead_id for row in rows]
        began = datetime(now.year, now.month, now.day, tzinfo=UTC)
        loads = offers.loads(connection, [rep.id for rep in book.policy.reps], began)
        refused = offers.refused_by(database, connection, ids)
        whys = offers.whys(database, connection, ids)
        numbers = database.reserve_ids(connection, "offer", len(ids))
        events: Counter[str] = Counter()
        for lead, number in zip(claimed, numbers, strict=True):
            lead_id = lead.view.lead.id
            chosen = choose(book.policy.reps, loads, refused.get(lead_id, ()))
            rule, because = whys.get(lead_id, ("", "handed off"))
            if chosen is None:
                events[_wait(lead, mover, refused.get(lead_id, set()), began)] += 1
                continue
            load = loads[chosen.rep.id]
            loads[chosen.rep.id] = Load(load.today + 1, number)
            until = now + book.policy.accept_within
            offered = Offered(
                number,
                lead_id,
                lead.view.enrollment.id if lead.view.enrollment else None,
                chosen.rep.id,
                rule,
                because,
                chosen.because,
                book.policy.version,
                "offered",
                now,
                until,
            )
            mover.changes.offered.append(offered)
            mover.changes.intended.append(_brief(offered, now))
            moved = mover.keep(lead, Custodian.OFFER, str(number), f"{chosen.rep.id} answers", until)
            mover.note(lead, "offered", f"{because}; {chosen.because}", moved, ref=str(number))
            events["offered"] += 1
        mover.changes.write(database, connection, now)
    return events


def _wait(lead: Claimed, mover: Mover, refused: Collection[str], began: datetime) -> str:
    """Keep a lead in the queue until reps have room again; one that all of them gave back needs a person."""
    if all(rep.id in refused for rep in mover.book.policy.reps):
        mover.send_to(lead, ToQueue(Queue.NO_REP), "every rep gave it back or let it expire", event="moved")
        return "no rep left"
    because = "no rep has room today"
    mover.keep(lead, Custodian.QUEUE, Queue.HAND_OFF, because, began + timedelta(days=1))
    mover.note(lead, "held", because, None)
    return "waiting"


def _brief(offered: Offered, now: datetime) -> Intended:
    return Intended(
        send_key=f"brief:{offered.id}",
        kind="brief",
        lead_id=offered.lead_id,
        enrollment_id=offered.enrollment_id,
        offer_id=offered.id,
        track=None,
        track_version=None,
        step="",
        visit=1,
        email="brief",
        rep=offered.rep,
        planned_at=now,
        send_at=now,
        expires_at=now + BRIEF_EXPIRES_AFTER,
        state="planned",
        state_at=now,
    )


def expire_batch(house: House, now: datetime, limit: int) -> Counter[str]:
    """Take back at most *limit* offers that nobody answered in time."""
    database = house.database
    with database.write() as connection:
        rows = views.claim_due(database, connection, [Custodian.OFFER], now, limit)
        if not rows:
            return Counter()
        book = house.rulebooks.current(connection)
        mover = Mover(book, now, "hand off")
        claimed = views.views(database, connection, rows, now, house.holidays)
        opened = offers.open_of(database, connection, [row.lead_id for row in rows])
        offers.answer(database, connection, [(one.id, "expired", None) for one in opened.values()], now)
        _recycle_all(house, connection, mover, [(lead, book.policy.on_expiry) for lead in claimed], "expired")
        mover.changes.write(database, connection, now)
    return Counter({"expired": len(rows)})


def remind_batch(house: House, now: datetime, limit: int) -> Counter[str]:
    """Bring at most *limit* leads to attention that wait for a person: a rep's, and those in queues."""
    database = house.database
    with database.write() as connection:
        kinds = [Custodian.REP, Custodian.QUEUE]
        rows = views.claim_due(database, connection, kinds, now, limit, without_ref=Queue.HAND_OFF)
        if not rows:
            return Counter()
        mover = Mover(house.rulebooks.current(connection), now, "hand off")
        for lead in views.views(database, connection, rows, now, house.holidays):
            _remind(lead, mover)
        mover.changes.write(database, connection, now)
    return Counter({"reminded": len(rows)})


def _remind(lead: Claimed, mover: Mover) -> None:
    """Say that somebody is waited for, and look again later; a lead without a track gets another try."""
    if lead.view.custodian is Custodian.QUEUE and lead.ref == Queue.NO_TRACK:
        moved = mover.keep(lead, Custodian.INTAKE, "return", "classify", mover.now)
        mover.note(lead, "returned", "the rules may have a track for it by now", moved, ref="return")
        return
    waits = "follow up" if lead.view.custodian is Custodian.REP else "look at it"
    because = f"{lead.ref} was to {waits} by now"
    mover.keep(lead, lead.view.custodian, lead.ref, f"{waits}: overdue", mover.now + LOOK_AGAIN_AFTER)
    mover.note(lead, "reminder", because, None, ref=lead.ref)


def accept(house: House, offer_id: int, now: datetime) -> OfferRow:
    """Pass ownership to the rep: the track ends. Raises NotFound, or Refused if already answered."""
    with house.database.write() as connection:
        one, lead, mover = _open(house, connection, offer_id, now)
        offers.answer(house.database, connection, [(offer_id, "accepted", None)], now)
        mover.end_stay(lead, "accepted", "handed_off")
        due = now + mover.book.policy.follow_up_within
        moved = mover.keep(lead, Custodian.REP, one.rep, f"{one.rep} follows up", due)
        mover.note(lead, "accepted", f"{one.rep} accepted: {one.because}", moved, ref=one.rep)
        mover.changes.write(house.database, connection, now)
    return one


def reject(
    house: House, offer_id: int, reason: str, now: datetime, decides_on: date | None = None
) -> OfferRow:
    """Take the lead back and recycle it as the policy says for *reason*.

    *decides_on* is a date that the rep learned; it wakes the lead then. Raises NotFound, or Refused for an
    unknown reason or an offer that was answered already.
    """
    with house.database.write() as connection:
        one, lead, mover = _open(house, connection, offer_id, now)
        meaning = _meaning(mover.book.policy, reason)
        offers.answer(house.database, connection, [(offer_id, "rejected", reason)], now)
        _recycle_all(house, connection, mover, [(lead, meaning)], f"{one.rep} rejected: {meaning.code}")
        mover.changes.write(house.database, connection, now)
        if decides_on is not None:
            leads.state_timeline(connection, one.lead_id, decides_on, now)
    return one


def _meaning(policy: Policy, reason: str) -> RejectReason:
    meaning = policy.reject_reasons.get(reason)
    if meaning is None:
        known = ", ".join(sorted(policy.reject_reasons))
        raise Refused(f"The policy knows no reject reason {reason!r}. Choose one of: {known}.")
    return meaning


def _open(
    house: House, connection: Connection, offer_id: int, now: datetime
) -> tuple[OfferRow, Claimed, Mover]:
    one = offers.find(house.database, connection, [offer_id]).get(offer_id)
    if one is None:
        raise NotFound(f"There is no hand-off {offer_id}. `nurture handoffs` lists them.")
    book = house.rulebooks.current(connection)
    rows = views.these(house.database, connection, [one.lead_id])
    one = offers.find(house.database, connection, [offer_id])[offer_id]
    if one.state != "offered":
        when = f" on {one.answered_at:%Y-%m-%d}" if one.answered_at else ""
        raise Refused(f"Hand-off {offer_id} was already {one.state}{when}; nothing was changed.")
    claimed = views.views(house.database, connection, rows, now, house.holidays)
    return one, claimed[0], Mover(book, now, "hand off")


def _recycle_all(
    house: House,
    connection: Connection,
    mover: Mover,
    taken: list[tuple[Claimed, RejectReason]],
    because: str,
) -> None:
    """Bring leads back from sales. Their evidence is spent: only what they do from now on counts."""
    leads.spend_evidence(house.database, connection, [lead.view.lead.id for lead, _ in taken], mover.now)
    for lead, meaning in taken:
        until = mover.now + meaning.cool_off if meaning.cool_off else None
        why = f"{because} ({meaning.label})"
        if not isinstance(meaning.then, Resume):
            mover.send_to(lead, meaning.then, why, event="recycled", peace_until=until)
        elif lead.view.enrollment is not None:
            if until is not None:
                mover.leave_in_peace(lead, until)
            due = until or mover.now
            moved = mover.keep(lead, Custodian.TRACK, lead.view.enrollment.track, "the track goes on", due)
            mover.note(lead, "resumed", why, moved, ref=lead.view.enrollment.track)
        else:
            _place(lead, mover, why, until)


def _place(lead: Claimed, mover: Mover, why: str, until: datetime | None) -> None:
    """Enrol a lead that was on no track; if the rules fail on it, a person looks at it."""
    try:
        enrol.place(lead, mover, why, event="recycled", peace_until=until)
    except Exception as error:  # noqa: BLE001 - recorded in the lead's journal
        failed = f"{why}; {unnamed(error, lead.view.lead.facts)}"
        mover.send_to(lead, ToQueue(Queue.NO_TRACK), failed, event="recycled")
