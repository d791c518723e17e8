"""Estimate what leads that nobody worked are worth: leads x own win rate x own deal value, as ranges."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean, median, stdev
from typing import Final, NamedTuple

from nurture.errors import InvalidState
from nurture.formats.numbers import read_amount
from nurture.reporting.leaks.facts import DealFacts, Ending, LeadFacts, Touch, index_leads

CONFIDENCE: Final = 0.95
_Z: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_MIN_AMOUNTS: Final = 5
"""With fewer deals an interval of their mean says nothing: the range is from the lowest to the highest."""

_WORKED: Final = (Touch.RECORDED, Touch.BY_STATUS, Touch.GIVEN_UP)


class Range(NamedTuple):
    """A low, a middle and a high value."""

    low: float
    mid: float
    high: float

    def times(self, other: Range) -> Range:
        """Return the product, low by low and high by high."""
        return Range(self.low * other.low, self.mid * other.mid, self.high * other.high)


class Input(NamedTuple):
    """An input of the business case, and where it comes from. *remark* is what it may hide, "" for nothing."""

    value: Range
    source: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class BusinessCase:
    """Leads x win rate x deal value. None for what cannot be computed; *missing* says what would give it.

    *wins* and *value* are the products. *deal_win_rate* is the share of closed deals that were won: it is about deals,
    and no lead's chance to be won.
    """

    leads: int | None
    win_rate: Input | None
    deal_value: Input | None
    currency: str
    deal_win_rate: Input | None = None
    missing: tuple[str, ...] = ()

    @property
    def wins(self) -> Range | None:
        """Return how many of the leads would be won at the rate of those that were worked."""
        if self.win_rate is None or self.leads is None:
            return None
        return self.win_rate.value.times(Range(*[float(self.leads)] * 3))

    @property
    def value(self) -> Range | None:
        """Return what they are worth."""
        wins = self.wins
        return wins.times(self.deal_value.value) if wins is not None and self.deal_value is not None else None


@dataclass(frozen=True, slots=True)
class GivenInputs:
    """What a person gives instead of what the files say; None for what the files say."""

    win_rate: Range | None = None
    deal_value: Range | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class WorkedLeads:
    """The leads that sales worked, and those of them that were won, each deal counted for one lead.

    *by_deals*: a deal says that they were won; otherwise their status. Customers without a deal in the files are then
    no worked leads: they may have been customers before.
    """

    worked: Sequence[LeadFacts]
    won: Sequence[LeadFacts]
    by_deals: bool


def wilson(count: int, total: int) -> Range:
    """Return the share *count* of *total* with its Wilson score interval at CONFIDENCE."""
    share, square = count / total, _Z**2 / total
    center = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * sqrt(share * (1 - share) / total + square / (4 * total))
    return Range(max(center - half, 0.0), share, min(center + half, 1.0))


def mean_range(amounts: Sequence[float]) -> Range:
    """Return the mean with its interval at CONFIDENCE by Student's t; of few amounts, the lowest and the highest."""
    mean, lowest, highest = fmean(amounts), min(amounts), max(amounts)
    if len(amounts) < _MIN_AMOUNTS:
        return Range(lowest, mean, highest)
    half = _student_t(len(amounts) - 1) * stdev(amounts) / sqrt(len(amounts))
    return Range(max(mean - half, lowest), mean, mean + half)


def _student_t(freedom: int) -> float:
    """Return the quantile of Student's t; its expansion by Fisher and Cornish is exact to 1 percent from 4 on."""
    return (
        _Z
        + (_Z**3 + _Z) / (4 * freedom)
        + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * freedom**2)
        + (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / (384 * freedom**3)
    )


def find_worked(leads: Sequence[LeadFacts], deals: Sequence[DealFacts]) -> WorkedLeads:
    """Return the leads that sales worked, and which of them were won."""
    won = _leads_with_won_deals(leads, deals)
    if won is None:
        worked = [one for one in leads if one.touch in _WORKED]
        return WorkedLeads(worked, [one for one in worked if one.ending is Ending.WON], by_deals=False)
    places = {(one.file, one.line) for one in won}
    worked = [
        one
        for one in leads
        if (one.file, one.line) in places or (one.touch in _WORKED and one.ending is not Ending.WON)
    ]
    return WorkedLeads(worked, won, by_deals=True)


def _leads_with_won_deals(leads: Sequence[LeadFacts], deals: Sequence[DealFacts]) -> list[LeadFacts] | None:
    """Return the leads of won deals, the first one that each deal names; None if no deal names a lead of the files."""
    positions = index_leads(leads)
    found = ((deal, next((positions[one] for one in deal.leads if one in positions), None)) for deal in deals)
    named = [(deal, leads[position]) for deal, position in found if position is not None]
    if not named:
        return None
    return list({(lead.file, lead.line): lead for deal, lead in named if deal.outcome == "won"}.values())


