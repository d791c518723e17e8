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

    def next_allowed_at(self, sent: Sequence[datetime], at: datetime) -> datetime | None:
        """Return when a touch may follow those *sent*, None if it may at *at*.

        A touch later than *at* counts too: it is already planned.
        """
        if len(sent) < self.touches:
            return None
        counted = sorted(past for past in sent if past > at - self.per)
        return counted[-self.touches] + self.per if len(counted) >= self.touches else None

    def next_allowed_at_interval(
        self, touch_interval: timedelta | None, sent: Sequence[datetime], at: datetime
    ) -> datetime | None:
        """Return as `next_allowed_at`, for a lead that asked for at most one touch per *touch_interval*."""
        by_cap = self.next_allowed_at(sent, at)
        if touch_interval is None:
            return by_cap
        by_interval = FrequencyCap(1, touch_interval).next_allowed_at(sent, at)
        return by_interval if by_cap is None or (by_interval is not None and by_interval > by_cap) else by_cap
