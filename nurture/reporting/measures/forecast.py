"""The forecast of buyers within 12 months of a cohort: the articles' curve as the prior, own data as it comes."""

from __future__ import annotations

from math import erf, log, sqrt
from typing import Final, NamedTuple

YEAR: Final = 365.0
PRIOR_SHARE: Final = 0.45
"""The share of leads that buy within 12 months, as the articles have it."""

PRIOR_LEADS: Final = 50
"""How many finished leads of our own count as much as the articles' share."""

_MEDIAN_DAYS, _SIGMA = 11.08 * 365 / 12, 1.065
"""Log-normal times until a purchase: 11 % in 3 months, 28 % in 6, 53 % in 12, of those who ever buy."""


class Cohort(NamedTuple):
    """The leads of one month of first contact: how many, their mean age in days, and how many bought within a year."""

    month: str
    leads: int
    days: float
    bought: int


class Forecast(NamedTuple):
    """The buyers of a cohort within 12 months: those there are, and how many are expected in all."""

    month: str
    leads: int
    bought: int
    expected: float
    is_finished: bool


def share_of_year(days: float) -> float:
    """Return which share of the buyers of the first year has bought by this age."""
    return min(_cumulative(days) / _cumulative(YEAR), 1.0)


def _cumulative(days: float) -> float:
    return 0.5 * (1 + erf(log(days / _MEDIAN_DAYS) / (_SIGMA * sqrt(2)))) if days > 0 else 0.0


def forecast(cohorts: list[Cohort]) -> list[Forecast]:
    """Return the forecast of each cohort.

    The share of buyers is that of all cohorts, each lead weighted by how much of its year is over; with few it stays
    near `PRIOR_SHARE`.
    """
    seen = sum(one.leads * share_of_year(one.days) for one in cohorts)
    share = (sum(one.bought for one in cohorts) + PRIOR_SHARE * PRIOR_LEADS) / (seen + PRIOR_LEADS)
    return [
        Forecast(
            one.month,
            one.leads,
            one.bought,
            round(min(one.bought + one.leads * share * (1 - share_of_year(one.days)), one.leads), 1),
            one.days >= YEAR,
        )
        for one in cohorts
    ]
