"""Read a delivery status notification: whether a mailbox turned out to be none."""

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
"""Characters between whom a report speaks of, and what is wrong with them, on one line."""


_EVENT_TYPES: Final[Mapping[str, DeliveryEventType]] = {
    "failed": DeliveryEventType.BLOCKED,
    "delayed": DeliveryEventType.DEFERRED,
    "delivered": DeliveryEventType.DELIVERED,
}
"""What each action says of the mail; what was relayed or expanded may still come to nothing."""


class BounceReport(NamedTuple):
    """Which addresses (lower case) a report is about, and whether no mail will ever reach them.

    *event_type* is what became of this mail, *status* the code that says why, "" for none.
    """

    recipients: tuple[str, ...]
    is_hard: bool
    event_type: DeliveryEventType = DeliveryEventType.UNKNOWN
    status: str = ""


def parse_bounce_report(report_text: str) -> BounceReport:
    """Read what a report encloses.

    Hard is an address that is none (5.1.x, 5.2.1), or 5.0.0 that says so: a full mailbox, a block or a
    message that is too large is not.
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
        return detail not in (7, 8)  # those are about the sender
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
