"""Define what an answer to our mail means, and what each meaning causes."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final


class ReplyClass(StrEnum):
    """What an inbound mail means."""

    WANTS_TO_TALK = "wants_to_talk"
    QUESTION = "question"
    MEETING = "meeting"  # an invitation by calendar
    UNCLEAR = "unclear"  # a personal answer of several words
    UNCLEAR_SHORT = "unclear_short"
    POSSIBLE_OPT_OUT = "possible_opt_out"  # words of an opt-out that are not surely one
    NOT_NOW = "not_now"
    NOT_INTERESTED = "not_interested"
    WRONG_PERSON = "wrong_person"
    LEFT_COMPANY = "left_company"
    NO_MAIL = "no_mail"
    ERASURE_REQUEST = "erasure_request"
    COMPLAINT = "complaint"
    ABSENCE = "absence"
    CALENDAR_ANSWER = "calendar_answer"  # accepted, declined or tentative
    RECEIPT = "receipt"
    BOUNCE = "bounce"
    EMPTY = "empty"  # no words of the person's own
    AUTOMATIC = "automatic"

    @property
    def label(self) -> str:
        """Return the class in words."""
        return _LABELS.get(self, self.value.replace("_", " "))


_LABELS: Final = {
    ReplyClass.MEETING: "invites to a meeting",
    ReplyClass.UNCLEAR_SHORT: "unclear",
    ReplyClass.POSSIBLE_OPT_OUT: "may want no mail",
    ReplyClass.LEFT_COMPANY: "left the company",
    ReplyClass.NO_MAIL: "wants no mail",
    ReplyClass.ERASURE_REQUEST: "wants to be erased",
}


class ReplyAction(StrEnum):
    """What a class of replies causes."""

    HAND_OFF = "hand_off"  # a signal `replied`, which criteria of the policy may hand off
    SUPPRESS = "suppress"  # no more mail to the address
    END_TRACK = "end_track"  # the lead is closed
    PAUSE = "pause"  # no mail before the day that the reply names
    QUEUE = "queue"  # a person reads it
    NOTE = "note"  # it is listed among the lead's replies


DEFAULT_PAUSE: Final = timedelta(days=90)
"""How long a lead that says "not now" without a day is paused."""

ALLOWED_ACTIONS: Final[Mapping[ReplyClass, tuple[ReplyAction, ...]]] = {
    **dict.fromkeys(
        (ReplyClass.WANTS_TO_TALK, ReplyClass.QUESTION, ReplyClass.MEETING, ReplyClass.UNCLEAR),
        (ReplyAction.HAND_OFF, ReplyAction.QUEUE, ReplyAction.NOTE),
    ),
    ReplyClass.UNCLEAR_SHORT: (ReplyAction.QUEUE, ReplyAction.HAND_OFF, ReplyAction.NOTE),
    ReplyClass.POSSIBLE_OPT_OUT: (ReplyAction.QUEUE, ReplyAction.SUPPRESS),
    ReplyClass.NOT_NOW: (ReplyAction.PAUSE, ReplyAction.QUEUE, ReplyAction.END_TRACK, ReplyAction.NOTE),
    ReplyClass.NOT_INTERESTED: (ReplyAction.END_TRACK, ReplyAction.QUEUE, ReplyAction.SUPPRESS),
    ReplyClass.WRONG_PERSON: (ReplyAction.QUEUE, ReplyAction.END_TRACK, ReplyAction.SUPPRESS),
    **dict.fromkeys(
        (ReplyClass.LEFT_COMPANY, ReplyClass.NO_MAIL, ReplyClass.ERASURE_REQUEST, ReplyClass.COMPLAINT),
        (ReplyAction.SUPPRESS,),
    ),
    ReplyClass.ABSENCE: (ReplyAction.PAUSE, ReplyAction.NOTE),
    **dict.fromkeys(
        (ReplyClass.CALENDAR_ANSWER, ReplyClass.EMPTY, ReplyClass.AUTOMATIC), (ReplyAction.NOTE, ReplyAction.QUEUE)
    ),
    **dict.fromkeys((ReplyClass.RECEIPT, ReplyClass.BOUNCE), (ReplyAction.NOTE,)),
}
"""The actions that the policy may choose for each class; the first is the default."""

DEFAULT_ACTIONS: Final = {one: actions[0] for one, actions in ALLOWED_ACTIONS.items()}

MACHINE_CLASSES: Final = frozenset(
    {
        *(ReplyClass.ABSENCE, ReplyClass.CALENDAR_ANSWER, ReplyClass.RECEIPT, ReplyClass.BOUNCE),
        *(ReplyClass.AUTOMATIC, ReplyClass.EMPTY, ReplyClass.COMPLAINT),
    }
)
"""Classes in which no person speaks to us."""

CLASSES_OF_PROGRAMS: Final = frozenset(
    {
        *(ReplyClass.UNCLEAR, ReplyClass.UNCLEAR_SHORT, ReplyClass.POSSIBLE_OPT_OUT),
        *(ReplyClass.WANTS_TO_TALK, ReplyClass.QUESTION, ReplyClass.NOT_NOW),
    }
)
"""Classes of texts that an absence note may contain, such as "call me in urgent cases"."""


def queue_name(reply_class: ReplyClass) -> str:
    """Return the queue in which leads with such a reply wait for a person."""
    return f"reply-{reply_class.value.replace('_', '-')}"
