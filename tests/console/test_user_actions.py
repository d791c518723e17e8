"""Admins invite users, sign them out and remove them, on the page and never themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from nurture.clock import RealClock
from nurture.console import action_queries
from nurture.console.access import sessions, users
from nurture.console.access.users import Role
from nurture.console.actions import Refused
from nurture.console.user_actions import NEW_TOKEN, NEW_USER
from nurture.db.engine import Database
from nurture.errors import InvalidState, NotFound
from nurture.journey.intake.api import tokens
from nurture.runtime.context import AppContext
from tests.console.access.test_users import signed_in
from tests.console.test_actions import log, perform, session_of
from tests.console.test_browser import open_tab
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


def test_the_pages_are_for_admins_alone(world: ConsoleWorld) -> None:
    for path in ("/users", "/settings", "/log"):
        assert world.get(path, "admin").status_code == 200
        for login in ("marketer", "sales-manager", "rep", "viewer"):
            answer = world.get(path, login)
            assert answer.status_code == 403
            assert "mara" not in answer.text


def test_an_admin_creates_a_token_that_may_do_what_was_ticked_and_nobody_else(ctx: AppContext) -> None:
    scopes = {"leads:write": "yes", "signals:write": "", "suppressions:write": "yes"}
    with pytest.raises(Refused):
        perform(ctx, "create_token", session_of(ctx, Role.MARKETER), NEW_TOKEN, name="shop", **scopes)
    admin = session_of(ctx, Role.ADMIN)
    said = perform(ctx, "create_token", admin, NEW_TOKEN, name="shop", **scopes)
    caller = tokens.authenticate(ctx, said.rpartition(" ")[2], START)
    assert caller is not None
    assert (caller.name, caller.scopes) == ("shop", {"leads:write", "suppressions:write"})
    assert log(ctx)[0] == ("admin", "create_token", "new token: shop", "done")
    assert tokens.PREFIX not in str(log(ctx))
    for name in ("shop", "an/other"):
        with pytest.raises(InvalidState):
            perform(ctx, "create_token", admin, NEW_TOKEN, name=name, **scopes)
    with pytest.raises(InvalidState, match="at least one scope"):
        perform(ctx, "create_token", admin, NEW_TOKEN, name="other")


def test_an_admin_revokes_a_token_and_nobody_else(ctx: AppContext) -> None:
    token = tokens.create_token(ctx, "website", ["leads:write"], START)
    for role in (Role.MARKETER, Role.SALES_MANAGER, Role.VIEWER):
        with pytest.raises(Refused):
            perform(ctx, "revoke_token", session_of(ctx, role), "website")
    assert tokens.authenticate(ctx, token, START) is not None
    admin = session_of(ctx, Role.ADMIN)
    perform(ctx, "revoke_token", admin, "website")
    assert tokens.authenticate(ctx, token, START) is None
    with pytest.raises(NotFound):
        perform(ctx, "revoke_token", admin, "website")


def test_the_settings_page_shows_tokens_state_and_settings_but_no_secret(browser: Browser, world: ConsoleWorld) -> None:
    token = tokens.create_token(world.ctx, "website", ["leads:write"], START)
    caller = tokens.authenticate(world.ctx, token, START)
    assert caller is not None
    tokens.record_rate_limit(world.ctx, caller.token_id, START)
    with open_tab(browser, world, login="admin") as tab:
        tab.goto("/settings")
        expect(tab.get_by_role("heading", name="website")).to_be_visible()
        expect(tab.get_by_text("last used on 2026-01-05")).to_be_visible()
        expect(tab.get_by_text("Next: Ask its owner.")).to_be_visible()
        secret = tab.get_by_role("row", name="NURTURE_DATABASE_URL")
        expect(secret.get_by_role("cell", name="set, and not shown")).to_be_visible()
        for shown in (token, "console.db"):
            assert shown not in tab.content()
        tab.get_by_role("button", name="Create a token").click()
        dialog = tab.get_by_role("dialog")
        dialog.get_by_label("Name of the program").fill("shop")
        dialog.get_by_label("report what leads did").check()
        dialog.get_by_role("button", name="Create a token").click()
        expect(tab.get_by_role("status")).to_contain_text(f"it is not shown again: {tokens.PREFIX}")
        expect(tab.get_by_text("signals:write; created on")).to_be_visible()
        tab.get_by_role("button", name="Revoke: website").click()
        tab.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        expect(tab.get_by_role("status")).to_contain_text("The token website is revoked.")
        tab.goto("/log")
        tab.get_by_label("Action", exact=True).select_option("Revoke")
        tab.get_by_role("button", name="Show").click()
        row = tab.get_by_role("row").filter(has_text="website")
        expect(row).to_contain_text("admin")
        tab.goto("/log?who=viewer")
        expect(tab.get_by_text("Nobody did this.")).to_be_visible()


def test_the_log_is_read_in_pages_by_user_action_and_outcome(ctx: AppContext) -> None:
    admin, marketer = session_of(ctx, Role.ADMIN), session_of(ctx, Role.MARKETER)
    for number in range(3):
        perform(ctx, "add_user", admin, NEW_USER, login=f"user{number}", role="viewer", rep="")
    with pytest.raises(Refused):
        perform(ctx, "add_user", marketer, NEW_USER, login="x", role="viewer", rep="")
    with ctx.database.read() as tx:
        newest = action_queries.list_actions(tx, 2)
        older = action_queries.list_actions(tx, 9, before=newest[-1].id)
        assert [one.login for one in [*newest, *older]] == ["marketer", "admin", "admin", "admin"]
        assert [one.outcome for one in action_queries.list_actions(tx, 9, login="marketer")] == ["Refused"]
        assert len(action_queries.list_actions(tx, 9, action="add_user", outcomes=["done"])) == 3
        assert action_queries.list_actions(tx, 9, action="stop_mail") == []
