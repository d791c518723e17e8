"""Rates over hand-offs, each with the figure that the trade press reports."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from nurture.reporting.handoff_history import HandoffHistory

FOLLOW_UP_WINDOW: Final = timedelta(days=7)
CLOSE_WINDOWS: Final = (timedelta(days=30), timedelta(days=90))


@dataclass(frozen=True, slots=True)
class SalesRate:
    """A share of hand-offs; *benchmark* is the figure of the trade press, "" if there is none."""

    name: str
    count: int
    total: int
    benchmark: str
    definition: str

    @property
    def share(self) -> float | None:
        """Return the share, None if *total* is 0."""
        return self.count / self.total if self.total else None


class _RateDefinition(NamedTuple):
    """What a rate counts, among hand-offs at least *min_age* old and, if *closed_only*, not open."""

    name: str
    matches: Callable[[HandoffHistory], bool]
    benchmark: str
    definition: str
    min_age: timedelta = timedelta.min
    closed_only: bool = False


def compute_rates(found: Sequence[HandoffHistory], now: datetime) -> tuple[SalesRate, ...]:
    """Return every rate over the hand-offs in *found*."""
    return tuple(_compute_rate(rate_definition, found, now) for rate_definition in _RATE_DEFINITIONS)


def _compute_rate(rate_definition: _RateDefinition, found: Sequence[HandoffHistory], now: datetime) -> SalesRate:
    of = [
        one
        for one in found
        if now - one.decided_at >= rate_definition.min_age and not (rate_definition.closed_only and one.is_open)
    ]
    return SalesRate(
        rate_definition.name,
        sum(map(rate_definition.matches, of)),
        len(of),
        rate_definition.benchmark,
        rate_definition.definition,
    )


def _closed_within_rate(span: timedelta) -> _RateDefinition:
    return _RateDefinition(
        f"loop closed in {span.days} days",
        lambda one: one.was_closed_within(span),
        "",
        f"won, lost or rejected with a reason within {span.days} days; excludes younger hand-offs",
        min_age=span,
    )


_RATE_DEFINITIONS: Final = (
    _RateDefinition(
        "wrong owner",
        lambda one: one.had_wrong_owner,
        "25.5 %",
        "reassigned by hand, rejected as not theirs, or owned by somebody else in the CRM now",
    ),
    _RateDefinition(
        "reached", lambda one: one.was_reached_by_owner, "30 %", "the rep who accepted the lead contacted it"
    ),
    _RateDefinition(
        "never followed up",
        lambda one: (
            not (one.was_followed_up_within(FOLLOW_UP_WINDOW) or one.was_only_answered_within(FOLLOW_UP_WINDOW))
        ),
        "50-70 %",
        "neither contact nor an answer with a reason within 7 days of the first offer; excludes younger hand-offs",
        min_age=FOLLOW_UP_WINDOW,
    ),
    _RateDefinition(
        "contact not known",
        lambda one: one.was_only_answered_within(FOLLOW_UP_WINDOW),
        "",
        "given back with a reason within 7 days, and no contact is recorded; excludes younger ones",
        min_age=FOLLOW_UP_WINDOW,
    ),
    _RateDefinition(
        "followed up",
        lambda one: one.was_followed_up_within(FOLLOW_UP_WINDOW),
        "",
        "contacted within 7 days of the first offer; excludes younger hand-offs",
        min_age=FOLLOW_UP_WINDOW,
    ),
    _RateDefinition(
        "ignored",
        lambda one: one.was_ignored,
        "80 %",
        "no rep answered, or the rep who accepted made no contact; excludes open hand-offs",
        closed_only=True,
    ),
    *map(_closed_within_rate, CLOSE_WINDOWS),
)
