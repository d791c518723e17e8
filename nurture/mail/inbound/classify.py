"""Classify inbound mail: what an answer to our mail means, with the evidence for it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from email.utils import parseaddr
from hashlib import sha256
from typing import Final

from nurture.domain.replies import CLASSES_OF_PROGRAMS, ReplyClass
from nurture.mail.inbound.bounce_report import BounceReport, read_report
from nurture.mail.inbound.message import ParsedMail, parse_mail
from nurture.mail.inbound.named_day import parse_named_day, parse_only_day
from nurture.mail.inbound.out_of_office import (
    find_absence,
    find_automatic_phrases,
    find_future_dates,
    has_unusual_prefix,
    is_automatic_subject,
    is_receipt_subject,
    parse_return_date,
)
from nurture.mail.inbound.reply_phrases import Meaning, find_left_company, find_meaning, is_opt_out_subject
from nurture.mail.inbound.reply_text import OwnText, extract_own_text, find_contact, sanitize_text

REPLY_PREFIX: Final = "reply+"
_TOKEN: Final = re.compile(r"(?<![\w.+-])reply\+([a-z2-7]{26})@", re.IGNORECASE)
_MAX_TOKENS: Final = 5
_MAX_SENDER_LENGTH: Final = 1_000
_BULK_PRECEDENCES: Final = frozenset({"bulk", "auto_reply", "auto-reply", "junk", "list"})
_AUTO_REPLY_HEADERS: Final = (
    *("x-autoreply", "x-autorespond", "x-autoresponder"),
    *("x-auto-reply-from", "x-autoreply-from", "x-mail-autoreply"),
)
_MACHINE_SENDER: Final = re.compile(
    r"(?:mailer[._-]?daemon|postmaster|(?:no|do[._-]?not)[._-]?reply|auto[._-]?(?:reply|responder))\b"
)
"""Addresses of mail servers that omit auto-reply headers, and of ticket systems."""

_MAX_RECEIPT: Final = 500
"""Characters of a receipt's own text."""

_CLASSES_WITH_CONTACT: Final = (ReplyClass.WRONG_PERSON, ReplyClass.LEFT_COMPANY)

_SAMPLES: Final = (
    "Could we talk? I am away until Monday.",
    "I am on leave until 7. Januar 2026.",
    "Please send me no more mail. We are not interested, thanks.",
    "Perhaps we could look at this again next year, in March.",
)
"""Replies that together use every list of phrases."""

