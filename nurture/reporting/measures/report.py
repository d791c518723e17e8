"""The report on measures: every figure with its part, its whole, what is not known, and its trend by month."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import orjson

from nurture.db.transaction import Transaction
from nurture.domain.planning.callback import CALLBACK_RULE
from nurture.domain.planning.conditions import Condition, DecidesWithin, leaves
from nurture.domain.planning.program import ToClosed
from nurture.domain.policy.agreement import Agreement
from nurture.domain.policy.policy import Policy, ToSales
from nurture.errors import InvalidState, NotFound, suggest
from nurture.reporting.measures import measure_queries
from nurture.reporting.measures.cells import find_fit_fields, grade_groups
from nurture.reporting.measures.definitions import Measure, load_facts, load_measures
from nurture.reporting.measures.forecast import Cohort, forecast
from nurture.reporting.measures.measure_queries import Counts, GroupCount, LeadOfMeasure, MonthCount, Spread
from nurture.runtime.context import AppContext

PAGE: Final = 50
_NOTHING: Final = Counts((), (), None)
_FINISHED: Final = timedelta(days=7)
"""After this long the hand-offs of a month count in every rate of a week."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure and what was counted for it. *notes* are lines that no column holds."""

    measure: Measure
    part: int
    whole: int
    unknown: int
    months: tuple[MonthCount, ...] = ()
    groups: tuple[GroupCount, ...] = ()
    spread: Spread | None = None
    notes: tuple[str, ...] = ()

    @property
    def share(self) -> float | None:
        """Return part / whole, None if the whole is 0."""
        return self.part / self.whole if self.whole else None

    def share_of(self, group: GroupCount) -> float | None:
        """Return the share of a group in itself; in the whole if the groups are of the part alone."""
        whole = self.whole if self.measure.divides_part else group.whole
        return group.part / whole if whole else None


@dataclass(frozen=True, slots=True)
class MeasureReport:
    """All figures, in the order of the requirements."""

    at: datetime
    figures: tuple[Figure, ...]


def report_measures(ctx: AppContext, now: datetime, row: str | None = None) -> MeasureReport:
    """Return every figure, or those of the requirement or measure *row*; a statement for each kind of facts.

    Raises NotFound for an unknown row.
    """
    chosen = find_measures(row)
    by_facts: dict[str, list[Measure]] = defaultdict(list)
    for one in _with_sources(chosen):
        if one.facts:
            by_facts[one.facts].append(one)
    facts, counts = load_facts(), dict[str, Counts]()
    with ctx.database.read() as tx:
        policy = _policy(ctx, tx)
        values = _parameters(tx, policy, now)
        for name, measures in by_facts.items():
            counts |= measure_queries.count_measures(tx, facts[name], measures, values)
    return MeasureReport(now, tuple(_figure(one, counts, policy, now) for one in chosen))


def find_measures(row: str | None) -> list[Measure]:
    """Return the measures of a requirement, such as R18, or the one with this id; all for None."""
    known = load_measures()
    if row is None:
        return list(known.values())
    found = [one for id_, one in known.items() if row.casefold() in (id_.casefold(), id_.partition("-")[0].casefold())]
    if not found:
        raise NotFound(f"There is no measure {row!r}.", suggest(row.upper(), list(known)))
    return found


def list_leads(
    ctx: AppContext, now: datetime, id_: str, *, missed: bool = False, month: str | None = None, page: int = 1
) -> list[LeadOfMeasure]:
    """Return a page of the leads behind a figure, newest first; with *missed* those of its whole that are not in it.

    Raises NotFound for an unknown measure, InvalidState for one without leads.
    """
    measure = load_measures().get(id_) or find_measures(id_)[0]
    if not measure.facts:
        why = measure.none or "It is computed from other measures; list the leads of those."
        raise InvalidState(f"{measure.id} has no leads to list. {why}")
    facts = load_facts()[measure.facts]
    if missed and facts.independent:
        raise InvalidState(f"The whole of {measure.id} is not made of leads. List its part, without `--missed`.")
    with ctx.database.read() as tx:
        values = _parameters(tx, _policy(ctx, tx), now)
        return measure_queries.list_leads(
            tx, facts, measure, values, missed=missed, month=month, limit=PAGE, offset=(page - 1) * PAGE
        )


def _with_sources(chosen: Sequence[Measure]) -> list[Measure]:
    """Return *chosen* and the measures from which some of them are computed."""
    known = load_measures()
    specials = {one.special for one in chosen}
    if "agreement" in specials:
        return list(known.values())
    return list(dict.fromkeys((*chosen, *((known["R61"],) if "trend" in specials else ()))))


def _policy(ctx: AppContext, tx: Transaction) -> Policy | None:
    definitions = ctx.definitions.find_current(tx)
    return definitions.policy if definitions is not None else None


