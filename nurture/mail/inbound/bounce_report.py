"""Read reports of mail servers and mail programs: bounces (RFC 3464), complaints (RFC 5965) and receipts."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from nurture.domain.delivery.delivery_status import DeliveryEventType
from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.message import ParsedMail
from nurture.mail.refusal import Refusal, find_enhanced_status, judge_refusal

_RECIPIENT: Final = re.compile(
    r"^(?:(?:final|original)-recipient|original-rcpt-to):[ \t]{0,20}(?:[\w-]{1,40}[ \t]{0,20};[ \t]{0,20})?"
    r"<?([^\s<>;@]{1,64}@[^\s<>;]{1,255}+)>?[ \t]*+\r?$",
    re.IGNORECASE | re.MULTILINE,
)
_ACTION: Final = re.compile(r"^action:[ \t]{0,20}([a-z]{1,20})", re.IGNORECASE | re.MULTILINE)
_STATUS: Final = re.compile(r"^status:[ \t]{0,20}([245])\.(\d{1,3})\.(\d{1,3})", re.IGNORECASE | re.MULTILINE)
_DIAGNOSTIC: Final = re.compile(r"^diagnostic-code:([^\r\n]*+)", re.IGNORECASE | re.MULTILINE)
_RETURNED_COPY: Final = re.compile(
    r"^(?:return-path|received):|copy of (?:the|your) (?:message|mail)|original message", re.IGNORECASE | re.MULTILINE
)
_MAX_PLAIN_TEXT: Final = 4_000
_PERMANENT_CODE: Final = re.compile(r"(?<![\d.])5(?:\d\d|\.\d{1,3}\.\d{1,3})(?![\d.]*+\d)")
_ADDRESS: Final = re.compile(r"(?<![^\s<>()\[\]:;,\"'])[^\s<>()\[\]:;,\"'@]{1,64}@[\w.-]{1,255}+")
_FEEDBACK_TYPE: Final = re.compile(r"^feedback-type:[ \t]{0,20}([a-z-]{1,40})", re.IGNORECASE | re.MULTILINE)

_EVENT_TYPES: Final[Mapping[str, DeliveryEventType]] = {
    "failed": DeliveryEventType.BLOCKED,
    "delayed": DeliveryEventType.DEFERRED,
    "delivered": DeliveryEventType.DELIVERED,
}
"""Actions with a known outcome; a mail that was relayed or expanded may still fail."""

_FEEDBACK_TYPES: Final[Mapping[str, DeliveryEventType]] = {
    "abuse": DeliveryEventType.COMPLAINED,
    "fraud": DeliveryEventType.COMPLAINED,
    "opt-out": DeliveryEventType.UNSUBSCRIBED,
    "opt-out-list": DeliveryEventType.UNSUBSCRIBED,
}
"""What the reader did, by Feedback-Type (RFC 5965); the other types, such as not-spam and virus, are no objection."""


class BounceReport(NamedTuple):
    """The recipients (lower case) of a report, and whether the bounce is hard.

    *event_type* is the outcome of the mail, *status* its enhanced status code, or "". An ambiguous bounce is hard if a
    later email to the address bounces alike.
    """

    recipients: tuple[str, ...]
    is_hard: bool
    event_type: DeliveryEventType = DeliveryEventType.UNKNOWN
    status: str = ""
    is_ambiguous: bool = False

    def as_hard(self) -> "BounceReport":
        """Return the report as a hard bounce."""
        return self._replace(is_hard=True, event_type=DeliveryEventType.BOUNCED, is_ambiguous=False)


def parse_bounce_report(report_text: str) -> BounceReport:
    """Parse the text of a report.

    A bounce is hard if the address does not exist. A full mailbox, a block, or a message that is too large is not.
    """
    recipients = parse_recipients(report_text)
    action = _ACTION.search(report_text)
    statuses = {status[0].partition(":")[2].strip() for status in _STATUS.finditer(report_text)}
    if action is None or len(statuses) > 1:  # several recipients with different outcomes
        return BounceReport(recipients, False)
    event_type = _EVENT_TYPES.get(action[1].lower(), DeliveryEventType.UNKNOWN)
    reply = " ".join(_DIAGNOSTIC.findall(report_text))
    if event_type is DeliveryEventType.BLOCKED:
        return _judge_failure(recipients, "".join(statuses), reply)
    return BounceReport(recipients, False, event_type, find_enhanced_status("".join(statuses), reply))


def parse_plain_bounce(text: str) -> BounceReport | None:
    """Parse the text in which some mail servers report a failure to people only, None if it reports none."""
    copy = _RETURNED_COPY.search(text)
    said = text[: copy.start() if copy is not None else _MAX_PLAIN_TEXT][:_MAX_PLAIN_TEXT]
    if _PERMANENT_CODE.search(said) is None:
        return None
    recipients = tuple(dict.fromkeys(one.lower() for one in _ADDRESS.findall(said)))[:20]
    return _judge_failure(recipients, "", said)


def _judge_failure(recipients: tuple[str, ...], status: str, reply: str) -> BounceReport:
    refusal = judge_refusal(status, reply)
    is_hard = refusal is Refusal.ABSENT
    return BounceReport(
        recipients,
        is_hard,
        DeliveryEventType.BOUNCED if is_hard else DeliveryEventType.BLOCKED,
        find_enhanced_status(status, reply),
        refusal is Refusal.AMBIGUOUS,
    )


def parse_feedback_report(report_text: str) -> BounceReport:
    """Parse the text of a complaint (RFC 5965), whose recipients may be redacted.

    The event type is UNKNOWN unless the reader complained or unsubscribed.
    """
    feedback_type = _FEEDBACK_TYPE.search(report_text)
    event_type = _FEEDBACK_TYPES.get(feedback_type[1].lower() if feedback_type is not None else "")
    return BounceReport(parse_recipients(report_text), False, event_type or DeliveryEventType.UNKNOWN)


def parse_recipients(report_text: str) -> tuple[str, ...]:
    """Return the recipients that a report names, in lower case."""
    return tuple(dict.fromkeys(one.lower() for one in _RECIPIENT.findall(report_text)))[:20]


_MAIL_SERVER: Final = re.compile(r"mailer[._-]?daemon|postmaster@|mail delivery (?:sub)?system", re.IGNORECASE)
"""Senders of bounces."""

_FEEDBACK_CLASSES: Final = {
    DeliveryEventType.COMPLAINED: ReplyClass.COMPLAINT,
    DeliveryEventType.UNSUBSCRIBED: ReplyClass.NO_MAIL,
}


class Report(NamedTuple):
    """A report: its class, and what it says of the delivery, None for receipts and unknown kinds."""

    kind: ReplyClass
    bounce_report: BounceReport | None = None

    @property
    def bounced_addresses(self) -> tuple[str, ...]:
        """Return the addresses that do not exist."""
        return self.bounce_report.recipients if self.bounce_report is not None and self.bounce_report.is_hard else ()


def read_report(mail: ParsedMail) -> Report | None:
    """Return the report that a mail is, None if it is none."""
    match mail.report_type:
        case "":
            return _read_plain_bounce(mail)
        case "delivery-status":
            return Report(ReplyClass.BOUNCE, parse_bounce_report(mail.report_text))
        case "feedback-report":
            feedback = parse_feedback_report(mail.report_text)
            return Report(_FEEDBACK_CLASSES.get(feedback.event_type, ReplyClass.AUTOMATIC), feedback)
        case "disposition-notification":
            return Report(ReplyClass.RECEIPT)
        case _:
            return Report(ReplyClass.AUTOMATIC)


def _read_plain_bounce(mail: ParsedMail) -> Report | None:
    if not mail.has_null_sender or _MAIL_SERVER.search(mail.header("from")) is None:
        return None
    bounce_report = parse_plain_bounce(mail.text)
    return Report(ReplyClass.BOUNCE, bounce_report) if bounce_report is not None else None
