"""Ask again what routing was asked: the same stored input must give the same owner."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection

from nurture.domain.routing.routing import route
from nurture.domain.routing.routing_snapshot import again
from nurture.journey.routing import queries
from nurture.runtime.context import House

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A decision that would be another today: what it was, and what it would be."""

    decision: int
    lead: int
    was: str
    would_be: str


@dataclass
class Replayed:
    """How many decisions were made again, and which came out differently."""

    decisions: int = 0
    differences: list[Difference] = field(default_factory=list)


def replay(house: House, lead_id: int | None = None) -> Replayed:
    """Make every stored decision again under its own version of the policy; those of one lead, if named."""
    done, after = Replayed(), 0
    while True:
        with house.database.read() as connection:
            rows = queries.decisions(connection, after, _PAGE, lead_id)
            for row in rows:
                _compare(house, connection, row, done)
        if len(rows) < _PAGE:
            return done
        after = rows[-1].id


def _compare(house: House, connection: Connection, row: queries.Stored, done: Replayed) -> None:
    found = route(again(row.asked), house.rulebooks.policy(connection, row.policy_version).plan)
    was, would_be = (row.rep or row.queue, row.rule), (found.rep or found.queue, found.rule)
    done.decisions += 1
    if was != would_be:
        told = [f"{whom or 'it waits'}, by {rule or 'no rule'}" for whom, rule in (was, would_be)]
        done.differences.append(Difference(row.id, row.lead_id, *told))