def make_case(
    leaked: int | None, leads: Sequence[LeadFacts], deals: Sequence[DealFacts], given: GivenInputs | None = None
) -> BusinessCase:
    """Return the business case of *leaked* leads."""
    given = given or GivenInputs()
    missing: list[str] = []
    closed = [one for one in deals if one.outcome in ("won", "lost")]
    won = [one for one in closed if one.outcome == "won"]
    of_deals = (
        Input(wilson(len(won), len(closed)), f"{len(won):,} of {len(closed):,} closed deals were won")
        if closed
        else None
    )
    rate = (
        Input(given.win_rate, "given with --win-rate")
        if given.win_rate is not None
        else _find_win_rate(leads, deals, of_deals, missing)
    )
    currency, amounts, others = _choose_currency(won, given.currency)
    if given.deal_value is not None:
        value: Input | None = Input(given.deal_value, "given with --deal-value")
        currency = given.currency or currency
    else:
        value = _find_deal_value(amounts, len(won), others, missing)
    return BusinessCase(leaked, rate, value, currency, of_deals, tuple(missing))


def _find_win_rate(
    leads: Sequence[LeadFacts], deals: Sequence[DealFacts], of_deals: Input | None, missing: list[str]
) -> Input | None:
    found = find_worked(leads, deals)
    worked, won = len(found.worked), len(found.won)
    converted = sum(one.ending is Ending.CONVERTED for one in found.worked)
    if not worked:
        missing.append("The win rate: no file says which leads were worked. Give it: --win-rate 4%.")
    elif found.by_deals:
        source = f"{won:,} of {worked:,} leads that sales worked have a won deal"
        return Input(wilson(won, worked), source, "Leads that are still being worked count as not won.")
    elif converted and of_deals is not None:
        source = (
            f"{converted:,} of {worked:,} leads that sales worked were converted, and {of_deals.source}; "
            "the deals name no lead of the files"
        )
        remark = "It assumes one deal per converted lead, and that other deals are won as often."
        return Input(wilson(converted, worked).times(of_deals.value), source, remark)
    elif won and not deals:
        source = f"{won:,} of {worked:,} leads that sales worked are won or customers by their status"
        return Input(wilson(won, worked), source, "Some may have been customers before: an export of deals is surer.")
    elif of_deals is not None:
        missing.append(
            f"The win rate of leads: the deals name no lead of the files. That {of_deals.source} says nothing about "
            "leads, few of which become a deal. Export the deals with the contact's email address, or give "
            "--win-rate 4%."
        )
    else:
        missing.append(
            "The win rate: no lead is won by its status, and there is no export of deals. Add one, or give "
            "--win-rate 4%."
        )
    return None


def _choose_currency(won: Sequence[DealFacts], wanted: str) -> tuple[str, list[float], int]:
    """Return the currency, the amounts of won deals in it, and how many have another one."""
    priced = [(one.currency, one.amount) for one in won if one.amount]
    counts = Counter(currency for currency, _ in priced)
    known = wanted.upper() if wanted.upper() in counts else ""
    chosen = known or (counts.most_common(1)[0][0] if counts and not (wanted and any(counts)) else "")
    amounts = (
        [amount for currency, amount in priced if currency == chosen] if not wanted or known or not any(counts) else []
    )
    return chosen or wanted.upper(), amounts, len(priced) - len(amounts)


def _find_deal_value(amounts: Sequence[float], won: int, others: int, missing: list[str]) -> Input | None:
    if not amounts:
        why = f"none of {won:,} won deals has an amount in this currency" if won else "no file has a won deal"
        missing.append(f"The deal value: {why}. Give it: --deal-value 12000.")
        return None
    kind = "95 % interval of the mean" if len(amounts) >= _MIN_AMOUNTS else "lowest to highest, as there are so few"
    source = f"mean of {len(amounts):,} won deals with an amount; {kind}; median {median(amounts):,.0f}"
    remark = f"{others:,} won deals in other currencies are left out: see --currency." if others else ""
    return Input(mean_range(amounts), source, remark)


def parse_range(text: str, *, percent: bool = False) -> Range:
    """Return a value that a person gives, or two as a range: 4%, 3%-6%, 12000, 8k-20k. Raises InvalidState."""
    example = "4% or 3%-6%" if percent else "12000 or 8000-20000"
    parts = [part for part in re.split(r"\s*(?:-|\u2013|\.\.)\s*", text.strip()) if part]
    try:
        values = [_parse_share(part) if percent else read_amount(part, ".") for part in parts]
    except ValueError:
        values = []
    if len(values) not in (1, 2) or values != sorted(values) or (percent and values[-1] > 1):
        raise InvalidState(f"{text!r} is no {'share' if percent else 'amount'}.", f"Write it as {example}.")
    return Range(values[0], fmean(values), values[-1])


def _parse_share(text: str) -> float:
    number = float(text.removesuffix("%").strip())
    if number < 0 or (not text.endswith("%") and number > 1):
        raise ValueError(text)
    return number / 100 if text.endswith("%") else number
