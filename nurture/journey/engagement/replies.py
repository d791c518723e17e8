"""Hear what people answer: a person's reply, "stop", an absence that names its end, a mailbox that is none.

What is kept and what follows commit before the mail counts as heard, and each may happen again: a reply
counts once by its Message-ID and the mail of ours that it answers.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Final, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from nurture.db.locks import Lock, acquire
from nurture.domain.address import normalise_address
from nurture.domain.consent.suppression import Source
from nurture.domain.delivery.delivery_status import News
from nurture.domain.planning import calendar
from nurture.domain.signals import SignalKind, SignalVerdict
from nurture.errors import NurtureError
from nurture.journey.engagement import inbound_mail, message_status, provider_event_queries
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.engagement.inbound_mail import AT_ONCE, InboxFull
from nurture.journey.engagement.inbound_mail_queries import Waiting
from nurture.journey.engagement.provider_events import POISON
from nurture.journey.handoff import reply_forwarding
from nurture.journey.leads import changeset, reply_queries, signal_queries, snapshot
from nurture.journey.leads.reply_queries import Answered, Came, Mark, Written
from nurture.journey.leads.signal_queries import Recorded
from nurture.journey.leads.transitions import Mover
from nurture.mail.inbound.classify import Kind, Reply, read_reply
from nurture.mail.inbound.imap import Folder, InboxUnusable
from nurture.mail.inbound.message import Incoming
from nurture.mail.inbound.raw_mail import RawMail
from nurture.runtime.context import House
from nurture.runtime.public_links import REPLY, digest

DOOR: Final = "report"
"""Who tells of a message, where it is a delivery report among the answers."""

_MOST_AWAY: Final = timedelta(days=400)
_BY_ANOTHER: Final = "by somebody else"
_SIGNALS: Final = {
    Kind.REPLY: SignalKind.REPLIED,
    Kind.OPT_OUT: SignalKind.UNSUBSCRIBED,
    Kind.AWAY: SignalKind.AUTO_REPLIED,
    Kind.AUTOMATIC: SignalKind.AUTO_REPLIED,
    Kind.BOUNCE: SignalKind.BOUNCED,
}
_WORDED: Final = frozenset({Kind.REPLY, Kind.OPT_OUT, Kind.AWAY})

_log: Final = logging.getLogger(__name__)


class Taken(NamedTuple):
    """What came of mails: how many there were, how many answer mail of ours, how many of those were new."""

    mails: int = 0
    ours: int = 0
    new: int = 0

    def plus(self, other: Taken) -> Taken:
        """Add two up."""
        return Taken(self.mails + other.mails, self.ours + other.ours, self.new + other.new)


class _Heard(NamedTuple):
    key: str
    reply: Reply
    to: Answered
    at: datetime


def take(house: House, mails: Sequence[Incoming], now: datetime) -> Taken:
    """Read mails here, where they can be trusted, and `apply` them. Those of strangers go to `receive`."""
    return apply(house, [read_reply(mail, now.date()) for mail in mails], now)


def apply(house: House, read: Sequence[Reply], now: datetime) -> Taken:
    """Keep what mails say and let it have its effects; what answers no mail of ours is passed over."""
    with house.database.write() as connection:
        if any(reply.report is not None for reply in read):
            acquire(house.database, connection, Lock.EVENTS)
        heard = _ours(house, connection, read, now)
        living = changeset.hold_living(house.database, connection, [one.to.lead_id for one in heard])
        heard = [one for one in heard if one.to.lead_id in living]
        known = reply_queries.known(house.database, connection, [one.key for one in heard])
        new = [one for one in heard if one.key not in known]
        reply_queries.keep(house.database, connection, [_kept(one, now) for one in new])
        answers = [one.key for one in new if one.reply.kind is Kind.REPLY]
        reply_forwarding.plan(house, connection, answers, now)
        _settle(house, connection, new, now)
        _leave_in_peace(house, connection, new, now)
    said = [_recorded(one, now) for one in heard if _is_said(one)]
    if said:  # also those that are known: whoever kept them may have died before this
        engagement_signals.record(house, said, now)
    return Taken(len(read), len(heard), len(new))


def list_replies(house: House, lead_id: int, limit: int) -> list[Written]:
    """Return what was answered to a lead's mail, the newest first."""
    with house.database.read() as connection:
        return reply_queries.listing(connection, lead_id, limit)


