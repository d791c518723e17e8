"""Store the mails that come in, and read them within bounds, apart from everybody else.

A mail is read only if a token or a reference of ours, or an address that we know, stands in its headers; all
other mail is counted and passed over. What is stored stays until it is read: an attempt is noted before it is
made, so that a mail which ends whoever reads it is tried twice, one at a time, and then set aside.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from nurture.db import clock_row
from nurture.domain.address import erasure_hash, normalize_address
from nurture.errors import InvalidState
from nurture.journey.engagement import inbound_mail_queries
from nurture.journey.engagement.inbound_mail_queries import ClaimedMail, FailedMail, NewMail
from nurture.mail.inbound.classify import ClassifiedMail
from nurture.mail.inbound.raw_mail import RawMail
from nurture.mail.inbound.reader import UnreadableMail
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import REPLY, digest

BATCH_SIZE: Final = 20
"""Mails that are stored, or read, in one transaction."""

MAX_PENDING_BYTES: Final = 256 * 1024 * 1024
"""Bytes of all mails that wait to be read."""

RETENTION: Final = timedelta(days=30)
"""How long a mail is kept that could not be read."""

_log: Final = logging.getLogger(__name__)


class InboxFull(InvalidState):
    """Too many mails wait to be read: nothing was stored. `nurture run` or the web server reads them."""


def store_relevant(
    ctx: AppContext, connection: Connection, source: str, mails: Sequence[RawMail], now: datetime
) -> int:
    """Store those of the mails that may concern us; return how many. Raises InboxFull."""
    mentions = [one.routing_hints() for one in mails]
    digests = {token: digest(token) for one in mentions for token in one.tokens}
    senders = {one.sender: normalize_address(one.sender) for one in mentions if one.sender}
    database = ctx.database
    salt = clock_row.read_salt(connection)
    erased_hashes = {sender: erasure_hash(sender, salt) for sender in senders.values()}
    addresses = {*senders.values(), *erased_hashes.values()}
    known = inbound_mail_queries.match_known(database, connection, digests.values(), addresses, REPLY)
    own_domain = f".{ctx.installation_id}@" if ctx.installation_id else None
    relevant = []
    for raw, mention in zip(mails, mentions, strict=True):
        leads = [known[digests[token]] for token in mention.tokens if digests[token] in known]
        sender = senders.get(mention.sender, "")
        if not leads and erased_hashes.get(sender) in known:  # who was erased: nothing is stored of them
            continue
        if leads or sender in known or (own_domain is not None and own_domain in mention.references):
            relevant.append(NewMail(source, now, leads[0] if leads else None, sender, raw.pack()))
    if relevant and inbound_mail_queries.count_pending_bytes(connection) > MAX_PENDING_BYTES:
        raise InboxFull(
            "Too many mails wait to be read: nothing was stored. The next round of `nurture run` reads them."
        )
    inbound_mail_queries.store(connection, relevant)
    return len(relevant)


def claim(ctx: AppContext, now: datetime) -> list[ClaimedMail]:
    """Return the mails to be read next, [] if none waits; the attempt is noted."""
    database = ctx.database
    with database.read() as connection:
        if inbound_mail_queries.is_idle(connection):
            return []
    with database.write() as connection:
        inbound_mail_queries.delete_expired(connection, now - RETENTION)
        return inbound_mail_queries.claim(database, connection, now, BATCH_SIZE)


def read(
    ctx: AppContext, mails: Sequence[ClaimedMail], today: date
) -> tuple[dict[int, ClassifiedMail], dict[int, str]]:
    """Read mails, each within its limits; return what they are, and why others could not be read."""
    replies: dict[int, ClassifiedMail] = {}
    problems: dict[int, str] = {}
    for one in mails:
        try:
            replies[one.id] = ctx.mail_reader.read(RawMail.unpack(one.body), today)
        except UnreadableMail as error:
            problems[one.id] = str(error)
    return replies, problems


def finish(ctx: AppContext, mails: Sequence[ClaimedMail], problems: Mapping[int, str]) -> None:
    """Delete the mails of which everything was made; try the others again, or set them aside."""
    exhausted = {one.id for one in mails if one.attempts + 1 >= inbound_mail_queries.MAX_ATTEMPTS}
    failed = {id_: reason for id_, reason in problems.items() if id_ in exhausted}
    database = ctx.database
    with database.write() as connection:
        inbound_mail_queries.delete_finished(database, connection, {one.id for one in mails} - problems.keys())
        inbound_mail_queries.release(database, connection, problems.keys() - exhausted, count_attempt=True)
        inbound_mail_queries.mark_failed(database, connection, failed)
    for id_, reason in failed.items():
        _log.error("inbound_mail_failed", extra={"mail_id": id_, "reason": reason})


def release(ctx: AppContext, mails: Sequence[ClaimedMail]) -> None:
    """Let mails wait as before: what went wrong was no fault of theirs."""
    with ctx.database.write() as connection:
        inbound_mail_queries.release(ctx.database, connection, {one.id for one in mails}, count_attempt=False)


def list_failed(ctx: AppContext, limit: int) -> list[FailedMail]:
    """Return the mails that could not be read, the newest first."""
    with ctx.database.read() as connection:
        return inbound_mail_queries.list_failed(connection, limit)


def retry_failed(ctx: AppContext) -> int:
    """Let every mail that was set aside wait to be read again; return how many."""
    with ctx.database.write() as connection:
        return inbound_mail_queries.retry_failed(connection)
