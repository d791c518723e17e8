"""The speed of hand-offs by tier: from the lead's signal to the brief, and from the brief to the first contact."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.planning.callback import CALLBACK_RULE
from nurture.domain.planning.conditions import DecidesWithin, leaves
from nurture.domain.policy.policy import Policy
from nurture.reporting import queries
from nurture.reporting.queries import OfferTimes
from nurture.reporting.sales import percentile
from nurture.runtime.context import AppContext

NO_TIER: Final = "no tier"
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class TierSpeed:
    """The offers of one tier that were made in the span. All times are minutes of the clock.

    *signal_to_brief* counts only the first offer since the lead's newest signal: from that signal, or from the decision
    to hand it off, until the brief was accepted for delivery. Offers on a date that was stated long before are left
    out. *brief_to_touch* counts offers with a first contact. *untouched* are accepted offers without one, *taken_back*
    those that nobody answered in time.
    """

    tier: str
    offers: int
    signal_to_brief_p50: float | None
    signal_to_brief_p95: float | None
    brief_to_touch_p50: float | None
    brief_to_touch_p95: float | None
    untouched: int
    taken_back: int


def report_speed(ctx: AppContext, since: datetime) -> list[TierSpeed]:
    """Return the speed of the offers made since *since*, the fastest tier first, in two statements."""
    with ctx.database.read() as tx:
        current = ctx.definitions.find_current(tx)
        offers = queries.list_offer_times(tx, since)
    groups: dict[str, list[OfferTimes]] = defaultdict(list)
    for one in offers:
        groups[one.tier or NO_TIER].append(one)
    order = [one.name for one in current.policy.tiers] if current is not None else []
    ordered = sorted(groups, key=lambda name: (order.index(name) if name in order else len(order), name))
    dated = _rules_on_dates(current.policy) if current is not None else frozenset()
    return [_one_tier(name, groups[name], dated) for name in ordered]


def _rules_on_dates(policy: Policy) -> frozenset[str]:
    """Return the rules that hand off on a date: their leads gave the signal long before."""
    on_dates = (
        one.name for one in policy.criteria if any(isinstance(part, DecidesWithin) for part in leaves(one.when))
    )
    return frozenset({CALLBACK_RULE, *on_dates})


def _one_tier(name: str, offers: Sequence[OfferTimes], dated: frozenset[str]) -> TierSpeed:
    briefed = sorted(
        max((one.briefed_at - one.signaled_at) / _MINUTE, 0.0)
        for one in offers
        if one.is_first and one.rule not in dated and one.briefed_at is not None
    )
    touched = sorted(
        (one.followed_up_at - (one.briefed_at or one.offered_at)) / _MINUTE for one in offers if one.followed_up_at
    )
    return TierSpeed(
        name,
        len(offers),
        percentile(briefed, 0.5),
        percentile(briefed, 0.95),
        percentile(touched, 0.5),
        percentile(touched, 0.95),
        sum(one.state == "accepted" and one.followed_up_at is None for one in offers),
        sum(one.state in ("expired", "lapsed") for one in offers),
    )