def receive(house: House, source: str, mails: Sequence[RawMail], now: datetime) -> int:
    """Store those of the mails that may concern us; return how many. Raises InboxFull."""
    with house.database.write() as connection:
        return inbound_mail.receive(house, connection, source, mails, now)


def poll(house: House, now: datetime) -> Taken:
    """Store what is new in the mailbox for replies, if there is one, and read all mail that is stored.

    Nothing in the mailbox is changed. One that cannot be read is a warning in the log: it must not stop what
    else is to be heard.
    """
    total = Taken()
    if house.inbox is not None:
        try:
            with house.inbox.opened() as folder:
                for came in _fetched(house, house.inbox.name, folder, now):
                    total = total.plus(Taken(came)).plus(read_waiting(house, now))
        except (InboxUnusable, InboxFull) as error:
            _log.warning("inbox_unusable", extra={"why": str(error)})
    return total.plus(read_waiting(house, now))


def _fetched(house: House, name: str, folder: Folder, now: datetime) -> Iterator[int]:
    """Store the mails of a folder, batch by batch, each with the mark behind it; yield how many came."""
    with house.database.read() as connection:
        mark = reply_queries.mark_of(connection, name)
    last = mark.last_uid if mark is not None and mark.uid_validity == folder.uid_validity else 0
    for batch in _batches(folder.newer_than(last)):
        mails = [mail for _, mail in folder.fetch(batch)]
        with house.database.write() as connection:
            inbound_mail.receive(house, connection, "imap", mails, now)
            reached = Mark(folder.uid_validity, batch[-1])
            reply_queries.set_mark(house.database, connection, name, reached, now)
        yield len(mails)


def read_waiting(house: House, now: datetime, batches: int | None = None) -> Taken:
    """Read the mails that wait and let them have their effects; at most so many *batches*, all for None.

    A batch that fails is tried again one by one, and set aside what fails alone.
    """
    total = Taken()
    for _ in count() if batches is None else range(batches):
        mails = inbound_mail.claim(house, now)
        if not mails:
            break
        total = total.plus(_read(house, mails, now)._replace(mails=0))
    return total


def _read(house: House, mails: Sequence[Waiting], now: datetime) -> Taken:
    read, faults = inbound_mail.read(house, mails, now.date())
    taken = Taken()
    try:
        taken = apply(house, list(read.values()), now)
    except POISON as error:
        faults |= dict.fromkeys(read, type(error).__name__)  # its words may hold what was in the mail
    except Exception:
        with suppress(NurtureError, DBAPIError):
            inbound_mail.give_back(house, mails)
        raise
    inbound_mail.settle(house, mails, faults)
    return taken


def _batches(uids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), AT_ONCE):
        yield uids[start : start + AT_ONCE]


def _ours(house: House, connection: Connection, read: Sequence[Reply], now: datetime) -> list[_Heard]:
    """Join replies to the mail that they answer, each once."""
    digests = {token: digest(token) for reply in read for token in reply.tokens}
    found = reply_queries.answered(house.database, connection, digests.values(), REPLY)
    heard: dict[str, _Heard] = {}
    for reply in read:
        to = next((found[digests[token]] for token in reply.tokens if digests[token] in found), None)
        if to is not None:
            key = sha256(f"{reply.key}|{to.digest}".encode()).hexdigest()
            heard.setdefault(key, _Heard(key, reply, to, _when(reply, to, now)))
    return list(heard.values())


def _when(reply: Reply, to: Answered, now: datetime) -> datetime:
    """Return when it was written: never after we heard of it, nor before our mail was planned."""
    at = min(reply.sent_at or now, now)
    return max(at, to.planned_at) if to.planned_at is not None else at


def _kept(one: _Heard, now: datetime) -> Came:
    reply = one.reply
    worded = reply.kind in _WORDED
    return Came(
        natural_key=one.key,
        lead_id=one.to.lead_id,
        message_id=one.to.message_id,
        kind=reply.kind.value,
        received_at=now,
        sent_at=one.at,
        sender=reply.sender if worded and _is_of_another(one) else "",
        text=reply.text if worded else "",
        back_on=reply.back_on,
        attachments=reply.attachments,
    )


