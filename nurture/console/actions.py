"""Actions of the console: who may do what to which object, checked here and nowhere else, and written to the log."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, cast

from nurture.console import action_queries, sessions
from nurture.console.sessions import User
from nurture.console.users import Role
from nurture.db.engine import Database, OpenDatabase
from nurture.db.transaction import Transaction
from nurture.errors import InvalidState, NurtureError
from nurture.journey.leads import find
from nurture.runtime.context import AppContext

MAX_VALUE_LENGTH: Final = 2_000
DONE: Final = "done"
"""The outcome of an action that was carried out; otherwise the log has the type of the error."""

_MAX_OBJECT_LENGTH: Final = 200


class Refused(NurtureError):
    """Your role does not allow this here. Ask an admin of the console."""


class SignedOut(NurtureError):
    """Your session has ended. Sign in again."""


class ObjectKind(StrEnum):
    """What an action is about."""

    LEAD = "lead"
    OFFER = "offer"
    """A hand-off to a rep, by its id."""
    TRACK = "track"
    MAIL = "mail"
    """All mail: there is one, and its id is ``all``."""
    USER = "user"
    """A user of the console, by login."""
    CLOCK = "clock"
    """The virtual clock of a practice world: there is one, and its id is ``world``."""


class FieldKind(StrEnum):
    """How the value of a field is entered."""

    TEXT = "text"
    LONG_TEXT = "long text"
    DATE = "date"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class Field:
    """A value that an action asks for. *choices* are filled by the page where they depend on the data."""

    name: str
    label: str
    kind: FieldKind = FieldKind.TEXT
    choices: tuple[str, ...] = ()
    required: bool = True


MoveClock = Callable[[timedelta], str]
"""Moves the clock of a practice world forward, and returns what happened meanwhile."""


@dataclass(frozen=True, slots=True)
class Call:
    """An allowed call of an action: by whom, on which object, with which values.

    *now* is the time of the database, *real_now* that of sessions; *url* is the address of the console. *move_clock*
    is None unless the console is that of a practice world.
    """

    ctx: AppContext
    user: User
    object: str
    values: Mapping[str, str]
    now: datetime
    real_now: datetime
    url: str
    move_clock: MoveClock | None = None

    @property
    def by(self) -> str:
        """Return who acts, as journals say it."""
        return f"{self.user.login} (console)"

    @property
    def lead_id(self) -> int:
        """Return the lead that the action is about."""
        return int(self.object)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that users may do: its *name* in the log, the *label* of its button, *roles* and *kind* of object.

    *run* carries out the use case and returns one sentence about what was done. *is_grave* asks once more.
    *in_own_transactions*: the use case has several, which begin after that of the check has ended.
    """

    name: str
    label: str
    roles: frozenset[Role]
    kind: ObjectKind
    run: Callable[[Call], str]
    fields: tuple[Field, ...] = ()
    is_grave: bool = False
    in_own_transactions: bool = False


ObjectRule = Callable[[Transaction, User, str], bool]
"""Whether the object is one that this user may act on, whatever the action is."""


def _may_act_on_lead(tx: Transaction, user: User, target: str) -> bool:
    """Return whether the lead is the rep's own; the other roles may act on all."""
    lead_id = find.parse_id(target)
    if lead_id is None:
        return False
    return user.role != Role.REP or action_queries.is_with_person(tx, lead_id, user.rep)


def _may_act_on_offer(tx: Transaction, user: User, target: str) -> bool:
    """Return whether the hand-off was made to this person and is not over."""
    offer_id = find.parse_id(target)
    return offer_id is not None and action_queries.has_offer(tx, offer_id, user.rep)


def _may_act_on_track(_tx: Transaction, user: User, target: str) -> bool:
    return bool(target) and user.role != Role.REP


OBJECT_RULES: Final[Mapping[ObjectKind, ObjectRule]] = {
    ObjectKind.LEAD: _may_act_on_lead,
    ObjectKind.OFFER: _may_act_on_offer,
    ObjectKind.TRACK: _may_act_on_track,
    ObjectKind.USER: lambda _tx, user, target: user.role == Role.ADMIN and target != user.login,
    ObjectKind.MAIL: lambda _tx, user, target: target == "all" and user.role != Role.REP,
    ObjectKind.CLOCK: lambda _tx, user, target: target == "world" and user.role != Role.REP,
}


def may_see_object(tx: Transaction, user: User, kind: ObjectKind, target: str) -> bool:
    """Return whether the object is one that this user may see: for a page about one object."""
    return OBJECT_RULES[kind](tx, user, target)


def may_see_action(action: Action, user: User) -> bool:
    """Return whether the role allows the action at all: for drawing its button. `perform` decides."""
    return user.role in action.roles


def perform(
    ctx: AppContext,
    action: Action,
    session: str,
    target: str,
    values: Mapping[str, str],
    now: datetime,
    real_now: datetime,
    url: str = "",
    move_clock: MoveClock | None = None,
) -> str:
    """Check the session, the role and the object, carry out *action* on *target*, and log it, in one transaction.

    *session* is the digest of the user's session, which is read again here; *real_now* decides whether it has expired,
    *now* is the time of the database, which may be virtual; *url* is the address of the console. An action with
    transactions of its own begins after the check, and is logged after it. Returns what was done. Raises SignedOut,
    Refused, and what the use case raises; then nothing but the log is changed.
    """
    target = target[:_MAX_OBJECT_LENGTH]
    user = None
    try:
        with ctx.database.write() as tx:
            user = sessions.find_user(tx, session, real_now)
            if user is None:
                raise SignedOut
            if not (may_see_action(action, user) and OBJECT_RULES[action.kind](tx, user, target)):
                raise Refused
            call = Call(ctx, user, target, _checked(action, values), now, real_now, url, move_clock)
            if not action.in_own_transactions:
                inside = copy(ctx)  # not `replace`, which would build the provider and the CRM
                inside.database = cast("Database", OpenDatabase(tx))
                done = action.run(replace(call, ctx=inside))
                action_queries.add_action(tx, real_now, user.id, action.name, target, DONE)
        if action.in_own_transactions:
            done = action.run(call)
            with ctx.database.write() as tx:
                action_queries.add_action(tx, real_now, user.id, action.name, target, DONE)
    except NurtureError as error:
        if user is not None:
            with ctx.database.write() as tx:
                action_queries.add_action(tx, real_now, user.id, action.name, target, type(error).__name__)
        raise
    return done


def _checked(action: Action, values: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the action's fields. Raises InvalidState for one that is missing or too long."""
    found = {}
    for field in action.fields:
        value = values.get(field.name, "").strip()
        if field.required and not value:
            raise InvalidState(f"{field.label} is empty. Fill it in.")
        if len(value) > MAX_VALUE_LENGTH:
            raise InvalidState(f"{field.label} has more than {MAX_VALUE_LENGTH:,} characters. Shorten it.")
        found[field.name] = value
    return found
