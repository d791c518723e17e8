"""The console in a real browser: sign in, the pages, and the actions of each role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.clock import RealClock
from nurture.console.access import users
from nurture.console.access.users import Role
from nurture.console.site import COOKIE
from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.journey.leads import stop_queries
from tests.console.world import PASSWORD, ConsoleWorld
from tests.web.browser import IS_FAINT

THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
FAINT = f"""() => {{ {IS_FAINT}
    return [...document.querySelectorAll("h1, h2, h3, p, label, summary, button, a, dt, dd, th, td, span")]
        .filter(one => one.getClientRects().length && isFaint(one)).map(one => one.outerHTML);
}}"""


@contextmanager
def open_tab(
    browser: Browser,
    world: ConsoleWorld,
    width: int = 1280,
    login: str = "",
    *,
    problems_expected: bool = False,
    **options: Any,
) -> Iterator[Page]:
    """Provide a tab; requests to other hosts and errors of scripts fail the test, unless they are expected."""
    context = browser.new_context(base_url=world.url, viewport={"width": width, "height": 800}, **options)
    if login:
        context.add_cookies([{"name": COOKIE, "value": world.token(login), "url": world.url}])
    context.set_default_timeout(20_000)
    tab = context.new_page()
    problems: list[str] = []
    tab.on("request", lambda sent: problems.append(sent.url) if world.url.partition("//")[2] not in sent.url else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    yield tab
    context.close()
    assert problems_expected or [one for one in problems if not one.startswith("data:")] == []


def looks(tab: Page, path: str, widths: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    """Open a page in each theme, and show it at each width; yield each (theme, width)."""
    for theme in THEMES:
        tab.emulate_media(color_scheme=theme)
        tab.goto(path)
        expect(tab.get_by_role("heading", level=1)).to_have_count(1)
        for width in widths:
            tab.set_viewport_size({"width": width, "height": 800})
            yield theme, width


def test_a_user_signs_in_and_out_with_the_form(browser: Browser, world: ConsoleWorld) -> None:
    with open_tab(browser, world) as tab:
        tab.goto("/")
        expect(tab).to_have_url(f"{world.url}/sign-in")
        tab.get_by_label("login").fill("viewer")
        tab.get_by_label("Password").fill(PASSWORD)
        tab.get_by_role("button", name="Sign in").click()
        expect(tab.get_by_role("heading", level=1)).to_have_text("Today")
        tab.get_by_text("viewer", exact=True).first.click()
        tab.get_by_role("button", name="Sign out").click()
        expect(tab).to_have_url(f"{world.url}/sign-in")
        tab.goto("/")
        expect(tab).to_have_url(f"{world.url}/sign-in")


def test_an_invitation_leads_to_a_password_and_the_first_page(browser: Browser, world: ConsoleWorld) -> None:
    invitation = users.add_user(world.ctx.database, "new@firm.example", "marketer", "", RealClock().now())
    with open_tab(browser, world, 390) as tab:
        tab.goto(invitation.url(world.url))
        for label in ("Password", "The same again"):
            tab.get_by_label(label, exact=True).fill("short")
        assert tab.get_by_label("Password", exact=True).evaluate("one => one.validity.tooShort")
        for label in ("Password", "The same again"):
            tab.get_by_label(label, exact=True).fill(PASSWORD)
        tab.get_by_role("button", name="Save and sign in").click()
        expect(tab.get_by_role("heading", level=1)).to_have_text("Today")


def test_a_marketer_stops_all_mail_with_a_reason_and_starts_it_again(browser: Browser, world: ConsoleWorld) -> None:
    with open_tab(browser, world, login="marketer") as tab:
        tab.goto("/")
        tab.get_by_role("button", name="Stop all mail").click()
        dialog = tab.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("The wrong price is in it")
        dialog.get_by_role("button", name="Stop all mail").click()
        expect(tab.get_by_role("status")).to_contain_text("All mail to leads is stopped.")
        with world.ctx.database.read() as tx:
            stop = stop_queries.load_stops(tx)[ALL_TRACKS]
        assert (stop.decided_by, stop.reason) == ("marketer (console)", "The wrong price is in it")
        tab.get_by_role("button", name="Start mail").click()
        dialog.get_by_label("Reason").fill("Mended")
        dialog.get_by_role("button", name="Start mail").click()
        expect(tab.get_by_role("button", name="Stop all mail")).to_be_visible()


def test_a_viewer_sees_no_button_that_changes_anything(browser: Browser, world: ConsoleWorld) -> None:
    with open_tab(browser, world, login="viewer") as tab:
        tab.goto("/")
        expect(tab.get_by_role("heading", level=1)).to_have_text("Today")
        assert tab.locator("main").get_by_role("button").count() == 0


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_overflows_or_is_faint(browser: Browser, world: ConsoleWorld, width: int, theme: str) -> None:
    with open_tab(browser, world, width, "marketer", color_scheme=theme) as tab:
        tab.goto("/")
        expect(tab.get_by_role("heading", level=1)).to_have_count(1)
        assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert tab.evaluate(FAINT) == []


def test_a_chosen_theme_stays(browser: Browser, world: ConsoleWorld) -> None:
    with open_tab(browser, world, login="viewer") as tab:
        tab.goto("/theme/dark?next=/")
        expect(tab.get_by_role("heading", level=1)).to_have_text("Today")
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 24, 31)"


def test_a_rep_sees_own_leads_first_and_accepts_one(browser: Browser, world: ConsoleWorld) -> None:
    with open_tab(browser, world, 390, "rep") as tab:
        tab.goto("/")
        expect(tab).to_have_url(f"{world.url}/mine")
        expect(tab.get_by_role("link", name="Dana Miller")).to_be_visible()
        assert tab.get_by_text("Erik Holm").count() == 0
        tab.get_by_role("button", name="Accept").click()
        tab.get_by_role("dialog").get_by_role("button", name="Accept").click()
        expect(tab.get_by_role("status")).to_contain_text("The lead is yours.")
        expect(tab.get_by_role("button", name="I was in touch")).to_be_visible()


def test_a_session_that_ends_in_the_middle_leads_to_the_sign_in_and_does_nothing(
    browser: Browser, world: ConsoleWorld
) -> None:
    world.new_user("leaving", Role.MARKETER)
    with open_tab(browser, world, login="leaving", problems_expected=True) as tab:
        tab.goto("/tracks/welcome")
        tab.get_by_role("button", name="Stop this track").click()
        tab.get_by_role("dialog").get_by_label("Reason").fill("Too late")
        users.end_sessions(world.ctx.database, "leaving", RealClock().now())
        tab.get_by_role("dialog").get_by_role("button", name="Stop this track").click()
        expect(tab).to_have_url(f"{world.url}/sign-in?next=/tracks/welcome", timeout=20_000)
    with world.ctx.database.read() as tx:
        assert "welcome" not in stop_queries.load_stops(tx)


def test_an_address_without_a_page_says_so_in_the_frame(world: ConsoleWorld) -> None:
    answer = world.get("/no/such/page", "viewer")
    assert answer.status_code == 404
    assert "There is no page at this address." in answer.text
    assert "Sign out" in answer.text
