"""Replies: the messages they answer, their texts, and mailbox cursors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    String,
    and_,
    func,
    or_,
    select,
    update,
)

from nurture.db.row_values import row_columns
from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import handoff as handoff_tables
from nurture.db.tables import inbound as inbound_tables
from nurture.db.tables import leads as lead_tables
from nurture.db.tables import links as link_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.lead import PAUSED_BY_OUT_OF_OFFICE

reply = table(inbound_tables.Reply)
inbox = table(inbound_tables.MailboxCursor)
token = table(link_tables.LinkToken)
message = table(delivery_tables.Message)
custody = table(lead_tables.Custody)
offer = table(handoff_tables.Offer)
lead = table(lead_tables.Lead)
address = table(lead_tables.Address)


class RepliedMessage(NamedTuple):
    """The message that a reply answers, and its lead. *address* is the lead's current email address."""

    digest: str
    lead_id: int
    message_id: int | None
    enrollment_id: int | None
    track: str | None
    step: str | None
    planned_at: datetime | None
    address: str | None
    zone: str
    send_key: str | None


class InboundReply(NamedTuple):
    """A reply as it is stored."""

    natural_key: str
    lead_id: int
    message_id: int | None
    kind: str
    received_at: datetime
    sent_at: datetime
    sender: str
    text: str
    returns_on: date | None
    attachments: int


class ReplyText(NamedTuple):
    """The text of a reply by a lead, or by somebody else on its behalf."""

    lead_id: int
    kind: str
    received_at: datetime
    sender: str
    text: str
    attachments: int


class ForwardableReply(NamedTuple):
    """A reply whose lead is with a rep, or offered to one by *offer_id*."""

    reply_id: int
    lead_id: int
    rep: str
    offer_id: int | None


class ReplyRecord(NamedTuple):
    """A stored reply, with rep and state of the message that forwards it; None if there is none."""

    id: int
    kind: str
    received_at: datetime
    sender: str
    text: str
    returns_on: date | None
    attachments: int
    rep: str | None
    forward_state: str | None


class MailboxCursor(NamedTuple):
    """The last message read of a mailbox."""

    uid_validity: int
    last_uid: int


_ID, _TEXT, _TIME = BigInteger(), String(), UtcDateTime()


def find_replied_messages(tx: Transaction, digests: Collection[str], purpose: str) -> dict[str, RepliedMessage]:
    """Return the messages that replies answer, by token digest."""
    if not digests:
        return {}
    requested = tx.rows("requested", {"digest": _TEXT}, [(one,) for one in sorted(digests)])
    statement = (
        select(
            *row_columns(RepliedMessage, message, token, lead, lead_id=token.c.lead_id, address=address.c.normalized)
        )
        .join(requested, requested.c.digest == token.c.digest)
        .join(lead, lead.c.id == token.c.lead_id)
        .outerjoin(message, message.c.id == token.c.message_id)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .where(token.c.purpose == purpose)
    )
    return {row[0]: RepliedMessage._make(row) for row in tx.execute(statement)}


def find_existing_keys(tx: Transaction, keys: Collection[str]) -> set[str]:
    """Return the natural keys that are already stored."""
    if not keys:
        return set()
    requested = tx.rows("requested", {"natural_key": _TEXT}, [(key,) for key in sorted(keys)])
    statement = select(reply.c.natural_key).join(requested, requested.c.natural_key == reply.c.natural_key)
    return set(tx.execute(statement).scalars())


def insert_replies(tx: Transaction, rows: Sequence[InboundReply]) -> int:
    """Insert replies, each natural key once; return how many were new."""
    return tx.insert(reply, InboundReply._fields, rows, unique_columns=["natural_key"])


def begin_absences(tx: Transaction, rows: Sequence[tuple[int, datetime, datetime]], now: datetime) -> set[int]:
    """Pause leads that are out of office; *rows* are (lead id, until, stated at). Return the leads that changed.

    A longer absence is kept, and so is a pause that a person asked for.
    """
    if not rows:
        return set()
    paused = tx.rows("paused", {"id": _ID, "until": _TIME, "at": _TIME}, rows)
    shorter = and_(lead.c.paused_by == PAUSED_BY_OUT_OF_OFFICE, lead.c.paused_until < paused.c.until)
    no_pause = or_(lead.c.paused_until.is_(None), lead.c.paused_until <= now)
    statement = (
        update(lead)
        .where(lead.c.id == paused.c.id, or_(no_pause, shorter))
        .values(paused_until=paused.c.until, paused_at=paused.c.at, paused_by=PAUSED_BY_OUT_OF_OFFICE, updated_at=now)
        .returning(lead.c.id)
    )
    return set(tx.execute(statement).scalars())


def end_absences(tx: Transaction, rows: Sequence[tuple[int, datetime]], now: datetime) -> set[int]:
    """End absences of leads that replied later; *rows* are (lead id, replied at). Return the leads that changed."""
    if not rows:
        return set()
    returned = tx.rows("returned", {"id": _ID, "at": _TIME}, rows)
    statement = (
        update(lead)
        .where(
            lead.c.id == returned.c.id, lead.c.paused_by == PAUSED_BY_OUT_OF_OFFICE, lead.c.paused_at <= returned.c.at
        )
        .values(paused_until=None, paused_at=None, paused_by=None, updated_at=now)
        .returning(lead.c.id)
    )
    return set(tx.execute(statement).scalars())


