"""Actions are checked on the server by session, role and object, and written to the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.console import action_queries, actions
from nurture.console.access import sessions, users
from nurture.console.access.users import Role
from nurture.console.action_list import ACTIONS
from nurture.console.actions import Refused, SignedOut
from nurture.db.engine import Database
from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.errors import InvalidState, NotFound
from nurture.journey.leads import stop_queries
from nurture.runtime.context import AppContext
from tests.console.access.test_users import signed_in
from tests.journey.builders import START, make_context


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def session_of(ctx: AppContext, role: Role, rep: str = "") -> str:
    """Return the session of a new user with this role."""
    user = sessions.authenticate(ctx.database, signed_in(ctx.database, role.value, role, rep), START)
    assert user is not None
    return user.session


def perform(ctx: AppContext, name: str, session: str, target: str, /, **values: str) -> str:
    return actions.perform(ctx, ACTIONS[name], session, target, values, START, START)


def log(ctx: AppContext) -> list[tuple[str, str, str, str]]:
    with ctx.database.read() as tx:
        return [tuple(one[1:5]) for one in action_queries.list_actions(tx, 10)]  # type: ignore[misc]


def is_stopped(ctx: AppContext) -> bool:
    with ctx.database.read() as tx:
        return ALL_TRACKS in stop_queries.load_stops(tx)


def test_an_allowed_action_is_done_and_logged_with_who_did_it(ctx: AppContext) -> None:
    session = session_of(ctx, Role.MARKETER)
    assert perform(ctx, "stop_mail", session, "all", reason="wrong price") == "All mail to leads is stopped."
    assert is_stopped(ctx)
    assert log(ctx) == [("marketer", "stop_mail", "all", "done")]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.REP, Role.SALES_MANAGER])
def test_a_role_without_the_action_is_refused_and_logged(ctx: AppContext, role: Role) -> None:
    session = session_of(ctx, role, "ana")
    with pytest.raises(Refused):
        perform(ctx, "stop_mail", session, "all", reason="no")
    assert not is_stopped(ctx)
    assert log(ctx) == [(role, "stop_mail", "all", "Refused")]


def test_an_action_after_the_session_ended_or_the_role_changed_does_nothing(ctx: AppContext) -> None:
    session = session_of(ctx, Role.ADMIN)
    users.end_sessions(ctx.database, "admin", START)
    with pytest.raises(SignedOut):
        perform(ctx, "stop_mail", session, "all", reason="late")
    assert not is_stopped(ctx)
    assert log(ctx) == []


@pytest.mark.parametrize("target", ["", "All", "1", "x" * 10_000, "all' OR 1=1"])
def test_an_object_that_the_action_is_not_about_is_refused(ctx: AppContext, target: str) -> None:
    with pytest.raises(Refused):
        perform(ctx, "stop_mail", session_of(ctx, Role.ADMIN), target, reason="no")
    assert not is_stopped(ctx)


def test_what_the_use_case_refuses_is_undone_and_logged_by_its_kind_alone(ctx: AppContext) -> None:
    session = session_of(ctx, Role.ADMIN)
    with pytest.raises(NotFound):
        perform(ctx, "stop_track", session, "no-such-track", reason="no")
    with pytest.raises(InvalidState, match="Reason is empty"):
        perform(ctx, "stop_mail", session, "all", reason="  ")
    with pytest.raises(InvalidState, match="Shorten"):
        perform(ctx, "stop_mail", session, "all", reason="x" * 2_001)
    outcomes = [(one[1], one[3]) for one in log(ctx)]
    assert outcomes == [("stop_mail", "InvalidState"), ("stop_mail", "InvalidState"), ("stop_track", "NotFound")]


def test_every_action_has_a_name_a_label_and_a_role_that_may_do_it() -> None:
    for name, action in ACTIONS.items():
        assert name == action.name
        assert action.label
        assert action.roles
        assert Role.VIEWER not in action.roles
        assert len({field.name for field in action.fields}) == len(action.fields)
