"""What a page of the console is: its address, title and roles, what it reads in a thread, and how it is drawn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from nurture.console.access.sessions import User
from nurture.console.access.users import Role
from nurture.runtime.context import AppContext
from nurture.settings import Settings

T = TypeVar("T")

EVERYBODY = frozenset(Role)
ALL_BUT_REPS = EVERYBODY - {Role.REP}


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a page reads its data by: the *user*, and the *values* of its address, of the path and of the query.

    *now* is the time of the database, which is virtual in a practice world. *settings* are those of the console.
    """

    ctx: AppContext
    user: User
    values: Mapping[str, str]
    now: datetime
    settings: Settings | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page: *load* runs in a thread and reads, *render* draws what it returned and reads nothing.

    *path* is the address, such as ``/leads/{lead_id}``; *navigation* the word in the navigation, "" for none, at the
    place *order*. *load* raises NotFound for an object that is not there, or not this user's to see. *name* names the
    object of the page, as its heading; without it, *title* is the heading.
    """

    path: str
    title: str
    roles: frozenset[Role]
    load: Callable[[PageRequest], T]
    render: Callable[[Any, T], None]
    navigation: str = ""
    order: int = 0
    name: Callable[[T], str] | None = None
