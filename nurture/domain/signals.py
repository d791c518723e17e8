"""What a lead did, and how far it is believed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final


class SignalKind(StrEnum):
    """Everything that a lead, its mail server or its salesperson can tell us."""

    CLICKED = "clicked"
    OPENED = "opened"
    REPLIED = "replied"
    REGISTERED = "registered"
    ATTENDED = "attended"
    VISITED = "visited"
    SUBMITTED = "submitted"  # a form
    REQUESTED_DEMO = "requested_demo"
    DECIDING = "deciding"  # stated when it decides; value = ISO date
    USED = "used"  # the product; link or value = what of it
    CHANGED = "changed"  # its record in the CRM; value = what
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    AUTO_REPLIED = "auto_replied"


class SignalVerdict(StrEnum):
    """Who probably did it."""

    HUMAN = "human"
    SUSPECT = "suspect"
    BOT = "bot"


MAX_LIVE_DELAY: Final = timedelta(days=1)

SUPPRESSING_KINDS: Final = frozenset({SignalKind.UNSUBSCRIBED, SignalKind.BOUNCED, SignalKind.COMPLAINED})
"""Kinds after which the address is not mailed again."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that a lead did. *step* and *enrollment_id* name the touch it answers, if any.

    *auto_classified*: its verdict was found by rules, which later facts may overturn; others are as somebody
    declared.
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
        """Return when the lead did it, as opt-outs and pauses see it, which carry the time of our own clock.

        What is heard soon counts from then: mail is under way for a while, and its sender's clock may be
        wrong. What is told of the past counts from when it occurred.
        """
        recorded_at = self.recorded_at or self.occurred_at
        return recorded_at if recorded_at - self.occurred_at <= MAX_LIVE_DELAY else self.occurred_at


def human_signals(signals: Iterable[Signal]) -> list[Signal]:
    """Return the signals that are evidence: made by a human, as far as we can tell."""
    return [signal for signal in signals if signal.verdict is SignalVerdict.HUMAN]
