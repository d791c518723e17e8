"""Process replies: store them, and cause what the policy says about their class.

The reply and its effects commit before the mail counts as processed, and both may be repeated: a reply counts once
by its Message-ID and the message it answers.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import chain, islice
from typing import Final, NamedTuple

from sqlalchemy.exc import DBAPIError

from nurture.db import last_rounds
from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.address import normalize_address
from nurture.domain.consent.suppression import SuppressionSource
from nurture.domain.delivery.delivery_status import DeliveryEvent
from nurture.domain.policy.policy import Policy
from nurture.domain.replies import CLASSES_OF_PROGRAMS, MACHINE_CLASSES, ReplyAction, ReplyClass
from nurture.domain.signals import SignalKind, SignalVerdict
from nurture.errors import NurtureError
from nurture.journey.engagement import inbound_mail, provider_event_queries, provider_events, reply_actions
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.engagement.inbound_mail import BATCH_SIZE, InboxFull
from nurture.journey.engagement.inbound_mail_queries import ClaimedMail
from nurture.journey.engagement.provider_events import UNPROCESSABLE
from nurture.journey.engagement.reply_actions import MatchedReply
from nurture.journey.handoff import reply_forwarding
from nurture.journey.leads import reply_queries
from nurture.journey.leads.custody import lock_existing_leads
from nurture.journey.leads.reply_queries import InboundReply, MailboxCursor, RepliedMessage, ReplyRecord
from nurture.journey.leads.signal_queries import NewSignal
from nurture.mail.inbound.classify import ClassifiedMail
from nurture.mail.inbound.imap import ImapFolder, InboxUnavailable
from nurture.mail.inbound.raw_mail import RawMail
from nurture.outbox.messages import TO_LEAD
from nurture.runtime.batches import drain
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import REPLY, token_digests

REPORT_SOURCE: Final = "report"
"""The provider name for events that come from a delivery report in the reply mailbox."""

_OTHER_SENDER: Final = "other sender"
_MACHINE_SIGNALS: Final = {
    ReplyClass.BOUNCE: SignalKind.BOUNCED,
    ReplyClass.COMPLAINT: SignalKind.COMPLAINED,
    ReplyClass.ABSENCE: SignalKind.AUTO_REPLIED,
    ReplyClass.AUTOMATIC: SignalKind.AUTO_REPLIED,
    ReplyClass.CALENDAR_ANSWER: SignalKind.AUTO_REPLIED,
    ReplyClass.RECEIPT: SignalKind.AUTO_REPLIED,
}
_ACTION_SIGNALS: Final = {ReplyAction.HAND_OFF: SignalKind.REPLIED, ReplyAction.SUPPRESS: SignalKind.UNSUBSCRIBED}
_CLASSES_WITHOUT_TEXT: Final = frozenset(
    {ReplyClass.BOUNCE, ReplyClass.COMPLAINT, ReplyClass.RECEIPT, ReplyClass.AUTOMATIC}
)
_MAX_DELAY_OF_PROGRAMS: Final = timedelta(minutes=1)
"""An answer this soon after our mail is a sign that a program wrote it."""

_log: Final = logging.getLogger(__name__)


class ReplyResult(NamedTuple):
    """How many mails there were, how many answer our mail, and how many of those are new."""

    mails: int = 0
    matched: int = 0
    new: int = 0

    def add(self, other: "ReplyResult") -> "ReplyResult":
        """Add *other* to this result."""
        return ReplyResult(self.mails + other.mails, self.matched + other.matched, self.new + other.new)


def apply_replies(ctx: AppContext, read: Sequence[ClassifiedMail], now: datetime) -> ReplyResult:
    """Store replies and apply their effects; mail that answers none of ours is skipped."""
    with ctx.database.write() as tx:
        if any(reply.bounce_report is not None for reply in read):
            acquire(tx, Lock.EVENTS)
        matched = _match_replies(tx, read, now)
        remaining_leads = lock_existing_leads(tx, [one.message.lead_id for one in matched])
        matched = [one for one in matched if one.message.lead_id in remaining_leads]
        _apply_delivery_reports(tx, [one for one in matched if not _is_to_lead(one)], now)
        matched = _raise_repeated_refusals(tx, [one for one in matched if _is_to_lead(one)])
        if not matched:
            return ReplyResult(len(read))
        known = reply_queries.find_existing_keys(tx, [one.key for one in matched])
        new = [one for one in matched if one.key not in known]
        reply_queries.insert_replies(tx, [_to_reply_row(one, now) for one in new])
        reply_keys = [one.key for one in new if one.reply.kind not in MACHINE_CLASSES]
        reply_forwarding.plan_forwards(ctx, tx, reply_keys, now)
        _apply_delivery_reports(tx, new, now)
        definitions = ctx.definitions.current(tx)
        reply_actions.apply_actions(ctx, tx, definitions, new, now)
    # Known ones too: the process that stored them may have died before this.
    signals = [signal for one in matched for signal in _to_signals(one, definitions.policy, now)]
    if signals:
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
            with ctx.database.write() as tx:
                last_rounds.note_success(tx, last_rounds.INBOX, now)
        except (InboxUnavailable, InboxFull) as error:
            _log.warning("inbox_unusable: %s", error)
            with ctx.database.write() as tx:
                last_rounds.note_failure(tx, last_rounds.INBOX, now, str(error))
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


def _match_replies(tx: Transaction, read: Sequence[ClassifiedMail], now: datetime) -> list[MatchedReply]:
    """Match replies to the mail they answer, each once."""
    digests = {token: token_digests(token, REPLY) for reply in read for token in reply.tokens}
    found = reply_queries.find_replied_messages(tx, set(chain.from_iterable(digests.values())), REPLY)
    matched: dict[str, MatchedReply] = {}
    for reply in read:
        stored = (one for token in reply.tokens for one in digests[token])
        message = next((found[one] for one in stored if one in found), None)
        if message is not None:
            key = sha256(f"{reply.dedup_key}|{message.digest}".encode()).hexdigest()
            at = _written_at(reply, message, now)
            matched.setdefault(key, MatchedReply(key, _detect_program(reply, message, now), message, at))
    return list(matched.values())


def _written_at(reply: ClassifiedMail, message: RepliedMessage, now: datetime) -> datetime:
    """Return when it was written: not after it was received, nor before our mail was planned."""
    at = min(reply.sent_at or now, now)
    return max(at, message.planned_at) if message.planned_at is not None else at


def _detect_program(reply: ClassifiedMail, message: RepliedMessage, now: datetime) -> ClassifiedMail:
    """Return the reply as that of a program if two signs say so; one of them is an answer within a minute."""
    signs = list(reply.automatic_signs)
    if message.accepted_at is not None and reply.kind not in MACHINE_CLASSES:
        delay = min(abs((reply.sent_at or now) - message.accepted_at), abs(now - message.accepted_at))
        if delay <= _MAX_DELAY_OF_PROGRAMS:
            signs.append("answered within a minute")
    if len(signs) < 2 or reply.kind not in CLASSES_OF_PROGRAMS:
        return reply
    kind = ReplyClass.ABSENCE if reply.returns_on is not None else ReplyClass.AUTOMATIC
    return replace(reply, kind=kind, evidence=tuple(signs))


def _to_reply_row(matched: MatchedReply, now: datetime) -> InboundReply:
    reply = matched.reply
    keeps_text = reply.kind not in _CLASSES_WITHOUT_TEXT
    return InboundReply(
        natural_key=matched.key,
        lead_id=matched.message.lead_id,
        message_id=matched.message.message_id,
        kind=reply.kind.value,
        received_at=now,
        sent_at=matched.at,
        sender=reply.sender if keeps_text and matched.is_from_other_sender else "",
        text=reply.text if keeps_text else "",
        evidence=", ".join(reply.evidence)[:500],
        contact=reply.contact,
        returns_on=reply.returns_on if reply.kind in (ReplyClass.ABSENCE, ReplyClass.NOT_NOW) else None,
        meets_at=reply.meets_at,
        attachments=reply.attachments,
    )


def _is_to_lead(matched: MatchedReply) -> bool:
    """Return whether it answers a message to the lead. Of messages to sales only reports of their delivery count."""
    return matched.message.recipient in (None, TO_LEAD)


def _is_about_lead(matched: MatchedReply) -> bool:
    """Return whether it concerns the lead. A bounce may concern an address that the lead has given up."""
    if matched.reply.kind is not ReplyClass.BOUNCE:
        return True
    return _mentions_lead_address(matched, matched.reply.bounced_addresses)


def _raise_repeated_refusals(tx: Transaction, matched: Sequence[MatchedReply]) -> list[MatchedReply]:
    """Turn ambiguous bounces into hard ones where an earlier message to the lead was refused alike."""
    ambiguous = {
        one.key: (one.message.message_id, report)
        for one in matched
        if (report := one.reply.bounce_report) is not None and report.is_ambiguous
    }
    repeated = provider_event_queries.find_repeated_refusals(tx, {id_ for id_, _ in ambiguous.values() if id_})
    hard = {key: report.as_hard() for key, (id_, report) in ambiguous.items() if id_ in repeated}
    return [
        one._replace(reply=replace(one.reply, bounce_report=report, bounced_addresses=report.recipients))
        if (report := hard.get(one.key)) is not None
        else one
        for one in matched
    ]


def _apply_delivery_reports(tx: Transaction, new: Sequence[MatchedReply], now: datetime) -> None:
    """Update our mail from bounce reports and complaints, where no provider sends events, as with SMTP."""
    updates: dict[str, list[DeliveryEvent]] = defaultdict(list)
    for one in new:
        report = one.reply.bounce_report
        if report is None or one.message.send_key is None:
            continue
        is_bounce_to_lead = one.reply.kind is ReplyClass.BOUNCE and _is_to_lead(one)
        if not is_bounce_to_lead or _mentions_lead_address(one, report.recipients):
            event = DeliveryEvent(report.event_type, one.at, report.status, report.is_ambiguous)
            updates[one.message.send_key].append(event)
    messages = provider_event_queries.lock_messages(tx, updates)
    provider_events.apply_statuses(tx, [(messages[key], news) for key, news in updates.items()], REPORT_SOURCE, now)


def _mentions_lead_address(matched: MatchedReply, addresses: Collection[str]) -> bool:
    return matched.message.address in {normalize_address(address) for address in addresses}


def _to_signals(matched: MatchedReply, policy: Policy, now: datetime) -> Iterator[NewSignal]:
    """Yield the signal of a reply, if its class and the policy give it one."""
    reply_class = matched.reply.kind
    kind = _MACHINE_SIGNALS.get(reply_class) or _ACTION_SIGNALS.get(policy.replies[reply_class])
    if kind is None or not _is_about_lead(matched):
        return
    automatic = kind is SignalKind.AUTO_REPLIED
    value = _OTHER_SENDER if kind is SignalKind.REPLIED and matched.is_from_other_sender else None
    yield NewSignal(
        lead_id=matched.message.lead_id,
        kind=kind.value,
        occurred_at=matched.at,
        recorded_at=now,
        natural_key=f"reply|{kind.value}|{matched.key}",
        source="reply",
        verdict=(SignalVerdict.BOT if automatic else SignalVerdict.HUMAN).value,
        verdict_reason="an automatic reply" if automatic else _evidence(matched),
        enrollment_id=matched.message.enrollment_id,
        track=matched.message.track,
        step=matched.message.step or None,
        message_id=matched.message.message_id,
        value=_opt_out_source(matched).value if kind is SignalKind.UNSUBSCRIBED else value,
    )


def _evidence(matched: MatchedReply) -> str:
    """Return what a report by email tells, "" for any other mail."""
    report = matched.reply.bounce_report
    if report is None:
        return ""
    reported = " ".join(filter(None, (report.event_type.value, report.status)))
    return f"report by email: {reported}, {matched.at:%Y-%m-%d %H:%M:%S} UTC"


def _opt_out_source(matched: MatchedReply) -> SuppressionSource:
    """Return who told an opt-out: the person, or its mail provider by a report."""
    return SuppressionSource.PROVIDER if matched.reply.bounce_report is not None else SuppressionSource.REPLY
