"""Process replies: personal answers, opt-outs, out-of-office messages with a return date, bounce reports.

The reply and its effects commit before the mail counts as processed, and both may be repeated: a reply counts once
by its Message-ID and the message it answers.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from typing import Final, NamedTuple

from sqlalchemy.exc import DBAPIError

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.address import normalize_address
from nurture.domain.consent.suppression import SuppressionSource
from nurture.domain.delivery.delivery_status import DeliveryEvent
from nurture.domain.planning import calendar
from nurture.domain.signals import SignalKind, SignalVerdict
from nurture.errors import NurtureError
from nurture.journey.engagement import inbound_mail, message_status, provider_event_queries
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.engagement.inbound_mail import BATCH_SIZE, InboxFull
from nurture.journey.engagement.inbound_mail_queries import ClaimedMail
from nurture.journey.engagement.provider_events import UNPROCESSABLE
from nurture.journey.handoff import reply_forwarding
from nurture.journey.leads import lock_queries, reply_queries, signal_queries, snapshot
from nurture.journey.leads.reply_queries import InboundReply, MailboxCursor, RepliedMessage, ReplyRecord
from nurture.journey.leads.signal_queries import NewSignal
from nurture.journey.leads.transitions import LeadTransitions
from nurture.mail.inbound.classify import ClassifiedMail, InboundKind
from nurture.mail.inbound.imap import ImapFolder, InboxUnavailable
from nurture.mail.inbound.raw_mail import RawMail
from nurture.runtime.context import AppContext
from nurture.runtime.drain import drain
from nurture.runtime.public_links import REPLY, digest

REPORT_SOURCE: Final = "report"
"""The provider name for events that come from a delivery report in the reply mailbox."""

_MAX_ABSENCE: Final = timedelta(days=400)
_OTHER_SENDER: Final = "other sender"
_SIGNALS: Final = {
    InboundKind.REPLY: SignalKind.REPLIED,
    InboundKind.OPT_OUT: SignalKind.UNSUBSCRIBED,
    InboundKind.OUT_OF_OFFICE: SignalKind.AUTO_REPLIED,
    InboundKind.AUTO_REPLY: SignalKind.AUTO_REPLIED,
    InboundKind.BOUNCE: SignalKind.BOUNCED,
}
_KINDS_WITH_TEXT: Final = frozenset({InboundKind.REPLY, InboundKind.OPT_OUT, InboundKind.OUT_OF_OFFICE})

_log: Final = logging.getLogger(__name__)


class ReplyResult(NamedTuple):
    """How many mails there were, how many answer our mail, and how many of those are new."""

    mails: int = 0
    matched: int = 0
    new: int = 0

    def add(self, other: ReplyResult) -> ReplyResult:
        """Add *other* to this result."""
        return ReplyResult(self.mails + other.mails, self.matched + other.matched, self.new + other.new)


class _MatchedReply(NamedTuple):
    key: str
    reply: ClassifiedMail
    message: RepliedMessage
    at: datetime


def apply_replies(ctx: AppContext, read: Sequence[ClassifiedMail], now: datetime) -> ReplyResult:
    """Store replies and apply their effects; mail that answers none of ours is skipped."""
    with ctx.database.write() as tx:
        if any(reply.bounce_report is not None for reply in read):
            acquire(tx, Lock.EVENTS)
        matched = _match_replies(tx, read, now)
        remaining_leads = lock_queries.lock_existing_leads(tx, [one.message.lead_id for one in matched])
        matched = [one for one in matched if one.message.lead_id in remaining_leads]
        known = reply_queries.find_existing_keys(tx, [one.key for one in matched])
        new = [one for one in matched if one.key not in known]
        reply_queries.insert_replies(tx, [_to_reply_row(one, now) for one in new])
        reply_keys = [one.key for one in new if one.reply.kind is InboundKind.REPLY]
        reply_forwarding.plan_forwards(ctx, tx, reply_keys, now)
        _apply_delivery_reports(tx, new, now)
        _update_absences(ctx, tx, new, now)
    signals = [_to_signal(one, now) for one in matched if _is_about_lead(one)]
    if signals:  # known ones too: the process that stored them may have died before this
        engagement_signals.record(ctx, signals, now)
    return ReplyResult(len(read), len(matched), len(new))


def list_replies(ctx: AppContext, lead_id: int, limit: int) -> list[ReplyRecord]:
    """Return the replies to a lead's mail, the newest first."""
    with ctx.database.read() as tx:
        return reply_queries.list_replies(tx, lead_id, limit)


