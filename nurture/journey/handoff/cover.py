"""Find who stands in for people on leave: a deputy gets their lists of what waits, escalations and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

from nurture.db.transaction import Transaction
from nurture.domain.planning.calendar import to_local
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.queues import QueueRule
from nurture.domain.policy.team import Manager, Rep
from nurture.journey.routing import queries
from nurture.journey.routing.availability import is_active

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cover:
    """Who of the managers and of the people who work queues is *away* today, each with the deputy named for that.

    *managers* stand in for those without a deputy.
    """

    away: Mapping[str, str | None] = field(default_factory=dict)
    managers: tuple[str, ...] = ()

    @classmethod
    def load(cls, tx: Transaction, policy: Policy, now: datetime) -> Self:
        """Read who is away, with one statement."""
        leaves = queries.load_leaves(tx, (now - _DAY).date(), (now + _DAY).date())
        away: dict[str, str | None] = {}
        for id_ in dict.fromkeys((*policy.queues.people, *policy.team.manager_ids)):
            person = policy.team.find_person(id_)
            rep = person if isinstance(person, Rep) else None
            today = to_local(now, (rep.hours if rep is not None else policy.business_hours).zone).date()
            leave = next((row for row in leaves if row.rep == id_ and row.first_day <= today <= row.last_day), None)
            if leave is not None or (rep is not None and not is_active(rep, today)):
                away[id_] = (leave.deputy if leave is not None else None) or (rep.deputy if rep is not None else None)
        return cls(away, policy.team.manager_ids)

    def stand_in(self, id_: str, otherwise: str | None = None) -> str:
        """Return who gets the mail of this person: their deputy, *otherwise*, or a manager."""
        if id_ not in self.away:
            return id_
        present = (one for one in (self.away[id_], otherwise, *self.managers) if one and one not in self.away)
        return next(present, id_)

    def recipients(self, rule: QueueRule, *, late: bool) -> tuple[str, ...]:
        """Return who is notified of leads in a queue; its deputy stands in for an owner without one."""
        named = rule.recipients(late=late)
        return tuple(dict.fromkeys(self.stand_in(id_, rule.deputy) for id_ in named))

    def manager(self, policy: Policy, manager: Manager) -> Manager | Rep:
        """Return who gets the mail of *manager*."""
        return policy.team.find_person(self.stand_in(manager.id)) or manager