def _is_of_another(one: _Heard) -> bool:
    """Whether not the lead wrote, but a colleague, or the lead from another address."""
    return bool(one.reply.sender) and normalise_address(one.reply.sender) != one.to.address


def _is_said(one: _Heard) -> bool:
    """Whether it tells something of the lead; a bounce may be of an address that it has given up."""
    if one.reply.kind is not Kind.BOUNCE:
        return True
    return _concerns(one, one.reply.bounced)


def _settle(house: House, connection: Connection, new: Sequence[_Heard], now: datetime) -> None:
    """Write what reports say became of our mail: where nobody else tells it, as with mail sent by SMTP."""
    told: dict[str, list[News]] = defaultdict(list)
    for one in new:
        report = one.reply.report
        if report is not None and one.to.send_key is not None and _concerns(one, report.recipients):
            told[one.to.send_key].append(News(report.told, one.at, report.status))
    sent = provider_event_queries.sent(house.database, connection, told)
    message_status.settle(house, connection, [(sent[key], news) for key, news in told.items()], DOOR, now)


def _concerns(one: _Heard, addresses: Collection[str]) -> bool:
    return one.to.address in {normalise_address(address) for address in addresses}


def _recorded(one: _Heard, now: datetime) -> Recorded:
    kind = _SIGNALS[one.reply.kind]
    automatic = kind is SignalKind.AUTO_REPLIED
    value = _BY_ANOTHER if kind is SignalKind.REPLIED and _is_of_another(one) else None
    return Recorded(
        lead_id=one.to.lead_id,
        kind=kind.value,
        occurred_at=one.at,
        recorded_at=now,
        natural_key=f"reply|{kind.value}|{one.key}",
        source="reply",
        verdict=(SignalVerdict.BOT if automatic else SignalVerdict.HUMAN).value,
        verdict_because="an automatic answer" if automatic else "",
        enrollment_id=one.to.enrollment_id,
        track=one.to.track,
        step=one.to.step or None,
        message_id=one.to.message_id,
        value=Source.REPLY.value if kind is SignalKind.UNSUBSCRIBED else value,
    )


def _leave_in_peace(house: House, connection: Connection, new: Sequence[_Heard], now: datetime) -> None:
    """Pause the leads that say when they are back, until that day begins for them, or they answer."""
    away: dict[int, tuple[datetime, datetime]] = {}
    present: dict[int, datetime] = {}
    for one in sorted(new, key=lambda one: one.at):
        back, lead_id = _back(one), one.to.lead_id
        if back is not None and now < back <= now + _MOST_AWAY and one.reply.kind is Kind.AWAY:
            away[lead_id] = max(back, away.get(lead_id, (back, now))[0]), one.at
            present.pop(lead_id, None)
        elif one.reply.kind is Kind.REPLY and not _is_of_another(one):
            present[lead_id] = one.at
            away.pop(lead_id, None)
    if not away and not present:
        return
    database = house.database
    rows = snapshot.these(database, connection, {*away, *present})
    absences = sorted((id_, *times) for id_, times in away.items())
    paused = reply_queries.begin_absences(database, connection, absences, now)
    resumed = reply_queries.end_absences(database, connection, sorted(present.items()), now)
    if not paused and not resumed:
        return
    signal_queries.wake(database, connection, sorted(paused | resumed), now)
    mover = Mover(house.rulebooks.current(connection), now, "listen")
    for lead in snapshot.views(database, connection, rows, now, house.holidays):
        if lead.view.lead.id in paused:
            until, _ = away[lead.view.lead.id]
            because = f"paused until {until:%Y-%m-%d %H:%M} UTC: away, as an answer says"
            mover.note(lead, "paused", because, None)
        elif lead.view.lead.id in resumed:
            mover.note(lead, "resumed", "no longer away: it answered", None)
    mover.changes.write(database, connection, now)


def _back(one: _Heard) -> datetime | None:
    """Return when the day of return begins, on the clock of the lead, which is away itself."""
    if one.reply.back_on is None or _is_of_another(one):
        return None
    try:
        return calendar.start_of(one.reply.back_on, one.to.zone or "UTC").astimezone(UTC)
    except calendar.UnknownZone:
        return calendar.start_of(one.reply.back_on, "UTC")
