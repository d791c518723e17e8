"""Classify inbound mail as reply, opt-out, out-of-office, auto-reply or bounce."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from email.utils import parseaddr
from enum import StrEnum
from hashlib import sha256
from typing import Final

from nurture.mail.inbound.bounce_report import BounceReport, parse_bounce_report
from nurture.mail.inbound.message import ParsedMail
from nurture.mail.inbound.opt_out_phrases import is_opt_out
from nurture.mail.inbound.out_of_office import is_out_of_office_subject, is_out_of_office_text, parse_return_date
from nurture.mail.inbound.reply_text import MAX_TEXT, extract_own_text, sanitize_text

REPLY_PREFIX: Final = "reply+"
_TOKEN: Final = re.compile(r"(?<![\w.+-])reply\+([a-z2-7]{26})@", re.IGNORECASE)
_MAX_TOKENS: Final = 5
_MAX_SENDER_LENGTH: Final = 1_000
_BULK_PRECEDENCES: Final = frozenset({"bulk", "auto_reply", "auto-reply", "junk", "list"})
_AUTO_REPLY_HEADERS: Final = (
    "x-autoreply",
    "x-autorespond",
    "x-autoresponder",
    "x-auto-reply-from",
    "x-autoreply-from",
    "x-mail-autoreply",
)
_MACHINE_SENDER: Final = re.compile(
    r"(?:mailer[._-]?daemon|postmaster|(?:no|do[._-]?not)[._-]?reply|auto[._-]?(?:reply|responder))\b"
)
"""Addresses of mail servers that omit auto-reply headers, and of ticket systems."""

REPORT_CONTENT_TYPE: Final = re.compile(r"multipart/report\b", re.IGNORECASE)


class InboundKind(StrEnum):
    """The kinds of inbound mail."""

    REPLY = "reply"
    OPT_OUT = "opt_out"
    OUT_OF_OFFICE = "out_of_office"
    AUTO_REPLY = "auto_reply"
    BOUNCE = "bounce"


@dataclass(frozen=True, slots=True)
class ClassifiedMail:
    """A classified mail.

    *tokens* are from the reply addresses it was sent to, in lower case. *dedup_key* is the same for all copies.
    *sender* is the From address in lower case, or "". *text* is the person's own text, sanitized.
    *bounced_addresses* do not exist; *bounce_report* is the parsed report, if the mail is one.
    """

    kind: InboundKind
    tokens: tuple[str, ...]
    dedup_key: str
    sender: str
    text: str = ""
    sent_at: datetime | None = None
    returns_on: date | None = None
    bounced_addresses: tuple[str, ...] = ()
    attachments: int = 0
    bounce_report: BounceReport | None = None


def reply_address(token: str, domain: str) -> str:
    """Return the reply address for the message that *token* identifies."""
    return f"{REPLY_PREFIX}{token}@{domain}"


def classify_mail(mail: ParsedMail, today: date) -> ClassifiedMail:
    """Classify a mail. *today* is the day it was received (UTC)."""
    is_report = any(REPORT_CONTENT_TYPE.match(value.strip()) for value in mail.headers.get("content-type", ()))
    routing_values = [*mail.recipients, *(mail.report_text.splitlines() if is_report else ())]
    tokens = dict.fromkeys(token for one in routing_values for token in find_tokens(one))
    sender = parse_sender(mail.header("from"))
    report = parse_bounce_report(mail.report_text) if is_report else None
    kind, text, returns_on = (InboundKind.BOUNCE, "", None) if report is not None else _classify_text(mail, today)
    return ClassifiedMail(
        kind,
        tuple(tokens)[:_MAX_TOKENS],
        _dedup_key(mail, sender),
        sender,
        text,
        mail.sent_at,
        returns_on,
        report.recipients if report is not None and report.is_hard else (),
        mail.attachments,
        report,
    )


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


def _classify_text(mail: ParsedMail, today: date) -> tuple[InboundKind, str, date | None]:
    own_text = extract_own_text(mail.text)
    subject = mail.header("subject")
    if not _is_auto_generated(mail) or is_opt_out("", subject):
        if is_opt_out(own_text.above_quotation, subject):
            return InboundKind.OPT_OUT, own_text.full, None
        return InboundKind.REPLY, own_text.full or sanitize_text(mail.text).strip()[:MAX_TEXT], None
    full_text = f"{subject}\n{own_text.full}"
    if is_out_of_office_subject(subject) or is_out_of_office_text(full_text):
        return InboundKind.OUT_OF_OFFICE, own_text.full, parse_return_date(full_text, today)
    return InboundKind.AUTO_REPLY, "", None


def _is_auto_generated(mail: ParsedMail) -> bool:
    auto_submitted = mail.header("auto-submitted").partition(";")[0].strip().lower()
    return (
        auto_submitted not in ("", "no")
        or mail.has_null_sender
        or any(name in mail.headers for name in _AUTO_REPLY_HEADERS)
        or mail.header("precedence").strip().lower() in _BULK_PRECEDENCES
        or is_out_of_office_subject(mail.header("subject"))
        or _MACHINE_SENDER.match(parse_sender(mail.header("from"))) is not None
    )


def _dedup_key(mail: ParsedMail, sender: str) -> str:
    """Return a hash of the Message-ID, or of sender, date, subject and text if it is missing."""
    message_id = mail.header("message-id").strip()
    fallback = "\n".join((sender, mail.header("date"), mail.header("subject"), mail.text))
    return sha256((message_id or fallback).encode("utf-8", "replace")).hexdigest()
