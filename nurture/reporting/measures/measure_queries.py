"""Compute measures: one statement for all measures on the same facts.

The SQL comes from facts.yaml and measures.yaml, which are part of the program; every value is bound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import String, TextClause, bindparam, select, text

from nurture.db.tables.leads import IN_QUEUE, custody
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.reporting.measures.definitions import Facts, Measure

Parameters = Mapping[str, Any]
"""`now`, and what the policy says: lists of names, the capacities of reps as JSON, and `fit_0`, `fit_1`: fields."""

_NUMBER: Final = "CAST({} AS double precision)"
_MACRO: Final = re.compile(
    r"\b(days|days_until|whole_days|month_start|month|day|lookup|fit_fields)\(([^(),]+)(?:, ([^(),]+))?\)"
)
_SQLITE: Final = {
    "days": "((unixepoch({1}) - unixepoch({0})) / 86400.0)",
    "days_until": "((unixepoch({1}) - unixepoch({0})) / 86400.0)",
    "whole_days": "((unixepoch(substr({1}, 1, 10)) - unixepoch(substr({0}, 1, 10))) / 86400)",
    "month": "substr({0}, 1, 7)",
    "month_start": "substr({0}, 1, 7)",
    "day": "substr({0}, 1, 10)",
    "lookup": "json_extract({0}, '$.\"' || {1} || '\"')",
}
_POSTGRES: Final = {
    "days": "(CAST(floor(extract(epoch FROM {1})) - floor(extract(epoch FROM {0})) AS double precision) / 86400)",
    "days_until": "(CAST(extract(epoch FROM CAST({1} AS date)) - floor(extract(epoch FROM {0})) AS double precision)"
    " / 86400)",
    "whole_days": "(CAST({1} AS date) - CAST({0} AS date))",
    "month": "to_char({0}, 'YYYY-MM')",
    "month_start": "date_trunc('month', {0})",
    "day": "CAST({0} AS date)",
    "lookup": "CAST(CAST({0} AS jsonb) ->> {1} AS integer)",
}


class MonthCount(NamedTuple):
    """The counts of one month (UTC)."""

    month: str
    part: int
    whole: int
    unknown: int


class GroupCount(NamedTuple):
    """The counts of one group, and the mean of the measure's value."""

    name: str
    part: int
    whole: int
    mean: float | None


class Spread(NamedTuple):
    """The median, the 95th percentile (both nearest rank) and the maximum of a measure's value."""

    p50: float
    p95: float
    maximum: float


class Counts(NamedTuple):
    """What was counted for one measure."""

    months: tuple[MonthCount, ...]
    groups: tuple[GroupCount, ...]
    spread: Spread | None


class LeadOfMeasure(NamedTuple):
    """A lead behind a figure, and when its fact happened."""

    lead_id: int
    at: datetime
    source: str
    company: str


def count_measures(tx: Transaction, facts: Facts, measures: Sequence[Measure], values: Parameters) -> dict[str, Counts]:
    """Count all *measures*, which are on these *facts*, with one statement."""
    found: dict[str, tuple[list[MonthCount], list[GroupCount], list[Spread]]] = {
        one.id: ([], [], []) for one in measures
    }
    for what, label, *numbers in tx.execute(_bound(tx, _counting(tx, facts, measures), values), values):
        if what == "month":
            for place, one in enumerate(measures):
                part, whole, unknown = (int(number) for number in numbers[place * 3 : place * 3 + 3])
                if part or whole or unknown:
                    found[one.id][0].append(MonthCount(label, part, whole, unknown))
        elif label is not None:
            found[what][1].append(GroupCount(str(label), int(numbers[0]), int(numbers[1]), numbers[2]))
        elif numbers[0] is not None:
            found[what][2].append(Spread(*numbers[:3]))
    return {
        id_: Counts(
            tuple(sorted(months)),
            tuple(sorted(groups, key=lambda one: (-one.whole, one.name))),
            spread[0] if spread else None,
        )
        for id_, (months, groups, spread) in found.items()
    }


def _counting(tx: Transaction, facts: Facts, measures: Sequence[Measure]) -> str:
    """Return the statement: counts by month, then the groups and the spreads of the measures that have them."""
    width = len(measures) * 3
    sums = (
        _NUMBER.format(f"sum(CASE WHEN {condition} THEN n ELSE 0 END)")
        for one in measures
        for condition in (_part(facts, one), one.whole, one.unknown or "1 = 0")
    )
    selects = [f"SELECT 'month', month(at), {', '.join(sums)} FROM f GROUP BY 2"]
    for one in measures:
        padding = "".join(f", {_NUMBER.format('NULL')}" for _ in range(width - 3))
        if one.by:
            mean = (
                f"sum(({one.value}) * n) / sum(CASE WHEN ({one.value}) IS NOT NULL THEN n END)" if one.value else "NULL"
            )
            counted = (f"sum(CASE WHEN {_part(facts, one)} THEN n ELSE 0 END)", "sum(n)", mean)
            selects.append(
                f"SELECT '{one.id}', CAST({one.by} AS text), {', '.join(map(_NUMBER.format, counted))}{padding} FROM f "
                f"WHERE ({one.whole}) AND ({one.by}) IS NOT NULL GROUP BY 2"
            )
        if one.value:
            ranks = (
                "min(CASE WHEN upto * 2 >= total THEN v END)",
                "min(CASE WHEN upto * 100 >= total * 95 THEN v END)",
            )
            selects.append(
                f"SELECT '{one.id}', NULL, {', '.join(map(_NUMBER.format, (*ranks, 'max(v)')))}{padding} FROM ("
                "SELECT v, sum(n) OVER (ORDER BY v) AS upto, sum(n) OVER () AS total FROM ("
                f"SELECT {one.value} AS v, n FROM f WHERE {one.whole}) AS valued WHERE v IS NOT NULL) AS ranked"
            )
    rows_sql = _grouped(tx, facts) if facts.grouped else facts.sql
    groups = ""
    if facts.counted:
        groups, rows_sql = f"g AS MATERIALIZED ({rows_sql}), ", facts.counted
    return f"WITH {groups}f AS MATERIALIZED ({rows_sql}) " + " UNION ALL ".join(selects)


