"""Parse delivery status notifications (RFC 3464)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from nurture.domain.delivery.delivery_status import DeliveryEventType

_RECIPIENT: Final = re.compile(
    r"^(?:final|original)-recipient:[ \t]{0,20}(?:[\w-]{1,40}[ \t]{0,20};[ \t]{0,20})?"
    r"<?([^\s<>;@]{1,64}@[^\s<>;]{1,255}+)>?[ \t]*+\r?$",
    re.IGNORECASE | re.MULTILINE,
)
_ACTION: Final = re.compile(r"^action:[ \t]{0,20}([a-z]{1,20})", re.IGNORECASE | re.MULTILINE)
_STATUS: Final = re.compile(r"^status:[ \t]{0,20}([245])\.(\d{1,3})\.(\d{1,3})", re.IGNORECASE | re.MULTILINE)
_UNKNOWN_USER: Final = re.compile(
    r"user unknown|unknown user|no such (?:user|recipient|mailbox|address)|mailbox (?:not found|"
    r"unavailable|does not exist)",
    re.IGNORECASE,
)
_REFUSAL_WORDS: Final = re.compile(
    r"does not exist|doesn't exist|not exist|not found|rejected|unknown|disabled|inactive", re.IGNORECASE
)
_RECIPIENT_WORDS: Final = re.compile(r"recipient|address|account|user|mailbox", re.IGNORECASE)
_MAX_DISTANCE: Final = 70
"""Characters between the recipient word and the refusal word on one line."""

_EVENT_TYPES: Final[Mapping[str, DeliveryEventType]] = {
    "failed": DeliveryEventType.BLOCKED,
    "delayed": DeliveryEventType.DEFERRED,
    "delivered": DeliveryEventType.DELIVERED,
}
"""Actions with a known outcome; a mail that was relayed or expanded may still fail."""


class BounceReport(NamedTuple):
    """The recipients (lower case) of a report, and whether the bounce is hard.

    *event_type* is the outcome of the mail, *status* its enhanced status code, or "".
    """

    recipients: tuple[str, ...]
    is_hard: bool
    event_type: DeliveryEventType = DeliveryEventType.UNKNOWN
    status: str = ""


def parse_bounce_report(report_text: str) -> BounceReport:
    """Parse the text of a report.

    A bounce is hard if the address does not exist: 5.1.x, 5.2.1, or 5.0.0 with such a text. A full mailbox, a
    block or a message that is too large is not.
    """
    recipients = tuple(dict.fromkeys(one.lower() for one in _RECIPIENT.findall(report_text)))[:20]
    action = _ACTION.search(report_text)
    statuses = {(int(one), int(two), int(three)) for one, two, three in _STATUS.findall(report_text)}
    action_name = action[1].lower() if action is not None else "failed"
    status = statuses.pop() if len(statuses) == 1 else None
    is_hard = action_name == "failed" and status is not None and _is_hard(*status, report_text)
    event_type = _EVENT_TYPES.get(action_name, DeliveryEventType.UNKNOWN)
    return BounceReport(
        recipients,
        is_hard,
        DeliveryEventType.BOUNCED if is_hard else event_type,
        ".".join(map(str, status)) if status is not None else "",
    )


def _is_hard(status_class: int, subject: int, detail: int, text: str) -> bool:
    if status_class != 5:
        return False
    if subject == 1:
        return detail not in (7, 8)  # 5.1.7 and 5.1.8 concern the sender
    if (subject, detail) == (2, 1):
        return True
    return (subject, detail) == (0, 0) and _says_user_unknown(text)


def _says_user_unknown(text: str) -> bool:
    if _UNKNOWN_USER.search(text) is not None:
        return True
    for refused in _REFUSAL_WORDS.finditer(text):
        line = text.rfind("\n", 0, refused.start()) + 1
        if _RECIPIENT_WORDS.search(text, max(line, refused.start() - _MAX_DISTANCE), refused.start()) is not None:
            return True
    return False
