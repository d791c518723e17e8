"""The calendar in a real browser, as somebody reads it who has never used it."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.console.test_browser import FAINT, looks, open_tab
from tests.console.world import ConsoleWorld


def test_what_goes_out_on_a_day_and_to_whom(browser: Browser, world: ConsoleWorld) -> None:
    with open_tab(browser, world, login="marketer") as tab:
        tab.goto("/calendar")
        expect(tab.get_by_text("The planner's forecast for all")).to_be_visible()
        day = tab.locator(".day", has_text="welcome").first
        expect(day).to_contain_text("1 email")
        day.get_by_role("link").first.click()
        expect(tab.get_by_role("row", name="welcome").first).to_contain_text("02-more")
        expect(tab.get_by_role("link", name="Mia <b>Wong</b>")).to_be_visible()
        for path in ("/calendar", tab.url):
            for _ in looks(tab, path, (390, 1280, 1920)):
                assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
                assert tab.evaluate(FAINT) == []


def test_a_day_outside_the_calendar_says_so(world: ConsoleWorld) -> None:
    assert world.get("/calendar/2031-01-01", "viewer").status_code == 404
    assert "is no day" in world.get("/calendar/tuesday", "viewer").text


def test_a_manager_of_a_team_gets_the_numbers_of_a_day_without_the_people(world: ConsoleWorld) -> None:
    day = "/calendar/2026-01-12"
    assert "Mia" in world.get(day, "marketer").text
    shown = world.get(day, "maya").text
    assert "02-more" in shown
    assert "Mia" not in shown
    assert "names none of them to you" in shown
