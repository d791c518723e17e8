"""Define signals, what a lead did, and their verdicts."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from nurture.domain.frozen import frozen


class SignalKind(StrEnum):
    """Everything that a lead, its mail server or its rep can report."""

    CLICKED = "clicked"
    OPENED = "opened"
    REPLIED = "replied"
    REGISTERED = "registered"
    ATTENDED = "attended"
    VISITED = "visited"
    SUBMITTED = "submitted"  # a form
    REQUESTED_DEMO = "requested_demo"
    DECIDING = "deciding"  # stated its decision date; value = ISO date
    USED = "used"  # used the product; link or value = which part
    CHANGED = "changed"  # its CRM record changed; value = what
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    AUTO_REPLIED = "auto_replied"


class SignalVerdict(StrEnum):
    """Who probably caused the signal."""

    HUMAN = "human"
    SUSPECT = "suspect"
    BOT = "bot"


MAX_LIVE_DELAY: Final = timedelta(days=1)

SUPPRESSING_KINDS: Final = frozenset({SignalKind.UNSUBSCRIBED, SignalKind.BOUNCED, SignalKind.COMPLAINED})
"""Kinds after which the address is not mailed again."""


@frozen
class Signal:
    """One thing that a lead did. *step* and *enrollment_id* name the touch that it responds to, if any.

    *auto_classified*: rules found the verdict, and later events may change it; otherwise somebody declared it.
    """

    kind: SignalKind
    occurred_at: datetime
    verdict: SignalVerdict = SignalVerdict.HUMAN
    auto_classified: bool = False
    enrollment_id: int | None = None
    track: str | None = None
    step: str | None = None
    link: str | None = None
    value: str | None = None
    recorded_at: datetime | None = None

    @property
    def effective_at(self) -> datetime:
        """Return when the lead did it, comparable with opt-outs and pauses, which use our own clock.

        A signal reported within a day counts from when it was recorded: mail takes time, and the sender's clock
        may be wrong. One reported later counts from when it occurred.
        """
        recorded_at = self.recorded_at or self.occurred_at
        return recorded_at if recorded_at - self.occurred_at <= MAX_LIVE_DELAY else self.occurred_at
