"""Leads that asked to be called on a day: they are offered when it begins, whatever else they do."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from nurture.domain.lead import Lead
from nurture.domain.planning import calendar
from nurture.domain.planning.decision import Decision, HoldReason, Leave

CALL_BACK: Final = "call-back"
"""The rule by which such a lead is offered, and the reason for which its rep gave it back before."""


class Call(NamedTuple):
    """When the day begins on which a lead asked to be called."""

    at: datetime
    because: str


def call_of(lead: Lead, zone_fallback: str) -> Call | None:
    """Return the call that the lead asked for, None if it asked for none."""
    if lead.call_on is None:
        return None
    begins = calendar.start_of(lead.call_on, lead.zone or zone_fallback)
    return Call(begins, f"asked to be called on {lead.call_on}")


def kept_for_call(decision: Decision, lead: Lead, upcoming: datetime | None) -> Decision:
    """Keep a lead at its track's end whose call is to come; it wakes at *upcoming*, then or sooner."""
    if lead.call_on is None or not any(isinstance(action, Leave) for action in decision.actions):
        return decision
    actions = tuple(action for action in decision.actions if not isinstance(action, Leave))
    because = f"{decision.because}; asked to be called on {lead.call_on}"
    return Decision(actions, decision.position, upcoming, because, HoldReason.WAITING)
