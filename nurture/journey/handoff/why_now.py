"""Say in a sentence why a lead is handed off now: the label of its rule, and how long ago that happened."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from nurture.domain.planning.callback import CALLBACK_RULE
from nurture.domain.planning.conditions import DecidesWithin, SignalCondition, leaves
from nurture.domain.policy.policy import Policy
from nurture.domain.signals import SignalKind
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


def name_rules(reason: str, policy: Policy) -> str:
    """Return a recorded reason, or the name of a rule, with the labels of hand-off rules instead of their names."""
    names = [one.name for one in policy.readiness] + [one.name for one in policy.criteria]
    labels = {name: label for name in names if (label := rule_label(policy, name))}
    if not labels or reason in labels:
        return labels.get(reason, reason)
    named = "|".join(map(re.escape, sorted(labels, key=len, reverse=True)))
    return re.sub(rf"(?<![\w-])({named})(?=: )", lambda found: labels[found[1]], reason)


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
    day = _decision_date(offer, policy, activities)
    since = f" {format_ago(happened, now)}" if happened is not None else f": by {day.day} {day:%B %Y}" if day else ""
    return f"{label[0].upper()}{label[1:]}{since}"


def _decision_date(offer: OfferRow, policy: Policy, activities: Sequence[Activity]) -> date | None:
    """Return the date by which the lead says it decides, if its rule asks for one."""
    rules = [one.when for one in policy.criteria if one.name == offer.rule]
    if not any(isinstance(part, DecidesWithin) for when in rules for part in leaves(when)):
        return None
    stated = next((one.value for one in activities if one.kind == SignalKind.DECIDING), None)
    return read_decision_date(stated)


def read_decision_date(value: str | None) -> date | None:
    """Return the date that a signal of a decision date carries, None if it carries none."""
    try:
        return date.fromisoformat((value or "")[:10])
    except ValueError:
        return None


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
