"""Clicks settle before anything acts on them: what follows may show that a machine made them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from nurture.domain.planning.conditions import earliest
from nurture.domain.planning.decision import Decision, HoldReason
from nurture.domain.planning.lead_view import View
from nurture.domain.policy.policy import Policy
from nurture.domain.scoring import scoring
from nurture.domain.signals import Signal, SignalVerdict


def settles_at(signal: Signal, settle: timedelta) -> datetime | None:
    """Return when a click may be acted on, None for what needs no settling."""
    if not signal.judged or signal.verdict is not SignalVerdict.HUMAN:
        return None
    return signal.occurred_at + settle


def settled(view: View, policy: Policy, now: datetime) -> tuple[View, datetime | None]:
    """Return the view without clicks that settle at *now*, and when the first of them has settled.

    None, with the view as it is, where nothing settles. Clicks of the future are not looked at yet.
    """
    young: list[tuple[datetime, Signal]] = []
    for signal in view.signals:
        if signal.judged and signal.occurred_at <= now:
            until = settles_at(signal, policy.evidence.settle)
            if until is not None and until > now:
                young.append((until, signal))
    if not young:
        return view, None
    left_out = {id(signal) for _, signal in young}
    signals = tuple(signal for signal in view.signals if id(signal) not in left_out)
    engagement = scoring.reckoned(policy.points, signals, view.lead.evidence_since, now)
    sure = replace(view, lead=replace(view.lead, engagement=engagement), signals=signals)
    return sure, min(until for until, _ in young)


def until_settled(decision: Decision, view: View, moment: datetime) -> Decision:
    """Return the hold that stands for *decision*, made without a click that settles at *moment*."""
    because = (
        f"a click is settling until {moment.isoformat(' ', 'seconds')[:19]} UTC; else: {decision.because}"
    )
    wake_at = earliest((moment, decision.wake_at if decision.hold is not None else None))
    position = view.enrollment.position if view.enrollment is not None else None
    return Decision((), position, wake_at, because, HoldReason.SETTLING)
