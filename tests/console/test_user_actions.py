"""Admins invite users, sign them out and remove them, on the page and never themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from nurture.clock import RealClock
from nurture.console import sessions, users
from nurture.console.actions import Refused
from nurture.console.user_actions import NEW_USER
from nurture.console.users import Role
from nurture.db.engine import Database
from nurture.errors import InvalidState, NotFound
from nurture.runtime.context import AppContext
from tests.console.test_actions import log, perform, session_of
from tests.console.test_browser import open_tab
from tests.console.test_users import signed_in
from tests.console.world import ConsoleWorld
from tests.journey.builders import START, make_context


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def test_an_admin_invites_signs_out_and_removes(ctx: AppContext) -> None:
    admin, other = session_of(ctx, Role.ADMIN), signed_in(ctx.database, "mara")
    said = perform(ctx, "add_user", admin, NEW_USER, login="ana", role="rep", rep="ana")
    token = said.rpartition("/invitation/")[2]
    assert users.find_invited(ctx.database, token, START) == "ana"
    perform(ctx, "end_sessions", admin, "mara")
    assert sessions.authenticate(ctx.database, other, START) is None
    perform(ctx, "remove_user", admin, "mara")
    assert [one.login for one in users.list_users(ctx.database, START)] == ["admin", "ana"]
    assert [entry[1] for entry in log(ctx)] == ["remove_user", "end_sessions", "add_user"]


def test_an_admin_does_not_remove_itself_and_no_other_role_acts_on_users(ctx: AppContext) -> None:
    admin = session_of(ctx, Role.ADMIN)
    with pytest.raises(Refused):
        perform(ctx, "remove_user", admin, "admin")
    for role in (Role.MARKETER, Role.SALES_MANAGER, Role.REP, Role.VIEWER):
        with pytest.raises(Refused):
            perform(ctx, "invite_user", session_of(ctx, role, "ana"), "admin")


@pytest.mark.parametrize(
    ("login", "role", "rep"), [("two words", "viewer", ""), ("x", "boss", ""), ("x", "rep", "zoe")]
)
def test_a_user_that_makes_no_sense_is_not_added(ctx: AppContext, login: str, role: str, rep: str) -> None:
    with pytest.raises((InvalidState, NotFound)):
        perform(ctx, "add_user", session_of(ctx, Role.ADMIN), NEW_USER, login=login, role=role, rep=rep)
    assert len(users.list_users(ctx.database, START)) == 1


def test_the_page_makes_a_link_that_lets_a_new_user_in(browser: Browser, world: ConsoleWorld) -> None:
    with open_tab(browser, world, login="admin") as tab:
        tab.goto("/users")
        tab.get_by_role("button", name="Add a user").click()
        dialog = tab.get_by_role("dialog")
        dialog.get_by_label("Email address or login").fill("kim@firm.example")
        dialog.get_by_label("Role").select_option("viewer")
        dialog.get_by_role("button", name="Add a user").click()
        status = tab.get_by_role("status")
        expect(status).to_contain_text("Send this link to kim@firm.example")
        link = re.search(r"http://\S+/invitation/(\S+)", status.inner_text())
        assert link is not None
        assert link[0].startswith(world.url)
        assert users.find_invited(world.ctx.database, link[1], RealClock().now()) == "kim@firm.example"
        expect(tab.get_by_role("heading", name="kim@firm.example")).to_be_visible()


def test_the_page_is_for_admins_alone(world: ConsoleWorld) -> None:
    assert world.get("/users", "admin").status_code == 200
    for login in ("marketer", "sales-manager", "rep", "viewer"):
        answer = world.get("/users", login)
        assert answer.status_code == 403
        assert "mara" not in answer.text
