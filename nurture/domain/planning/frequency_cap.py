"""The frequency caps: how many emails one lead gets in a period, over all tracks, of one track or on one topic."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

_HOUR: Final = timedelta(hours=1)


class CountedEmail(NamedTuple):
    """An email that counts for the caps, and when it was sent or is planned.

    *topic* is in normal form; *track* and *topic* are "" for an email of neither a track nor a broadcast.
    """

    at: datetime
    track: str = ""
    topic: str = ""


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """At most *touches* emails to one lead in any span of *per*: over all tracks, of one *track* or on one *topic*.

    *topic* is in normal form. *by_lead*: the lead asked for it.
    """

    touches: int
    per: timedelta
    track: str = ""
    topic: str = ""
    by_lead: bool = False

    def __post_init__(self) -> None:
        if self.touches < 1 or self.per <= timedelta():
            raise ValueError(
                f"a frequency cap needs at least one touch and a positive span, not {self.touches}/{self.per}"
            )

    def frees_at(self, counted: Sequence[CountedEmail], at: datetime) -> datetime | None:
        """Return when an email may follow those *counted*, None if it may at *at*.

        An email later than *at* counts too: it is already planned.
        """
        if len(counted) < self.touches:
            return None
        since = at - self.per
        times = sorted(one.at for one in counted if one.at > since and self._counts(one))
        return times[-self.touches] + self.per if len(times) >= self.touches else None

    def _counts(self, email: CountedEmail) -> bool:
        return self.track in ("", email.track) and self.topic in ("", email.topic)

    def __str__(self) -> str:
        """Describe why an email waits for this cap."""
        emails, span = f"{self.touches} email{'' if self.touches == 1 else 's'}", format_span(self.per)
        if self.by_lead:
            return f"the lead asked for one email in {span} at most"
        of = f" of {self.track}" if self.track else f" on {self.topic}" if self.topic else ""
        return f"already {emails}{of} in {span}"


def latest_release(
    caps: Iterable[FrequencyCap], counted: Sequence[CountedEmail], at: datetime
) -> tuple[datetime, FrequencyCap] | None:
    """Return when the last of *caps* lets an email go, and that cap; None if all do at *at*."""
    latest = None
    for cap in caps:
        frees_at = cap.frees_at(counted, at)
        if frees_at is not None and (latest is None or frees_at > latest[0]):
            latest = frees_at, cap
    return latest


def format_span(span: timedelta) -> str:
    """Format a span as a definition writes it: 7 days, 36 hours."""
    number, unit = (span.days, "day") if span.days and not span.seconds else (span / _HOUR, "hour")
    return f"{number:g} {unit}{'' if number == 1 else 's'}"
