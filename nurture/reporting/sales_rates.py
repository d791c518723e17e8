"""The shares of hand-offs that went well or badly, each with the trade press's figure beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from nurture.reporting.handoff_history import Handover

NEVER_AFTER: Final = timedelta(days=7)
CLOSURES: Final = (timedelta(days=30), timedelta(days=90))


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of hand-offs, and the figure of the trade press beside it, "" where there is none."""

    name: str
    part: int
    whole: int
    elsewhere: str
    means: str

    @property
    def share(self) -> float | None:
        """Return the share, None of nothing."""
        return self.part / self.whole if self.whole else None


class _Asked(NamedTuple):
    """What one share counts: of hand-offs at least so old, and if *answered*, of those not open any more."""

    name: str
    is_so: Callable[[Handover], bool]
    elsewhere: str
    means: str
    older: timedelta = timedelta.min
    answered: bool = False


def rates(found: Sequence[Handover], now: datetime) -> tuple[Rate, ...]:
    """Return every share of the hand-offs in *found*."""
    return tuple(_rate(asked, found, now) for asked in _ASKED)


def _rate(asked: _Asked, found: Sequence[Handover], now: datetime) -> Rate:
    of = [
        one for one in found if now - one.decided_at >= asked.older and not (asked.answered and one.is_open)
    ]
    return Rate(asked.name, sum(map(asked.is_so, of)), len(of), asked.elsewhere, asked.means)


def _closed_within(span: timedelta) -> _Asked:
    return _Asked(
        f"loop closed in {span.days} days",
        lambda one: one.closed_within(span),
        "",
        f"won, lost or given back with a reason within {span.days} days; younger ones left out",
        older=span,
    )


_ASKED: Final = (
    _Asked(
        "wrong owner",
        lambda one: one.wrong_owner,
        "25.5 %",
        "passed on by hand, refused as not theirs, or owned by somebody else in the CRM by now",
    ),
    _Asked("reached", lambda one: one.reached_by_owner, "30 %", "whoever took the lead got in touch with it"),
    _Asked(
        "never followed up",
        lambda one: not one.followed_up_within(NEVER_AFTER),
        "50-70 %",
        "nobody got in touch within 7 days of the first offer; younger ones left out",
        older=NEVER_AFTER,
    ),
    _Asked(
        "ignored",
        lambda one: one.ignored,
        "80 %",
        "nobody answered the offer, or took it and never got in touch; open ones left out",
        answered=True,
    ),
    *map(_closed_within, CLOSURES),
)
