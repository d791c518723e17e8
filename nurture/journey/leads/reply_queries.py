"""Replies: the messages they answer, their texts, and mailbox cursors."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, String, and_, func, null, or_, select, union_all, update

from nurture.db.row_values import row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.inbound import mailbox_cursor as inbox
from nurture.db.tables.inbound import reply
from nurture.db.tables.leads import address as addresses
from nurture.db.tables.leads import custody, lead
from nurture.db.tables.links import link_token as token
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.lead import PAUSED_BY_REPLY
from nurture.domain.replies import ReplyClass


class RepliedMessage(NamedTuple):
    """The message that a reply answers, and its lead. *address* is the lead's current email address.

    *recipient* is to whom the message was sent, None if it no longer exists.
    """

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
    recipient: str | None
    accepted_at: datetime | None


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
    evidence: str
    contact: str
    returns_on: date | None
    meets_at: datetime | None
    attachments: Sequence[str]


class ForwardableReply(NamedTuple):
    """A reply whose lead is with a rep, or offered to one by *offer_id*."""

    reply_id: int
    lead_id: int
    rep: str
    offer_id: int | None


class ReplyRecord(NamedTuple):
    """A stored reply by a lead, or by somebody else on its behalf.

    *rep* and *forward_state* are those of the message that forwards it; None if there is none, or it was not asked for.
    """

    lead_id: int
    id: int
    kind: str
    received_at: datetime
    sender: str
    text: str
    evidence: str
    contact: str
    returns_on: date | None
    meets_at: datetime | None
    attachments: Sequence[str]
    rep: str | None
    forward_state: str | None


REPLY_COLUMNS: Final = row_columns(ReplyRecord, reply, rep=null(), forward_state=null())
"""The columns of a reply without the message that forwards it."""


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
    of_tokens = (
        select(token.c.digest, token.c.lead_id, token.c.message_id)
        .join(requested, requested.c.digest == token.c.digest)
        .where(token.c.purpose == purpose)
    )
    of_messages = select(message.c.link_digest, message.c.lead_id, message.c.id.label("message_id")).join(
        requested, requested.c.digest == message.c.link_digest
    )
    link = union_all(of_tokens, of_messages).subquery("link")
    ids = {"lead_id": link.c.lead_id, "message_id": link.c.message_id}
    statement = (
        select(*row_columns(RepliedMessage, message, link, lead, address=addresses.c.normalized, **ids))
        .select_from(link)
        .join(lead, lead.c.id == link.c.lead_id)
        .outerjoin(message, message.c.id == link.c.message_id)
        .outerjoin(addresses, addresses.c.id == lead.c.address_id)
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


def begin_pauses(tx: Transaction, rows: Sequence[tuple[int, datetime, datetime, str]], now: datetime) -> set[int]:
    """Pause leads by their replies; *rows* are (lead id, until, stated at, by). Return the leads that changed.

    A longer pause of this kind is kept, and so is one that a person asked for elsewhere.
    """
    if not rows:
        return set()
    paused = tx.rows("paused", {"id": _ID, "until": _TIME, "at": _TIME, "by": _TEXT}, rows)
    shorter = and_(lead.c.paused_by.in_(PAUSED_BY_REPLY), lead.c.paused_until < paused.c.until)
    no_pause = or_(lead.c.paused_until.is_(None), lead.c.paused_until <= now)
    statement = (
        update(lead)
        .where(lead.c.id == paused.c.id, or_(no_pause, shorter))
        .values(paused_until=paused.c.until, paused_at=paused.c.at, paused_by=paused.c.by, updated_at=now)
        .returning(lead.c.id)
    )
    return set(tx.execute(statement).scalars())


def end_pauses(tx: Transaction, rows: Sequence[tuple[int, datetime]], now: datetime) -> set[int]:
    """End pauses by replies of leads that wrote later; *rows* are (lead id, written at). Return those that changed."""
    if not rows:
        return set()
    returned = tx.rows("returned", {"id": _ID, "at": _TIME}, rows)
    statement = (
        update(lead)
        .where(lead.c.id == returned.c.id, lead.c.paused_by.in_(PAUSED_BY_REPLY), lead.c.paused_at <= returned.c.at)
        .values(paused_until=None, paused_at=None, paused_by=None, updated_at=now)
        .returning(lead.c.id)
    )
    return set(tx.execute(statement).scalars())


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


def find_erasure_requests(tx: Transaction) -> list[int]:
    """Return the leads that asked to be erased by a reply and are not; erasing a lead deletes its replies."""
    wanted = select(reply.c.lead_id).where(reply.c.kind == ReplyClass.ERASURE_REQUEST.value).distinct()
    return list(tx.execute(wanted.order_by(reply.c.lead_id)).scalars())


def load_replies(tx: Transaction, ids: Collection[int]) -> dict[int, ReplyRecord]:
    """Return these replies, by reply id."""
    chosen = tx.ids("chosen", sorted(set(ids)))
    found = tx.execute(select(*REPLY_COLUMNS).join(chosen, chosen.c.id == reply.c.id))
    return {row.id: ReplyRecord._make(row) for row in found}


def list_replies(tx: Transaction, lead_id: int, limit: int) -> list[ReplyRecord]:
    """Return the replies of a lead, newest first."""
    statement = (
        select(*row_columns(ReplyRecord, reply, rep=message.c.rep, forward_state=message.c.state))
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
