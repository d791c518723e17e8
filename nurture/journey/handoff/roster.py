"""List the reps with their availability and load, and manage leave."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from nurture.db.transaction import Transaction
from nurture.domain.lead import REROUTED_QUEUES
from nurture.domain.planning import calendar
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Manager, Rep
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import queries, workspace_queries
from nurture.journey.handoff.workspace_queries import NO_WORKLOAD
from nurture.journey.leads import signal_queries
from nurture.journey.routing import capacity as routing_capacity
from nurture.journey.routing import queries as routing_queries
from nurture.journey.routing.queries import LeaveRow
from nurture.runtime.context import AppContext

_LEAVE_HORIZON = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """A rep today: absence and deputy, load, and planned leave.

    *open_offers* wait for an answer, *overdue_offers* are late; *to_follow_up* are accepted leads whose follow-up
    is due; *working* are leads that the rep was in touch with, *silent* those about which the rep was asked since.
    """

    id: str
    name: str
    absence_reason: str
    deputy: str | None
    offers_today: int
    capacity: int
    open_leads: int
    max_open_leads: int | None
    open_offers: int
    overdue_offers: int
    to_follow_up: int
    working: int
    silent: int
    leaves: tuple[LeaveRow, ...]


def load_roster(ctx: AppContext, now: datetime) -> list[RosterEntry]:
    """Return the policy's reps with their current status, in the policy's order."""
    with ctx.database.read() as tx:
        policy = ctx.definitions.current(tx).policy
        availability = routing_capacity.load_capacity(ctx, tx, policy, now).team
        upcoming = routing_queries.load_leaves(tx, now.date(), (now + _LEAVE_HORIZON).date())
        workloads = workspace_queries.load_workloads(tx, now)
    return [
        RosterEntry(
            rep.id,
            rep.name,
            availability[rep.id].away_reason,
            availability[rep.id].deputy or rep.deputy,
            availability[rep.id].offers_today,
            rep.capacity,
            availability[rep.id].open_leads,
            rep.max_open_leads,
            *workloads.get(rep.id, NO_WORKLOAD),
            tuple(row for row in upcoming if row.rep == rep.id),
        )
        for rep in policy.reps
    ]


def add_leave(ctx: AppContext, rep: str, first: date, last: date, deputy: str | None, now: datetime) -> None:
    """Store a leave of a rep, who gets no leads on these days, or of a manager, whose mail goes to the deputy.

    Raises NotFound for an unknown person, InvalidState for an invalid period.
    """
    if last < first:
        raise InvalidState(f"The leave ends on {last}, before it begins on {first}. Give the first day first.")
    with ctx.database.write() as tx:
        policy = ctx.definitions.current(tx).policy
        person = require_person(policy, rep)
        if deputy is not None and isinstance(person, Rep):
            require_rep(policy, deputy)
        elif deputy is not None:
            require_person(policy, deputy)
        if deputy == rep:
            raise InvalidState(f"{rep} cannot be their own deputy. Name another person.")
        _check_overlap(tx, rep, first, last)
        routing_queries.add_leave(tx, rep, first, last, deputy, now)
        hours = person.hours if isinstance(person, Rep) else policy.business_hours
        begins = calendar.start_of_day(first, hours.zone)
        queries.schedule_checks(tx, [rep], max(begins, now))


def cancel_leave(ctx: AppContext, rep: str, first: date, now: datetime) -> None:
    """Cancel the leave of a rep that begins on *first*. Raises NotFound if there is none."""
    with ctx.database.write() as tx:
        if not routing_queries.cancel_leave(tx, rep, first, now):
            raise NotFound(f"{rep} has no leave that begins on {first}. `nurture handoffs reps list` lists all leave.")
        signal_queries.make_queues_due(tx, REROUTED_QUEUES, now)


def require_rep(policy: Policy, rep_id: str) -> Rep:
    """Return the rep of this id. Raises NotFound if the policy names none."""
    rep = policy.rep(rep_id)
    if rep is None:
        known = ", ".join(one.id for one in policy.reps)
        raise NotFound(f"There is no rep {rep_id!r} in the policy. Reps: {known}.")
    return rep


def require_person(policy: Policy, id_: str) -> Rep | Manager:
    """Return the rep or manager of this id. Raises NotFound if the policy names none."""
    person = policy.rep(id_) or policy.team.find_person(id_)
    if person is None:
        known = ", ".join(dict.fromkeys([*(one.id for one in policy.reps), *policy.team.manager_ids]))
        raise NotFound(f"There is no rep or manager {id_!r} in the policy. Known: {known}.")
    return person


def list_leaves(ctx: AppContext, now: datetime) -> list[LeaveRow]:
    """Return the leave of everybody, today and later."""
    with ctx.database.read() as tx:
        return list(routing_queries.load_leaves(tx, now.date(), (now + _LEAVE_HORIZON).date()))


def _check_overlap(tx: Transaction, rep: str, first: date, last: date) -> None:
    for row in routing_queries.load_leaves(tx, first, last):
        if row.rep == rep:
            raise InvalidState(
                f"{rep} is on leave from {row.first_day} to {row.last_day} already. Cancel that first: "
                f"nurture handoffs reps leave {rep} {row.first_day} --cancel"
            )
