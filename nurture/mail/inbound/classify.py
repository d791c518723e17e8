"""Make of a mail that came in what it means: an answer, an automatic one, a bounce, or a "stop"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from email.utils import parseaddr
from enum import StrEnum
from hashlib import sha256
from typing import Final

from nurture.mail.inbound.bounce_report import Bounced, read_bounce
from nurture.mail.inbound.message import Incoming
from nurture.mail.inbound.opt_out_phrases import asks_to_stop
from nurture.mail.inbound.out_of_office import back_on, is_away_subject, says_away
from nurture.mail.inbound.reply_text import MOST_KEPT, own_words, sanitised

LOCAL: Final = "reply+"
_TOKEN: Final = re.compile(r"(?<![\w.+-])reply\+([a-z2-7]{26})@", re.IGNORECASE)
_MOST_TOKENS: Final = 5
_MOST_SENDER: Final = 1_000
_BULK: Final = frozenset({"bulk", "auto_reply", "auto-reply", "junk", "list"})
_AUTOMATIC: Final = (
    "x-autoreply",
    "x-autorespond",
    "x-autoresponder",
    "x-auto-reply-from",
    "x-autoreply-from",
    "x-mail-autoreply",
)
_MACHINE: Final = re.compile(
    r"(?:mailer[._-]?daemon|postmaster|(?:no|do[._-]?not)[._-]?reply|auto[._-]?(?:reply|responder))\b"
)
"""Addresses that nobody writes from: servers without the headers of automatic mail, and ticket systems."""

REPORT: Final = re.compile(r"multipart/report\b", re.IGNORECASE)


class Kind(StrEnum):
    """What a mail that came in is."""

    REPLY = "reply"
    OPT_OUT = "opt_out"
    AWAY = "away"
    AUTOMATIC = "automatic"
    BOUNCE = "bounce"


@dataclass(frozen=True, slots=True)
class Reply:
    """A mail as it concerns us.

    *tokens* are those of the addresses that it went to, in lower case. *key* is the same for each copy of it.
    *sender* is its From address in lower case, "" if it has none. *text* is what the person wrote, sanitised.
    *bounced* are the addresses that do not exist; *report* is what a report says of our mail, and to whom.
    """

    kind: Kind
    tokens: tuple[str, ...]
    key: str
    sender: str
    text: str = ""
    sent_at: datetime | None = None
    back_on: date | None = None
    bounced: tuple[str, ...] = ()
    attachments: int = 0
    report: Bounced | None = None


def address_of(token: str, domain: str) -> str:
    """Return the address whose mail answers the message that *token* was made for."""
    return f"{LOCAL}{token}@{domain}"


def read_reply(mail: Incoming, today: date) -> Reply:
    """Say what a mail is. *today* is the day on which it came (UTC)."""
    is_report = any(REPORT.match(one.strip()) for one in mail.headers.get("content-type", ()))
    routed = [*mail.recipients, *(mail.enclosed.splitlines() if is_report else ())]
    tokens = dict.fromkeys(token for one in routed for token in tokens_in(one))
    sender = sender_of(mail.header("from"))
    report = read_bounce(mail.enclosed) if is_report else None
    kind, text, back = (Kind.BOUNCE, "", None) if report is not None else _meaning(mail, today)
    return Reply(
        kind,
        tuple(tokens)[:_MOST_TOKENS],
        _key(mail, sender),
        sender,
        text,
        mail.sent_at,
        back,
        report.recipients if report is not None and report.hard else (),
        mail.attachments,
        report,
    )


def tokens_in(text: str) -> Iterator[str]:
    """Yield the tokens of the reply addresses in a text, in lower case."""
    return (match[1].lower() for match in _TOKEN.finditer(text))


def sender_of(told: str) -> str:
    """Return the address in a From header, in lower case, "" without one."""
    try:
        sender = sanitised(parseaddr(told[:_MOST_SENDER])[1]).strip().lower()[:320]
    except (ValueError, LookupError, RecursionError):  # of comments in comments in comments
        return ""
    return sender if "@" in sender else ""


def _meaning(mail: Incoming, today: date) -> tuple[Kind, str, date | None]:
    words = own_words(mail.text)
    subject = mail.header("subject")
    if not _is_automatic(mail) or asks_to_stop("", subject):
        if asks_to_stop(words.above, subject):
            return Kind.OPT_OUT, words.all, None
        return Kind.REPLY, words.all or sanitised(mail.text).strip()[:MOST_KEPT], None
    said = f"{subject}\n{words.all}"
    if is_away_subject(subject) or says_away(said):
        return Kind.AWAY, words.all, back_on(said, today)
    return Kind.AUTOMATIC, "", None


def _is_automatic(mail: Incoming) -> bool:
    submitted = mail.header("auto-submitted").partition(";")[0].strip().lower()
    return (
        submitted not in ("", "no")
        or mail.null_sender
        or any(name in mail.headers for name in _AUTOMATIC)
        or mail.header("precedence").strip().lower() in _BULK
        or is_away_subject(mail.header("subject"))
        or _MACHINE.match(sender_of(mail.header("from"))) is not None
    )


def _key(mail: Incoming, sender: str) -> str:
    """Return what copies of a mail have in common: its Message-ID, or without one all that it says."""
    named = mail.header("message-id").strip()
    unnamed = "\n".join((sender, mail.header("date"), mail.header("subject"), mail.text))
    return sha256((named or unnamed).encode("utf-8", "replace")).hexdigest()
