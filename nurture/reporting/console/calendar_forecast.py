"""What the planner makes of the leads in the days of the calendar if nobody acts; kept, as it takes a second."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

from nurture.db.engine import Database
from nurture.db.transaction import Transaction
from nurture.domain.delivery.stops import Stops
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.stop_queries import load_stops
from nurture.journey.tracks.advance import load_for_planner
from nurture.journey.tracks.forecast import Forecast
from nurture.journey.tracks.forecast_groups import forecast_all
from nurture.reporting.console import calendar_queries
from nurture.runtime.context import AppContext
from nurture.runtime.published import Definitions

DAYS: Final = 28
MAX_FORECAST: Final = 500
"""How many leads are forecast for a page; see `Sample`."""

FRESH: Final = timedelta(minutes=5)
"""How long a forecast serves all who look, if nothing is published, stopped or started."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How many leads are on a track or come up until the end, and how many of them were forecast.

    With more than MAX_FORECAST, those whose id is a multiple of a number; *factor* is how many each stands for.
    """

    leads: int
    forecast: int

    @property
    def factor(self) -> float:
        """Return how many leads each forecast lead stands for."""
        return self.leads / self.forecast if self.forecast else 1.0

    @property
    def is_whole(self) -> bool:
        """Return whether every lead was forecast."""
        return self.forecast == self.leads


@dataclass(frozen=True, slots=True)
class LeadForecasts:
    """The leads of the *sample* with their countries and what happens to them in the DAYS days from *now* (UTC) on."""

    now: datetime
    definitions: Definitions
    stops: Stops
    leads: Sequence[tuple[LeadSnapshot, str, Forecast]]
    sample: Sample

    @property
    def until(self) -> datetime:
        """Return the end of the days."""
        return self.now + timedelta(days=DAYS)


def forecast_leads(ctx: AppContext, tx: Transaction, now: datetime, limit: int = MAX_FORECAST) -> LeadForecasts | None:
    """Forecast the leads, or a sample, in a constant number of statements; None if nothing is published."""
    definitions = ctx.definitions.find_current(tx)
    if definitions is None:
        return None
    until = now + timedelta(days=DAYS)
    count = calendar_queries.count_leads(tx, until)
    step = -(-count // limit) | 1 if count > limit else 1  # odd: files often alternate between two kinds of leads
    ids = calendar_queries.list_every(tx, until, step)[:limit]
    rows = snapshot.load_rows(tx, ids, lock=False)
    leads = load_for_planner(ctx, tx, definitions, rows, now, may_enter=definitions.programs) if rows else []
    pairs = [(lead, row.country) for lead, row in zip(leads, rows, strict=True)]
    forecasts = forecast_all(pairs, definitions, now, until, ctx.holidays)
    found = [(lead, country, one) for (lead, country), one in zip(pairs, forecasts, strict=True)]
    return LeadForecasts(now, definitions, load_stops(tx), found, Sample(count, len(leads)))


def find_forecasts(ctx: AppContext, tx: Transaction, now: datetime) -> LeadForecasts | None:
    """Return the forecast that this process keeps for the database, made anew if it is not FRESH any more."""
    with _LOCK:  # who asks meanwhile shares the result
        kept = _KEPT.get(ctx.database)
        if kept is None or not _is_fresh(kept, ctx, tx, now):
            kept = forecast_leads(ctx, tx, now)
            if kept is not None:
                _KEPT[ctx.database] = kept
    return kept


def _is_fresh(kept: LeadForecasts, ctx: AppContext, tx: Transaction, now: datetime) -> bool:
    return (
        timedelta() <= now - kept.now < FRESH
        and ctx.definitions.find_current(tx) is kept.definitions
        and load_stops(tx) == kept.stops
    )


_KEPT: Final[WeakKeyDictionary[Database, LeadForecasts]] = WeakKeyDictionary()
_LOCK: Final = Lock()
