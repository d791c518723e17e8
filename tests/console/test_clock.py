"""The bar that moves the clock of a practice world: rounds run and leads react; elsewhere it is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from nurture.clock import RealClock
from nurture.console import actions
from nurture.console.access.users import Role
from nurture.console.action_list import ACTIONS
from nurture.console.clock_actions import SPANS, WORLD
from nurture.db import clock_row
from nurture.errors import InvalidState
from nurture.runtime.public_links import digest
from tests.console.test_browser import open_tab
from tests.console.world import ConsoleWorld, make_world, serve_console
from tests.simulation import worlds


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    """A practice world of 40 leads, and its console."""
    folder = tmp_path_factory.mktemp("practice") / "world"
    description = worlds.make_world(folder)
    nurture = str(Path(sys.executable).with_name("nurture"))
    command = (nurture, "practice", "console", "--folder", str(folder), "--port", "0", "--json")
    with worlds.entered(folder, description) as app:
        world = ConsoleWorld(app.ctx, {})
        for role in (Role.ADMIN, Role.VIEWER):
            world.new_user(role.value, role)
        with serve_console(world, command):
            yield world


def test_an_hour_and_a_week_pass_at_a_click_and_the_page_reads_again(browser: Browser, practice: ConsoleWorld) -> None:
    with open_tab(browser, practice, login="admin") as tab:
        tab.goto("/")
        bar = tab.get_by_role("region", name="Clock")
        time = bar.locator("time")
        expect(bar).to_contain_text("2026, 09:00 AM· No mail leaves it.")
        bar.get_by_role("button", name="Move the clock 1 hour forward").click()
        expect(time).to_have_attribute("datetime", "2026-03-02T10:00:00+00:00")
        bar.get_by_role("button", name="Move the clock 1 week forward").click()
        expect(time).to_have_attribute("datetime", "2026-03-09T10:00:00+00:00", timeout=120_000)
        expect(tab.get_by_role("status")).to_contain_text("emails to leads")
        sql = "SELECT count(*) FROM message WHERE kind = 'touch' AND accepted_at >= '2026-03-03'"
        ((sent,),) = practice.rows(sql)
        assert sent > 0
        figure = tab.locator(".figure", has_text="Emails this week")
        expect(figure.locator(".figure-value")).to_have_text(f"{sent:,}")


def test_a_viewer_sees_the_time_and_no_button(browser: Browser, practice: ConsoleWorld) -> None:
    with open_tab(browser, practice, 390, "viewer") as tab:
        tab.goto("/tracks")
        bar = tab.get_by_role("region", name="Clock")
        expect(bar).to_contain_text(", 2026, ")
        assert bar.get_by_role("button").count() == 0


def test_the_clock_of_a_world_that_runs_already_stays(practice: ConsoleWorld) -> None:
    now = RealClock().now()

    def refuse(_span: timedelta) -> str:
        raise InvalidState("The practice world is running already.")

    before = clock_row.read_virtual_now(practice.ctx.database)
    asked = (practice.ctx, ACTIONS["move_clock"], digest(practice.token("admin")), WORLD, {"span": "1 day"}, now, now)
    with pytest.raises(InvalidState, match="running already"):
        actions.perform(*asked, move_clock=refuse)
    assert clock_row.read_virtual_now(practice.ctx.database) == before


@pytest.mark.parametrize("span", SPANS)
def test_the_real_clock_is_not_moved_whoever_asks(tmp_path: Path, span: str) -> None:
    world = make_world(tmp_path)
    now = RealClock().now()
    asked = (world.ctx, ACTIONS["move_clock"], digest(world.token("admin")), WORLD, {"span": span}, now, now)
    with pytest.raises(InvalidState, match="practice world"):
        actions.perform(*asked)
    world.ctx.database.close()


def test_a_console_of_a_live_database_has_no_bar(world: ConsoleWorld) -> None:
    assert "Move the clock" not in world.get("/", "admin").text
