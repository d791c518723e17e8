"""Replay stored routing decisions: the same input must give the same owner."""

from dataclasses import dataclass, field

from nurture.db.transaction import Transaction
from nurture.domain.routing.routing import route
from nurture.journey.routing import queries
from nurture.journey.routing.stored_requests import from_dict
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A decision that replay decides differently: the stored result and the new one."""

    decision_id: int
    lead_id: int
    before: str
    after: str


@dataclass
class ReplayResult:
    """How many decisions were replayed, and which differ."""

    decisions: int = 0
    differences: list[Difference] = field(default_factory=list)


def replay(ctx: AppContext, lead_id: int | None = None) -> ReplayResult:
    """Replay stored decisions under their own policy versions, all of them or those of one lead."""
    result, after = ReplayResult(), 0
    while True:
        with ctx.database.read() as tx:
            rows = queries.load_decisions(tx, after, _PAGE, lead_id)
            for row in rows:
                _compare(ctx.definitions, tx, row, result)
        if len(rows) < _PAGE:
            return result
        after = rows[-1].id


def _compare(
    definitions: PublishedDefinitions, tx: Transaction, row: queries.RoutingDecision, result: ReplayResult
) -> None:
    found = route(from_dict(row.request), definitions.policy(tx, row.policy_version).routing_plan)
    before, after = (row.rep or row.queue, row.rule), (found.rep or found.queue, found.rule)
    result.decisions += 1
    if before != after:
        descriptions = [f"{whom or 'no rep'}, by {rule or 'no rule'}" for whom, rule in (before, after)]
        result.differences.append(Difference(row.id, row.lead_id, *descriptions))
