"""Change and publish in a real browser, as somebody does it who has never used it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.definitions.folder import read_folder, write_texts
from nurture.publishing.publish import publish
from tests.console.test_browser import FAINT, looks, open_tab
from tests.console.world import ConsoleWorld, make_world, serve_console
from tests.journey.builders import START, sample_rules

WELCOME, HELLO = "tracks/welcome/track.yaml", "tracks/welcome/01-hello.md"
LIVE = {HELLO: sample_rules()[HELLO], WELCOME: sample_rules()[WELCOME].replace("after: 3 days", "after: 9 days")}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    """A console and its folder of definitions, with Mia on the track welcome."""
    made = make_world(tmp_path_factory.mktemp("changes"))
    publish(made.ctx, {**read_folder(made.ctx.templates), **LIVE}, START + timedelta(hours=2))
    with serve_console(made):
        yield made
    made.ctx.database.close()


@pytest.fixture
def tab(browser: Browser, world: ConsoleWorld) -> Iterator[Page]:
    write_texts(world.ctx.templates, LIVE)
    with open_tab(browser, world, login="marketer") as opened:
        yield opened


def edit(world: ConsoleWorld, path: str, old: str, new: str) -> None:
    file: Path = world.ctx.templates / path
    text = file.read_text("utf-8")
    assert old in text
    write_texts(world.ctx.templates, {path: text.replace(old, new)})


def press_publish(tab: Page) -> None:
    tab.get_by_role("button", name="Publish welcome").click()
    tab.get_by_role("dialog").get_by_role("button", name="Publish welcome").click()


def test_what_happens_if_an_email_is_sent_two_days_earlier(tab: Page, world: ConsoleWorld) -> None:
    edit(world, WELCOME, "after: 9 days", "after: 7 days")
    tab.goto("/changes")
    expect(tab.get_by_text("Email 02-more goes 2 days earlier: after 9 days becomes after 7 days.")).to_be_visible()
    tab.get_by_role("link", name="track welcome").click()
    row = tab.get_by_role("row", name="02-more")
    expect(row).to_contain_text("earlier")
    expect(tab.locator(".diff ins")).to_contain_text("after: 7 days")
    for _ in looks(tab, "/changes/track/welcome", (390, 1280, 1920)):
        assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert tab.evaluate(FAINT) == []


def test_a_reworded_email_is_published_and_taken_back(tab: Page, world: ConsoleWorld) -> None:
    edit(world, HELLO, "subject: Hello", "subject: Welcome among us")
    tab.goto("/changes/track/welcome")
    expect(tab.get_by_text("The subject of 01-hello: “Hello” becomes “Welcome among us”")).to_be_visible()
    press_publish(tab)
    expect(tab.get_by_role("status")).to_contain_text("is live.")
    expect(tab.get_by_text("welcome is live as it is in the folder")).to_be_visible()
    tab.goto("/tracks/welcome/emails/01-hello")
    expect(tab.get_by_text("Welcome among us").first).to_be_visible()
    expect(tab.get_by_role("link", name="Edit it in the folder")).to_have_attribute(
        "href", "/edit/tracks/welcome/01-hello.md"
    )
    tab.get_by_role("link", name="welcome", exact=True).click()
    tab.get_by_role("link", name="Versions").click()
    newest = tab.get_by_role("row").nth(1)
    expect(newest).to_contain_text("marketer (console)")
    expect(newest).to_contain_text(HELLO)
    tab.get_by_role("row").nth(2).get_by_role("link", name="Take it back to this").click()
    expect(tab.get_by_role("heading", name="What it does to people")).to_be_visible()
    tab.get_by_role("button", name="again").click()
    tab.get_by_role("dialog").get_by_role("button", name="again").click()
    expect(tab.get_by_role("status")).to_contain_text("The folder keeps its text")
    tab.goto("/tracks/welcome/emails/01-hello")
    expect(tab.get_by_text("Welcome among us")).to_have_count(0)


def test_a_second_person_reads_that_somebody_else_published(tab: Page, world: ConsoleWorld, browser: Browser) -> None:
    edit(world, WELCOME, "after: 9 days", "after: 5 days")
    tab.goto("/changes/track/welcome")
    expect(tab.get_by_role("button", name="Publish welcome")).to_be_visible()
    with open_tab(browser, world, login="admin") as other:
        other.goto("/changes/track/welcome")
        press_publish(other)
        expect(other.get_by_role("status")).to_contain_text("is live.")
        press_publish(tab)
        expect(tab.get_by_role("alert")).to_contain_text("There is nothing to publish")


def test_faults_are_listed_with_file_and_line_and_nothing_can_be_published(tab: Page, world: ConsoleWorld) -> None:
    edit(world, WELCOME, "after: 9 days", "after: 3 dais")
    tab.goto("/changes")
    expect(tab.get_by_text(f"{WELCOME}:")).to_be_visible()
    expect(tab.get_by_role("button", name="Publish")).to_have_count(0)
    tab.goto("/changes/track/welcome")
    expect(tab.get_by_role("button", name="Publish")).to_have_count(0)


def test_a_viewer_reads_the_change_and_has_no_button(browser: Browser, world: ConsoleWorld) -> None:
    write_texts(world.ctx.templates, LIVE)
    edit(world, WELCOME, "after: 9 days", "after: 2 days")
    with open_tab(browser, world, login="viewer") as tab:
        for path in ("/changes", "/changes/track/welcome", "/tracks/welcome/versions"):
            tab.goto(path)
            expect(tab.get_by_role("heading", level=1)).to_be_visible()
            assert tab.locator("main").get_by_role("button").count() == 0