def receive(ctx: AppContext, source: str, mails: Sequence[RawMail], now: datetime) -> int:
    """Store the mails that may concern us; return how many. Raises InboxFull."""
    with ctx.database.write() as tx:
        return inbound_mail.store_relevant(ctx, tx, source, mails, now)


def poll_inbox(ctx: AppContext, now: datetime) -> ReplyResult:
    """Store new mail of the reply mailbox, if there is one, and process all stored mail.

    The mailbox itself is not changed. If it cannot be read, a warning is logged, and the other mail is processed.
    """
    total = ReplyResult()
    if ctx.inbox is not None:
        try:
            with ctx.inbox.open_folder() as folder:
                for stored in _store_new_mails(ctx, ctx.inbox.name, folder, now):
                    total = total.add(ReplyResult(stored)).add(process_pending(ctx, now))
        except (InboxUnavailable, InboxFull) as error:
            _log.warning("inbox_unusable", extra={"reason": str(error)})
    return total.add(process_pending(ctx, now))


def _store_new_mails(ctx: AppContext, name: str, folder: ImapFolder, now: datetime) -> Iterator[int]:
    """Store the mails of a folder in batches, each with its read position; yield how many were stored."""
    with ctx.database.read() as tx:
        position = reply_queries.load_cursor(tx, name)
    last = position.last_uid if position is not None and position.uid_validity == folder.uid_validity else 0
    for batch in _batches(folder.list_uids_after(last)):
        mails = [mail for _, mail in folder.fetch(batch)]
        with ctx.database.write() as tx:
            inbound_mail.store_relevant(ctx, tx, "imap", mails, now)
            position_after = MailboxCursor(folder.uid_validity, batch[-1])
            reply_queries.save_cursor(tx, name, position_after, now)
        yield len(mails)


def process_pending(ctx: AppContext, now: datetime, batches: int | None = None) -> ReplyResult:
    """Parse and apply pending mail, at most *batches* batches, None for all.

    A batch that fails is retried mail by mail; a mail that fails alone is set aside.
    """
    total = ReplyResult()
    for mails in islice(drain(lambda: inbound_mail.claim(ctx, now), bool), batches):
        if mails:
            total = total.add(_process_batch(ctx, mails, now)._replace(mails=0))
    return total


def _process_batch(ctx: AppContext, mails: Sequence[ClaimedMail], now: datetime) -> ReplyResult:
    read, problems = inbound_mail.read(ctx, mails, now.date())
    result = ReplyResult()
    try:
        result = apply_replies(ctx, list(read.values()), now)
    except UNPROCESSABLE as error:
        problems |= dict.fromkeys(read, type(error).__name__)  # the message may quote the mail
    except Exception:
        with suppress(NurtureError, DBAPIError):
            inbound_mail.release(ctx, mails)
        raise
    inbound_mail.finish(ctx, mails, problems)
    return result


def _batches(uids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), BATCH_SIZE):
        yield uids[start : start + BATCH_SIZE]


def _match_replies(tx: Transaction, read: Sequence[ClassifiedMail], now: datetime) -> list[_MatchedReply]:
    """Match replies to the mail they answer, each once."""
    digests = {token: digest(token) for reply in read for token in reply.tokens}
    found = reply_queries.find_replied_messages(tx, digests.values(), REPLY)
    matched: dict[str, _MatchedReply] = {}
    for reply in read:
        message = next((found[digests[token]] for token in reply.tokens if digests[token] in found), None)
        if message is not None:
            key = sha256(f"{reply.dedup_key}|{message.digest}".encode()).hexdigest()
            matched.setdefault(key, _MatchedReply(key, reply, message, _written_at(reply, message, now)))
    return list(matched.values())


def _written_at(reply: ClassifiedMail, message: RepliedMessage, now: datetime) -> datetime:
    """Return when it was written: not after it was received, nor before our mail was planned."""
    at = min(reply.sent_at or now, now)
    return max(at, message.planned_at) if message.planned_at is not None else at


def _to_reply_row(matched: _MatchedReply, now: datetime) -> InboundReply:
    reply = matched.reply
    keeps_text = reply.kind in _KINDS_WITH_TEXT
    return InboundReply(
        natural_key=matched.key,
        lead_id=matched.message.lead_id,
        message_id=matched.message.message_id,
        kind=reply.kind.value,
        received_at=now,
        sent_at=matched.at,
        sender=reply.sender if keeps_text and _is_from_other_sender(matched) else "",
        text=reply.text if keeps_text else "",
        returns_on=reply.returns_on,
        attachments=reply.attachments,
    )


