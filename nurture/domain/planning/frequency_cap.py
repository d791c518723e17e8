"""The frequency cap: how many touches one lead gets in a period, over all tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """At most *touches* touches to one lead in any span of *per*, over all tracks."""

    touches: int
    per: timedelta

    def __post_init__(self) -> None:
        if self.touches < 1 or self.per <= timedelta():
            raise ValueError(
                f"a frequency cap needs at least one touch and a positive span, not {self.touches}/{self.per}"
            )

    def next_allowed_at(
        self, sent: Sequence[datetime], at: datetime, touch_interval: timedelta | None
    ) -> datetime | None:
        """Return when a touch may follow those *sent*, None if it may at *at*.

        A touch later than *at* counts too: it is already planned. *touch_interval*: the lead asked for at most one
        touch in this time.
        """
        frees_at = _frees_at(self.touches, self.per, sent, at)
        if touch_interval is None:
            return frees_at
        return max(filter(None, (frees_at, _frees_at(1, touch_interval, sent, at))), default=None)


def _frees_at(touches: int, per: timedelta, sent: Sequence[datetime], at: datetime) -> datetime | None:
    if len(sent) < touches:
        return None
    counted = sorted(past for past in sent if past > at - per)
    return counted[-touches] + per if len(counted) >= touches else None
