"""The pages of the console in a real browser: what each shows, where its numbers lead, at all widths and themes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.domain.signals import SignalKind
from nurture.journey.engagement import signals
from nurture.journey.leads.signal_queries import NewSignal
from tests.console.test_browser import FAINT, looks, open_tab
from tests.console.world import ConsoleWorld, make_world, serve_console
from tests.journey.builders import START, run_at

HOUR = timedelta(hours=1)
PATHS = (
    "/",
    "/tracks",
    "/tracks/welcome",
    "/tracks/keep?days=7",
    "/tracks/welcome/emails/01-hello",
    "/tracks/welcome/emails/01-hello?to=long-values&show=phone",
    "/changes",
    "/changes/track/welcome",
    "/tracks/welcome/versions",
    "/leads",
    "/leads?find=nobody",
    "/leads?country=DE&quiet_days=30",
    "/leads/{mia}",
    "/handoffs",
    "/handoffs/queues",
    "/handoffs/team",
    "/companies/{quay}",
    "/emails/{hello}",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    """The world of the console, in which Mia has clicked."""
    made = make_world(tmp_path_factory.mktemp("pages"))
    at = START + 2 * HOUR
    click = NewSignal(
        made.ids["mia"], SignalKind.CLICKED.value, at, at, "click", "link", track="welcome", step="01-hello"
    )
    signals.record(made.ctx, [click], at)
    run_at(made.ctx, START + 3 * HOUR)
    with serve_console(made):
        yield made
    made.ctx.database.close()


@pytest.fixture
def tab(browser: Browser, world: ConsoleWorld) -> Iterator[Page]:
    with open_tab(browser, world, login="marketer") as opened:
        yield opened


def test_a_number_of_today_leads_to_the_people_behind_it(tab: Page) -> None:
    tab.goto("/")
    tab.get_by_role("link", name=re.compile("People who clicked")).click()
    expect(tab.get_by_text("1 lead, the newest first")).to_be_visible()
    expect(tab.get_by_role("link", name="Mia <b>Wong</b>")).to_be_visible()


def test_today_lists_what_needs_somebody_with_its_button(tab: Page) -> None:
    tab.goto("/")
    expect(tab.get_by_text("1 lead without consent")).to_be_visible()
    expect(tab.get_by_text("2 offers to reps not answered")).to_be_visible()
    tab.locator(".task", has_text="without consent").get_by_role("link", name="Show them").click()
    expect(tab.get_by_role("link", name="Kim Poe")).to_be_visible()


def test_today_names_what_is_changed_in_the_folder_and_not_published(tab: Page, world: ConsoleWorld) -> None:
    news = world.ctx.templates / "tracks/keep/01-news.md"
    published = news.read_text("utf-8")
    news.write_text(published.replace("News", "More news", 1), "utf-8")
    tab.goto("/")
    task = tab.locator(".task", has_text="1 definition changed, not published")
    expect(task).to_contain_text("keep")
    news.write_text(published, "utf-8")
    expect(task.get_by_role("link", name="Look at the changes")).to_have_attribute("href", "/changes")


def test_a_search_finds_a_person_from_every_page_and_says_when_there_is_none(tab: Page) -> None:
    tab.goto("/tracks")
    tab.get_by_role("searchbox").fill("dana")
    tab.get_by_role("searchbox").press("Enter")
    tab.get_by_role("link", name="Dana Miller").click()
    expect(tab.get_by_role("heading", name="Dana Miller")).to_be_visible()
    tab.goto("/leads?find=nobody")
    expect(tab.get_by_text("No lead matches.")).to_be_visible()


def test_a_filter_is_an_address_and_can_be_taken_away(tab: Page) -> None:
    tab.goto("/leads?track=welcome")
    expect(tab.get_by_text("1 lead, the newest first")).to_be_visible()
    tab.get_by_label("Search for").fill("mia")
    tab.get_by_role("button", name="Filter", exact=True).click()
    expect(tab).to_have_url(re.compile("find=mia.*on=welcome"))
    tab.get_by_label("Search for").fill("")
    tab.get_by_role("button", name="Filter", exact=True).click()
    tab.get_by_role("link", name="Remove the filter: on track welcome").click()
    expect(tab).to_have_url(re.compile("/leads$"))
    tab.get_by_label("Where").select_option("offer")
    tab.get_by_role("button", name="Filter", exact=True).click()
    expect(tab.get_by_text("2 leads, the newest first")).to_be_visible()


def test_all_leads_of_a_filter_are_paused_after_a_dry_run(tab: Page, world: ConsoleWorld) -> None:
    tab.goto("/leads?custodian=offer")
    tab.get_by_role("button", name="Pause them").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_label("No mail until").fill("2026-03-31")
    dialog.get_by_role("button", name="Show what happens").click()
    expect(dialog.get_by_text("2 leads would be paused until 2026-03-31.")).to_be_visible()
    assert world.rows("SELECT count(*) FROM lead WHERE paused_until is not null") == [(0,)]
    dialog.get_by_label("No mail until").fill("2026-04-30")
    dialog.get_by_role("button", name="Pause them").click()
    expect(dialog.get_by_text("2 leads would be paused until 2026-04-30.")).to_be_visible()
    dialog.get_by_role("button", name="Pause them").click()
    expect(tab.get_by_role("status")).to_contain_text("2 leads are paused until 2026-04-30.")


def test_a_filter_is_saved_under_a_name_and_opened_again(browser: Browser, tab: Page, world: ConsoleWorld) -> None:
    tab.goto("/leads?country=de&quiet_days=90")
    expect(tab.get_by_text("No lead matches.")).to_be_visible()
    tab.goto("/leads?track=welcome&consent=consent")
    tab.get_by_role("button", name="Save this filter").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_label("Name").fill("On welcome")
    dialog.get_by_label("Who sees it").select_option("everybody")
    dialog.get_by_role("button", name="Save this filter").click()
    expect(tab.get_by_role("status")).to_contain_text("saved as On welcome")
    with open_tab(browser, world, login="viewer") as of_viewer:
        of_viewer.goto("/leads")
        of_viewer.get_by_role("link", name="On welcome (marketer)").click()
        expect(of_viewer.get_by_text("1 lead, the newest first")).to_be_visible()
        assert of_viewer.locator("main").get_by_role("button", name="Delete").count() == 0
    tab.get_by_role("button", name="Delete the filter On welcome").click()
    dialog.get_by_role("button", name="Delete the filter On welcome").click()
    expect(tab.get_by_role("status")).to_contain_text("The filter is deleted.")


def test_a_sales_manager_sees_the_leads_of_the_own_team(world: ConsoleWorld) -> None:
    listed = world.get("/leads", "maya").text
    assert "Dana Miller" in listed
    assert "Erik Holm" not in listed
    assert "Wong" not in listed
    assert world.get(f"/leads/{world.ids['dana']}", "maya").status_code == 200
    for hidden in ("erik", "mia"):
        assert world.get(f"/leads/{world.ids[hidden]}", "maya").status_code == 404
        assert "No lead matches." in world.get(f"/leads?find={hidden}@people.example", "maya").text
        preview = world.get(f"/tracks/welcome/emails/01-hello?to={hidden}@people.example", "maya").text
        assert "among yours" in preview
    assert world.get("/emails/{hello}".format(**world.ids), "maya").status_code == 404
    for path in ("/handoffs", "/handoffs/queues", "/companies/{quay}".format(**world.ids)):
        page = world.get(path, "maya")
        assert page.status_code == 200
        assert [name for name in ("Erik Holm", "Wong", "Kim Poe") if name in page.text] == [], path
    assert "Ana" in world.get("/handoffs/team", "maya").text
    assert "Ben" not in world.get("/handoffs/team", "maya").text


def test_the_map_of_a_track_leads_from_a_step_to_its_people_and_its_email(tab: Page) -> None:
    tab.goto("/tracks")
    expect(tab.locator(".ways-between > path")).to_have_count(1)
    tab.locator(".tile").get_by_role("link", name="welcome", exact=True).first.click()
    hello = tab.locator(".step.email").first
    expect(hello).to_contain_text("Hello")
    hello.locator(".count", has_text="clicked").get_by_role("link").click()
    expect(tab.get_by_role("link", name="Mia <b>Wong</b>")).to_be_visible()
    tab.go_back()
    tab.locator(".step.email").first.get_by_role("link", name="Hello", exact=True).click()
    expect(tab.locator("iframe")).to_have_attribute("sandbox", "")
    expect(tab.frame_locator("iframe").get_by_text("Hello Ana")).to_be_visible()
    expect(tab.locator("iframe")).to_have_attribute("srcdoc", re.compile(r"\(max-width: 0\)"))
    tab.get_by_role("link", name="Dark", exact=True).last.click()
    expect(tab.locator("iframe")).to_have_attribute("srcdoc", re.compile(r"\(min-width: 0\)"))
    expect(tab.get_by_text("https://www.example.com/guide")).to_be_visible()


def test_a_lead_shows_why_it_waits_and_opens_the_emails_it_got(tab: Page, world: ConsoleWorld) -> None:
    tab.goto(f"/leads/{world.ids['mia']}")
    expect(tab.locator(".why")).to_contain_text("On welcome, step 02-more.")
    tab.get_by_role("link", name="Emails", exact=True).click()
    tab.locator(".timeline").get_by_role("link", name="Open").first.click()
    expect(tab.frame_locator("iframe").get_by_text("Hello", exact=False).first).to_be_visible()


def test_a_marketer_pauses_a_lead_on_its_page_and_a_viewer_only_reads(
    browser: Browser, tab: Page, world: ConsoleWorld
) -> None:
    tab.goto(f"/leads/{world.ids['mia']}")
    tab.get_by_role("button", name="Pause").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_label("No mail until").fill("2026-03-31")
    dialog.get_by_role("button", name="Pause").click()
    expect(tab.get_by_role("status")).to_contain_text("paused until 2026-03-31")
    tab.get_by_role("button", name="End the pause").click()
    dialog.get_by_role("button", name="End the pause").click()
    expect(tab.get_by_role("status")).to_contain_text("The pause is over.")
    with open_tab(browser, world, login="viewer") as of_viewer:
        of_viewer.goto(f"/leads/{world.ids['mia']}")
        expect(of_viewer.locator(".why")).to_be_visible()
        assert of_viewer.locator("main").get_by_role("button").count() == 0


def test_an_email_is_shown_as_a_lead_gets_it_and_a_wrong_lead_is_named(tab: Page, world: ConsoleWorld) -> None:
    tab.goto("/tracks/welcome/emails/01-hello")
    field = tab.get_by_label("As this lead: id, address or external id")
    field.fill("dana@people.example")
    tab.get_by_role("button", name="Show").click()
    expect(tab.get_by_text("Dana Miller <dana@people.example>")).to_be_visible()
    tab.goto("/tracks/welcome/emails/01-hello?to=dena@people.example")
    expect(tab.get_by_role("alert")).to_contain_text("There is no lead dena@people.example")


def test_the_hand_offs_show_the_pipeline_the_queues_and_the_team(tab: Page) -> None:
    tab.goto("/handoffs")
    expect(tab.locator(".stage", has_text="Offered to a rep")).to_contain_text("2")
    tab.get_by_role("link", name="Queues").click()
    expect(tab.get_by_role("link", name="no-consent-basis")).to_be_visible()
    tab.get_by_role("link", name="Team").click()
    expect(tab.get_by_role("cell", name="Ben")).to_be_visible()


@pytest.mark.parametrize("path", ["/leads/999", "/tracks/nowhere", "/companies/9", "/emails/99", "/leads?since=soon"])
def test_what_is_not_there_is_not_found(world: ConsoleWorld, path: str) -> None:
    assert world.get(path, "marketer").status_code == 404


@pytest.mark.parametrize("path", PATHS)
def test_no_page_overflows_or_is_faint(tab: Page, world: ConsoleWorld, path: str) -> None:
    for look in looks(tab, path.format(**world.ids), (390, 1280, 1920)):
        assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), look
        assert tab.evaluate(FAINT) == [], look


def test_a_rep_sees_their_own_leads_and_no_others(browser: Browser, world: ConsoleWorld) -> None:
    assert world.get(f"/leads/{world.ids['dana']}", "rep").status_code == 200
    assert world.get(f"/leads/{world.ids['erik']}", "rep").status_code == 404
    for path in ("/leads", "/tracks", "/handoffs"):
        assert world.get(path, "rep").status_code == 403, path
    assert world.get("/", "rep").headers["location"] == "/mine"
