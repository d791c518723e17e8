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
from nurture.domain.address import mark_of, normalise_address
from nurture.errors import Refused
from nurture.journey.engagement import inbound_mail_queries
from nurture.journey.engagement.inbound_mail_queries import Came, SetAside, Waiting
from nurture.mail.inbound.classify import Reply
from nurture.mail.inbound.raw_mail import RawMail
from nurture.mail.inbound.reader import Unread
from nurture.runtime.context import House
from nurture.runtime.public_links import REPLY, digest

AT_ONCE: Final = 20
"""Mails that are stored, or read, in one transaction."""

MOST_WAITING: Final = 256 * 1024 * 1024
"""Bytes of all mails that wait to be read."""

KEPT_FOR: Final = timedelta(days=30)
"""How long a mail is kept that could not be read."""

_log: Final = logging.getLogger(__name__)


class InboxFull(Refused):
    """Too many mails wait to be read: nothing was stored. `nurture run` or the web server reads them."""


def receive(
    house: House, connection: Connection, source: str, mails: Sequence[RawMail], now: datetime
) -> int:
    """Store those of the mails that may concern us; return how many. Raises InboxFull."""
    read = [one.mentions() for one in mails]
    digests = {token: digest(token) for one in read for token in one.tokens}
    senders = {one.sender: normalise_address(one.sender) for one in read if one.sender}
    database = house.database
    salt = clock_row.salt_in(connection)
    marks = {sender: mark_of(sender, salt) for sender in senders.values()}
    named = {*senders.values(), *marks.values()}
    known = inbound_mail_queries.known(database, connection, digests.values(), named, REPLY)
    ours = f".{house.origin}@" if house.origin else None
    came = []
    for raw, said in zip(mails, read, strict=True):
        leads = [known[digests[token]] for token in said.tokens if digests[token] in known]
        sender = senders.get(said.sender, "")
        if not leads and marks.get(sender) in known:  # who was erased: nothing is stored of them
            continue
        if leads or sender in known or (ours is not None and ours in said.references):
            came.append(Came(source, now, leads[0] if leads else None, sender, raw.pack()))
    if came and inbound_mail_queries.waiting_bytes(connection) > MOST_WAITING:
        raise InboxFull(
            "Too many mails wait to be read: nothing was stored. The next round of `nurture run` reads them."
        )
    inbound_mail_queries.store(connection, came)
    return len(came)


def claim(house: House, now: datetime) -> list[Waiting]:
    """Return the mails to be read next, [] if none waits; the attempt is noted."""
    database = house.database
    with database.read() as connection:
        if inbound_mail_queries.is_idle(connection):
            return []
    with database.write() as connection:
        inbound_mail_queries.expire(connection, now - KEPT_FOR)
        return inbound_mail_queries.claim(database, connection, now, AT_ONCE)


def read(house: House, mails: Sequence[Waiting], today: date) -> tuple[dict[int, Reply], dict[int, str]]:
    """Read mails, each within its limits; return what they are, and why others could not be read."""
    replies: dict[int, Reply] = {}
    faults: dict[int, str] = {}
    for one in mails:
        try:
            replies[one.id] = house.mail_reader.read(RawMail.unpack(one.body), today)
        except Unread as error:
            faults[one.id] = str(error)
    return replies, faults


def settle(house: House, mails: Sequence[Waiting], faults: Mapping[int, str]) -> None:
    """Delete the mails of which everything was made; try the others again, or set them aside."""
    last = {one.id for one in mails if one.attempts + 1 >= inbound_mail_queries.MOST_ATTEMPTS}
    aside = {id_: why for id_, why in faults.items() if id_ in last}
    database = house.database
    with database.write() as connection:
        inbound_mail_queries.finish(database, connection, {one.id for one in mails} - faults.keys())
        inbound_mail_queries.let_go(database, connection, faults.keys() - last, counted=True)
        inbound_mail_queries.set_aside(database, connection, aside)
    for id_, why in aside.items():
        _log.error("mail_set_aside", extra={"mail": id_, "why": why})


def give_back(house: House, mails: Sequence[Waiting]) -> None:
    """Let mails wait as before: what went wrong was no fault of theirs."""
    with house.database.write() as connection:
        inbound_mail_queries.let_go(house.database, connection, {one.id for one in mails}, counted=False)


def list_set_aside(house: House, limit: int) -> list[SetAside]:
    """Return the mails that could not be read, the newest first."""
    with house.database.read() as connection:
        return inbound_mail_queries.list_set_aside(connection, limit)


def retry(house: House) -> int:
    """Let every mail that was set aside wait to be read again; return how many."""
    with house.database.write() as connection:
        return inbound_mail_queries.retry(connection)
