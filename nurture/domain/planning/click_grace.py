"""Find out whether a decision depends on recent clicks: later events may show that a bot made them."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nurture.domain.planning.lead_view import LeadView
from nurture.domain.policy.policy import Policy
from nurture.domain.scoring import scoring
from nurture.domain.signals import Signal, SignalVerdict


@dataclass(slots=True)
class ClickGrace:
    """The view with the clicks that are in their grace period, and when the first of these ends.

    *matters* becomes True when one of these clicks would change an answer, see `DecisionContext.ask`.
    """

    view: LeadView
    ends_at: datetime
    matters: bool = False


def grace_ends_at(signal: Signal, grace_period: timedelta) -> datetime | None:
    """Return when a click may be acted on, None for a signal without a grace period."""
    if not signal.auto_classified or signal.verdict is not SignalVerdict.HUMAN:
        return None
    return signal.occurred_at + grace_period


def exclude_recent_clicks(view: LeadView, policy: Policy, now: datetime) -> tuple[LeadView, ClickGrace | None]:
    """Return the view without clicks that are in their grace period at *now*, and these clicks.

    Returns the view unchanged and None if no click is in its grace period. Clicks after *now* are ignored.
    """
    recent: list[tuple[datetime, Signal]] = []
    for signal in view.signals:
        if signal.auto_classified and signal.occurred_at <= now:
            until = grace_ends_at(signal, policy.click_filtering.grace_period)
            if until is not None and until > now:
                recent.append((until, signal))
    if not recent:
        return view, None
    excluded_ids = {id(signal) for _, signal in recent}
    signals = tuple(signal for signal in view.signals if id(signal) not in excluded_ids)
    engagement = scoring.recompute_engagement(policy.points, signals, view.lead.signals_since, now)
    filtered = replace(view, lead=replace(view.lead, engagement=engagement), signals=signals)
    return filtered, ClickGrace(view, min(until for until, _ in recent))