def _parameters(tx: Transaction, policy: Policy | None, now: datetime) -> Mapping[str, Any]:
    readiness = policy.readiness if policy is not None else ()
    criteria, reps = (policy.criteria, policy.reps) if policy is not None else ((), ())
    queues = measure_queries.list_queues(tx)
    return {
        "now": now,
        "ready_rules": [one.name for one in readiness if isinstance(one.then, ToSales)],
        "discard_rules": [one.name for one in readiness if isinstance(one.then, ToClosed)],
        "enroll_rules": [one.name for one in readiness if not isinstance(one.then, ToSales | ToClosed)],
        "dated_rules": [CALLBACK_RULE, *(one.name for one in criteria if _is_dated(one.when))],
        **{f"fit_{place:02}": name for place, name in enumerate(find_fit_fields(policy) if policy is not None else ())},
        "partners": [one.id for one in reps if one.partner],
        "unowned_queues": [one for one in queues if policy is None or policy.queues.rule_for(one) is None],
        "capacities": orjson.dumps(
            {one.id: one.capacity for one in policy.reps} if policy is not None else {}
        ).decode(),
    }


def _is_dated(condition: Condition) -> bool:
    return any(isinstance(one, DecidesWithin) for one in leaves(condition))


def _figure(measure: Measure, counts: Mapping[str, Counts], policy: Policy | None, now: datetime) -> Figure:
    if measure.special == "trend":
        return _trend(measure, counts["R61"], now)
    if measure.special == "agreement":
        return _duties(measure, counts, policy.agreement if policy is not None else None, now)
    found = counts.get(measure.id, _NOTHING)
    notes: tuple[str, ...] = ()
    if measure.special == "forecast":
        notes = _forecast_notes(found.groups, now)
        found = found._replace(groups=())
    if measure.special == "cells" and policy is not None:
        found = found._replace(groups=grade_groups(policy, found.groups))
    part, whole, unknown = (sum(getattr(one, name) for one in found.months) for name in ("part", "whole", "unknown"))
    return Figure(measure, part, whole, unknown, found.months, found.groups, found.spread, notes)


def _trend(measure: Measure, of: Counts, now: datetime) -> Figure:
    """Compare the newest two months whose hand-offs are all old enough."""
    finished = [one for one in of.months if _end_of(one.month) + _FINISHED <= now]
    if not finished:
        return Figure(measure, 0, 0, 0)
    newest, before = finished[-1], finished[-2] if len(finished) > 1 else None
    notes = tuple(f"{one.month}: {one.part:,} of {one.whole:,}" for one in (newest, before) if one is not None)
    return Figure(measure, newest.part, newest.whole, 0, of.months, notes=notes)


def _end_of(month: str) -> datetime:
    first = date.fromisoformat(f"{month}-01")
    return datetime.combine((first + timedelta(days=31)).replace(day=1), time.min, UTC)


def _duties(measure: Measure, counts: Mapping[str, Counts], agreement: Agreement | None, now: datetime) -> Figure:
    """Return how many duties the newest finished month keeps; those without facts in it are not known."""
    if agreement is None:
        return Figure(measure, 0, 0, 0, notes=("The policy has no `agreement:`.",))
    overdue = "overdue since" if agreement.review_on < now.date() else "next on"
    notes, kept, whole, unknown = [f"review {overdue} {agreement.review_on}"], 0, 0, 0
    for duty in agreement.duties:
        finished = [one for one in counts.get(duty.measure, _NOTHING).months if _end_of(one.month) + _FINISHED <= now]
        limit = f"{duty.side}: {duty.measure} at {'least' if duty.is_minimum else 'most'} {duty.share:.0%}"
        newest = finished[-1] if finished else None
        if newest is None or not newest.whole:
            unknown += 1
            notes.append(f"{limit}: not known")
            continue
        share = newest.part / newest.whole
        whole += 1
        kept += duty.is_kept(share)
        notes.append(f"{limit}: {'kept' if duty.is_kept(share) else 'not kept'}, {share:.1%} in {newest.month}")
    return Figure(measure, kept, whole, unknown, notes=tuple(notes))


def _forecast_notes(groups: Sequence[GroupCount], now: datetime) -> tuple[str, ...]:
    cohorts = [
        Cohort(one.name, one.whole, max((now - _middle_of(one.name)).days, 1), one.part)
        for one in sorted(groups, key=lambda group: group.name)
    ]
    return tuple(
        f"{one.month}: {one.leads:,} leads, {one.bought:,} bought"
        + ("" if one.is_finished else f", about {one.expected:,.0f} expected within 12 months")
        for one in forecast(cohorts)[-18:]
    )


def _middle_of(month: str) -> datetime:
    return datetime.combine(date.fromisoformat(f"{month}-15"), time.min, UTC)
