"""Who takes leads today, and who will be away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from nurture.domain.planning import calendar
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Rep
from nurture.domain.routing.routing import ASKED_AGAIN
from nurture.errors import NotFound, Refused
from nurture.journey.handoff import queries, workspace_queries
from nurture.journey.handoff.workspace_queries import NOTHING_ASKED
from nurture.journey.leads import signal_queries
from nurture.journey.routing import capacity as routing_capacity
from nurture.journey.routing import queries as routing_queries
from nurture.journey.routing.queries import LeaveRow
from nurture.runtime.context import House

_AHEAD = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class RepShown:
    """A rep today: why away, if so, who stands in, what they have, and the leave to come.

    *open* are offers that wait for an answer, *overdue* those that should have one; *to_follow_up* are
    accepted leads whose date has come.
    """

    id: str
    name: str
    away: str
    deputy: str | None
    today: int
    capacity: int
    in_hand: int
    most_in_hand: int | None
    open: int
    overdue: int
    to_follow_up: int
    leaves: tuple[LeaveRow, ...]


def roster(house: House, now: datetime) -> list[RepShown]:
    """Return the policy's reps as they stand, in its order."""
    with house.database.read() as connection:
        policy = house.rulebooks.current(connection).policy
        there = routing_capacity.look(house, connection, policy, now).team
        ahead = routing_queries.leaves(connection, now.date(), (now + _AHEAD).date())
        asked = workspace_queries.asked_of(connection, now)
    return [
        RepShown(
            rep.id,
            rep.name,
            there[rep.id].away,
            there[rep.id].deputy or rep.deputy,
            there[rep.id].today,
            rep.capacity,
            there[rep.id].in_hand,
            rep.in_hand,
            *asked.get(rep.id, NOTHING_ASKED),
            tuple(row for row in ahead if row.rep == rep.id),
        )
        for rep in policy.reps
    ]


def add_leave(house: House, rep: str, first: date, last: date, deputy: str | None, now: datetime) -> None:
    """Note days on which a rep takes no leads. Raises NotFound for nobody's id, Refused for a wrong span."""
    if last < first:
        raise Refused(f"The leave ends on {last}, before it begins on {first}. Write the first day first.")
    with house.database.write() as connection:
        policy = house.rulebooks.current(connection).policy
        named = named_rep(policy, rep)
        if deputy is not None:
            named_rep(policy, deputy)
        if deputy == rep:
            raise Refused(f"{rep} cannot stand in for {rep}. Name somebody else.")
        _refuse_twice(connection, rep, first, last)
        routing_queries.add_leave(connection, rep, first, last, deputy, now)
        begins = calendar.start_of(first, named.hours.zone)
        queries.look_at(house.database, connection, [rep], max(begins, now))


def cancel_leave(house: House, rep: str, first: date, now: datetime) -> None:
    """Take back the leave of a rep that begins on *first*. Raises NotFound if there is none."""
    with house.database.write() as connection:
        if not routing_queries.cancel_leave(connection, rep, first, now):
            raise NotFound(
                f"{rep} has no leave that begins on {first}. `nurture handoffs reps list` shows what"
                " there is."
            )
        signal_queries.ask_again(house.database, connection, ASKED_AGAIN, now)


def named_rep(policy: Policy, rep_id: str) -> Rep:
    """Return the rep of this id. Raises NotFound if the policy names none."""
    rep = policy.rep(rep_id)
    if rep is None:
        known = ", ".join(one.id for one in policy.reps)
        raise NotFound(f"The policy names no rep {rep_id!r}. It names: {known}.")
    return rep


def _refuse_twice(connection: Connection, rep: str, first: date, last: date) -> None:
    for row in routing_queries.leaves(connection, first, last):
        if row.rep == rep:
            raise Refused(
                f"{rep} is away from {row.first_day} to {row.last_day} already. Take that back first: "
                f"nurture handoffs reps leave {rep} {row.first_day} --cancel"
            )