def _grouped(tx: Transaction, facts: Facts) -> str:
    """Return the facts, counted by their groups."""
    if not tx.is_sqlite:
        places = ", ".join(str(place) for place in range(3, 3 + len(facts.grouped)))
        columns = ", ".join(facts.grouped)
        return f"SELECT 0 AS lead_id, count(*) AS n, {columns} FROM ({facts.sql}) AS r GROUP BY {places}"
    pairs = [(one.rpartition(" AS ")[0] or one, one.rpartition(" AS ")[2]) for one in facts.grouped]
    columns = ", ".join(f"value ->> '$[1][{place}]' AS {name}" for place, (_, name) in enumerate(pairs))
    key = ", ".join(sql for sql, _ in pairs)
    counts = f"SELECT count_keys(json_array({key})) FROM ({facts.sql}) AS r"
    return f"SELECT 0 AS lead_id, value ->> '$[0]' AS n, {columns} FROM json_each(({counts}))"


def _part(facts: Facts, measure: Measure) -> str:
    return f"({measure.part})" if facts.independent else f"({measure.whole}) AND ({measure.part})"


def list_leads(
    tx: Transaction,
    facts: Facts,
    measure: Measure,
    values: Parameters,
    *,
    missed: bool,
    month: str | None,
    limit: int,
    offset: int,
) -> list[LeadOfMeasure]:
    """Return one page of the leads in the part of *measure*, newest first; with *missed* those of the rest."""
    chosen = f"({measure.whole}) AND NOT coalesce({measure.part}, 1 = 0)" if missed else _part(facts, measure)
    page = (
        f"SELECT lead_id, at FROM ({facts.listed or facts.sql}) AS f "
        f"WHERE lead_id > 0 AND {chosen} AND (:month = '' OR month(at) = :month) "
        "ORDER BY at DESC, lead_id LIMIT :limit OFFSET :offset"
    )
    statement = (
        "SELECT page.lead_id, page.at AS at, lead.source, coalesce(lead.fields ->> 'company', '') "
        f"FROM ({page}) AS page JOIN lead ON lead.id = page.lead_id ORDER BY page.at DESC, page.lead_id"
    )
    values = {**values, "month": month or "", "limit": limit, "offset": offset}
    bound = _bound(tx, statement, values).columns(at=UtcDateTime())
    return [LeadOfMeasure._make(row) for row in tx.execute(bound, values)]


def list_queues(tx: Transaction) -> list[str]:
    """Return the names of the queues in which leads wait."""
    return list(tx.execute(select(custody.c.ref).where(IN_QUEUE).distinct()).scalars())


def _fit_fields(tx: Transaction, values: Parameters) -> str:
    """Return the macro for the fields of a lead that decide its fit: a JSON array, as text."""
    names = sorted(name for name in values if name.startswith("fit_"))
    build, pick = _FIT_FIELDS_SQLITE if tx.is_sqlite else _FIT_FIELDS_POSTGRES
    return build.format(", ".join(pick.format(name) for name in names))


_FIT_FIELDS_SQLITE: Final = ("json_array({})", "{{0}} -> ('$.\"' || :{} || '\"')")
_FIT_FIELDS_POSTGRES: Final = ("CAST(jsonb_build_array({}) AS text)", "CAST({{0}} AS jsonb) -> CAST(:{} AS text)")


def _bound(tx: Transaction, sql: str, values: Parameters) -> TextClause:
    """Return *sql* with the macros written out for the database, and the parameters that it names."""
    macros = (_SQLITE if tx.is_sqlite else _POSTGRES) | {"fit_fields": _fit_fields(tx, values)}
    while _MACRO.search(sql):
        sql = _MACRO.sub(lambda found: macros[found[1]].format(found[2], found[3]), sql)
    if not tx.is_sqlite:
        sql = sql.replace(":now", "CAST(:now AS timestamptz)")
    named = {name for name in values if re.search(rf":{name}\b", sql)}
    parameters = [
        bindparam(name, expanding=True, type_=String())
        if isinstance(values[name], list)
        else bindparam(name, type_=UtcDateTime())
        if name == "now"
        else bindparam(name)
        for name in sorted(named)
    ]
    return text(sql).bindparams(*parameters)
