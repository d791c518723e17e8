"""The share of hand-offs won, by fit and engagement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import orjson

from nurture.domain.planning.missing_fields import fields_used
from nurture.domain.policy.policy import Policy
from nurture.reporting.measures.measure_queries import GroupCount


def find_fit_fields(policy: Policy) -> list[str]:
    """Return the fields that decide the fit of a lead, in their order in a group's name."""
    return sorted(frozenset().union(*(fields_used(rule.when) for rule in policy.fit)))


def grade_groups(policy: Policy, groups: Sequence[GroupCount]) -> tuple[GroupCount, ...]:
    """Return the groups by the fit letter of the lead now instead of its fields, and by its signals before."""
    names = find_fit_fields(policy)
    cells: dict[str, list[GroupCount]] = defaultdict(list)
    for one in groups:
        engagement, bracket, values = one.name.partition("[")
        fields = dict(zip(names, orjson.loads(bracket + values), strict=True))
        cells[f"{policy.grade(fields)[0] or 'no fit'}, {engagement}"].append(one)
    return tuple(
        GroupCount(cell, sum(one.part for one in found), sum(one.whole for one in found), None)
        for cell, found in sorted(cells.items())
    )
