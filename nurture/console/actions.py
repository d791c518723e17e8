"""Actions of the console: who may do what to which object, checked here and nowhere else, and written to the log."""

import re
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, cast

from nurture.console import action_queries, filter_queries
from nurture.console.access import sessions, teams
from nurture.console.access.sessions import User
from nurture.console.access.users import Role
from nurture.console.importing import uploads
from nurture.db.engine import Database, OpenDatabase
from nurture.db.transaction import Transaction
from nurture.errors import InvalidState, NurtureError
from nurture.journey.leads import find
from nurture.runtime.context import AppContext

MAX_VALUE_LENGTH: Final = 2_000
DONE: Final = "done"
"""The outcome of an action that was carried out; otherwise the log has the type of the error."""

STARTED: Final = "started"
"""The first entry of an action in batches; a second one says how it ended."""

_MAX_OBJECT_LENGTH: Final = 1_000
_MAX_LOGGED_LENGTH: Final = 200
_WORDS: Final = re.compile(r"\bfind=[^&]*")
"""The words of a filter, which may be a name or an address, and are not logged."""

_LOGGED_NAME: Final = re.compile(r"[\w@.+-]{1,80}")
"""Names of new objects; the log holds no free text."""


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
    FOLDER = "folder"
    """The folder of definitions: there is one, and its id is ``all``."""
    FILE = "file"
    """A file of the folder of definitions, by its path there."""
    POLICY = "policy"
    """A version of the sales policy, by its number."""
    USER = "user"
    """A user of the console, by login."""
    CLOCK = "clock"
    """The virtual clock of a practice world: there is one, and its id is ``world``."""
    FILTER = "filter"
    """All leads that a filter lets through, by the query of its address."""
    SAVED_FILTER = "saved filter"
    MESSAGE = "message"
    """A message to a lead or a rep, by its id."""
    SENDER = "sender"
    """A provider or a sender domain, by its name."""
    TOKEN = "token"  # noqa: S105 - an API token, by its name
    UPLOAD = "upload"
    """A file that a user uploaded, by its id."""


class FieldKind(StrEnum):
    """How the value of a field is entered."""

    TEXT = "text"
    LONG_TEXT = "long text"
    DATE = "date"
    CHOICE = "choice"
    """One of the choices; the page leaves the field out by giving none."""
    CHECK = "check"
    """A box to tick: "yes" or nothing."""
    MANY = "many"
    """A box for each of the choices; the ticked ones, one a line. Without choices the page leaves the field out."""
    EDITOR = "editor"
    """A whole text, with its spaces; the page that has the editor calls `View.perform`."""
    HIDDEN = "hidden"
    """What the page gives as the only choice; nobody enters it."""


@dataclass(frozen=True, slots=True)
class Field:
    """A value that an action asks for. *choices* are filled by the page where they depend on the data."""

    name: str
    label: str
    kind: FieldKind = FieldKind.TEXT
    choices: tuple[str, ...] = ()
    required: bool = True
    max_length: int = MAX_VALUE_LENGTH
    """In characters."""


MoveClock = Callable[[timedelta], str]
"""Moves the clock of a practice world forward, and returns what happened meanwhile."""


