"""Stops of mail that a person decides: of one track, of all mail to leads, or of all mail."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

ALL_TRACKS: Final = ""
"""The track of a stop that is not of one track: it stops all mail to leads, or all mail."""
STOP_REVIEW_INTERVAL: Final = timedelta(days=7)
"""How often a stopped lead or message is looked at; a start makes both due at once."""


class StopAction(StrEnum):
    """What a person decided about the mail of a track, or about all mail."""

    STOP = "stop"
    STOP_ALL = "stop_all"  # of all mail, also to sales
    RETIRE = "retire"  # its leads move to another track
    START = "start"


class Stop(NamedTuple):
    """The newest decision about *track* (a track, or `broadcasts/NAME`), or about all mail for ALL_TRACKS. *at* is UTC.

    *move_to* is the track that takes the leads of a retired one.
    """

    track: str
    action: StopAction
    reason: str
    decided_by: str
    at: datetime
    move_to: str = ""

    def __str__(self) -> str:
        """Describe what is stopped, since when, by whom and why."""
        what = name_stopped(self.track) or "all mail to leads"
        if self.action is StopAction.STOP_ALL:
            what = "all mail, also to sales,"
        return f"{what} is {'' if self.action is StopAction.RETIRE else 'stopped, '}{self.details}"

    @property
    def details(self) -> str:
        """Return since when it is stopped, by whom and why; of a retired track first where its leads go."""
        moved = f"retired; its leads move to {self.move_to}, " if self.action is StopAction.RETIRE else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{moved}since {self.at:%Y-%m-%d %H:%M} UTC by {self.decided_by}{reason}"


Stops = Mapping[str, Stop]
"""The stops that are active, by track."""


def find_stop(stops: Stops, track: str | None, *, to_lead: bool) -> Stop | None:
    """Return what stops a message of *track*, None if nothing does; mail to sales is stopped only with all mail."""
    stop = stops.get(ALL_TRACKS)
    if to_lead:
        return stops.get(track or ALL_TRACKS) or stop
    return stop if stop is not None and stop.action is StopAction.STOP_ALL else None


def start_command(stop: Stop) -> str:
    """Return the command that ends *stop*."""
    kind, _, name = name_stopped(stop.track).partition(" ")
    return f"nurture {kind}s start {name}" if name else "nurture mail start"


def name_stopped(track: str) -> str:
    """Return what a stop of *track* concerns: "track NAME" or "broadcast NAME", "" for all mail."""
    folder, slash, name = track.rpartition("/")
    return f"{folder.removesuffix('s')} {name}" if slash else f"track {track}" if track else ""
