"""The forecast of when reps have capacity again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select

from nurture.db.tables import routing as routing_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.domain.planning.program import Program
from nurture.domain.policy.policy import Policy

capacity_forecast = table(routing_tables.CapacityForecast)


def load_full_until(tx: Transaction, policy: Policy, programs: Iterable[Program], now: datetime) -> datetime | None:
    """Return until when touches of *programs* with a call to action wait for reps, None if they need not wait."""
    holds_calls_to_action = policy.priority.hold_calls_to_action_at is not None
    if not holds_calls_to_action or not any(program.calls_to_action for program in programs):
        return None
    until: datetime | None = tx.execute(select(capacity_forecast.c.full_until)).scalar()
    return until if until is not None and until > now else None
