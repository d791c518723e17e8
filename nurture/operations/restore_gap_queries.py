"""The gap between a backup and its restore: messages due in it are presumed sent, then become unknown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import case, literal, or_, select, text, update

from nurture.db.rollups import SentChange, count_sent
from nurture.db.row_values import column_types
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import custody, journal
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, Queue
from nurture.journey.leads import signal_queries
from nurture.journey.leads.custody import lock_leads
from nurture.outbox.messages import PRESUMED_SENT, TO_LEAD

_WAITING_STATES: Final = ("planned", "claimed")
_EXTERNALLY_KNOWN_TABLES: Final = ("lead", "enrollment", "offer")
_ID_LEAP: Final = 1_000_000
_CALLED_STATES: Final = ("sending", "unknown")
_MAY_HAVE_BEEN_SENT: Final = "the database was restored; this message was due after its backup and may have been sent"


def leap_ids_after_restore(tx: Transaction) -> None:
    """Skip ids that leads, enrollments and hand-offs may have had in the gap.

    Providers and CRMs refer to them by id: an event about a row of the gap must not match a new row.
    """
    for name in _EXTERNALLY_KNOWN_TABLES:
        if tx.is_sqlite:
            newest = text("SELECT max(seq) FROM sqlite_sequence WHERE name = :name")
            reached = tx.execute(newest, {"name": name}).scalar() or 0
            tx.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
            onward = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)")
            tx.execute(onward, {"name": name, "seq": reached + _ID_LEAP})
        else:
            onward = text("SELECT setval(s, nextval(s) + :leap) FROM pg_get_serial_sequence(:name, 'id') AS s")
            tx.execute(onward, {"name": name, "leap": _ID_LEAP})


def find_last_move(tx: Transaction) -> datetime | None:
    """Return when a lead last advanced on its track, None if never; the gap begins no later."""
    query = select(journal.c.at).where(journal.c.stage == "advance").order_by(journal.c.id.desc()).limit(1)
    found: datetime | None = tx.execute(query).scalar()
    return found


def mark_as_sent(tx: Transaction, at: datetime, limit: int) -> int:
    """Presume at most *limit* touches due by *at* to be sent at their time; return how many.

    Includes touches that were `sending` or `unknown` in the backup: they were resolved in the gap. They become
    `accepted`, so that the planner continues behind them; `mark_unknown` changes that at the end.
    """
    is_waiting = message.c.state.in_(_WAITING_STATES) & (message.c.send_at <= at)
    was_called = message.c.state.in_(_CALLED_STATES) & (message.c.state_at <= at)
    due = select(message.c.id, message.c.lead_id).where(message.c.recipient == TO_LEAD, or_(is_waiting, was_called))
    rows = tx.execute(due.order_by(message.c.id).limit(limit)).all()
    if not rows:
        return 0
    lock_leads(tx, sorted({row.lead_id for row in rows}))
    chosen = tx.ids("chosen", [row.id for row in rows])
    statement = update(message).where(
        message.c.id == chosen.c.id, message.c.state.in_((*_WAITING_STATES, *_CALLED_STATES))
    )
    presumed_at = case((message.c.state.in_(_CALLED_STATES), message.c.state_at), else_=message.c.send_at)
    sent = tx.execute(
        statement.values(
            state="accepted",
            state_at=presumed_at,
            accepted_at=presumed_at,
            provider=PRESUMED_SENT,
            reason=_MAY_HAVE_BEEN_SENT,
            lease_token=None,
            lease_until=None,
        ).returning(message.c.id, message.c.accepted_at)
    ).all()
    count_sent(tx, [SentChange(id_, accepted_at, 1) for id_, accepted_at in sent])
    signal_queries.make_due(tx, [row.lead_id for row in rows], at)
    return len(rows)


def mark_unknown(tx: Transaction) -> int:
    """Set the messages that `mark_as_sent` accepted to `unknown`; return how many."""
    counted = (message.c.state == "accepted") & (message.c.provider == PRESUMED_SENT)
    sent = tx.execute(select(message.c.id, message.c.accepted_at).where(counted)).all()
    count_sent(tx, [SentChange(id_, accepted_at, -1) for id_, accepted_at in sent])
    statement = update(message).where(counted)
    return tx.execute(statement.values(state="unknown", accepted_at=None)).rowcount


def list_handed_off(tx: Transaction) -> list[int]:
    """Return the leads that are offered to a rep or wait for one: their briefs may have been sent in the gap."""
    waits = (custody.c.kind == Custodian.QUEUE.value) & (custody.c.ref == Queue.HAND_OFF.value)
    query = select(custody.c.lead_id).where(or_(custody.c.kind == Custodian.OFFER.value, waits))
    return list(tx.execute(query.order_by(custody.c.lead_id)).scalars())


def renew_offers(tx: Transaction, offers: Sequence[tuple[int, datetime]], now: datetime) -> None:
    """Restart each (offer id, new expiry) at *now*, and send the briefs and notices again."""
    if not offers:
        return
    renewed = tx.rows("renewed", column_types(offer, ("id", "expires_at")), offers)
    statement = update(offer).where(offer.c.id == renewed.c.id, offer.c.state == "offered")
    tx.execute(statement.values(offered_at=now, expires_at=renewed.c.expires_at, escalation_level=0))
    briefs = update(message).where(message.c.offer_id == renewed.c.id, message.c.kind != "sla")
    tx.execute(
        briefs.values(
            state="planned",
            state_at=now,
            send_at=now,
            expires_at=renewed.c.expires_at,
            accepted_at=None,
            claimed_at=None,
            lease_token=None,
            lease_until=None,
            reason="offered again after a restore, as a manager chose",
            held_by=None,
        )
    )


def mark_sales_mail_unknown(tx: Transaction) -> int:
    """Set waiting messages to sales to `unknown`; return how many."""
    is_waiting = (message.c.state.in_(_WAITING_STATES)) & (message.c.recipient != TO_LEAD)
    statement = update(message).where(is_waiting)
    return tx.execute(
        statement.values(
            state="unknown",
            state_at=message.c.send_at,
            provider=literal(PRESUMED_SENT),
            reason=_MAY_HAVE_BEEN_SENT,
            lease_token=None,
            lease_until=None,
        )
    ).rowcount
