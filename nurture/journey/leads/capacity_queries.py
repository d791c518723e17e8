"""The forecast of when reps have capacity again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from nurture.db.tables import routing as routing_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction

capacity_forecast = table(routing_tables.CapacityForecast)


def load_full_until(tx: Transaction, now: datetime) -> datetime | None:
    """Return when reps are forecast to have capacity again, None if they have some now."""
    until: datetime | None = tx.execute(select(capacity_forecast.c.full_until)).scalar()
    return until if until is not None and until > now else None
