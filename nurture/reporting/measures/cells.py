"""The share of hand-offs won, by fit and engagement."""

from __future__ import annotations

from collections import Counter

from nurture.db.transaction import Transaction
from nurture.domain.planning.missing_fields import fields_used
from nurture.domain.policy.policy import Policy
from nurture.reporting.measures.measure_queries import Counts, GroupCount, MonthCount, list_won_handoffs


def win_rates(tx: Transaction, policy: Policy) -> Counts:
    """Return hand-offs and wins of each cell: the fit letter of the lead now, and its signals before the hand-off."""
    used = sorted(frozenset().union(*(fields_used(rule.when) for rule in policy.fit)))
    letters: dict[tuple[str, ...], str] = {}
    cells, won_cells, months, won_months = (Counter[str]() for _ in range(4))
    for month, fields, signals, won in list_won_handoffs(tx):
        key = tuple(repr(fields.get(name)) for name in used)
        if key not in letters:
            letters[key] = policy.grade(fields)[0] or "no fit"
        engagement = "no signals" if signals == 0 else "1-2 signals" if signals < 3 else "3 or more signals"
        cell = f"{letters[key]}, {engagement}"
        cells[cell] += 1
        months[month] += 1
        won_cells[cell] += won
        won_months[month] += won
    return Counts(
        tuple(MonthCount(month, won_months[month], months[month], 0) for month in sorted(months)),
        tuple(GroupCount(cell, won_cells[cell], cells[cell], None) for cell in sorted(cells)),
        None,
    )