REPORT_CONTENT_TYPE: Final = re.compile(r"multipart/report\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ClassifiedMail:
    """A classified mail.

    *tokens* are from the reply addresses it was sent to, in lower case. *dedup_key* is the same for all copies.
    *sender* is the From address in lower case, or "". *text* is the person's own text, sanitized.
    *evidence* are the phrases and signs that decided. *automatic_signs* each suggest that a program wrote it: two are
    proof. *returns_on* is the day that an absence ends or a "not now" names, *contact* the person it names instead
    of itself, *meets_at* when the meeting begins to which it invites (UTC).
    *bounced_addresses* do not exist; *bounce_report* is the parsed report, if the mail is one.
    """

    kind: ReplyClass
    tokens: tuple[str, ...]
    dedup_key: str
    sender: str
    text: str = ""
    sent_at: datetime | None = None
    returns_on: date | None = None
    bounced_addresses: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()
    bounce_report: BounceReport | None = None
    evidence: tuple[str, ...] = ()
    automatic_signs: tuple[str, ...] = ()
    contact: str = ""
    meets_at: datetime | None = None


def reply_address(token: str, domain: str) -> str:
    """Return the reply address for the message that *token* identifies."""
    return f"{REPLY_PREFIX}{token}@{domain}"


def read_phrases() -> None:
    """Read phrases, weights of words and names of months, which the first mail would otherwise have to pay for."""
    for text in _SAMPLES:
        classify_mail(parse_mail(f"Subject: Your guide\n\n{text}".encode()), date.min)


def classify_mail(mail: ParsedMail, today: date) -> ClassifiedMail:
    """Classify a mail. *today* is the day it was received (UTC)."""
    report = read_report(mail)
    routing_values = [*mail.recipients, *(mail.report_text.splitlines() if report is not None else ())]
    tokens = dict.fromkeys(token for one in routing_values for token in find_tokens(one))
    sender = parse_sender(mail.header("from"))
    common = ClassifiedMail(
        ReplyClass.UNCLEAR,
        tuple(tokens)[:_MAX_TOKENS],
        _dedup_key(mail, sender),
        sender,
        sent_at=mail.sent_at,
        attachments=mail.attachments,
    )
    if report is not None:
        return replace(
            common,
            kind=report.kind,
            bounced_addresses=report.bounced_addresses,
            bounce_report=report.bounce_report,
            evidence=(f"a report of type {mail.report_type}",),
        )
    own_text = extract_own_text(mail.text, mail.header("subject"), sender)
    return _classify_calendar(mail, common, own_text) or _classify_text(mail, common, own_text, today)


def find_tokens(text: str) -> Iterator[str]:
    """Yield the tokens of the reply addresses in a text, in lower case."""
    return (match[1].lower() for match in _TOKEN.finditer(text))


def parse_sender(from_header: str) -> str:
    """Return the address in a From header in lower case, or ""."""
    try:
        sender = sanitize_text(parseaddr(from_header[:_MAX_SENDER_LENGTH])[1]).strip().lower()[:320]
    except (ValueError, LookupError, RecursionError):  # deeply nested comments
        return ""
    return sender if "@" in sender else ""


def _classify_calendar(mail: ParsedMail, common: ClassifiedMail, own_text: OwnText) -> ClassifiedMail | None:
    """Return the mail as an invitation or the answer to one, None if it is neither."""
    calendar = mail.calendar
    if calendar is None or calendar.method not in ("REQUEST", "REPLY", "CANCEL", "COUNTER"):
        return None
    what = " ".join(one for one in (sanitize_text(calendar.summary), calendar.starts) if one)
    if calendar.method == "REQUEST":
        text = "\n\n".join(one for one in (f"Invites you to: {what}", own_text.full) if one)
        evidence = (f"an invitation to a meeting, {calendar.starts}".rstrip(", "),)
        return replace(common, kind=ReplyClass.MEETING, text=text, meets_at=calendar.starts_at, evidence=evidence)
    answer = calendar.answer.lower() or calendar.method.lower()
    text = "\n\n".join(one for one in (f"{answer.capitalize()}: {what}", own_text.full) if one)
    return replace(common, kind=ReplyClass.CALENDAR_ANSWER, text=text, evidence=(f"calendar: {answer}",))


def _classify_text(mail: ParsedMail, common: ClassifiedMail, own_text: OwnText, today: date) -> ClassifiedMail:
    subject = mail.header("subject")
    if is_opt_out_subject(subject):
        return replace(common, kind=ReplyClass.NO_MAIL, text=own_text.full, evidence=("the subject",))
    proof = _find_proof_of_program(mail)
    if proof:
        return _classify_automatic(common, own_text, subject, (proof,), today)
    if is_receipt_subject(subject) and len(own_text.full) <= _MAX_RECEIPT:
        return replace(common, kind=ReplyClass.RECEIPT, evidence=("the subject of a receipt",))
    if not own_text.full:
        kind = ReplyClass.UNCLEAR_SHORT if mail.attachments else ReplyClass.EMPTY
        return replace(common, kind=kind, evidence=("no words of its own",))
    only_day = parse_only_day(own_text.above_quotation, mail.header("from"), today)
    meaning = (
        Meaning(ReplyClass.NOT_NOW, f"only a time: '{own_text.above_quotation.strip()[:60]}'")
        if only_day is not None
        else find_meaning(own_text.above_quotation, own_text.full, subject)
    )
    kind, evidence = meaning.reply_class, (meaning.evidence,) if meaning.evidence else ()
    signs = _find_automatic_signs(mail, subject, own_text.full, today)
    if len(signs) > 1 and kind in CLASSES_OF_PROGRAMS:
        return _classify_automatic(common, own_text, subject, signs, today)
    returns_on = None
    if kind is ReplyClass.NOT_NOW:
        returns_on = only_day or parse_named_day(own_text.full, today)
    elif signs:
        returns_on = parse_return_date(own_text.full, today)
    contact = find_contact(own_text.full, common.sender) if kind in _CLASSES_WITH_CONTACT else ""
    return replace(
        common,
        kind=kind,
        text=own_text.full,
        evidence=evidence,
        automatic_signs=signs,
        returns_on=returns_on,
        contact=contact,
    )


def _classify_automatic(
    common: ClassifiedMail, own_text: OwnText, subject: str, evidence: tuple[str, ...], today: date
) -> ClassifiedMail:
    """Return what a program wrote: that somebody has left, an absence, or anything else."""
    left = find_left_company(own_text.full)
    if left:
        contact = find_contact(own_text.full, common.sender)
        kind = ReplyClass.LEFT_COMPANY
        return replace(common, kind=kind, text=own_text.full, evidence=(*evidence, left), contact=contact)
    full_text = f"{subject}\n{own_text.full}"
    returns_on = parse_return_date(full_text, today)
    phrase = find_absence(full_text)
    if returns_on is None and phrase:
        days = find_future_dates(own_text.full, today)
        returns_on = days[0] if len(set(days)) == 1 else None
    if phrase or returns_on is not None or is_automatic_subject(subject):
        evidence = (*evidence, f"says '{phrase}'") if phrase else evidence
        return replace(common, kind=ReplyClass.ABSENCE, text=own_text.full, evidence=evidence, returns_on=returns_on)
    return replace(common, kind=ReplyClass.AUTOMATIC, evidence=evidence)


def _find_proof_of_program(mail: ParsedMail) -> str:
    """Return what proves that a program wrote the mail: a header, the sender or the subject; "" without proof."""
    auto_submitted = mail.header("auto-submitted").partition(";")[0].strip().lower()
    proofs = {
        f"Auto-Submitted: {auto_submitted[:40]}": auto_submitted not in ("", "no"),
        "an empty envelope sender": mail.has_null_sender,
        "the header of an automatic reply": any(name in mail.headers for name in _AUTO_REPLY_HEADERS),
        "Precedence: bulk": mail.header("precedence").strip().lower() in _BULK_PRECEDENCES,
        "the subject of an automatic reply": is_automatic_subject(mail.header("subject")),
        "the sender of a program": _MACHINE_SENDER.match(parse_sender(mail.header("from"))) is not None,
    }
    return next((proof for proof, found in proofs.items() if found), "")


def _find_automatic_signs(mail: ParsedMail, subject: str, text: str, today: date) -> tuple[str, ...]:
    """Return what suggests that a program wrote the mail; two signs are proof. Most need no language."""
    has_prefix = has_unusual_prefix(subject)
    is_absence = bool(
        find_absence(text)
        or parse_return_date(text, today)
        or (has_prefix and find_future_dates(text, today, day_first=True))
    )
    signs = {
        "words and a colon before the subject": has_prefix,
        "asks for no automatic replies": "x-auto-response-suppress" in mail.headers,
        "names an absence": is_absence,
    }
    phrases = (f"says '{phrase}'" for phrase in find_automatic_phrases(text)[:2])
    return (*(sign for sign, found in signs.items() if found), *phrases)


def _dedup_key(mail: ParsedMail, sender: str) -> str:
    """Return a hash of the Message-ID, or of sender, date, subject and text if it is missing."""
    message_id = mail.header("message-id").strip()
    fallback = "\n".join((sender, mail.header("date"), mail.header("subject"), mail.text))
    return sha256((message_id or fallback).encode("utf-8", "replace")).hexdigest()
