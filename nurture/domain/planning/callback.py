"""Offer leads on the day on which they asked to be called."""

from datetime import datetime
from typing import Final, NamedTuple

from nurture.domain.lead import Lead
from nurture.domain.planning import calendar
from nurture.domain.planning.decision import Decision, EndEnrollment, HoldReason

CALLBACK_RULE: Final = "call-back"
"""The rule name for such an offer, and the reject reason with which its rep returned the lead before."""


class Callback(NamedTuple):
    """When the day begins on which a lead asked to be called."""

    at: datetime
    reason: str


def requested_callback(lead: Lead, zone_fallback: str) -> Callback | None:
    """Return the call that the lead asked for, None if it asked for none."""
    if lead.call_on is None:
        return None
    starts_at = calendar.start_of_day(lead.call_on, lead.zone or zone_fallback)
    return Callback(starts_at, f"asked to be called on {lead.call_on}")


def hold_for_callback(decision: Decision, lead: Lead, wake_at: datetime | None) -> Decision:
    """Keep a lead on its finished track while a call is still to come; it wakes at *wake_at*."""
    if lead.call_on is None or not any(isinstance(action, EndEnrollment) for action in decision.actions):
        return decision
    actions = tuple(action for action in decision.actions if not isinstance(action, EndEnrollment))
    reason = f"{decision.reason}; asked to be called on {lead.call_on}"
    return Decision(actions, decision.position, wake_at, reason, HoldReason.WAITING, ways=decision.ways)
