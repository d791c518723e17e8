"""The console with a keyboard, a screen reader and a phone: axe-core finds nothing serious on any page."""

from __future__ import annotations

from importlib.resources import files

import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.clock import RealClock
from nurture.console.access import users
from nurture.console.access.users import Role
from nurture.console.page_list import load_pages
from tests.console.test_browser import THEMES, looks, open_tab
from tests.console.world import ConsoleWorld

_AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
_FIND = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .filter(one => ["serious", "critical"].includes(one.impact))
    .map(one => [one.id, one.help, one.nodes.map(node => node.html).slice(0, 5)])"""
_PAGES = {page.path: "admin" if Role.ADMIN in page.roles else "rep" for page in load_pages()}


def find_violations(tab: Page) -> list[object]:
    """Return what axe-core finds serious or critical."""
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(_AXE)
    found: list[object] = tab.evaluate(_FIND)
    return found


def address(world: ConsoleWorld, path: str) -> str:
    """Return an address of a page, about a lead, a track, an email or a company that is there."""
    values = {"{lead_id}": str(world.ids["mia"]), "{track}": "welcome", "{email}": "01-hello"}
    values |= {"{message_id}": str(world.ids["hello"]), "{account_id}": str(world.ids["quay"])}
    values["{report}"] = "sales"
    if "{upload_id}" in path:
        values["{upload_id}"] = world.upload_with_question
    values |= {"{kind}": "track", "{name}": "welcome", "{day}": "2026-01-06"}
    values["{path:path}"] = "tracks/welcome/01-hello.md"
    for name, value in values.items():
        path = path.replace(name, value)
    return path


@pytest.mark.parametrize("path", _PAGES)
def test_no_page_has_a_serious_fault(browser: Browser, world: ConsoleWorld, path: str) -> None:
    with open_tab(browser, world, 390, _PAGES[path]) as tab:
        for look in looks(tab, address(world, path), (390, 1280)):
            assert find_violations(tab) == [], look


@pytest.mark.parametrize("theme", THEMES)
def test_neither_forms_nor_dialogs_have_a_serious_fault(browser: Browser, world: ConsoleWorld, theme: str) -> None:
    invitation = users.add_user(world.ctx.database, f"new-{theme}", "viewer", "", RealClock().now())
    with open_tab(browser, world, 390, color_scheme=theme, bypass_csp=True) as tab:
        for path in ("/sign-in", invitation.url("")):
            tab.goto(path)
            assert find_violations(tab) == []
    with open_tab(browser, world, 390, "admin", color_scheme=theme) as tab:
        tab.goto("/")
        tab.get_by_role("button", name="Stop all mail").click()
        expect(tab.get_by_role("dialog").get_by_label("Reason")).to_be_visible()
        assert find_violations(tab) == []


def test_all_is_reached_and_done_with_the_keyboard(browser: Browser, world: ConsoleWorld) -> None:
    with open_tab(browser, world, 1280, "marketer") as tab:
        tab.goto("/")
        expect(tab.get_by_role("button", name="Stop all mail")).to_be_visible()
        tab.keyboard.press("Tab")
        expect(tab.get_by_role("link", name="Skip to the content")).to_be_focused()
        tab.keyboard.press("Enter")
        for _ in range(40):
            tab.keyboard.press("Tab")
            if tab.evaluate("document.activeElement.textContent") == "Stop all mail":
                break
        tab.keyboard.press("Enter")
        reason = tab.get_by_role("dialog").get_by_label("Reason")
        expect(reason).to_be_focused()
        tab.keyboard.press("Escape")
        expect(tab.get_by_role("dialog")).to_have_count(0)