def load_latest_replies(
    tx: Transaction, lead_ids: Collection[int], kinds: Collection[str], limit: int
) -> dict[int, list[ReplyText]]:
    """Return the newest *limit* texts of each lead, newest first."""
    if not lead_ids:
        return {}
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    row_number = func.row_number().over(
        partition_by=reply.c.lead_id, order_by=(reply.c.received_at.desc(), reply.c.id.desc())
    )
    numbered = (
        select(
            reply.c.lead_id,
            reply.c.kind,
            reply.c.received_at,
            reply.c.sender,
            reply.c.text,
            reply.c.attachments,
            row_number.label("row_number"),
        )
        .join(chosen, chosen.c.id == reply.c.lead_id)
        .where(reply.c.kind.in_(sorted(kinds)))
        .subquery()
    )
    statement = select(*list(numbered.c)[:-1]).where(numbered.c.row_number <= limit).order_by(numbered.c.row_number)
    found: dict[int, list[ReplyText]] = defaultdict(list)
    for row in tx.execute(statement):
        found[row[0]].append(ReplyText._make(row))
    return found


def find_leads(tx: Transaction, keys: Collection[str]) -> list[int]:
    """Return the leads of the replies with these natural keys."""
    requested = tx.rows("requested", {"natural_key": _TEXT}, [(key,) for key in sorted(keys)])
    statement = select(reply.c.lead_id).join(requested, requested.c.natural_key == reply.c.natural_key)
    return list(tx.execute(statement).scalars())


def find_forwardable(tx: Transaction, keys: Collection[str]) -> list[ForwardableReply]:
    """Return those of the replies with these natural keys that are to be forwarded to a rep.

    Replies of an offer whose brief is still planned are left out: the brief will show them.
    """
    requested = tx.rows("requested", {"natural_key": _TEXT}, [(key,) for key in sorted(keys)])
    brief = message.alias("brief")
    statement = (
        select(reply.c.id, reply.c.lead_id, func.coalesce(offer.c.rep, custody.c.ref), offer.c.id)
        .join(requested, requested.c.natural_key == reply.c.natural_key)
        .join(custody, custody.c.lead_id == reply.c.lead_id)
        .outerjoin(
            offer, (offer.c.lead_id == reply.c.lead_id) & (offer.c.state == "offered") & (custody.c.kind == "offer")
        )
        .outerjoin(brief, (brief.c.offer_id == offer.c.id) & (brief.c.kind == "brief") & (brief.c.state == "planned"))
        .where(or_(custody.c.kind == "rep", offer.c.id.is_not(None)), brief.c.id.is_(None))
        .order_by(reply.c.id)
    )
    return [ForwardableReply._make(row) for row in tx.execute(statement)]


def load_replies(tx: Transaction, ids: Collection[int]) -> dict[int, ReplyText]:
    """Return the texts of these replies, by reply id."""
    chosen = tx.ids("chosen", sorted(set(ids)))
    columns = (reply.c.id, *(reply.c[name] for name in ReplyText._fields))
    found = tx.execute(select(*columns).join(chosen, chosen.c.id == reply.c.id))
    return {row[0]: ReplyText._make(row[1:]) for row in found}


def list_replies(tx: Transaction, lead_id: int, limit: int) -> list[ReplyRecord]:
    """Return the replies of a lead, newest first."""
    statement = (
        select(*(reply.c[name] for name in ReplyRecord._fields[:-2]), message.c.rep, message.c.state)
        .outerjoin(message, message.c.reply_id == reply.c.id)
        .where(reply.c.lead_id == lead_id)
        .order_by(reply.c.received_at.desc(), reply.c.id.desc())
        .limit(limit)
    )
    return [ReplyRecord._make(row) for row in tx.execute(statement)]


def load_cursor(tx: Transaction, name: str) -> MailboxCursor | None:
    """Return the cursor of a mailbox, None if it was never read."""
    row = tx.execute(select(inbox.c.uid_validity, inbox.c.last_uid).where(inbox.c.name == name)).one_or_none()
    return MailboxCursor._make(row) if row is not None else None


def save_cursor(tx: Transaction, name: str, cursor: MailboxCursor, now: datetime) -> None:
    """Save the cursor of a mailbox. It moves backward only if the mailbox was renumbered (UIDVALIDITY changed)."""
    values = {"uid_validity": cursor.uid_validity, "last_uid": cursor.last_uid, "read_at": now}
    tx.insert(inbox, ("name", *values), [(name, *values.values())], ignore_conflicts=True)
    older = or_(inbox.c.uid_validity != cursor.uid_validity, inbox.c.last_uid < cursor.last_uid)
    tx.execute(update(inbox).where(inbox.c.name == name, older).values(**values))
