"""Define the sales team: reps, managers, pools and working hours."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from enum import StrEnum
from typing import Final

from nurture.domain.planning.calendar import Window

EVERYONE_POOL: Final = "everyone"
"""The pool of all reps except partners, unless the policy defines a pool of this name."""


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """When somebody works, in the local time of *zone*.

    *country* (ISO 3166 alpha-2, "" for none) determines the public holidays.
    """

    window: Window = field(default_factory=Window)
    zone: str = "UTC"
    country: str = ""


ROUND_THE_CLOCK: Final = WorkingHours(Window(frozenset(range(7)), time.min, time.min, skip_holidays=False))
"""Used if the policy has no hours: every hour counts."""


@dataclass(frozen=True, slots=True)
class Rep:
    """A salesperson.

    *capacity* is the number of new leads per day, *max_open_leads* the maximum of open leads. *hours* are the
    team's unless the rep has their own; *weight* is the share in a weighted pool. *manager* and *deputy* are
    ids, *notify* names the notification targets of their hand-offs. *left_on* is the last day on which they
    take leads.
    """

    id: str
    name: str
    email: str
    capacity: int
    max_open_leads: int | None = None
    weight: int = 1
    hours: WorkingHours = ROUND_THE_CLOCK
    manager: str | None = None
    deputy: str | None = None
    notify: tuple[str, ...] = ()
    partner: bool = False
    left_on: date | None = None


@dataclass(frozen=True, slots=True)
class Manager:
    """Gets the escalations of hand-offs that nobody answers; with *digest* once a day, those of hot leads at once."""

    id: str
    name: str
    email: str
    notify: tuple[str, ...] = ()
    digest: bool = False


class RotationMethod(StrEnum):
    """How the leads of a pool are distributed."""

    ROUND_ROBIN = "round robin"
    WEIGHTED = "weighted"
    LEAST_LOADED = "least loaded"


@dataclass(frozen=True, slots=True)
class Pool:
    """Reps, by id, who share leads; their order breaks ties."""

    name: str
    reps: tuple[str, ...]
    rotation: RotationMethod = RotationMethod.ROUND_ROBIN


@dataclass(frozen=True)
class Team:
    """All salespeople whom the policy names; *pools* always contains the pool of everyone.

    *business_hours* are when sales works; each rep may have their own.
    """

    reps: tuple[Rep, ...] = ()
    managers: tuple[Manager, ...] = ()
    pools: Mapping[str, Pool] = field(default_factory=dict)
    business_hours: WorkingHours = ROUND_THE_CLOCK

    def __post_init__(self) -> None:
        if EVERYONE_POOL not in self.pools:
            object.__setattr__(self, "pools", {**self.pools, EVERYONE_POOL: everyone_pool(self.reps)})

    def rep(self, rep_id: str) -> Rep | None:
        """Return the rep with this id, None if there is none."""
        return next((rep for rep in self.reps if rep.id == rep_id), None)

    def find_person(self, id_: str) -> Rep | Manager | None:
        """Return the manager or rep with this id, None if there is none."""
        return self._manager_in_list(id_) or self.rep(id_)

    def manager_with_id(self, id_: str) -> Manager | None:
        """Return the manager with this id, also a rep who manages others; None for anybody else."""
        managed = next((rep for rep in self.reps if rep.manager == id_), None)
        return self._manager_in_list(id_) or (self.manager_of(managed) if managed is not None else None)

    def manager_of(self, rep: Rep) -> Manager | None:
        """Return the rep's manager, None if the policy names none; a rep may be the manager too."""
        if rep.manager is None:
            return None
        other = self.rep(rep.manager)
        as_manager = Manager(other.id, other.name, other.email, other.notify) if other is not None else None
        return self._manager_in_list(rep.manager) or as_manager

    @property
    def manager_ids(self) -> tuple[str, ...]:
        """Return the ids of all managers, those of reps first."""
        named = [rep.manager for rep in self.reps if rep.manager and self.find_person(rep.manager)]
        return tuple(dict.fromkeys([*named, *(one.id for one in self.managers)]))

    def _manager_in_list(self, id_: str) -> Manager | None:
        return next((one for one in self.managers if one.id == id_), None)


def everyone_pool(reps: tuple[Rep, ...]) -> Pool:
    """Return the pool of all reps except partners; of partners if there are only partners."""
    own = tuple(rep.id for rep in reps if not rep.partner)
    return Pool(EVERYONE_POOL, own or tuple(rep.id for rep in reps))