def _is_from_other_sender(matched: _MatchedReply) -> bool:
    """Return whether somebody else wrote: a colleague, or the lead from another address."""
    return bool(matched.reply.sender) and normalize_address(matched.reply.sender) != matched.message.address


def _is_about_lead(matched: _MatchedReply) -> bool:
    """Return whether it concerns the lead. A bounce may concern an address that the lead has given up."""
    if matched.reply.kind is not InboundKind.BOUNCE:
        return True
    return _mentions_lead_address(matched, matched.reply.bounced_addresses)


def _apply_delivery_reports(tx: Transaction, new: Sequence[_MatchedReply], now: datetime) -> None:
    """Update our mail from bounce reports, where no provider sends events, as with SMTP."""
    updates: dict[str, list[DeliveryEvent]] = defaultdict(list)
    for one in new:
        report = one.reply.bounce_report
        if report is not None and one.message.send_key is not None and _mentions_lead_address(one, report.recipients):
            updates[one.message.send_key].append(DeliveryEvent(report.event_type, one.at, report.status))
    messages = provider_event_queries.lock_messages(tx, updates)
    message_status.apply_statuses(tx, [(messages[key], news) for key, news in updates.items()], REPORT_SOURCE, now)


def _mentions_lead_address(matched: _MatchedReply, addresses: Collection[str]) -> bool:
    return matched.message.address in {normalize_address(address) for address in addresses}


def _to_signal(matched: _MatchedReply, now: datetime) -> NewSignal:
    kind = _SIGNALS[matched.reply.kind]
    automatic = kind is SignalKind.AUTO_REPLIED
    value = _OTHER_SENDER if kind is SignalKind.REPLIED and _is_from_other_sender(matched) else None
    return NewSignal(
        lead_id=matched.message.lead_id,
        kind=kind.value,
        occurred_at=matched.at,
        recorded_at=now,
        natural_key=f"reply|{kind.value}|{matched.key}",
        source="reply",
        verdict=(SignalVerdict.BOT if automatic else SignalVerdict.HUMAN).value,
        verdict_reason="an automatic reply" if automatic else "",
        enrollment_id=matched.message.enrollment_id,
        track=matched.message.track,
        step=matched.message.step or None,
        message_id=matched.message.message_id,
        value=SuppressionSource.REPLY.value if kind is SignalKind.UNSUBSCRIBED else value,
    )


def _update_absences(ctx: AppContext, tx: Transaction, new: Sequence[_MatchedReply], now: datetime) -> None:
    """Pause leads until their stated return date begins in their time zone; resume those that replied."""
    away: dict[int, tuple[datetime, datetime]] = {}
    returned: dict[int, datetime] = {}
    for one in sorted(new, key=lambda one: one.at):
        return_at, lead_id = _return_time(one), one.message.lead_id
        if (
            return_at is not None
            and now < return_at <= now + _MAX_ABSENCE
            and one.reply.kind is InboundKind.OUT_OF_OFFICE
        ):
            away[lead_id] = max(return_at, away.get(lead_id, (return_at, now))[0]), one.at
            returned.pop(lead_id, None)
        elif one.reply.kind is InboundKind.REPLY and not _is_from_other_sender(one):
            returned[lead_id] = one.at
            away.pop(lead_id, None)
    if not away and not returned:
        return
    rows = snapshot.load_rows(tx, {*away, *returned})
    absences = sorted((id_, *times) for id_, times in away.items())
    paused = reply_queries.begin_absences(tx, absences, now)
    resumed = reply_queries.end_absences(tx, sorted(returned.items()), now)
    if not paused and not resumed:
        return
    signal_queries.make_due(tx, sorted(paused | resumed), now)
    transitions = LeadTransitions(ctx.definitions.current(tx), now, "signals")
    for lead in snapshot.load_snapshots(tx, rows, now, ctx.holidays):
        if lead.view.lead.id in paused:
            until, _ = away[lead.view.lead.id]
            reason = f"paused until {until:%Y-%m-%d %H:%M} UTC: out of office, by automatic reply"
            transitions.add_journal_entry(lead, "paused", reason, None)
        elif lead.view.lead.id in resumed:
            transitions.add_journal_entry(lead, "resumed", "no longer out of office: the lead replied", None)
    transitions.changes.write(tx, now)


def _return_time(matched: _MatchedReply) -> datetime | None:
    """Return when the return date begins in the lead's time zone."""
    if matched.reply.returns_on is None or _is_from_other_sender(matched):
        return None
    try:
        return calendar.start_of_day(matched.reply.returns_on, matched.message.zone or "UTC").astimezone(UTC)
    except calendar.UnknownZone:
        return calendar.start_of_day(matched.reply.returns_on, "UTC")
