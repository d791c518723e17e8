"""Users: who may sign in, with which role, and what users did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.clock import RealClock
from nurture.console import action_queries, components
from nurture.console.access import users
from nurture.console.access.users import Role, UserInfo
from nurture.console.action_queries import ActionRecord
from nurture.console.page import Page, PageRequest
from nurture.console.pages.log import COLUMNS, log_row
from nurture.console.user_actions import NEW_USER
from nurture.console.view import View

_MAX_ACTIONS: Final = 50


@dataclass(frozen=True, slots=True)
class UsersPage:
    """The users, and the newest entries of the log of actions."""

    found: Sequence[UserInfo]
    log: Sequence[ActionRecord]


def _load(request: PageRequest) -> UsersPage:
    found = users.list_users(request.ctx.database, RealClock().now())
    with request.ctx.database.read() as tx:
        return UsersPage(found, action_queries.list_actions(tx, _MAX_ACTIONS))


def _render(view: View, page: UsersPage) -> None:
    with components.block("buttons"):
        view.action_button("add_user", NEW_USER)
    with components.card("Who may sign in"):
        for one in page.found:
            with components.block("row"):
                with components.block("who"):
                    components.heading(one.login, 3)
                    components.paragraph(_describe(one), "soft")
                if one.login != view.user.login:
                    with components.block("buttons"):
                        for name in ("invite_user", "end_sessions", "remove_user"):
                            view.action_button(name, one.login, about=one.login)
    with components.card("What users did"):
        if page.log:
            rows = [log_row(one) for one in page.log]
            components.table(COLUMNS, rows, caption="The newest actions")
            components.link("All of them", "/log")
        else:
            components.empty("Nobody has done anything yet.")


def _describe(user: UserInfo) -> str:
    parts = [user.role.replace("_", " "), f"{user.rep} in the sales policy" if user.rep else ""]
    parts += [f"open sessions: {user.open_sessions}" if user.has_password else "invited, no password yet"]
    parts += [_locked(user.locked_until) if user.locked_until is not None else ""]
    return ", ".join(part for part in parts if part)


def _locked(until: datetime) -> str:
    return f"locked out until {until:%H:%M} UTC after wrong passwords"


PAGE: Final = Page("/users", "Users", frozenset({Role.ADMIN}), _load, _render, "Users", 90)
