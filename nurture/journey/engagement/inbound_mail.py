"""Store inbound mail, and parse it with limits on time and memory in a separate process.

Mail is parsed only if its headers contain one of our tokens or references, or a known address; all other mail is
counted and skipped. A mail stays stored until it is parsed. Each attempt is counted beforehand, so that a mail that
kills its reader is tried twice, alone, and then set aside.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Final

from nurture.db import clock_row
from nurture.db.transaction import Transaction
from nurture.domain.address import erasure_hash, normalize_address
from nurture.errors import InvalidState
from nurture.journey.engagement import inbound_mail_queries
from nurture.journey.engagement.inbound_mail_queries import ClaimedMail, FailedMail, NewMail
from nurture.mail.inbound.classify import ClassifiedMail
from nurture.mail.inbound.raw_mail import RawMail
from nurture.mail.inbound.reader import UnreadableMail
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import REPLY, token_digests

BATCH_SIZE: Final = 20
"""Mails stored or parsed per transaction."""

MAX_PENDING_BYTES: Final = 256 * 1024 * 1024
"""Limit on the bytes of all mail pending."""

RETENTION: Final = timedelta(days=30)
"""How long a mail that could not be parsed is kept."""

_log: Final = logging.getLogger(__name__)


class InboxFull(InvalidState):
    """Too many mails are pending: nothing was stored. `nurture run` or the web server processes them."""


def store_relevant(ctx: AppContext, tx: Transaction, source: str, mails: Sequence[RawMail], now: datetime) -> int:
    """Store the mails that may concern us; return how many. Raises InboxFull."""
    mentions = [one.routing_hints() for one in mails]
    digests = {token: token_digests(token, REPLY) for one in mentions for token in one.tokens}
    senders = {one.sender: normalize_address(one.sender) for one in mentions if one.sender}
    salt = clock_row.read_salt(tx)
    erased_hashes = {sender: erasure_hash(sender, salt) for sender in senders.values()}
    addresses = {*senders.values(), *erased_hashes.values()}
    known = inbound_mail_queries.match_known(tx, set(chain.from_iterable(digests.values())), addresses, REPLY)
    own_domain = f".{ctx.installation_id}@" if ctx.installation_id else None
    relevant = []
    for raw, mention in zip(mails, mentions, strict=True):
        leads = [known[one] for token in mention.tokens for one in digests[token] if one in known]
        sender = senders.get(mention.sender, "")
        if not leads and erased_hashes.get(sender) in known:  # erased leads: nothing of them is stored
            continue
        if leads or sender in known or (own_domain is not None and own_domain in mention.references):
            relevant.append(NewMail(source, now, leads[0] if leads else None, sender, raw.pack()))
    if relevant and inbound_mail_queries.count_pending_bytes(tx) > MAX_PENDING_BYTES:
        raise InboxFull("Too many mails are pending: nothing was stored. The next `nurture run` processes them.")
    inbound_mail_queries.store(tx, relevant)
    return len(relevant)


def claim(ctx: AppContext, now: datetime) -> list[ClaimedMail]:
    """Claim the next mails to parse, [] if none is pending; counts the attempt."""
    database = ctx.database
    with database.read() as tx:
        if inbound_mail_queries.is_idle(tx):
            return []
    with database.write() as tx:
        inbound_mail_queries.delete_expired(tx, now - RETENTION)
        return inbound_mail_queries.claim(tx, now, BATCH_SIZE)


def read(
    ctx: AppContext, mails: Sequence[ClaimedMail], today: date
) -> tuple[dict[int, ClassifiedMail], dict[int, str]]:
    """Parse mails within limits; return the results, and the problems of those that could not be parsed."""
    replies: dict[int, ClassifiedMail] = {}
    problems: dict[int, str] = {}
    for one in mails:
        try:
            replies[one.id] = ctx.mail_reader.read(RawMail.unpack(one.body), today)
        except UnreadableMail as error:
            problems[one.id] = str(error)
    return replies, problems


def finish(ctx: AppContext, mails: Sequence[ClaimedMail], problems: Mapping[int, str]) -> None:
    """Delete processed mails; retry the others, or set them aside."""
    exhausted = {one.id for one in mails if one.attempts + 1 >= inbound_mail_queries.MAX_ATTEMPTS}
    failed = {id_: reason for id_, reason in problems.items() if id_ in exhausted}
    with ctx.database.write() as tx:
        inbound_mail_queries.delete_finished(tx, {one.id for one in mails} - problems.keys())
        inbound_mail_queries.release(tx, problems.keys() - exhausted, count_attempt=True)
        inbound_mail_queries.mark_failed(tx, failed)
    for id_, reason in failed.items():
        _log.error("inbound_mail_failed", extra={"mail_id": id_, "reason": reason})


def release(ctx: AppContext, mails: Sequence[ClaimedMail]) -> None:
    """Return mails to pending without counting the attempt: the failure was not theirs."""
    with ctx.database.write() as tx:
        inbound_mail_queries.release(tx, {one.id for one in mails}, count_attempt=False)


def list_failed(ctx: AppContext, limit: int) -> list[FailedMail]:
    """Return the mails that could not be parsed, the newest first."""
    with ctx.database.read() as tx:
        return inbound_mail_queries.list_failed(tx, limit)


def retry_failed(ctx: AppContext) -> int:
    """Return all mails that were set aside to pending; return how many."""
    with ctx.database.write() as tx:
        return inbound_mail_queries.retry_failed(tx)