@dataclass(frozen=True, slots=True)
class Call:
    """An allowed call of an action: by whom, on which object, with which values.

    *now* is the time of the database, *real_now* that of sessions; *url* is the address of the console. *move_clock*
    is None unless the console is that of a practice world. *check* raises SignedOut or Refused once the user may not go
    on: for actions in transactions of their own.
    """

    ctx: AppContext
    user: User
    object: str
    values: Mapping[str, str]
    now: datetime
    real_now: datetime
    url: str
    move_clock: MoveClock | None = None
    check: Callable[[], None] = lambda: None

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
    *in_own_transactions*: the use case has several, which begin after that of the check has ended, and what it has done
    stays when it fails later. *preview* says what the action would do, and changes nothing.
    """

    name: str
    label: str
    roles: frozenset[Role]
    kind: ObjectKind
    run: Callable[[Call], str]
    fields: tuple[Field, ...] = ()
    is_grave: bool = False
    in_own_transactions: bool = False
    preview: Callable[[Call], str] | None = None
    named_by: str = ""
    """The field that names what the action makes: the log has its value after the object."""


ObjectRule = Callable[[Transaction, User, str], bool]
"""Whether the object is one that this user may act on, whatever the action is."""


def _may_act_on_lead(tx: Transaction, user: User, target: str) -> bool:
    """Return whether the lead is the rep's own, or of the sales manager's team; the other roles may act on all."""
    lead_id = find.parse_id(target)
    if lead_id is None:
        return False
    if user.role == Role.REP:
        return action_queries.is_with_people(tx, lead_id, {user.rep})
    return user.reps is None or action_queries.is_with_people(tx, lead_id, user.reps, or_waits=True)


def _may_act_on_offer(tx: Transaction, user: User, target: str) -> bool:
    """Return whether the hand-off was made to this person and is not over."""
    offer_id = find.parse_id(target)
    return offer_id is not None and action_queries.has_offer(tx, offer_id, user.rep)


def _may_act_on_the_one(_tx: Transaction, user: User, target: str) -> bool:
    return target == "all" and user.role != Role.REP


def _may_act_on_track(_tx: Transaction, user: User, target: str) -> bool:
    return bool(target) and user.role != Role.REP


def _may_act_on_saved_filter(tx: Transaction, user: User, target: str) -> bool:
    """Return whether the user saved the filter; admins also act on those that others share."""
    filter_id, is_admin = find.parse_id(target), user.role == Role.ADMIN
    return filter_id is not None and filter_queries.is_own_filter(tx, filter_id, user.id, or_shared=is_admin)


OBJECT_RULES: Final[Mapping[ObjectKind, ObjectRule]] = {
    ObjectKind.LEAD: _may_act_on_lead,
    ObjectKind.OFFER: _may_act_on_offer,
    ObjectKind.TRACK: _may_act_on_track,
    ObjectKind.USER: lambda _tx, user, target: user.role == Role.ADMIN and target != user.login,
    ObjectKind.TOKEN: lambda _tx, user, target: bool(target) and user.role == Role.ADMIN,
    ObjectKind.FILTER: lambda _tx, user, target: len(target) < _MAX_OBJECT_LENGTH and user.role != Role.REP,
    ObjectKind.SAVED_FILTER: _may_act_on_saved_filter,
    ObjectKind.MESSAGE: lambda _tx, user, target: find.parse_id(target) is not None and user.role != Role.REP,
    ObjectKind.SENDER: lambda _tx, user, target: bool(target) and user.role != Role.REP,
    ObjectKind.UPLOAD: lambda _tx, user, target: uploads.is_id(target) and user.role != Role.REP,
    ObjectKind.CLOCK: lambda _tx, user, target: target == "world" and user.role != Role.REP,
    ObjectKind.MAIL: _may_act_on_the_one,
    ObjectKind.FOLDER: _may_act_on_the_one,
    ObjectKind.FILE: _may_act_on_track,
    ObjectKind.POLICY: _may_act_on_track,
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
    transactions of its own begins after the check, and is logged before and after it. Returns what was done. Raises
    SignedOut, Refused, and what the use case raises; then nothing but the log is changed by other actions.
    """
    target = target[:_MAX_OBJECT_LENGTH]
    logged = _logged(action, target, values)
    user = None
    try:
        with ctx.database.write() as tx:
            user = _require_user(ctx, tx, session, real_now)
            _require_allowed(tx, action, user, target)
            call = Call(ctx, user, target, _checked(action, values), now, real_now, url, move_clock)
            if action.in_own_transactions:
                action_queries.add_action(tx, real_now, user.id, action.name, logged, STARTED)
            else:
                done = action.run(replace(call, ctx=_inside(ctx, tx)))
                action_queries.add_action(tx, real_now, user.id, action.name, logged, DONE)
        if action.in_own_transactions:
            done = action.run(replace(call, check=lambda: _check_again(ctx, action, session, target, real_now)))
            with ctx.database.write() as tx:
                action_queries.add_action(tx, real_now, user.id, action.name, logged, DONE)
    except NurtureError as error:
        if user is not None:
            with ctx.database.write() as tx:
                action_queries.add_action(tx, real_now, user.id, action.name, logged, type(error).__name__)
        raise
    return done


def require_allowed(ctx: AppContext, action: Action, session: str, target: str, real_now: datetime) -> None:
    """Check the session, the role and the object, before the data arrives that `perform` is about; log a refusal.

    Raises SignedOut and Refused.
    """
    with ctx.database.write() as tx:
        user = _require_user(ctx, tx, session, real_now)
        is_allowed = _is_allowed(tx, action, user, target)
        if not is_allowed:
            logged = _logged(action, target, {})
            action_queries.add_action(tx, real_now, user.id, action.name, logged, Refused.__name__)
    if not is_allowed:
        raise Refused


def preview(
    ctx: AppContext,
    action: Action,
    session: str,
    target: str,
    values: Mapping[str, str],
    now: datetime,
    real_now: datetime,
) -> str:
    """Return what *action* would do, after the same checks as `perform`; nothing is changed or logged."""
    assert action.preview is not None
    target = target[:_MAX_OBJECT_LENGTH]
    with ctx.database.read() as tx:
        user = _require_user(ctx, tx, session, real_now)
        _require_allowed(tx, action, user, target)
    return action.preview(Call(ctx, user, target, _checked(action, values), now, real_now, ""))


def _require_user(ctx: AppContext, tx: Transaction, session: str, real_now: datetime) -> User:
    user = sessions.find_user(tx, session, real_now)
    if user is None:
        raise SignedOut
    return teams.with_team(ctx, tx, user)


def _require_allowed(tx: Transaction, action: Action, user: User, target: str) -> None:
    if not _is_allowed(tx, action, user, target):
        raise Refused


def _is_allowed(tx: Transaction, action: Action, user: User, target: str) -> bool:
    return may_see_action(action, user) and OBJECT_RULES[action.kind](tx, user, target)


def _check_again(ctx: AppContext, action: Action, session: str, target: str, real_now: datetime) -> None:
    with ctx.database.read() as tx:
        _require_allowed(tx, action, _require_user(ctx, tx, session, real_now), target)


def _inside(ctx: AppContext, tx: Transaction) -> AppContext:
    """Return the context with which a use case takes part in this transaction."""
    inside = copy(ctx)  # not `replace`, which would build the provider and the CRM
    inside.database = cast("Database", OpenDatabase(tx))
    return inside


def _logged(action: Action, target: str, values: Mapping[str, str]) -> str:
    logged, name = _WORDS.sub("find=...", target)[:_MAX_LOGGED_LENGTH], values.get(action.named_by, "").strip()
    return f"{logged}: {name}" if _LOGGED_NAME.fullmatch(name) else logged


def _checked(action: Action, values: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the action's fields. Raises InvalidState for one that is missing or too long."""
    found = {}
    for field in action.fields:
        value = values.get(field.name, "")
        value = value if field.kind is FieldKind.EDITOR else value.strip()
        if field.required and not value:
            raise InvalidState(f"{field.label} is empty. Fill it in.")
        if len(value) > field.max_length:
            raise InvalidState(f"{field.label} has more than {field.max_length:,} characters. Shorten it.")
        found[field.name] = value
    return found
