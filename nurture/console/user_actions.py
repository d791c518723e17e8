"""What admins do about users: invite, end sessions, remove; and about API tokens: create, revoke."""

from collections.abc import Mapping
from typing import Final

from nurture.console.access import users
from nurture.console.access.users import Invitation, Role
from nurture.console.actions import Action, Call, Field, FieldKind, ObjectKind
from nurture.journey.handoff import roster
from nurture.journey.intake.api import tokens
from nurture.journey.intake.api.tokens import TokenScope

NEW_TOKEN: Final = "new token"  # noqa: S105 - no password
"""The object of the action that creates a token; its name is a field, which the log has, too."""

NEW_USER: Final = "new user"
"""The object of the action that adds a user; no login has a space."""


def _add(call: Call) -> str:
    rep = call.values["rep"]
    if rep:
        with call.ctx.database.read() as tx:
            rep = roster.require_person(call.ctx.definitions.current(tx).policy, rep).id
    return _describe(
        call, users.add_user(call.ctx.database, call.values["login"], call.values["role"], rep, call.real_now)
    )


def _invite(call: Call) -> str:
    return _describe(call, users.invite(call.ctx.database, call.object, call.real_now))


def _describe(call: Call, invitation: Invitation) -> str:
    link = invitation.url(call.url)
    return f"Send this link to {invitation.login}; it works once, until {invitation.expires_at:%Y-%m-%d}: {link}"


def _end_sessions(call: Call) -> str:
    users.end_sessions(call.ctx.database, call.object, call.real_now)
    return f"{call.object} is signed out everywhere."


def _remove(call: Call) -> str:
    users.remove_user(call.ctx.database, call.object, call.real_now)
    return f"{call.object} is removed."


def _create_token(call: Call) -> str:
    scopes = [scope for scope in _SCOPES if call.values[scope]]
    token = tokens.create_token(call.ctx, call.values["name"], scopes, call.now)
    return f"Copy this token now into the settings of {call.values['name']}; it is not shown again: {token}"


def _revoke_token(call: Call) -> str:
    tokens.revoke_token(call.ctx, call.object, call.now)
    return f"The token {call.object} is revoked."


_SCOPES: Final[Mapping[str, str]] = {
    TokenScope.LEADS: "add and change leads",
    TokenScope.SIGNALS: "report what leads did, such as clicks and forms",
    TokenScope.OUTCOMES: "report what became of leads in sales",
    TokenScope.SUPPRESSIONS: "stop email to people",
}
_NEW_TOKEN: Final = (
    Field("name", "Name of the program that uses it, such as website"),
    *(
        Field(str(scope), f"It may {text} ({scope})", FieldKind.CHECK, required=False)
        for scope, text in _SCOPES.items()
    ),
)
_ADMINS: Final = frozenset({Role.ADMIN})
_NEW: Final = (
    Field("login", "Email address or login"),
    Field("role", "Role", FieldKind.CHOICE, tuple(Role)),
    Field("rep", "Id in the sales policy, for reps and sales managers", required=False),
)

USER_ACTIONS: Final = (
    Action("add_user", "Add a user", _ADMINS, ObjectKind.USER, _add, _NEW, named_by="login"),
    Action("invite_user", "New link", _ADMINS, ObjectKind.USER, _invite),
    Action("end_sessions", "Sign out everywhere", _ADMINS, ObjectKind.USER, _end_sessions),
    Action("create_token", "Create a token", _ADMINS, ObjectKind.TOKEN, _create_token, _NEW_TOKEN, named_by="name"),
    Action("revoke_token", "Revoke", _ADMINS, ObjectKind.TOKEN, _revoke_token, is_grave=True),
    Action("remove_user", "Remove", _ADMINS, ObjectKind.USER, _remove, is_grave=True),
)
