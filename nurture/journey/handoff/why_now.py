"""Say in a sentence why a lead is handed off now: the label of its rule, and how long ago that happened."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.planning.callback import CALLBACK_RULE
from nurture.domain.planning.conditions import SignalCondition, leaves
from nurture.domain.policy.policy import Policy
from nurture.journey.handoff.lead_profile_queries import Activity
from nurture.journey.leads.changeset import OfferRow

CLAIMED_BY_REP: Final = "claimed_by_rep"
"""The rule recorded when a rep asked for a lead."""

_BUILT_IN_LABELS: Final = {CALLBACK_RULE: "asked to be called about now", CLAIMED_BY_REP: "you asked for this lead"}
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_UNITS: Final = (("minute", _MINUTE, _HOUR), ("hour", _HOUR, _DAY), ("day", _DAY, 15 * _DAY))
"""Each unit, its length, and up to which age it is used."""


def rule_label(policy: Policy, rule: str) -> str:
    """Return the label of a hand-off rule, "" if the policy gives it none."""
    labels = {one.name: one.label for one in policy.readiness} | {one.name: one.label for one in policy.criteria}
    return labels.get(rule) or _BUILT_IN_LABELS.get(rule, "")


def describe_why_now(offer: OfferRow, policy: Policy, activities: Sequence[Activity], now: datetime) -> str:
    """Return why the lead of *offer* is handed off; *activities* are its newest ones, the newest first.

    Without a label in the policy it is the reason that the engine recorded.
    """
    label = rule_label(policy, offer.rule)
    if not label:
        return offer.handoff_reason
    kinds = {
        part.kind.value
        for one in policy.criteria
        if one.name == offer.rule
        for part in leaves(one.when)
        if isinstance(part, SignalCondition)
    }
    happened = next((one.occurred_at for one in activities if one.kind in kinds), None)
    return f"{label[0].upper()}{label[1:]}" + (f" {format_ago(happened, now)}" if happened is not None else "")


def format_ago(at: datetime, now: datetime) -> str:
    """Return how long ago *at* was, as text; a date if it is more than two weeks."""
    age = max(now - at, timedelta())
    if age < 2 * _MINUTE:
        return "just now"
    for unit, length, limit in _UNITS:
        if age < limit:
            count = age // length
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return f"on {at.day} {at:%B %Y}"
